//! What it takes to load a model again as it was.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use crate::backend::{self, Loaded};
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

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
        Ok(Self { path: path.to_owned(), options, stamp: stamp(path), bytes })
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
        if stamp(&self.path) == self.stamp {
            return Ok(());
        }
        let message = format!(
            "{}: changed, or went away, since it was loaded; free the model and load it again",
            self.path
        );
        Err(Error::new(ErrorKind::InvalidModel, message))
    }
}

/// The files of a folder, or the one of a path.
fn stamp(path: &str) -> Vec<Stamp> {
    let path = Path::new(path);
    let files = match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    let files = files.iter().filter_map(|file| {
        let about = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
        let name = file.file_name()?.to_string_lossy().into_owned();
        Some(Stamp { name, bytes: about.len(), changed: about.modified().ok() })
    });
    let mut stamp: Vec<Stamp> = files.collect();
    stamp.sort();
    stamp
}
