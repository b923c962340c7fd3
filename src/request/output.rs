//! What an answer is made of: how many choices, log-probabilities, the prompt before the text.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::fields::Fields;
use crate::error::{Error, Result};

/// What comes back beside the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFields {
    /// Answers to the one prompt, 1 to 128.
    pub n: usize,
    /// Log-probabilities of each token, and of so many of the likeliest in its place.
    pub logprobs: Option<usize>,
    /// The text of the prompt comes first; completions only.
    pub echo: bool,
    /// The text behind the one that is asked for; completions only.
    pub suffix: Option<String>,
}

impl OutputFields {
    /// Reads the fields of a chat, or of a completion.
    pub(super) fn parse(fields: &mut Fields<'_>, is_chat: bool) -> Result<Self> {
        let output = Self {
            n: fields.integer("n", 1..=128)?.map_or(1, |n| n as usize),
            logprobs: match is_chat {
                true => chat_logprobs(fields)?,
                false => text_logprobs(fields)?,
            },
            echo: fields.boolean("echo")?.unwrap_or(false),
            suffix: fields.string("suffix")?.map(str::to_owned),
        };
        if fields.integer("best_of", 1..=128)?.is_some_and(|best| best as usize != output.n) {
            return Err(Error::unsupported("best_of", "only the value of n is supported"));
        }
        match () {
            () if is_chat && output.echo => {
                Err(Error::invalid_request("echo", "is for completions; give prompt, not messages"))
            }
            () if is_chat && output.suffix.is_some() => {
                let message = "is for completions; give prompt, not messages";
                Err(Error::invalid_request("suffix", message))
            }
            () if output.echo && output.suffix.is_some() => {
                Err(Error::unsupported("suffix", "cannot be combined with echo"))
            }
            () => Ok(output),
        }
    }
}

/// `logprobs` true, and `top_logprobs` 0 to 20.
fn chat_logprobs(fields: &mut Fields<'_>) -> Result<Option<usize>> {
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.integer("top_logprobs", 0..=20)?.map(|top| top as usize);
    match (wanted, top) {
        (false, Some(1..)) => {
            let message = "needs \"logprobs\": true beside it";
            Err(Error::invalid_request("top_logprobs", message))
        }
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

/// `logprobs` 0 to 5.
fn text_logprobs(fields: &mut Fields<'_>) -> Result<Option<usize>> {
    if fields.integer("top_logprobs", 0..=20)?.is_some_and(|top| top > 0) {
        let message = "is for chats; a completion has \"logprobs\": 0 to 5";
        return Err(Error::invalid_request("top_logprobs", message));
    }
    if fields.value("logprobs") == Some(&Value::Bool(false)) {
        return Ok(None);
    }
    Ok(fields.integer("logprobs", 0..=5)?.map(|top| top as usize))
}
