//! A model's vocabulary: the ids that steer Whisper, its languages, and tokens to text and back.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;

use super::bytes::{self, Encoder, TokenBytes};
use super::languages;
use super::model_files::{JsonFile, Sizes};
use super::special::{added_tokens, special_tokens, Special};
use crate::error::{Error, Result};

/// The files that are read.
const FILES: [&str; 3] = ["config.json", "generation_config.json", "tokenizer.json"];
/// The first timestamp may be at most this many steps in, when the model says nothing: 1 s.
const MAX_INITIAL_TIMESTAMP: u32 = 50;
/// The smallest vocabulary of a multilingual model; the `.en` models have one token less.
const MULTILINGUAL_VOCABULARY: u32 = 51_865;

/// One language that the model knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// Its code in the vocabulary, such as `en` or `yue`.
    pub code: String,
    /// Its token.
    pub token: u32,
}

impl Language {
    /// The English name in lower case, such as `english`.
    pub fn name(&self) -> &str {
        languages::name(&self.code)
    }

    /// Whether words are written without spaces between them.
    pub fn has_no_spaces(&self) -> bool {
        languages::has_no_spaces(&self.code)
    }
}

/// What a model folder says about its tokens. Immutable and `Sync`: share it by `Arc`.
pub struct Vocabulary {
    sizes: Sizes,
    special: Special,
    languages: Vec<Language>,
    multilingual: bool,
    suppress: Vec<u32>,
    begin_suppress: Vec<u32>,
    max_initial_timestamp: u32,
    alignment_heads: Option<Vec<(usize, usize)>>,
    bytes: TokenBytes,
    encoder: Encoder,
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocabulary")
            .field("sizes", &self.sizes)
            .field("special", &self.special)
            .field("languages", &self.languages.len())
            .finish_non_exhaustive()
    }
}

impl Vocabulary {
    /// Whether `folder` has the files that [`read`](Self::read) reads. `NotFound` names the one that
    /// is missing.
    pub fn find_files(folder: &Path) -> Result<()> {
        FILES.iter().try_for_each(|name| JsonFile::find(folder, name))
    }

    /// Reads `config.json`, `generation_config.json` and `tokenizer.json` of `folder`, as
    /// optimum-intel exports them. About 0.1 s.
    ///
    /// # Errors
    /// `NotFound` names the missing file; `InvalidModel` names the file that is cut, no JSON, or
    /// at odds with itself or the others (ids outside the vocabulary, no special tokens).
    pub fn read(folder: &Path) -> Result<Self> {
        let [config, generation, tokenizer] = FILES;
        let config = JsonFile::read(folder, config)?;
        let generation = JsonFile::read(folder, generation)?;
        let mut tokenizer = JsonFile::read(folder, tokenizer)?;
        let sizes = config.sizes()?;
        let added = added_tokens(&mut tokenizer, sizes.vocabulary)?;
        let special = special_tokens(&tokenizer, &added, sizes.vocabulary)?;
        let (bytes, encoder) = bytes::read(&mut tokenizer, special.eot, sizes.vocabulary)?;
        let multilingual = generation.flag("is_multilingual")?;
        let multilingual = multilingual.unwrap_or(sizes.vocabulary >= MULTILINGUAL_VOCABULARY);
        let max_initial = generation.number("max_initial_timestamp_index")?;
        let listed = |key| match generation.tokens(key, sizes.vocabulary)? {
            Some(tokens) => Ok(Some(tokens)),
            None => config.tokens(key, sizes.vocabulary),
        };
        let (suppress, begin_suppress) =
            (listed("suppress_tokens")?, listed("begin_suppress_tokens")?);
        let mut vocabulary = Self {
            alignment_heads: generation.alignment_heads(&sizes)?,
            languages: language_tokens(&added, multilingual),
            max_initial_timestamp: max_initial.unwrap_or(MAX_INITIAL_TIMESTAMP),
            suppress: Vec::new(),
            begin_suppress: Vec::new(),
            sizes,
            special,
            multilingual,
            bytes,
            encoder,
        };
        vocabulary.suppress = match suppress {
            Some(tokens) => tokens,
            None => vocabulary.non_speech_tokens()?,
        };
        vocabulary.begin_suppress = match begin_suppress {
            Some(tokens) => tokens,
            None => [vocabulary.encode(" ")?, vec![special.eot]].concat(),
        };
        Ok(vocabulary)
    }

    /// The model's shape.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The tokens that are not text.
    pub fn special(&self) -> &Special {
        &self.special
    }

    /// The languages in the order of their tokens; English alone for an `.en` model.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// Whether the model knows languages and tasks; the `.en` models do not.
    pub fn is_multilingual(&self) -> bool {
        self.multilingual
    }

    /// Tokens never to be sampled, as the model's files list them; without a list, the
    /// reference implementation's symbols that are not speech.
    pub fn suppressed(&self) -> &[u32] {
        &self.suppress
    }

    /// Tokens not to begin with: a space, the end.
    pub fn begin_suppressed(&self) -> &[u32] {
        &self.begin_suppress
    }

    /// How many steps of 20 ms the first timestamp may be in.
    pub fn max_initial_timestamp(&self) -> u32 {
        self.max_initial_timestamp
    }

    /// The decoder's layers and heads whose cross-attention follows the speech; `None` when
    /// the model's files do not say.
    pub fn alignment_heads(&self) -> Option<&[(usize, usize)]> {
        self.alignment_heads.as_deref()
    }

    /// The most tokens that a prompt may hold after `<|startofprev|>`: 223 of 448.
    pub fn prompt_limit(&self) -> usize {
        (self.sizes.max_target_positions / 2).saturating_sub(1)
    }

    /// Whether `token` is text.
    pub fn is_text(&self, token: u32) -> bool {
        token < self.special.eot
    }

    /// Whether `token` is a timestamp.
    pub fn is_timestamp(&self, token: u32) -> bool {
        self.timestamp_steps(token).is_some()
    }

    /// The time of a timestamp token in steps of 20 ms; `None` for every other token.
    pub fn timestamp_steps(&self, token: u32) -> Option<u32> {
        let steps = token.checked_sub(self.special.timestamp_begin)?;
        (steps < self.special.timestamp_count).then_some(steps)
    }

    /// The language that `text` names: a code in any case, an English name or a tag such as
    /// `en-US`.
    ///
    /// # Errors
    /// `InvalidRequest` at `language` when the model does not know it.
    pub fn language(&self, text: &str) -> Result<&Language> {
        let codes = languages::codes(text);
        let find = |code: &String| self.languages.iter().find(|l| l.code == *code);
        codes.iter().find_map(find).ok_or_else(|| {
            let known: Vec<&str> = self.languages.iter().take(5).map(|l| &*l.code).collect();
            let message = match self.multilingual {
                true => format!("is {text:?}; the model knows {}, ...", known.join(", ")),
                false => format!("is {text:?}; this is an English-only (.en) model"),
            };
            Error::invalid_request("language", message)
        })
    }

    /// The language whose token is `token`.
    pub fn language_of(&self, token: u32) -> Option<&Language> {
        self.languages.iter().find(|language| language.token == token)
    }

    /// The tokens of `text`; special tokens written in it stay plain text. Time and memory are
    /// linear in its length.
    ///
    /// # Errors
    /// `Internal` when the tokenizer fails, which no text is known to do.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encoder.encode(text)
    }

    /// The text of `tokens`, special tokens and timestamps left out. Bytes that are no UTF-8
    /// become U+FFFD; a character that is cut at the end is left out.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes = self.decode_bytes(tokens);
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let cut_at_end = chunks.peek().is_none() && is_cut(chunk.invalid());
            if !chunk.invalid().is_empty() && !cut_at_end {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// The bytes of `tokens`, special tokens and timestamps left out.
    pub fn decode_bytes(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().flat_map(|&token| self.bytes.get(token)).copied().collect()
    }

    /// The symbols that annotate rather than transcribe: brackets, music, speaker dashes
    /// (`non_speech_tokens` in `whisper/tokenizer.py`).
    fn non_speech_tokens(&self) -> Result<Vec<u32>> {
        const SYMBOLS: &str = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』 \
            << >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪";
        // Notes may take several tokens each; their common first one is only theirs.
        const NOTES: &str = "♩ ♪ ♫ ♬ ♭ ♮ ♯";
        let mut tokens = Vec::new();
        // A hyphen or quote is fine inside a word, not as its begin.
        for text in [" -", " '"] {
            tokens.extend(self.encode(text)?.first());
        }
        let symbols = SYMBOLS.split_whitespace().map(|symbol| (symbol, false));
        for (symbol, note) in symbols.chain(NOTES.split_whitespace().map(|note| (note, true))) {
            for text in [symbol.to_owned(), format!(" {symbol}")] {
                let encoded = self.encode(&text)?;
                if encoded.len() == 1 || note {
                    tokens.extend(encoded.first());
                }
            }
        }
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }
}

/// Whether `bytes` begin a character that further bytes could complete.
fn is_cut(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

/// The added tokens that name a language, in the order of their ids: two or three lowercase letters
/// between `<|` and `|>`, such as `<|en|>` and `<|yue|>`. Models of English alone have the other
/// languages' tokens too, but were never trained on them: of theirs only `<|en|>` counts.
fn language_tokens(added: &HashMap<String, u32>, multilingual: bool) -> Vec<Language> {
    let code = |content: &str| {
        let code = content.strip_prefix("<|")?.strip_suffix("|>")?;
        let plain = matches!(code.len(), 2 | 3) && code.bytes().all(|b| b.is_ascii_lowercase());
        (plain && (multilingual || code == "en")).then(|| code.to_owned())
    };
    let tokens = added.iter();
    let mut languages: Vec<Language> = tokens
        .filter_map(|(content, &token)| Some(Language { code: code(content)?, token }))
        .collect();
    languages.sort_by_key(|language| language.token);
    languages
}
