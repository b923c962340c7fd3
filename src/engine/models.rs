//! The models that are in the model folder, beside those that are in memory.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde_json::{json, Value};

use super::Engine;
use crate::request::ModelsRequest;
use crate::store::{Entry, SHORT_NAMES};

impl Engine {
    /// What `fluid_models` says, as JSON.
    pub fn models_json(&self, request: &ModelsRequest) -> String {
        let entries = self.store.list(request.kind, request.verify);
        let loaded = self.loaded_paths();
        let is_kind = |it| request.kind.is_none_or(|kind| kind == it);
        let short = SHORT_NAMES.iter().filter(|short| is_kind(short.kind)).map(|short| {
            json!({"name": short.name, "type": short.kind.name(), "repo": short.repo, "quantization": short.quant})
        });
        json!({
            "object": "list",
            "model_dir": self.store.model_dir(),
            "cache_dir": self.store.cache_dir(),
            "data": entries.iter().map(|entry| describe(entry, &loaded)).collect::<Vec<_>>(),
            "short_names": short.collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// What the models in memory were loaded from, without links.
    fn loaded_paths(&self) -> HashSet<PathBuf> {
        let tenants = self.budget.tenants();
        let loaded = tenants.iter().filter(|model| model.is_loaded());
        loaded.filter_map(|model| std::fs::canonicalize(model.path()).ok()).collect()
    }
}

fn describe(entry: &Entry, loaded: &HashSet<PathBuf>) -> Value {
    let is_loaded = entry.path.canonicalize().is_ok_and(|path| loaded.contains(&path));
    let (facts, is_whole) = (&entry.facts, entry.missing.is_none());
    let why = facts.unsupported.as_ref().or(entry.missing.as_ref());
    let since = entry.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let source = entry.source.as_ref();
    let owner = source.and_then(|(repo, _)| repo.split('/').next()).unwrap_or("local");
    json!({
        "id": entry.name,
        "object": "model",
        "created": since.map_or(0, |since| since.as_secs()),
        "owned_by": owner,
        "name": entry.name,
        "type": entry.kind.name(),
        "format": entry.format.name(),
        "path": entry.path.to_string_lossy(),
        "bytes": entry.bytes,
        "files": entry.files,
        "complete": is_whole,
        "missing": entry.missing,
        "architecture": facts.architecture,
        "quantization": facts.quantization,
        "parameters": facts.parameters,
        "context_length": facts.context_length,
        "loaded": is_loaded,
        "runnable": is_whole && facts.unsupported.is_none(),
        "why_not": why,
        "source": source.map(|(repo, commit)| json!({"repo": repo, "commit": commit})),
    })
}
