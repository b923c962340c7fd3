//! The decoder: tokens in, logits out, for several windows side by side. The KV cache lives inside the
//! request (stateful exports) or travels as tensors from step to step (stateless ones).

use std::sync::Arc;

use super::super::compiler::Compiler;
use super::super::native::Compiled;
use super::super::request::Request;
use super::super::tensor::{ElementType, Tensor};
use super::files::Files;
use crate::backend::{Encoded, GoOn, Listener};
use crate::error::{Error, ErrorKind, Result};

pub(super) const TOKENS: &str = "input_ids";
pub(super) const STATES: &str = "encoder_hidden_states";
pub(super) const BEAMS: &str = "beam_idx";
const LOGITS: &str = "logits";

pub(super) struct Decoder {
    first: Compiled,
    /// Of a stateless model: the decoder for all tokens but the first ones.
    with_past: Option<Compiled>,
}

impl Decoder {
    pub(super) fn load(
        compiler: &Compiler,
        files: &Files,
        listener: &mut Listener<'_>,
    ) -> Result<Self> {
        let model = compiler.read(&files.decoder.xml)?;
        let stateful = model.inputs().iter().any(|port| port.name == BEAMS);
        let first = compiler.compile(&model, listener)?;
        if stateful {
            return Ok(Self { first, with_past: None });
        }
        let network = files.with_past.as_ref().ok_or_else(|| {
            let message = format!(
                "{}: keeps no state, and openvino_decoder_with_past_model.xml is missing beside it",
                files.decoder.xml.display()
            );
            Error::new(ErrorKind::NotFound, message)
        })?;
        let with_past = compiler.compile(&compiler.read(&network.xml)?, listener)?;
        Ok(Self { first, with_past: Some(with_past) })
    }

    pub(super) fn is_stateful(&self) -> bool {
        self.with_past.is_none()
    }

    /// Begins a text for each of `windows`.
    pub(super) fn texts(&self, windows: &[&Encoded]) -> Result<Texts> {
        let states = Arc::new(stack(windows)?);
        // A request that was never run has an empty KV cache; the C interface cannot empty one.
        let mut request = self.first.request()?;
        request.set_input(STATES, Arc::clone(&states))?;
        if self.is_stateful() {
            let rows: Vec<i32> = (0..windows.len() as i32).collect();
            request.set_input(BEAMS, Tensor::of(&[rows.len()], &rows)?)?;
        }
        Ok(Texts {
            request,
            spare: None,
            states,
            rows: windows.len(),
            width: 0,
            past: 0,
            row: Vec::new(),
        })
    }
}

/// The windows' states as one tensor, a row each.
fn stack(windows: &[&Encoded]) -> Result<Tensor> {
    let frames = windows.first().map_or(0, |window| window.frames);
    let width = windows.first().map_or(0, |window| window.states.len() / window.frames.max(1));
    let mut tensor = Tensor::new(ElementType::F32, &[windows.len(), frames, width])?;
    let rows = tensor.slice_mut::<f32>()?;
    for (row, window) in rows.chunks_exact_mut((frames * width).max(1)).zip(windows) {
        if row.len() != window.states.len() {
            return Err(Error::new(ErrorKind::Internal, "windows of different sizes"));
        }
        row.copy_from_slice(&window.states);
    }
    Ok(tensor)
}

/// Texts in the making.
pub(super) struct Texts {
    request: Request,
    /// Of a stateless model: the other of two requests that take turns, since one's outputs are
    /// the other's inputs.
    spare: Option<Request>,
    states: Arc<Tensor>,
    rows: usize,
    /// Tokens of each row in the last step.
    width: usize,
    /// Tokens of each row before them.
    past: usize,
    row: Vec<f32>,
}

impl Texts {
    /// Appends `tokens` to the rows. False: stopped.
    pub(super) fn decode(
        &mut self,
        decoder: &Decoder,
        tokens: &[u32],
        go_on: GoOn<'_>,
    ) -> Result<bool> {
        if self.rows == 0 || tokens.is_empty() || tokens.len() % self.rows != 0 {
            return Err(Error::new(ErrorKind::Internal, "tokens for another number of rows"));
        }
        if let (Some(with_past), true) = (&decoder.with_past, self.width > 0) {
            self.turn(with_past)?;
        }
        self.past += self.width;
        self.width = tokens.len() / self.rows;
        let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        self.request.set_input(TOKENS, Tensor::of(&[self.rows, self.width], &ids)?)?;
        self.request.run(go_on)
    }

    /// Hands the KV cache of the last step to the request of the next one.
    fn turn(&mut self, with_past: &Compiled) -> Result<()> {
        let fresh = || {
            let mut request = with_past.request()?;
            if with_past.inputs().iter().any(|port| port.name == STATES) {
                request.set_input(STATES, Arc::clone(&self.states))?;
            }
            Ok::<_, Error>(request)
        };
        let mut next = match self.spare.take() {
            Some(spare) => spare,
            None => fresh()?,
        };
        for port in with_past.inputs() {
            let Some(name) = port.name.strip_prefix("past_key_values.") else { continue };
            // The encoder's part comes with the first step only, and stays as it is.
            let past = match self.request.input(&port.name) {
                Some(past) if name.contains(".encoder.") => past,
                _ => {
                    let present = self.request.output(&format!("present.{name}"))?;
                    Arc::new(Tensor::of(present.shape(), present.slice::<f32>()?)?)
                }
            };
            next.set_input(&port.name, past)?;
        }
        let before = std::mem::replace(&mut self.request, next);
        self.spare = (self.past > 0).then_some(before);
        Ok(())
    }

    /// Logits after token `index` of the last step, in `row`; they may be changed.
    pub(super) fn logits(&mut self, row: usize, index: usize) -> Result<&mut [f32]> {
        let output = self.request.output(LOGITS)?;
        let &[rows, width, vocabulary] = output.shape() else {
            return Err(Error::new(ErrorKind::InvalidModel, "the decoder's logits have no rows"));
        };
        if row >= rows || index >= width {
            return Err(Error::new(ErrorKind::Internal, "logits of a row that is not there"));
        }
        let start = (row * width + index) * vocabulary;
        self.row.clear();
        self.row.extend_from_slice(&output.slice::<f32>()?[start..start + vocabulary]);
        Ok(&mut self.row)
    }
}
