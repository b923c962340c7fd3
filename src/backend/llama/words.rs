//! A model's vocabulary for any thread.

use std::sync::Arc;

use super::native::{self, NativeModel};
use crate::backend::{Tokenizer, Vocab};
use crate::error::Result;

/// llama.cpp's tokeniser of one model.
pub(super) struct Words {
    model: Arc<NativeModel>,
    n_tokens: usize,
    longest_piece: usize,
    adds_space: bool,
}

impl Words {
    pub(super) fn new(model: &Arc<NativeModel>, vocab: &Vocab, adds_space: bool) -> Arc<Self> {
        Arc::new(Self {
            model: Arc::clone(model),
            n_tokens: vocab.len(),
            longest_piece: vocab.longest_piece(),
            adds_space,
        })
    }
}

impl Tokenizer for Words {
    fn tokenize(&self, text: &str, special: bool, parse: bool) -> Result<Vec<u32>> {
        native::tokenize(&self.model, text, special, parse)
    }

    fn piece(&self, token: u32, special: bool) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 64];
        let length = native::piece(&self.model, token as i32, special, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    fn longest_piece(&self) -> usize {
        self.longest_piece
    }

    fn adds_space(&self) -> bool {
        self.adds_space
    }
}
