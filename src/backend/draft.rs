//! A second, smaller model that drafts for the first.
#![forbid(unsafe_code)]

use super::memory::Memory;
use super::{Backend, Interrupt, Limits, Listener, Loaded, LoadedText, Vocab};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{DraftOptions, LoadOptions};

/// Tokens that one of two vocabularies may have more: files are filled up to round numbers.
const MOST_MORE: usize = 128;

/// A draft model ready to run.
pub struct DraftModel {
    /// Its native state, on the thread of the model it drafts for.
    pub backend: Box<dyn Backend>,
    /// How much it takes at once; as many jobs as the other model.
    pub limits: Limits,
    /// Tokens of its vocabulary.
    pub n_vocab: usize,
    /// What it takes.
    pub memory: Memory,
}

/// With what options `draft` is loaded for a model of `n_ctx` tokens with these `options`.
pub(super) fn own_options(draft: &DraftOptions, options: &LoadOptions, n_ctx: u32) -> LoadOptions {
    LoadOptions {
        n_ctx: Some(draft.n_ctx.unwrap_or(n_ctx)),
        kv: draft.kv.clone(),
        use_mmap: draft.use_mmap,
        lora: Vec::new(),
        embedding: Some(false),
        draft: None,
        // What is left of a limit, the other model has been fitted into.
        memory: None,
        ..options.clone()
    }
}

/// Loads `draft` on the calling thread, for the model `target` that was loaded with `options`.
/// `Ok(None)`: the listener gave it up.
pub(super) fn load(
    draft: &DraftOptions,
    options: &LoadOptions,
    target: &LoadedText,
    interrupt: &Interrupt,
    listener: Listener<'_>,
) -> Result<Option<DraftModel>> {
    let own = own_options(draft, options, target.limits.n_ctx);
    let loaded = super::load(&draft.path, &own, interrupt, listener)
        .map_err(|error| Error::new(error.kind(), format!("draft_model: {}", error.message())))?;
    let refused = |cause: String| {
        let message = format!("draft_model: {}: {cause}", draft.path);
        Err(Error::new(ErrorKind::UnsupportedModel, message))
    };
    match loaded {
        None => Ok(None),
        Some(Loaded::Text(loaded)) if loaded.limits.whole_only => {
            refused("its state cannot be cut back to where a draft went wrong".to_owned())
        }
        Some(Loaded::Text(loaded)) => match difference(&target.vocab, &loaded.vocab) {
            Some(cause) => refused(cause),
            None => Ok(Some(DraftModel {
                backend: loaded.backend,
                limits: loaded.limits,
                n_vocab: loaded.vocab.len(),
                memory: loaded.info.memory,
            })),
        },
        Some(Loaded::Speech(_) | Loaded::Embedding(_)) => {
            refused("it generates no text".to_owned())
        }
    }
}

/// What keeps tokens of one vocabulary from being those of the other.
fn difference(target: &Vocab, draft: &Vocab) -> Option<String> {
    let (own, others) = (draft.len(), target.len());
    if own.abs_diff(others) > MOST_MORE {
        return Some(format!("its vocabulary has {own} tokens, the model's {others}"));
    }
    let differs = |&token: &u32| {
        draft.piece(token) != target.piece(token)
            || draft.is_end_of_generation(token) != target.is_end_of_generation(token)
    };
    let token = (0..own.min(others) as u32).find(differs)?;
    let text = |vocab: &Vocab| String::from_utf8_lossy(vocab.piece(token)).into_owned();
    let (own, others) = (text(draft), text(target));
    Some(format!("its vocabulary is another: token {token} is {own:?}, the model's {others:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab(tokens: &[&str]) -> Vocab {
        let mut vocab = Vocab::default();
        for token in tokens {
            vocab.push(token.as_bytes(), *token == "end");
        }
        vocab
    }

    #[test]
    fn another_vocabulary_is_told_by_its_first_other_token() {
        let own = vocab(&["a", "b", "end"]);
        assert_eq!(difference(&own, &vocab(&["a", "b", "end", "filler"])), None);
        assert_eq!(difference(&own, &vocab(&["a", "b"])), None);
        let cause = difference(&own, &vocab(&["a", "c", "end"])).expect("another");
        assert!(cause.contains("token 1 is \"c\", the model's \"b\""), "{cause}");
        let many = vocab(&["x"; 200]);
        let cause = difference(&own, &many).expect("more");
        assert!(cause.contains("200") && cause.contains('3'), "{cause}");
    }
}
