//! The whole way from a name's meaning to files that are here: list, choose, lock, fetch, note.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde_json::json;

use super::hub::{Fetched, FolderLock, Hub, Progress, RemoteFile, Snapshot};
use super::{check_runnable, choose, path_of, Manifest, Wanted};
use crate::error::Result;

/// What a download came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// What to load: a GGUF file, the first of a split one, or a folder.
    pub path: PathBuf,
    /// `owner/name`; `None` of a model that was here.
    pub repo: Option<String>,
    /// The commit that the files are of; `None` likewise.
    pub commit: Option<String>,
    /// The files, in the order of their places; none likewise.
    pub files: Vec<Fetched>,
}

impl Downloaded {
    /// A model that was here: nothing was fetched.
    pub fn here(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// A JSON object.
    pub fn to_json(&self) -> String {
        let sum =
            |count: fn(&Fetched) -> u64| self.files.iter().map(count).fold(0, u64::saturating_add);
        let file =
            |file: &Fetched| json!({"path": file.path, "bytes": file.bytes, "sha256": file.sha256});
        let result = json!({
            "path": self.path.to_string_lossy(),
            "repo": self.repo,
            "revision": self.commit,
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
            "bytes": sum(|file| file.bytes),
            "downloaded_bytes": sum(|file| file.received),
        });
        result.to_string()
    }
}

/// Fetches `wanted` from `hub`; `None` when `watch`, which is asked every 20 ms, says stop. The folder is
/// locked meanwhile: a second download of it waits, and then finds its files. A manifest in the folder
/// notes before what is to come, and after what came. What `is_to_run` and cannot is not fetched.
///
/// Errors: those of [`Hub::snapshot`], [`choose`] and [`Hub::fetch`].
pub fn download(
    wanted: &Wanted,
    hub: &Hub,
    is_to_run: bool,
    watch: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Result<Option<Downloaded>> {
    hub.check_online(&match &wanted.lacking {
        Some(_) => wanted.missing(&wanted.name()),
        // It may be here all the same, where more than a name was asked for.
        None => format!("{} would have to come from a hub", wanted.name()),
    })?;
    let mut go_on = || watch(&Progress::Listing);
    let Some(snapshot) = hub.snapshot(&wanted.repo, &wanted.revision, &mut go_on)? else {
        return Ok(None);
    };
    let mut files = choose(wanted, &snapshot)?;
    if is_to_run {
        check_runnable(wanted, &files)?;
    }
    let Some(_lock) = FolderLock::take(&wanted.folder, watch)? else { return Ok(None) };
    Manifest::record(wanted, &snapshot, &files, false)?;
    let Some(fetched) = hub.fetch(&snapshot, &files, &wanted.folder, watch)? else {
        return Ok(None);
    };
    note_checksums(&mut files, &fetched);
    Manifest::record(wanted, &snapshot, &files, true)?;
    let path = path_of(wanted, &files);
    let Snapshot { repo, commit, .. } = snapshot;
    Ok(Some(Downloaded { path, repo: Some(repo), commit: Some(commit), files: fetched }))
}

/// Of small files the hub knows no SHA-256.
fn note_checksums(files: &mut [(RemoteFile, PathBuf)], fetched: &[Fetched]) {
    for (remote, place) in files {
        if let Some(file) = fetched.iter().find(|file| file.place == *place) {
            remote.sha256 = Some(file.sha256.clone());
        }
    }
}
