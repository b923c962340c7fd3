//! llama.cpp's grammar format (its `grammars/README.md`): rules, alternatives, groups, repetition,
//! character classes, any character, comments, and tokens by id or text.
//!
//! | file | holds |
//! |---|---|
//! | `read` | characters, names, numbers and escapes, with line and column for errors |
//! | `parse` | from the text to [`rules::Rules`] |
//! | `rules` | rules over bytes; which of them would recurse without end |
//! | `machine` | [`Machine`]: a pushdown automaton that goes through the vocabulary |
#![forbid(unsafe_code)]

mod machine;
mod parse;
mod read;
mod rules;

pub(super) use machine::Machine;
