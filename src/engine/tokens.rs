//! Texts to tokens and back on the caller's thread, while the model computes.
#![forbid(unsafe_code)]

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde_json::{json, Value};

use super::prompt::{check_words, longest_word};
use super::residence::{Residence, Use};
use crate::backend::Tokenizer;
use crate::error::{Error, ErrorKind, Result};
use crate::log;
use crate::own_thread::OwnThread;
use crate::request::DetokenizeRequest;

/// Characters of a word that any thread's stack has room for. Longer ones get a thread with a large
/// stack, for some tokenisers recurse for each character.
const SHORT_WORD: usize = 128;
const STACK: usize = 512 << 20;

/// A model's vocabulary, for as long as the model is there.
#[derive(Clone)]
pub(super) struct Words {
    /// It goes with the native state, and comes back with it.
    tokenizer: Arc<Mutex<Weak<dyn Tokenizer>>>,
    residence: Arc<Residence>,
}

/// A tokeniser that is there, of a model that is used meanwhile.
struct InUse {
    tokenizer: Arc<dyn Tokenizer>,
    _in_use: Use,
}

impl std::ops::Deref for InUse {
    type Target = dyn Tokenizer;

    fn deref(&self) -> &Self::Target {
        &*self.tokenizer
    }
}

impl Words {
    pub(super) fn new(tokenizer: Weak<dyn Tokenizer>, residence: Arc<Residence>) -> Self {
        Self { tokenizer: Arc::new(Mutex::new(tokenizer)), residence }
    }

    /// The native state came back, and this with it.
    pub(super) fn renew(&self, tokenizer: Weak<dyn Tokenizer>) {
        *self.tokenizer.lock() = tokenizer;
    }

    /// `text` as token ids; see [`Tokenizer::tokenize`]. Errors name the field `path`.
    pub(super) fn tokenize(
        &self,
        text: &str,
        special: bool,
        parse: bool,
        path: &str,
    ) -> Result<Vec<u32>> {
        check_words(text, path)?;
        let tokenizer = self.tokenizer()?;
        if longest_word(text) <= SHORT_WORD {
            return tokenizer.tokenize(text, special, parse);
        }
        let work = || {
            OwnThread::default().enter();
            tokenizer.tokenize(text, special, parse)
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("fluid-words".into()).stack_size(STACK);
            let thread = thread.spawn_scoped(scope, work).map_err(|error| {
                Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {error}"))
            })?;
            thread.join().unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Internal, "a tokeniser panicked; please report this"))
            })
        })
    }

    /// The result of a request for `tokens`; `prompt` is the text where the caller did not give it.
    pub(super) fn json(
        &self,
        tokens: &[u32],
        prompt: Option<&str>,
        with_pieces: bool,
    ) -> Result<String> {
        let mut result = match with_pieces {
            false => json!({"tokens": tokens, "count": tokens.len()}),
            true => json!({"tokens": self.pieces(tokens)?, "count": tokens.len()}),
        };
        if let Some(prompt) = prompt {
            result["prompt"] = json!(prompt);
        }
        Ok(result.to_string())
    }

    /// Each token with its text, or where that is no text, with its bytes.
    fn pieces(&self, tokens: &[u32]) -> Result<Vec<Value>> {
        let tokenizer = self.tokenizer()?;
        let pieces = tokens.iter().map(|&id| {
            Ok(match String::from_utf8(tokenizer.piece(id, true)?) {
                Ok(text) => json!({"id": id, "piece": text}),
                Err(bytes) => json!({"id": id, "piece": bytes.into_bytes()}),
            })
        });
        pieces.collect()
    }

    /// The text of a request's tokens, as JSON; bytes that are no text become U+FFFD.
    pub(super) fn detokenize(&self, request: &DetokenizeRequest) -> Result<String> {
        let tokenizer = self.tokenizer()?;
        let size = tokenizer.n_tokens();
        let mut bytes = Vec::new();
        for (index, &token) in request.tokens.iter().enumerate() {
            if token as usize >= size {
                let message = format!("{token} is not one of the model's {size} tokens");
                return Err(Error::invalid_request(&format!("tokens[{index}]"), message));
            }
            bytes.extend(tokenizer.piece(token, request.special)?);
        }
        let text = String::from_utf8_lossy(&bytes);
        let own = text.strip_prefix(' ').filter(|_| tokenizer.adds_space());
        Ok(json!({"content": own.unwrap_or(&text)}).to_string())
    }

    /// Tokens in the vocabulary.
    pub(super) fn count(&self) -> Result<usize> {
        Ok(self.tokenizer()?.n_tokens())
    }

    /// Waits for a model that was unloaded to be loaded again.
    fn tokenizer(&self) -> Result<InUse> {
        let in_use = self.residence.enter();
        loop {
            let here = self.tokenizer.lock().upgrade();
            if let Some(tokenizer) = here {
                return Ok(InUse { tokenizer, _in_use: in_use });
            }
            if log::is_writing() {
                let message =
                    "the model is not loaded just now, and the log callback cannot wait for it";
                return Err(Error::new(ErrorKind::Busy, message));
            }
            self.residence.recall()?;
        }
    }
}
