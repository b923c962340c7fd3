//! What an answer may draw next: its sampler, and the rules around it.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use crate::sampling::{Params, Sampler};

/// A token that was drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picked {
    /// Its id.
    pub(super) token: u32,
    /// Its log-probability, NaN where nobody asked for it.
    pub(super) logprob: f32,
}

/// Draws the tokens of one answer.
pub(super) struct Picker {
    sampler: Sampler,
}

impl Picker {
    /// A picker for an answer to `prompt`.
    pub(super) fn new(params: Params, seed: u64, prompt: &[u32]) -> Self {
        let mut sampler = Sampler::new(params, seed);
        for &token in prompt {
            sampler.accept(token);
        }
        Self { sampler }
    }

    /// Draws from `logits`, one for each token of the vocabulary, which are changed.
    pub(super) fn pick(&mut self, logits: &mut [f32]) -> Result<Picked> {
        let token = self.sampler.sample(logits).ok_or_else(|| {
            let message = "the model computed no usable logits; the file may be damaged";
            Error::new(ErrorKind::Backend, message)
        })?;
        Ok(Picked { token, logprob: f32::NAN })
    }

    /// Takes note of a token that was drawn and is part of the answer.
    pub(super) fn accept(&mut self, token: u32) {
        self.sampler.accept(token);
    }
}
