//! Models by name: where they lie in the model folder, and how they get there from a hub.
#![forbid(unsafe_code)]

mod choose;
mod download;
mod find;
mod gguf_files;
pub mod hub;
mod list;
mod local;
mod manifest;
pub mod names;
mod near;
mod seen;
mod short_names;

use std::path::{Path, PathBuf};

pub use self::choose::{check_runnable, choose, path_of};
pub use self::gguf_files::{parts as gguf_parts, PREFERRED};
pub use self::list::Entry;
pub use self::local::Format;
pub use self::manifest::{Manifest, Recorded, MANIFEST};
use self::seen::Seen;
pub use self::short_names::{ShortName, SHORT_NAMES};
use crate::log::log;

/// The revision of a repository that is meant when a name says none.
const MAIN: &str = "main";

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

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
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
    /// The quantisation that the rule is to choose, of GGUF models.
    pub quant: Option<String>,
    /// What it is for.
    pub kind: Kind,
    /// Where its files come to lie: a folder of the model folder.
    pub folder: PathBuf,
    /// Of what is here and is not whole: where it is, and what is missing.
    pub lacking: Option<String>,
}

impl Wanted {
    /// A name for it that a hub understands.
    pub fn name(&self) -> String {
        let mut name = self.repo.clone();
        if self.revision != MAIN {
            name = format!("{name}@{}", self.revision);
        }
        match (&self.file, &self.quant) {
            (Some(file), _) => format!("{name}/{file}"),
            (None, Some(quant)) => format!("{name}:{quant}"),
            (None, None) => name,
        }
    }

    /// Why `name`, which stands for this, leads to no model that is here.
    pub fn missing(&self, name: &str) -> String {
        match &self.lacking {
            Some(lacking) => format!("{name}: is incomplete: {lacking}"),
            None => format!("{name}: is not in the model folder"),
        }
    }
}

/// The model folder, and the folder for compiled models.
#[derive(Debug, Clone, Default)]
pub struct Store {
    model_dir: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    seen: Seen,
}

impl Store {
    /// The store of a model folder; without one there are no names, only paths. Neither folder needs
    /// to be there. Without `cache_dir`, compiled models are kept in `cache` in the model folder.
    pub fn new(model_dir: Option<&str>, cache_dir: Option<&str>) -> Self {
        // Names go on to mean the same when the process changes its current folder.
        let absolute = |path: &str| std::path::absolute(path).unwrap_or_else(|_| path.into());
        let model_dir = model_dir.map(absolute);
        let default = model_dir.as_ref().map(|folder| folder.join("cache"));
        Self { cache_dir: cache_dir.map(absolute).or(default), model_dir, seen: Seen::default() }
    }

    /// The model folder.
    pub fn model_dir(&self) -> Option<&Path> {
        self.model_dir.as_deref()
    }

    /// The folder for compiled models.
    pub fn cache_dir(&self) -> Option<&Path> {
        self.cache_dir.as_deref()
    }

    /// The folder for compiled models, made if it is not there; none where it cannot be written to,
    /// for a model that is compiled anew each time still works.
    pub fn usable_cache_dir(&self) -> Option<String> {
        let folder = self.cache_dir.as_ref()?;
        let probe = folder.join(format!(".fluid-{}", std::process::id()));
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, ""));
        // It was a probe.
        let _ = std::fs::remove_file(&probe);
        match written {
            Ok(()) => folder.to_str().map(str::to_owned),
            Err(error) => {
                log!(Warn, "{}: compiled models are not kept: {error}", folder.display());
                None
            }
        }
    }
}
