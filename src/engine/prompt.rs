//! From a prompt to its tokens: what cannot fit, or might choke a tokeniser, is refused before.
#![forbid(unsafe_code)]

use super::task::Input;
use crate::backend::{Backend, Limits, Vocab};
use crate::error::{Error, ErrorKind, Result};

/// Characters without white space, or of nothing else. Some of llama.cpp's tokenisers match such
/// runs with std::regex, which recurses for each character: longer ones overflow the stack.
const LONGEST_WORD: usize = 64 * 1024;

/// The prompt's tokens: at least one, and room for at least one more.
pub(super) fn tokens(
    backend: &mut dyn Backend,
    input: &Input,
    vocab: &Vocab,
    limits: Limits,
) -> Result<Vec<u32>> {
    let tokens = match input {
        Input::Tokens(tokens) => tokens.clone(),
        Input::Text { text, special } => {
            check_text(text, "prompt", vocab, limits)?;
            backend.tokenize(text, *special)?
        }
        Input::Infill { prefix, suffix, marks } => {
            check_text(prefix, "prompt", vocab, limits)?;
            check_text(suffix, "suffix", vocab, limits)?;
            let (prefix, suffix) =
                (backend.tokenize(prefix, false)?, backend.tokenize(suffix, false)?);
            marks.around(&prefix, &suffix)
        }
    };
    if tokens.is_empty() {
        return Err(Error::invalid_request(
            "prompt",
            "has no tokens; give a text that is not empty",
        ));
    }
    if tokens.len() >= limits.n_ctx as usize {
        let message = format!(
            "the prompt has {} tokens, the context holds {}; shorten it or load the model with a larger n_ctx",
            tokens.len(),
            limits.n_ctx
        );
        return Err(Error::new(ErrorKind::ContextOverflow, message));
    }
    Ok(tokens)
}

fn check_text(text: &str, path: &str, vocab: &Vocab, limits: Limits) -> Result<()> {
    let (n_ctx, longest) = (limits.n_ctx as usize, vocab.longest_piece());
    if text.len() / longest.max(1) > n_ctx {
        let message = format!(
            "the {path} has {} bytes, more than {n_ctx} tokens of context can hold; shorten it or load the model with a larger n_ctx",
            text.len()
        );
        return Err(Error::new(ErrorKind::ContextOverflow, message));
    }
    check_words(text, path)
}

/// Refuses a text at `path` with a word that a tokeniser might choke on.
pub(super) fn check_words(text: &str, path: &str) -> Result<()> {
    match longest_word(text) {
        run if run > LONGEST_WORD => Err(Error::invalid_request(
            path,
            format!("has a word of {run} characters; split words of more than {LONGEST_WORD}"),
        )),
        _ => Ok(()),
    }
}

/// Characters of the longest word, or of the longest white space.
pub(super) fn longest_word(text: &str) -> usize {
    longest_run(text, |a, b| a.is_whitespace() == b.is_whitespace())
}

/// Length of the longest stretch of characters that are alike.
fn longest_run(text: &str, alike: impl Fn(&char, &char) -> bool) -> usize {
    let (mut longest, mut run, mut before) = (0, 0, None);
    for character in text.chars() {
        let goes_on = before.is_some_and(|before| alike(&before, &character));
        run = if goes_on { run + 1 } else { 1 };
        longest = longest.max(run);
        before = Some(character);
    }
    longest
}
