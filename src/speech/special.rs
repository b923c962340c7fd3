//! The tokens that are not text, by the names that a `tokenizer.json` gives them.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use serde_json::Value;

use super::model_files::JsonFile;
use crate::error::Result;

/// Timestamp tokens of a 30 s window: 0.00 to 30.00 in steps of 0.02.
const TIMESTAMPS: u32 = 1501;

/// The ids of the tokens that are not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// End of text; every token below it is text.
    pub eot: u32,
    /// Start of transcript.
    pub sot: u32,
    /// Task: speech to text in its own language.
    pub transcribe: u32,
    /// Task: speech to English text.
    pub translate: u32,
    /// Start of the language-model form; never wanted in a transcript.
    pub start_of_lm: Option<u32>,
    /// Start of the text that came before.
    pub start_of_prev: u32,
    /// Its probability in the first step is that of a window without speech.
    pub no_speech: u32,
    /// Asks for text without timestamps.
    pub no_timestamps: u32,
    /// `<|0.00|>`; the timestamps follow in steps of 20 ms.
    pub timestamp_begin: u32,
    /// How many timestamps there are, 1501 for 30 s.
    pub timestamp_count: u32,
}

/// `added_tokens` of a `tokenizer.json`: content to id, each id below `limit`.
pub(super) fn added_tokens(file: &mut JsonFile, limit: u32) -> Result<HashMap<String, u32>> {
    let Some(Value::Array(list)) = file.take("added_tokens") else {
        return Err(file.invalid("`added_tokens` is missing"));
    };
    let mut tokens = HashMap::with_capacity(list.len());
    for (i, item) in list.iter().enumerate() {
        let content = item.get("content").and_then(Value::as_str);
        let id = item.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        match (content, id.filter(|id| *id < limit)) {
            (Some(content), Some(id)) => tokens.insert(content.to_owned(), id),
            _ => {
                let message = format!("`added_tokens[{i}]` has no content or no id below {limit}");
                return Err(file.invalid(message));
            }
        };
    }
    Ok(tokens)
}

/// Finds the special tokens among `added`, in a vocabulary of so many tokens.
pub(super) fn special_tokens(
    file: &JsonFile,
    added: &HashMap<String, u32>,
    vocabulary: u32,
) -> Result<Special> {
    let find = |names: &[&str]| names.iter().find_map(|name| added.get(*name)).copied();
    let need = |names: &[&str]| {
        let missing = || file.invalid(format!("the token {} is missing", names[0]));
        find(names).ok_or_else(missing)
    };
    let no_timestamps = need(&["<|notimestamps|>"])?;
    let timestamp_begin = no_timestamps.saturating_add(1);
    let special = Special {
        eot: need(&["<|endoftext|>"])?,
        sot: need(&["<|startoftranscript|>"])?,
        transcribe: need(&["<|transcribe|>"])?,
        translate: need(&["<|translate|>"])?,
        start_of_lm: find(&["<|startoflm|>"]),
        start_of_prev: need(&["<|startofprev|>"])?,
        no_speech: need(&["<|nospeech|>", "<|nocaptions|>"])?,
        no_timestamps,
        timestamp_begin,
        timestamp_count: vocabulary.saturating_sub(timestamp_begin).min(TIMESTAMPS),
    };
    let in_order = special.eot < special.sot && special.sot < no_timestamps;
    let listed = find(&["<|0.00|>"]).unwrap_or(timestamp_begin);
    if !in_order || listed != timestamp_begin || special.timestamp_count == 0 {
        let message = format!("the special tokens are not Whisper's in order: {special:?}");
        return Err(file.invalid(message));
    }
    Ok(special)
}
