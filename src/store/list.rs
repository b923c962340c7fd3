//! What is in the model folder.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::find::snapshot;
use super::local::{entries, models_in, models_within, Format, Local};
use super::names::Name;
use super::{Kind, Store};
use crate::backend::Facts;
use crate::log::log;

/// Fluid Server keeps the GGUF files that it fetched there, and we keep compiled models beside the
/// kinds' folders under the same name.
const CACHE: &str = "cache";

/// A model of the model folder, whole or not.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What loads it; where models of two kinds have the same, with its kind.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// What its files are.
    pub format: Format,
    /// The file or folder that is loaded.
    pub path: PathBuf,
    /// Bytes of its files that are here.
    pub bytes: u64,
    /// How many these are.
    pub files: usize,
    /// When one of them was last changed.
    pub modified: Option<SystemTime>,
    /// Why it is not whole; `None` where it is, as far as was looked.
    pub missing: Option<String>,
    /// What its files say about it.
    pub facts: Facts,
    /// The repository and the commit it is from, where that is known.
    pub source: Option<(String, String)>,
}

impl Store {
    /// The models that are here, of `kind` or all, in the order of kinds and names. Headers are read,
    /// so that an entry which is whole and not `facts.unsupported` can be loaded; with `verify`, all bytes
    /// of the files whose checksums are known. What cannot be read is left out or not whole.
    pub fn list(&self, kind: Option<Kind>, verify: bool) -> Vec<Entry> {
        let kinds = Kind::ALL.into_iter().filter(|it| kind.is_none_or(|kind| kind == *it));
        let named = kinds.flat_map(|kind| self.named(kind).into_iter().map(move |it| (kind, it)));
        named.map(|(kind, (name, local))| self.entry(kind, name, local, verify)).collect()
    }

    /// The models of `kind` and the names that lead to them, in the order of their names.
    pub(super) fn named(&self, kind: Kind) -> Vec<(String, Local)> {
        let Some(base) = self.model_dir().map(|folder| folder.join(kind.name())) else {
            return Vec::new();
        };
        if !base.is_dir() {
            return Vec::new();
        }
        let mut named: Vec<(String, Local)> = Vec::new();
        for local in models_within(&base, 0) {
            if let Some(model) = &local.gguf {
                named.push((model.first().to_owned(), local));
            }
        }
        let mut count = 0;
        for (name, _) in entries(&base, &mut count) {
            let folder = base.join(&name);
            if !folder.is_dir() || leads_back(&folder, &base) {
                continue;
            }
            match &*name {
                CACHE => named.extend(cached(&folder)),
                _ => named.extend(with_names(&name, models_in(&folder))),
            }
        }
        for (name, local) in &mut named {
            // No name, but a path always works.
            if Name::parse(name).is_err() {
                *name = local.path.to_string_lossy().into_owned();
            }
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    }

    fn entry(&self, kind: Kind, name: String, local: Local, verify: bool) -> Entry {
        let altered = if verify && local.lacking.is_none() { local.altered() } else { None };
        let mut missing = local.lacking.clone().or(altered);
        let mut facts = Facts::default();
        if missing.is_none() {
            match self.seen.look(&local) {
                Ok(found) => facts = found,
                Err(error) => missing = Some(error.message().to_owned()),
            }
        }
        let source = local.origin.map(|it| (it.manifest.repo.clone(), it.manifest.commit.clone()));
        Entry {
            name,
            kind,
            format: local.format,
            path: local.path,
            bytes: local.bytes,
            files: local.files,
            modified: local.modified,
            missing,
            facts,
            source,
        }
    }
}

/// Whether `folder` is a link to the folder it is in, to one around it or to one beside it, whose
/// models are listed there.
fn leads_back(folder: &Path, base: &Path) -> bool {
    let is_link = folder.symlink_metadata().is_ok_and(|entry| entry.is_symlink());
    let (Ok(folder), Ok(base)) = (folder.canonicalize(), base.canonicalize()) else {
        return is_link;
    };
    let leads = is_link && (folder.starts_with(&base) || base.starts_with(&folder));
    if leads {
        log!(Info, "{}: left out of the list: it leads back", folder.display());
    }
    leads
}

/// The names of the models in the folder called `name`: the folder's, where it has one alone.
fn with_names(name: &str, models: Vec<Local>) -> Vec<(String, Local)> {
    let names: Vec<String> = models
        .iter()
        .map(|local| {
            let below = |folder: &str| match local.folder.is_empty() {
                true => true,
                false => folder
                    .strip_prefix(&*local.folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            };
            let beside = models.iter().filter(|other| below(&other.folder));
            let is_alone = match local.format {
                Format::Gguf => beside.count() == 1,
                // GGUF is taken first, then the nearest folder.
                Format::OpenVino => beside.clone().all(|other| other.format == local.format),
            };
            match (&local.gguf, is_alone) {
                (_, true) if local.folder.is_empty() => name.to_owned(),
                (_, true) => format!("{name}/{}", local.folder),
                (Some(model), false) => format!("{name}/{}", model.first()),
                (None, false) => local.path.to_string_lossy().into_owned(),
            }
        })
        .collect();
    names.into_iter().zip(models).collect()
}

/// The models in a cache of huggingface_hub's layout, by the names of their repositories.
fn cached(cache: &Path) -> Vec<(String, Local)> {
    let mut found = Vec::new();
    for (folder, _) in entries(cache, &mut 0) {
        let repo = folder.strip_prefix("models--").map(|repo| repo.replacen("--", "/", 1));
        let snapshot = snapshot(&cache.join(&folder), None);
        if let (Some(repo), Some(snapshot)) = (repo, snapshot) {
            let models = models_in(&snapshot);
            let is_alone = models.len() == 1;
            found.extend(models.into_iter().map(|local| match &local.gguf {
                _ if is_alone => (repo.clone(), local),
                Some(model) => (format!("{repo}/{}", model.first()), local),
                None => (local.path.to_string_lossy().into_owned(), local),
            }));
        }
    }
    found
}
