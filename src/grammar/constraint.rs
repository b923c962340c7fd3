//! What may come next in one answer.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use llguidance::toktrie::SimpleVob;
use llguidance::Matcher;

use super::compile::reason;
use super::gbnf::Machine;
use super::Tokens;
use crate::error::{Error, ErrorKind, Result};

/// Tokens after which a mask is computed though nobody needs it: llguidance's lexer, which all answers
/// of a grammar share, gets new fuel only then.
const MOST_UNMASKED: usize = 16;

/// The state of one answer within its grammar. After an error it stays unusable.
pub struct Constraint {
    engine: Engine,
    tokens: Tokens,
    field: String,
    /// Set when what constraints of the same grammar share is spoilt.
    spoilt: Arc<AtomicBool>,
    /// Which tokens may come next, once that was asked.
    allowed: Option<SimpleVob>,
    /// Tokens since that was asked for.
    unmasked: usize,
}

pub(super) enum Engine {
    Guidance(Box<Matcher>),
    Gbnf(Box<Machine>),
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        self.another(&self.field)
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("field", &self.field).finish_non_exhaustive()
    }
}

impl Constraint {
    pub(super) fn new(engine: Engine, tokens: Tokens, field: String) -> Self {
        Self { engine, tokens, field, spoilt: Arc::default(), allowed: None, unmasked: 0 }
    }

    /// The request's field that asks for it.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Whether `token` may come next. Cheaper than [`mask`](Self::mask) where that was not asked
    /// before.
    pub fn allows(&mut self, token: u32) -> Result<bool> {
        if self.unmasked >= MOST_UNMASKED {
            self.allowed = Some(self.compute()?);
        }
        if let Some(allowed) = &self.allowed {
            return Ok((token as usize) < allowed.len() && allowed.is_allowed(token));
        }
        match &mut self.engine {
            Engine::Guidance(matcher) => {
                let count = matcher.validate_tokens(&[token]);
                count.map(|count| count > 0).map_err(|error| self.failed(&error.to_string()))
            }
            Engine::Gbnf(machine) => {
                let allows = machine.allows(&self.tokens, token);
                allows.map_err(|message| self.failed(&message))
            }
        }
    }

    /// Sets the logits of all tokens that may not come next to minus infinity. `logits` has one
    /// for each token of the vocabulary.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        let allowed = match self.allowed.take() {
            Some(allowed) => allowed,
            None => self.compute()?,
        };
        for (word, logits) in allowed.as_slice().iter().zip(logits.chunks_mut(32)) {
            match *word {
                u32::MAX => {}
                0 => logits.fill(f32::NEG_INFINITY),
                word => {
                    for (bit, logit) in logits.iter_mut().enumerate() {
                        if word >> bit & 1 == 0 {
                            *logit = f32::NEG_INFINITY;
                        }
                    }
                }
            }
        }
        self.allowed = Some(allowed);
        Ok(())
    }

    /// Takes `token`, which may come next and does not end the answer.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        self.allowed = None;
        self.unmasked += 1;
        match &mut self.engine {
            Engine::Guidance(matcher) => {
                matcher.consume_token(token).map_err(|error| self.failed(&error.to_string()))
            }
            Engine::Gbnf(machine) => {
                machine.accept(&self.tokens, token).map_err(|message| self.failed(&message))
            }
        }
    }

    /// Whether the answer is complete and nothing may follow.
    pub fn is_complete(&self) -> bool {
        match &self.engine {
            Engine::Guidance(matcher) => matcher.is_stopped() && !matcher.is_error(),
            Engine::Gbnf(machine) => machine.is_complete(),
        }
    }

    /// Computes what may come first, so that the first token need not wait for it, and finds out
    /// whether there is anything.
    pub(super) fn warm_up(&mut self) -> Result<()> {
        self.allowed = Some(self.compute()?);
        Ok(())
    }

    /// A constraint in the same state, for another answer; its errors name `field`.
    pub fn another(&self, field: &str) -> Self {
        let engine = match &self.engine {
            Engine::Guidance(matcher) => Engine::Guidance(matcher.clone()),
            Engine::Gbnf(machine) => Engine::Gbnf(machine.clone()),
        };
        let allowed = self.allowed.clone();
        let (tokens, spoilt) = (self.tokens.clone(), Arc::clone(&self.spoilt));
        Self { engine, tokens, field: field.to_owned(), spoilt, allowed, unmasked: self.unmasked }
    }

    fn compute(&mut self) -> Result<SimpleVob> {
        self.unmasked = 0;
        let computed = match &mut self.engine {
            Engine::Guidance(matcher) => matcher.compute_mask().map_err(|error| error.to_string()),
            Engine::Gbnf(machine) => machine.mask(&self.tokens),
        };
        let allowed = computed.map_err(|message| self.failed(&message))?;
        match allowed.is_zero() {
            true => Err(self.failed("no token of this model fits here")),
            false => Ok(allowed),
        }
    }

    /// Whether a constraint of the same grammar has failed: they share what the lexer knows, which
    /// may have reached a limit.
    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Acquire)
    }

    fn failed(&self, message: &str) -> Error {
        self.spoilt.store(true, Ordering::Release);
        let message = format!("{}: the grammar cannot go on: {}", self.field, reason(message));
        Error::new(ErrorKind::InvalidRequest, message)
    }
}
