//! What an answer may draw next: its sampler, and the rules around it.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use crate::grammar::Constraint;
use crate::sampling::{self, Params, Sampler};

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
    is_greedy: bool,
    grammar: Option<Constraint>,
}

impl Picker {
    /// A picker for an answer to `prompt`, within `grammar`.
    pub(super) fn new(
        params: Params,
        seed: u64,
        prompt: &[u32],
        grammar: Option<Constraint>,
    ) -> Self {
        let is_greedy = params.is_greedy();
        let mut sampler = Sampler::new(params, seed);
        for &token in prompt {
            sampler.accept(token);
        }
        Self { sampler, is_greedy, grammar }
    }

    /// Draws from `logits`, one for each token of the vocabulary, which are changed.
    pub(super) fn pick(&mut self, logits: &mut [f32]) -> Result<Picked> {
        let drawn = match &mut self.grammar {
            Some(grammar) => within(grammar, &mut self.sampler, self.is_greedy, logits)?,
            None => self.sampler.sample(logits),
        };
        let token = drawn.ok_or_else(|| self.nothing_left())?;
        Ok(Picked { token, logprob: f32::NAN })
    }

    /// Takes note of a token that was drawn and is part of the answer.
    pub(super) fn accept(&mut self, token: u32) -> Result<()> {
        self.sampler.accept(token);
        self.grammar.as_mut().map_or(Ok(()), |grammar| grammar.accept(token))
    }

    /// Whether the grammar lets nothing follow.
    pub(super) fn is_complete(&self) -> bool {
        self.grammar.as_ref().is_some_and(Constraint::is_complete)
    }

    fn nothing_left(&self) -> Error {
        match &self.grammar {
            Some(grammar) => Error::invalid_request(
                grammar.field(),
                "no token is left: all that it allows next is excluded by the request's other fields, such as logit_bias",
            ),
            None => {
                let message = "the model computed no usable logits; the file may be damaged";
                Error::new(ErrorKind::Backend, message)
            }
        }
    }
}

/// Draws a token that `grammar` allows.
fn within(
    grammar: &mut Constraint,
    sampler: &mut Sampler,
    is_greedy: bool,
    logits: &mut [f32],
) -> Result<Option<u32>> {
    if !is_greedy {
        grammar.mask(logits)?;
        return Ok(sampler.sample(logits));
    }
    // Mostly the likeliest token fits, and to ask for one takes less than to ask for all.
    match sampler.sample(logits) {
        Some(token) if grammar.allows(token)? => Ok(Some(token)),
        _ => {
            // Bias and penalties are in the logits already.
            grammar.mask(logits)?;
            Ok(sampling::likeliest(logits))
        }
    }
}
