//! The whole way from a name's meaning to files that are here: list, choose, lock, fetch, note.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde_json::json;

use super::hub::{Fetched, FolderLock, Hub, Progress, Snapshot};
use super::{choose, Manifest, Wanted};
use crate::error::Result;

/// What a download came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// What to load: a GGUF file, the first of a split one, or a folder.
    pub path: PathBuf,
    /// `owner/name`.
    pub repo: String,
    /// The commit that the files are of.
    pub commit: String,
    /// The files, in the order of their places.
    pub files: Vec<Fetched>,
}

impl Downloaded {
    /// A JSON object.
    pub fn to_json(&self) -> String {
        let sum = |count: fn(&Fetched) -> u64| self.files.iter().map(count).sum::<u64>();
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
/// locked meanwhile: a second download of it waits, and then finds its files.
///
/// Errors: those of [`Hub::snapshot`] and [`Hub::fetch`].
pub fn download(
    wanted: &Wanted,
    hub: &Hub,
    watch: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Result<Option<Downloaded>> {
    let mut go_on = || watch(&Progress::Listing);
    let Some(snapshot) = hub.snapshot(&wanted.repo, &wanted.revision, &mut go_on)? else {
        return Ok(None);
    };
    let files = choose(wanted, &snapshot)?;
    let Some(_lock) = FolderLock::take(&wanted.folder, watch)? else { return Ok(None) };
    // Before, so that an unfinished download is known as one.
    let mut manifest = Manifest::record(wanted, &snapshot, &files)?;
    let Some(fetched) = hub.fetch(&snapshot, &files, &wanted.folder, watch)? else {
        return Ok(None);
    };
    manifest.complete(&fetched);
    manifest.write(&wanted.folder)?;
    let model = fetched.iter().find(|file| file.path.ends_with(".gguf"));
    let path = model.map_or(wanted.folder.clone(), |file| wanted.folder.join(&file.place));
    let Snapshot { repo, commit, .. } = snapshot;
    Ok(Some(Downloaded { path, repo, commit, files: fetched }))
}
