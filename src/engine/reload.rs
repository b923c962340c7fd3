//! What it takes to load a model again as it was.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::Value;

use crate::backend::{self, Loaded};
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;
use crate::store;

const MEBIBYTE: u64 = 1 << 20;

/// A model's path, its options, and how its files looked.
pub(super) struct Recipe {
    path: String,
    options: LoadOptions,
    stamp: Vec<Stamp>,
    bytes: u64,
}

/// One file: a change shows in its length or its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    name: String,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl Recipe {
    /// For a first load that has `limit` bytes at most.
    pub(super) fn new(path: &str, mut options: LoadOptions, limit: Option<u64>) -> Result<Self> {
        options.memory = limit;
        // Without a budget the load itself tells: an estimate would read the vocabulary once more.
        let bytes = match limit {
            Some(_) => backend::estimate(path, &options)?.total(),
            None => 0,
        };
        let stamp = stamp(path, &options);
        Ok(Self { path: path.to_owned(), options, stamp, bytes })
    }

    pub(super) fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// Bytes of memory that the model takes, as estimated; without a limit only known once
    /// [settled](Self::settle).
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the model is used once unasked.
    pub(super) fn warms_up(&self) -> bool {
        self.options.warm_up
    }

    /// Fixes what the first load chose by the memory that was free then: callers have been told.
    pub(super) fn settle(&mut self, loaded: &Loaded) {
        if self.options.memory.is_none() {
            self.bytes = loaded.info().memory.total();
        }
        if let Some(device) = loaded.info().details.get("device").and_then(Value::as_str) {
            self.options.device = device.to_owned();
        }
        match loaded {
            Loaded::Text(loaded) => {
                let limits = loaded.limits;
                self.options.n_ctx = Some(limits.n_ctx);
                let kv = &mut self.options.kv;
                kv.kv_unified = Some(limits.shares_cells);
                kv.kv_cache_tokens = limits.shares_cells.then_some(limits.n_cells);
                kv.kv_cache_mb = None;
                kv.cache_ram_mb = u32::try_from(limits.kept_bytes / MEBIBYTE).ok();
            }
            Loaded::Embedding(loaded) => {
                self.options.n_ctx = u32::try_from(loaded.limits.n_ctx).ok();
            }
            Loaded::Speech(_) => {}
        }
    }

    /// Whether the files are those that were loaded, as far as can be seen at a glance.
    pub(super) fn check(&self) -> Result<()> {
        if stamp(&self.path, &self.options) == self.stamp {
            return Ok(());
        }
        let message = format!(
            "{}: changed, or went away, since it was loaded; free the model and load it again",
            self.path
        );
        Err(Error::new(ErrorKind::InvalidModel, message))
    }
}

/// The files that a model is loaded from: those of its folder, or its own, those of its draft model and
/// of its adapters. What a download writes beside them is none of it.
fn stamp(path: &str, options: &LoadOptions) -> Vec<Stamp> {
    let parts = |path: &str| store::gguf_parts(path).into_iter().map(PathBuf::from);
    let mut files: Vec<PathBuf> = match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => parts(path).collect(),
    };
    files.extend(options.draft.iter().flat_map(|draft| parts(&draft.path)));
    files.extend(options.lora.iter().map(|adapter| PathBuf::from(&adapter.path)));
    let files = files.iter().filter_map(|file| {
        let name = file.file_name()?.to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".part") {
            return None;
        }
        let about = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
        Some(Stamp { name, bytes: about.len(), changed: about.modified().ok() })
    });
    let mut stamp: Vec<Stamp> = files.collect();
    stamp.sort();
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_any_part_of_a_split_model_shows() {
        let folder = std::env::temp_dir().join(format!("fluid-stamp-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let part = |number: usize| folder.join(format!("m-{number:05}-of-00003.gguf"));
        (1..=3).for_each(|number| fs::write(part(number), "some").expect("a file"));
        let options = LoadOptions::parse("").expect("no options");
        let first = part(1).to_string_lossy().into_owned();
        let before = stamp(&first, &options);
        assert_eq!(before.len(), 3);
        fs::write(part(3), "more bytes").expect("a file");
        assert_ne!(stamp(&first, &options), before);
        fs::remove_file(part(2)).expect("it is there");
        assert_eq!(stamp(&first, &options).len(), 2);
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
