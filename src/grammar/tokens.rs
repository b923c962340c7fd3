//! A model's vocabulary as a trie, the form in which grammars go through it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use crate::backend::Vocab;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of a token that grammars still use. The trie's nodes have room for some more; what is
/// longer (runs of spaces, mostly) can be said in shorter ones.
const LONGEST_TOKEN: usize = 512;

/// A vocabulary for grammars. Making it takes some 10 ms for 50,000 tokens.
#[derive(Clone)]
pub struct Tokens {
    env: TokEnv,
}

struct Env(TokTrie);

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }

    /// The model says how a forced text is cut into tokens: its own way is the likeliest.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

impl Tokens {
    /// The tokens of `vocab`. An error where nothing in it ends an answer.
    pub fn new(vocab: &Vocab) -> Result<Self> {
        let count = vocab.len() as u32;
        let ends: Vec<u32> = (0..count).filter(|&id| vocab.is_end_of_generation(id)).collect();
        let Some(&end) = ends.first() else {
            let message =
                "the model has no token that ends an answer, so it cannot follow a grammar";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let words: Vec<Vec<u8>> = (0..count).map(|id| word(vocab, id)).collect();
        let trie = TokTrie::from(&TokRxInfo::new(count, end), &words).with_eos_tokens(&ends);
        Ok(Self { env: Arc::new(Env(trie)) })
    }

    pub(super) fn env(&self) -> &TokEnv {
        &self.env
    }

    /// Tokens in the vocabulary.
    pub(super) fn len(&self) -> usize {
        self.trie().vocab_size()
    }

    /// What `token` is in the text; nothing for control tokens.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        match self.trie().token(token) {
            [TokTrie::SPECIAL_TOKEN_MARKER, ..] => &[],
            bytes => bytes,
        }
    }

    /// The token that is written as `text`, control tokens first.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let trie = self.trie();
        trie.get_special_token(text).or_else(|| trie.token_id_at_bytes(text.as_bytes()))
    }

    pub(super) fn trie(&self) -> &TokTrie {
        self.env.tok_trie()
    }
}

/// What `token` is in the trie. Control tokens begin with a byte that no text has; grammars name
/// them as `<|name|>` or `<[id]>`.
fn word(vocab: &Vocab, token: u32) -> Vec<u8> {
    let piece = vocab.piece(token);
    let is_usable =
        piece.len() <= LONGEST_TOKEN && piece.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER);
    match vocab.control_name(token) {
        Some(name) if name.len() <= LONGEST_TOKEN => {
            [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat()
        }
        // What ends an answer is no text of it, whatever the file calls it.
        None if is_usable && !vocab.is_end_of_generation(token) => piece.to_vec(),
        _ => Vec::new(),
    }
}
