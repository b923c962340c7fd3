//! What an answer may draw next: its sampler, and the rules around it.
#![forbid(unsafe_code)]

use super::bans::Bans;
use super::logprobs::{Logprob, Scorer};
use crate::backend::Vocab;
use crate::error::{Error, ErrorKind, Result};
use crate::sampling::{Params, Sampler};

/// A token that was drawn.
#[derive(Debug, Clone)]
pub(super) struct Picked {
    /// Its id.
    pub(super) token: u32,
    /// Its log-probability, where somebody asked for it.
    pub(super) logprob: Option<Logprob>,
}

/// Draws the tokens of one answer.
pub(super) struct Picker {
    sampler: Sampler,
    bans: Bans,
    scorer: Option<Scorer>,
}

impl Picker {
    /// A picker for an answer to `prompt`. With a `scorer`, log-probabilities are noted.
    pub(super) fn new(
        params: Params,
        seed: u64,
        prompt: &[u32],
        bans: Bans,
        scorer: Option<Scorer>,
    ) -> Self {
        let mut sampler = Sampler::new(params, seed);
        for &token in prompt {
            sampler.accept(token);
        }
        Self { sampler, bans, scorer }
    }

    /// Draws from `logits`, one for each token of the vocabulary, which are changed.
    pub(super) fn pick(&mut self, logits: &mut [f32], vocab: &Vocab) -> Result<Picked> {
        if let Some(scorer) = &mut self.scorer {
            scorer.keep(logits);
        }
        self.bans.mask(logits);
        let token = self.sampler.sample(logits).ok_or_else(|| self.nothing_left())?;
        let logprob = self.scorer.as_mut().map(|scorer| scorer.drawn(token, vocab));
        Ok(Picked { token, logprob })
    }

    fn nothing_left(&self) -> Error {
        if self.bans.is_empty() {
            let message = "the model computed no usable logits; the file may be damaged";
            return Error::new(ErrorKind::Backend, message);
        }
        let message = "what the request bans leaves no token to go on with";
        Error::new(ErrorKind::InvalidRequest, message)
    }

    /// Takes note of a token that was drawn and is part of the answer.
    pub(super) fn accept(&mut self, token: u32) {
        self.sampler.accept(token);
        self.bans.accept(token);
    }
}
