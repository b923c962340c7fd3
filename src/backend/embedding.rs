//! What the engine asks of a model that turns texts into vectors or scores: tokens in, numbers out,
//! all as plain data.

use std::sync::Weak;

use super::{ModelInfo, Tokenizer};
use crate::error::Result;
use crate::request::Pooling;

/// How much an embedding model takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddingLimits {
    /// Tokens of one text, special ones included.
    pub n_ctx: usize,
    /// Tokens of one computation; at least `n_ctx`.
    pub n_batch: usize,
    /// Texts of one computation.
    pub n_texts: usize,
}

/// What a model makes of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A state for each token, of so many numbers, pooled into one vector.
    States {
        /// Numbers of a state.
        width: usize,
        /// How the model's authors pool, or what suits its kind.
        pooling: Pooling,
    },
    /// One number that says how well a document answers a query.
    Score(Pairing),
}

/// How a query and a document become one text of a reranker.
#[derive(Debug, Clone, PartialEq)]
pub enum Pairing {
    /// Their tokens, and special ones around.
    Tokens {
        /// Before the query.
        before: Vec<u32>,
        /// Between query and document.
        between: Vec<u32>,
        /// Behind the document.
        after: Vec<u32>,
    },
    /// A text in which `{query}` and `{document}` stand for them.
    Template(String),
}

/// An embedding model's native state. It lives and dies on its worker thread.
pub trait EmbeddingModel {
    /// Computes `texts` side by side, each by itself: none empty, none beyond the model's
    /// [`EmbeddingLimits`]. False: it was interrupted, and nothing is there.
    fn compute(&mut self, texts: &[&[u32]]) -> Result<bool>;

    /// The state of token `row` of the computation before, counted through all its texts.
    fn state(&mut self, row: usize) -> Result<&[f32]>;

    /// The score of text `index` of the computation before.
    fn score(&mut self, index: usize) -> Result<f32>;
}

/// An embedding model ready to run.
pub struct LoadedEmbedding {
    /// Its native state.
    pub model: Box<dyn EmbeddingModel>,
    /// How much it takes at once.
    pub limits: EmbeddingLimits,
    /// What it makes of a text.
    pub output: Output,
    /// Its vocabulary, for as long as the native state lives.
    pub tokenizer: Weak<dyn Tokenizer>,
    /// What is known about it.
    pub info: ModelInfo,
}
