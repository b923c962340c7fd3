//! Texts to tokens and back, asked from any thread while a model computes.

use crate::error::Result;

/// What a model's vocabulary makes of texts. A worker owns it; others hold it weakly, so that its
/// memory goes with the model.
pub trait Tokenizer: Send + Sync {
    /// `text` as token ids; `special` lets the model add the tokens it wants around a text, `parse`
    /// reads special tokens that the text spells out as such.
    fn tokenize(&self, text: &str, special: bool, parse: bool) -> Result<Vec<u32>>;

    /// The bytes of `token`, perhaps only a part of a character; `special` spells out tokens that
    /// are no text, which otherwise are empty.
    fn piece(&self, token: u32, special: bool) -> Result<Vec<u8>>;

    /// Tokens in the vocabulary.
    fn n_tokens(&self) -> usize;

    /// Bytes of the longest token.
    fn longest_piece(&self) -> usize;

    /// Whether a space is put before each text, which is none of its own.
    fn adds_space(&self) -> bool;
}
