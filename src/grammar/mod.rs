//! Answers of a given form: which tokens may come next, by a JSON schema, a regular expression, a
//! Lark grammar or a GBNF grammar.
//!
//! | file | holds |
//! |---|---|
//! | `schema` | a JSON schema, checked and brought into the form that llguidance takes |
//! | `tokens` | the vocabulary as a trie |
//! | `compile` | [`Compiler`]: from a [`Grammar`] to a [`Constraint`], under limits |
//! | `constraint` | [`Constraint`]: masks logits, takes tokens |
//! | `gbnf` | llama.cpp's grammar format: its parser, and the automaton that runs it |
//!
//! JSON schemas, regular expressions and Lark run on the crate `llguidance` (an Earley parser over
//! lexemes). GBNF knows no lexemes: where one pattern ends and the next begins is for the whole
//! grammar to say, not for the longest match. So it has an automaton of its own, over bytes.
#![forbid(unsafe_code)]

mod compile;
mod constraint;
mod gbnf;
pub mod schema;
mod tokens;

pub use compile::{Compiled, Compiler};
pub use constraint::Constraint;
pub use tokens::Tokens;

use serde_json::Value;

/// Bytes of a grammar's source, of whatever kind.
pub const LONGEST_SOURCE: usize = 1 << 20;

/// What an answer has to look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Any JSON object.
    JsonObject,
    /// JSON for a schema; see [`schema::prepare`], which gives it.
    JsonSchema(Value),
    /// The whole answer matches this regular expression, in the syntax of the crate `regex`.
    Regex(String),
    /// A Lark grammar in llguidance's dialect; `%json {...}` in it takes what
    /// [`schema::prepare`] gives.
    Lark(String),
    /// A grammar in llama.cpp's GBNF.
    Gbnf(String),
}

/// A grammar as a request asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Grammar {
    /// What the answer has to look like.
    pub source: Source,
    /// The request's field that asks for it; errors begin with it.
    pub field: String,
    /// What of it is not held, and that is told; one line each.
    pub notices: Vec<String>,
}

impl Grammar {
    /// A grammar of which nothing is left out.
    pub fn new(source: Source, field: impl Into<String>) -> Self {
        Self { source, field: field.into(), notices: Vec::new() }
    }
}
