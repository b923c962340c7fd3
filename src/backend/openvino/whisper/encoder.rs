//! The encoder: a window's log-mel in, its states out.

use super::super::compiler::Compiler;
use super::super::native::Compiled;
use super::super::request::{Request, Wait};
use super::super::tensor::{ElementType, Tensor};
use super::files::Network;
use crate::backend::{Encoded, GoOn};
use crate::error::{Error, ErrorKind, Result};
use crate::speech::WINDOW_FRAMES;

const INPUT: &str = "input_features";
const FRAMES: usize = WINDOW_FRAMES as usize;
const OUTPUT: &str = "last_hidden_state";

pub(super) struct Encoder {
    compiled: Compiled,
    n_mels: usize,
}

impl Encoder {
    pub(super) fn load(compiler: &Compiler, network: &Network, n_mels: usize) -> Result<Self> {
        let mut model = compiler.read(&network.xml)?;
        // With every size known the plugin plans memory and kernels ahead: 10 to 15 % faster.
        model.reshape(&[(INPUT, &[1, n_mels, FRAMES])])?;
        let compiled = compiler.compile(&model)?;
        Ok(Self { compiled, n_mels })
    }

    /// A log-mel window of nothing.
    pub(super) fn silence(&self) -> Vec<f32> {
        vec![0.0; self.n_mels * FRAMES]
    }

    pub(super) fn run(&self) -> Result<EncoderRun> {
        let mut request = self.compiled.request()?;
        let mel = Tensor::new(ElementType::F32, &[1, self.n_mels, FRAMES])?;
        request.set_input(INPUT, mel)?;
        Ok(EncoderRun { request, begun: false, done: false })
    }
}

/// One thread's use of the encoder.
pub(super) struct EncoderRun {
    request: Request,
    /// A window was begun and not finished.
    begun: bool,
    /// The one that was begun is encoded.
    done: bool,
}

impl EncoderRun {
    pub(super) fn begin(&mut self, mel: &[f32]) -> Result<()> {
        self.stop()?;
        let input = self.request.input_mut(INPUT).ok_or_else(in_use)?.slice_mut::<f32>()?;
        if input.len() != mel.len() {
            return Err(in_use());
        }
        input.copy_from_slice(mel);
        self.request.start()?;
        (self.begun, self.done) = (true, false);
        Ok(())
    }

    pub(super) fn is_done(&mut self) -> Result<bool> {
        if self.begun && !self.done {
            self.done = self.request.wait(std::time::Duration::ZERO)? == Wait::Done;
        }
        Ok(self.begun && self.done)
    }

    pub(super) fn finish(&mut self, go_on: GoOn<'_>) -> Result<Option<Encoded>> {
        if !std::mem::take(&mut self.begun) {
            return Err(Error::new(ErrorKind::Internal, "no window is being encoded"));
        }
        if !self.done && !self.request.finish(go_on)? {
            return Ok(None);
        }
        let output = self.request.output(OUTPUT)?;
        let frames = output.shape().get(1).copied().unwrap_or(0);
        Ok(Some(Encoded { states: output.slice::<f32>()?.to_vec(), frames }))
    }

    /// Cancels what runs.
    pub(super) fn stop(&mut self) -> Result<()> {
        if std::mem::take(&mut self.begun) && !self.done {
            self.request.stop()?;
        }
        Ok(())
    }
}

fn in_use() -> Error {
    Error::new(ErrorKind::Internal, "the encoder's input is in use or of another size")
}
