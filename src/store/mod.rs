//! Models by name: where they lie in the model folder, and how they get there from a hub.
#![forbid(unsafe_code)]

mod download;
pub mod hub;

use std::path::PathBuf;

pub use download::{download, Downloaded};

/// What a model is for. Each kind has its folder in the model folder, as Fluid Server has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It writes text: `llm/`.
    Llm,
    /// It writes down speech: `whisper/`.
    Whisper,
    /// It turns texts into vectors or scores: `embedding/`.
    Embedding,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Llm, Self::Whisper, Self::Embedding];

    /// The name of its folder, which is the `type` in lists and the value of `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Whisper => "whisper",
            Self::Embedding => "embedding",
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A model that is here, whole as far as can be seen: a GGUF file, the first of a split one,
    /// or a folder.
    Here(PathBuf),
    /// One that a hub has.
    Wanted(Wanted),
}

/// A model of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// One file of it; without, a rule chooses.
    pub file: Option<String>,
    /// What it is for.
    pub kind: Kind,
    /// Where its files come to lie: a folder of the model folder.
    pub folder: PathBuf,
}
