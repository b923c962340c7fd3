//! What an answer may draw next: its sampler, and the rules around it.
#![forbid(unsafe_code)]

use super::bans::Bans;
use super::logprobs::{Logprob, Scorer};
use crate::backend::Vocab;
use crate::error::{Error, ErrorKind, Result};
use crate::grammar::Constraint;
use crate::sampling::{self, Params, Sampler};

/// A token that was drawn.
#[derive(Debug, Clone)]
pub(super) struct Picked {
    /// Its id.
    pub(super) token: u32,
    /// Its log-probability, where somebody asked for it.
    pub(super) logprob: Option<Logprob>,
}

/// What an answer is held to, and what is noted of it.
pub(super) struct Rules {
    pub(super) bans: Bans,
    pub(super) grammar: Option<Constraint>,
    /// Notes log-probabilities, where somebody asked for them.
    pub(super) scorer: Option<Scorer>,
}

/// Draws the tokens of one answer.
pub(super) struct Picker {
    sampler: Sampler,
    is_greedy: bool,
    rules: Rules,
    /// What comes next without being drawn, the last of it first.
    forced: Vec<u32>,
}

impl Picker {
    /// A picker for an answer to `prompt`.
    pub(super) fn new(params: Params, seed: u64, prompt: &[u32], rules: Rules) -> Self {
        let mut sampler = Sampler::new(params, seed);
        let is_greedy = sampler.takes_likeliest();
        for &token in &prompt[prompt.len().saturating_sub(sampler.memory())..] {
            sampler.accept(token);
        }
        Self { sampler, is_greedy, rules, forced: Vec::new() }
    }

    /// The next picks are `tokens`, whatever the model would say.
    pub(super) fn force(&mut self, tokens: &[u32]) {
        self.forced = tokens.iter().rev().copied().collect();
    }

    /// Draws from `logits`, one for each token of the vocabulary, which are changed.
    pub(super) fn pick(&mut self, logits: &mut [f32], vocab: &Vocab) -> Result<Picked> {
        if let Some(scorer) = &mut self.rules.scorer {
            scorer.keep(logits);
        }
        let token = match self.forced.pop() {
            Some(token) => token,
            None => self.draw(logits)?.ok_or_else(|| self.nothing_left())?,
        };
        let logprob = self.rules.scorer.as_mut().map(|scorer| scorer.drawn(token, vocab));
        Ok(Picked { token, logprob })
    }

    fn draw(&mut self, logits: &mut [f32]) -> Result<Option<u32>> {
        self.rules.bans.mask(logits);
        match &mut self.rules.grammar {
            Some(grammar) => within(grammar, &mut self.sampler, self.is_greedy, logits),
            None => Ok(self.sampler.sample(logits)),
        }
    }

    /// Takes note of a token that was drawn and is part of the answer.
    pub(super) fn accept(&mut self, token: u32) -> Result<()> {
        self.sampler.accept(token);
        self.rules.bans.accept(token);
        self.rules.grammar.as_mut().map_or(Ok(()), |grammar| grammar.accept(token))
    }

    /// Whether the grammar lets nothing follow.
    pub(super) fn is_complete(&self) -> bool {
        self.rules.grammar.as_ref().is_some_and(Constraint::is_complete)
    }

    fn nothing_left(&self) -> Error {
        match &self.rules.grammar {
            Some(grammar) => Error::invalid_request(
                grammar.field(),
                "no token is left: all that it allows next is excluded by the request's other fields, such as logit_bias",
            ),
            None if self.rules.bans.is_empty() => {
                let message = "the model computed no usable logits; the file may be damaged";
                Error::new(ErrorKind::Backend, message)
            }
            None => {
                let message = "what the request bans leaves no token to go on with";
                Error::new(ErrorKind::InvalidRequest, message)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::Vocab;
    use crate::grammar::{Compiler, Grammar, Source, Tokens};
    use crate::request::BanFields;

    const A: usize = 0;
    const END: usize = 2;

    fn vocab() -> Arc<Vocab> {
        let mut vocab = Vocab::default();
        vocab.push(b"a", false);
        vocab.push(b"b", false);
        vocab.push(b"", true);
        Arc::new(vocab)
    }

    fn picker(temperature: f32) -> Picker {
        let vocab = vocab();
        let compiler = Compiler::new(Tokens::new(&vocab).expect("tokens")).expect("a compiler");
        let grammar = Grammar::new(Source::Gbnf("root ::= \"a\"+ \"b\"".to_owned()), "grammar");
        let constraint = compiler.compile(&grammar).expect("a grammar").constraint("grammar");
        let params = Params { temperature, ..Params::default() };
        let bans = Bans::new(&BanFields::default(), &vocab);
        let rules = Rules { bans, grammar: Some(constraint), scorer: None };
        Picker::new(params, 1, &[], rules)
    }

    #[test]
    fn only_what_the_grammar_allows_is_drawn() {
        for temperature in [0.0, 1.0] {
            let mut picker = picker(temperature);
            // The likeliest token is the end, which may not come.
            let mut logits = [1.0, 5.0, 9.0];
            assert_eq!(picker.pick(&mut logits, &vocab()).expect("a token").token as usize, A);
            picker.accept(A as u32).expect("allowed");
            let mut logits = [f32::NEG_INFINITY, 0.0, 9.0];
            let picked = picker.pick(&mut logits, &vocab()).expect("a token");
            picker.accept(picked.token).expect("allowed");
            assert!(picker.is_complete());
        }
    }

    #[test]
    fn an_error_says_when_other_fields_leave_nothing() {
        for temperature in [0.0, 1.0] {
            let mut logits = [f32::NEG_INFINITY, 0.0, 0.0];
            let error =
                picker(temperature).pick(&mut logits, &vocab()).expect_err("nothing is left");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().starts_with("grammar: no token is left"), "{error}");
            assert_eq!(logits[END], f32::NEG_INFINITY);
        }
    }
}
