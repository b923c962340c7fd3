//! Byte-level BPE: the bytes of each text token, and text to tokens by the `tokenizers` crate.
//!
//! Only the merges are the crate's work. The rest is read here, because a `tokenizer.json` is
//! untrusted (the crate panics on merges that lead out of the vocabulary), and because words
//! are cut between tokens that end inside a character, so bytes are wanted, not strings.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};
use tokenizers::models::bpe::{Merges, Vocab, BPE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::model_files::JsonFile;
use crate::error::{Error, ErrorKind, Result};

/// The bytes of tokens `0..n`, one after the other.
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`.
    ends: Vec<usize>,
}

impl TokenBytes {
    /// Of a vocabulary that `checked_vocabulary` has seen, the tokens below `count`.
    fn new(vocabulary: &Vocab, count: u32) -> Self {
        let mut texts = vec![""; count as usize];
        for (text, &id) in vocabulary {
            if let Some(slot) = texts.get_mut(id as usize) {
                *slot = text;
            }
        }
        let alphabet = Alphabet::new();
        let mut bytes = Vec::with_capacity(vocabulary.len() * 8);
        let mut ends = Vec::with_capacity(texts.len());
        for text in texts {
            text.chars().for_each(|c| alphabet.push_bytes(c, &mut bytes));
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    /// The bytes of `token`; none for a token that is not text.
    pub(super) fn get(&self, token: u32) -> &[u8] {
        let i = token as usize;
        let Some(&end) = self.ends.get(i) else { return &[] };
        let start = i.checked_sub(1).map_or(0, |i| self.ends[i]);
        &self.bytes[start..end]
    }
}

/// GPT-2's way to write any byte as a printable character (`bytes_to_unicode` in
/// <https://github.com/openai/gpt-2/blob/master/src/encoder.py>): printable Latin-1 stands for
/// itself, the other 68 bytes for the characters from U+0100 on, in order.
struct Alphabet {
    /// The byte of each character below `LIMIT`.
    bytes: [Option<u8>; Alphabet::LIMIT],
}

impl Alphabet {
    const LIMIT: usize = 256 + 68;

    fn new() -> Self {
        let mut bytes = [None; Self::LIMIT];
        let mut next = 256;
        for byte in 0..=u8::MAX {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let place = if printable { usize::from(byte) } else { next };
            next += usize::from(!printable);
            bytes[place] = Some(byte);
        }
        Self { bytes }
    }

    /// The bytes that `c` stands for: one, or its UTF-8 where it is no byte's character.
    fn push_bytes(&self, c: char, out: &mut Vec<u8>) {
        match self.bytes.get(c as usize).copied().flatten() {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// The character of every byte.
    fn characters(&self) -> impl Iterator<Item = char> + '_ {
        let filled = (0u32..).zip(&self.bytes).filter(|(_, byte)| byte.is_some());
        filled.filter_map(|(c, _)| char::from_u32(c))
    }
}

/// Text to tokens.
pub(super) struct Encoder {
    bpe: BPE,
    split: ByteLevel,
}

impl Encoder {
    /// The tokens of `text`; special tokens written in it are plain text. Time and memory are
    /// linear in its length.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let failed = |e: tokenizers::Error| {
            Error::new(ErrorKind::Internal, format!("the tokenizer failed: {e}"))
        };
        let mut pieces = PreTokenizedString::from(text);
        self.split.pre_tokenize(&mut pieces).map_err(failed)?;
        pieces.tokenize(|piece| self.bpe.tokenize(piece.get())).map_err(failed)?;
        let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        let tokens = splits.into_iter().filter_map(|(_, _, tokens)| tokens.as_ref());
        Ok(tokens.flatten().map(|token| token.id).collect())
    }
}

/// Reads the `model` of a `tokenizer.json` whose text tokens are those below `text_tokens`.
/// `InvalidModel` unless it is byte-level BPE with every byte in it, each merge's parts and
/// result included, and no id at or above `limit`.
pub(super) fn read(
    file: &mut JsonFile,
    text_tokens: u32,
    limit: u32,
) -> Result<(TokenBytes, Encoder)> {
    let mut model = match file.take("model") {
        Some(Value::Object(model)) => model,
        _ => return Err(file.invalid("`model` is missing")),
    };
    let kind = model.get("type").and_then(Value::as_str).unwrap_or("BPE");
    if kind != "BPE" {
        return Err(file.invalid(format!("the tokenizer is {kind}, not Whisper's BPE")));
    }
    let vocabulary = checked_vocabulary(file, &mut model, limit)?;
    let merges = checked_merges(file, &mut model, &vocabulary)?;
    let bytes = TokenBytes::new(&vocabulary, text_tokens);
    // The crate's cache lives per thread and outlives the model.
    let builder = BPE::builder().vocab_and_merges(vocabulary, merges).cache_capacity(0);
    let bpe = builder.build().map_err(|e| file.invalid(e))?;
    Ok((bytes, Encoder { bpe, split: ByteLevel::new(false, false, true) }))
}

fn checked_vocabulary(
    file: &JsonFile,
    model: &mut Map<String, Value>,
    limit: u32,
) -> Result<Vocab> {
    let Some(Value::Object(entries)) = model.get_mut("vocab").map(Value::take) else {
        return Err(file.invalid("`model.vocab` is missing"));
    };
    let mut vocabulary = Vocab::with_capacity(entries.len());
    let mut seen = vec![false; limit as usize];
    for (text, value) in entries {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id < limit);
        let Some(id) = id else {
            let message = format!("token {text:?} has id {value}; the model has {limit} tokens");
            return Err(file.invalid(message));
        };
        if std::mem::replace(&mut seen[id as usize], true) {
            return Err(file.invalid(format!("two tokens have the id {id}")));
        }
        vocabulary.insert(text, id);
    }
    let missing = Alphabet::new().characters().find(|c| !vocabulary.contains_key(&c.to_string()));
    match missing {
        Some(c) => Err(file.invalid(format!("no token is the single byte written {c:?}"))),
        None => Ok(vocabulary),
    }
}

/// The merges, in both ways that the format has had: `"a b"` and `["a", "b"]`.
fn checked_merges(
    file: &JsonFile,
    model: &mut Map<String, Value>,
    vocabulary: &Vocab,
) -> Result<Merges> {
    let Some(Value::Array(list)) = model.get_mut("merges").map(Value::take) else {
        return Err(file.invalid("`model.merges` is missing"));
    };
    let mut merges = Merges::with_capacity(list.len());
    let mut merged = String::new();
    for (i, item) in list.into_iter().enumerate() {
        let pair = merge_pair(item).filter(|(left, right)| {
            merged.clear();
            merged.push_str(left);
            merged.push_str(right);
            [left, right, &merged].iter().all(|part| vocabulary.contains_key(part.as_str()))
        });
        let pair = pair.ok_or_else(|| {
            file.invalid(format!("`model.merges[{i}]` is no pair of the vocabulary's tokens"))
        })?;
        merges.push(pair);
    }
    Ok(merges)
}

fn merge_pair(item: Value) -> Option<(String, String)> {
    match item {
        Value::String(text) => {
            text.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()))
        }
        Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
            Ok([Value::String(left), Value::String(right)]) => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

/// The characters that stand for the bytes, for tests that make a vocabulary.
#[cfg(test)]
pub(super) fn alphabet() -> Vec<char> {
    Alphabet::new().characters().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_gpt2s() {
        let alphabet = Alphabet::new();
        assert_eq!(alphabet.characters().count(), 256);
        let bytes = |text: &str| {
            let mut out = Vec::new();
            text.chars().for_each(|c| alphabet.push_bytes(c, &mut out));
            out
        };
        assert_eq!(bytes("Ġhello"), b" hello");
        assert_eq!(bytes("Ċ"), b"\n");
        // The last of the 68: 0xad, the soft hyphen.
        assert_eq!(bytes("\u{143}"), [0xad]);
        assert_eq!(bytes("Ã©"), "é".as_bytes());
        assert_eq!(bytes("€"), "€".as_bytes());
    }
}
