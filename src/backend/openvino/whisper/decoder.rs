//! The decoder: tokens in, logits out, for several windows side by side. The KV cache lives inside the
//! request (stateful exports) or travels as tensors from step to step (stateless ones).

use std::sync::Arc;

use super::super::compiler::{self, Compiler, BEAMS};
use super::super::native::Compiled;
use super::super::request::Request;
use super::super::tensor::Tensor;
use super::files::Files;
use super::steps::{Sizes, Steps, PAST};
use crate::backend::{Encoded, GoOn};
use crate::error::{Error, ErrorKind, Result};

pub(super) const TOKENS: &str = "input_ids";
pub(super) const STATES: &str = "encoder_hidden_states";
const LOGITS: &str = "logits";

pub(super) struct Decoder {
    first: Steps,
    /// Of a stateless model: the decoder for all tokens but the first ones.
    with_past: Option<Steps>,
}

impl Decoder {
    pub(super) fn load(compiler: &Compiler, files: &Files) -> Result<Self> {
        let model = compiler.read(&files.decoder.xml)?;
        let stateful = compiler::is_stateful(&model);
        let first = Steps::new(compiler.compile(&model)?, compiler);
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
        let with_past = compiler.compile(&compiler.read(&network.xml)?)?;
        Ok(Self { first, with_past: Some(Steps::new(with_past, compiler)) })
    }

    pub(super) fn is_stateful(&self) -> bool {
        self.with_past.is_none()
    }

    /// Begins a text for each of `windows`.
    pub(super) fn texts(&self, windows: &[&Encoded]) -> Result<Texts> {
        // A request that was never run has an empty KV cache; the C interface cannot empty one.
        let mut request = self.first.compiled().request()?;
        fill_states(&mut request, windows)?;
        let rows = windows.len();
        if self.is_stateful() {
            request.fill_input(BEAMS, &[rows], |beams| {
                beams.iter_mut().zip(0i32..).for_each(|(beam, row)| *beam = row);
            })?;
        }
        let frames = windows.first().map_or(0, |window| window.frames);
        let sizes = Sizes { rows, width: 0, past: 0, frames };
        Ok(Texts { request, spare: None, sizes, row: Vec::new() })
    }
}

/// The windows' states as one input, a row each.
pub(super) fn fill_states(request: &mut Request, windows: &[&Encoded]) -> Result<()> {
    let frames = windows.first().map_or(0, |window| window.frames);
    let size = windows.first().map_or(0, |window| window.states.len());
    if windows.iter().any(|window| window.states.len() != size) {
        return Err(Error::new(ErrorKind::Internal, "windows of different sizes"));
    }
    let shape = [windows.len(), frames, size / frames.max(1)];
    request.fill_input(STATES, &shape, |rows: &mut [f32]| {
        for (row, window) in rows.chunks_exact_mut(size.max(1)).zip(windows) {
            row.copy_from_slice(&window.states);
        }
    })
}

/// `tokens` as input, row after row.
pub(super) fn fill_tokens(request: &mut Request, rows: usize, tokens: &[u32]) -> Result<()> {
    request.fill_input(TOKENS, &[rows, tokens.len() / rows.max(1)], |ids: &mut [i64]| {
        ids.iter_mut().zip(tokens).for_each(|(id, &token)| *id = i64::from(token));
    })
}

/// A request of the decoder for further tokens. It names the encoder's states as an input but does
/// not read them, for their keys and values come from the first step.
fn with_past_request(with_past: &Compiled) -> Result<Request> {
    let mut request = with_past.request()?;
    if let Some(port) = with_past.inputs().iter().find(|port| port.name == STATES) {
        let dims = port.shape.iter().flatten().map(|size| size.unwrap_or(1));
        let shape: Vec<usize> = dims.collect();
        request.fill_input(STATES, &shape, |states: &mut [f32]| states.fill(0.0))?;
    }
    Ok(request)
}

/// Texts in the making.
pub(super) struct Texts {
    request: Request,
    /// Of a stateless model: the other of two requests that take turns, since one's outputs are
    /// the other's inputs.
    spare: Option<Request>,
    /// Of the last step; its width is 0 before the first one.
    sizes: Sizes,
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
        let rows = self.sizes.rows;
        if rows == 0 || tokens.is_empty() || tokens.len() % rows != 0 {
            return Err(Error::new(ErrorKind::Internal, "tokens for another number of rows"));
        }
        let steps = match &decoder.with_past {
            Some(with_past) if self.sizes.width > 0 => {
                if !self.turn(with_past.compiled(), go_on)? {
                    return Ok(false);
                }
                with_past
            }
            _ => &decoder.first,
        };
        self.sizes.past += self.sizes.width;
        self.sizes.width = tokens.len() / rows;
        fill_tokens(&mut self.request, rows, tokens)?;
        steps.run(&mut self.request, self.sizes, go_on)
    }

    /// Hands the KV cache of the last step to the request of the next one. False: stopped, with nothing
    /// handed over.
    fn turn(&mut self, with_past: &Compiled, go_on: GoOn<'_>) -> Result<bool> {
        let mut next = match self.spare.take() {
            Some(spare) => spare,
            None => with_past_request(with_past)?,
        };
        for port in with_past.inputs() {
            let Some(name) = port.name.strip_prefix(PAST) else { continue };
            // The encoder's part comes with the first step only, and stays as it is.
            let past = match self.request.input(&port.name) {
                Some(past) if name.contains(".encoder.") => past,
                _ => {
                    // The first step's are hundreds of megabytes for several windows.
                    if !go_on() {
                        return Ok(false);
                    }
                    let present = self.request.output(&format!("present.{name}"))?;
                    Arc::new(Tensor::of(present.shape(), present.slice::<f32>()?)?)
                }
            };
            next.set_input(&port.name, past)?;
        }
        let before = std::mem::replace(&mut self.request, next);
        self.spare = (self.sizes.past > 0).then_some(before);
        Ok(true)
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
