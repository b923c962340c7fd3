//! What two computations have in common: tokens from the start, through the same adapters.
#![forbid(unsafe_code)]

use crate::engine::adapters::AdapterSet;

/// How many tokens `a` and `b` begin with alike.
pub(in crate::engine) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A sequence of tokens, and what they are computed with.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Prefix<'a> {
    pub(in crate::engine) tokens: &'a [u32],
    pub(in crate::engine) adapters: &'a AdapterSet,
}

impl Prefix<'_> {
    /// How many tokens both begin with: none where the adapters are others, for then all keys and
    /// values are.
    pub(in crate::engine) fn common(self, other: Prefix<'_>) -> usize {
        match self.adapters == other.adapters {
            true => common(self.tokens, other.tokens),
            false => 0,
        }
    }

    /// All but the last token; there is one.
    pub(in crate::engine) fn but_last(self) -> Self {
        Self { tokens: &self.tokens[..self.tokens.len() - 1], ..self }
    }
}
