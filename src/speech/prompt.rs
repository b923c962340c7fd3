//! The tokens that a decode begins with: what came before, then language and task.
#![forbid(unsafe_code)]

use super::vocabulary::{Language, Vocabulary};
use crate::error::{Error, Result};

/// What to do with the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// Text in the language spoken.
    #[default]
    Transcribe,
    /// English text.
    Translate,
}

impl Task {
    /// Its name in `verbose_json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transcribe => "transcribe",
            Self::Translate => "translate",
        }
    }
}

/// The start-of-transcript tokens: `<|startoftranscript|>`, then language and task for a
/// multilingual model, whose first known language stands in when `language` is `None`.
///
/// # Errors
/// `InvalidRequest` at `task` when an `.en` model is asked to translate.
pub fn start(vocabulary: &Vocabulary, language: Option<&Language>, task: Task) -> Result<Vec<u32>> {
    let special = vocabulary.special();
    if !vocabulary.is_multilingual() {
        return match task {
            Task::Transcribe => Ok(vec![special.sot]),
            Task::Translate => {
                let message = "is translate; this is an English-only (.en) model";
                Err(Error::invalid_request("task", message))
            }
        };
    }
    let task = match task {
        Task::Transcribe => special.transcribe,
        Task::Translate => special.translate,
    };
    let language = language.or(vocabulary.languages().first()).map(|language| language.token);
    Ok([Some(special.sot), language, Some(task)].into_iter().flatten().collect())
}

/// The whole prompt: `<|startofprev|>` with what came before, if anything did; then `start`
/// (see [`start`]); then `<|notimestamps|>` unless `timestamps`.
///
/// Of what came before, at most [`Vocabulary::prompt_limit`] tokens fit: `hotwords` first, cut at
/// their end, then the newest of `previous` (a request's prompt followed by the text so far).
pub fn build(
    vocabulary: &Vocabulary,
    start: &[u32],
    timestamps: bool,
    hotwords: &[u32],
    previous: &[u32],
) -> Vec<u32> {
    let special = vocabulary.special();
    let limit = vocabulary.prompt_limit();
    let hotwords = &hotwords[..hotwords.len().min(limit)];
    let room = limit - hotwords.len();
    let previous = &previous[previous.len().saturating_sub(room)..];
    let mut tokens = Vec::with_capacity(limit + start.len() + 2);
    if !hotwords.is_empty() || !previous.is_empty() {
        tokens.push(special.start_of_prev);
        tokens.extend_from_slice(hotwords);
        tokens.extend_from_slice(previous);
    }
    tokens.extend_from_slice(start);
    if !timestamps {
        tokens.push(special.no_timestamps);
    }
    tokens
}

/// The tokens of a request's prompt or hot words: trimmed, with the space in front that Whisper
/// writes before a word; none for blank text.
///
/// # Errors
/// As [`Vocabulary::encode`].
pub fn encode(vocabulary: &Vocabulary, text: &str) -> Result<Vec<u32>> {
    match text.trim() {
        "" => Ok(Vec::new()),
        text => vocabulary.encode(&format!(" {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::testing::{self, Files};

    #[test]
    fn multilingual_prompts_name_language_and_task() {
        let vocabulary = testing::small();
        let special = vocabulary.special();
        let french = vocabulary.language("fr").unwrap();
        let start = start(&vocabulary, Some(french), Task::Translate).unwrap();
        assert_eq!(start, [special.sot, french.token, special.translate]);
        assert_eq!(build(&vocabulary, &start, true, &[], &[]), start);
        let plain = build(&vocabulary, &start, false, &[], &[]);
        assert_eq!(plain.last(), Some(&special.no_timestamps));
    }

    #[test]
    fn english_models_know_one_token() {
        let mut files = Files::small();
        files.generation["is_multilingual"] = false.into();
        let vocabulary = Vocabulary::read(&files.write().0).unwrap();
        let sot = vocabulary.special().sot;
        assert_eq!(start(&vocabulary, None, Task::Transcribe).unwrap(), [sot]);
        let error = start(&vocabulary, None, Task::Translate).unwrap_err();
        assert!(error.message().starts_with("task: "), "{error}");
    }

    #[test]
    fn the_newest_text_stays_after_the_hot_words() {
        let vocabulary = testing::small();
        let previous: Vec<u32> = (0..300).map(|i| i % 200).collect();
        let tokens = build(&vocabulary, &[1], true, &[7, 8, 9], &previous);
        assert_eq!(tokens.len(), 1 + 223 + 1);
        assert_eq!(tokens[..4], [vocabulary.special().start_of_prev, 7, 8, 9]);
        assert_eq!(tokens[4..224], previous[80..]);
        let crowded = build(&vocabulary, &[1], true, &[5; 400], &previous);
        assert_eq!(crowded[1..224], [5; 223]);
    }

    #[test]
    fn prompts_begin_with_a_space() {
        let vocabulary = testing::small();
        let hello = encode(&vocabulary, "hello\n").unwrap();
        assert_eq!(vocabulary.decode(&hello), " hello");
        assert_eq!(hello.len(), 1);
        assert!(encode(&vocabulary, " \n ").unwrap().is_empty());
    }
}
