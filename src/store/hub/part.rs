//! A file on its way: beside its place, under a name that tells which contents it belongs to.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use super::checksum::{self, Checksum};
use super::fault::Fault;
use super::stop::Stop;
use super::RemoteFile;
use crate::error::{Error, ErrorKind};

/// Digits of the checksum in a part's name.
const KEY: usize = 16;

/// What is here of a file, with the checksum so far.
pub(super) struct Part<'a> {
    remote: &'a RemoteFile,
    path: PathBuf,
    file: File,
    checksum: Checksum,
    length: u64,
}

/// Where the part of `remote` lies whose place is `target`: `model.gguf.0123456789abcdef.part`.
pub(super) fn path_of(target: &Path, remote: &RemoteFile) -> PathBuf {
    let sum = remote.sha256.as_ref().or(remote.blob.as_ref());
    let key: String = sum.map(|sum| sum.chars().take(KEY).collect()).unwrap_or_default();
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{key}.part"));
    target.with_file_name(name)
}

/// Bytes that are here of `remote`, for an estimate.
pub(super) fn length_of(target: &Path, remote: &RemoteFile) -> u64 {
    let entry = fs::symlink_metadata(path_of(target, remote));
    entry.map_or(0, |entry| entry.len()).min(remote.bytes)
}

/// Whether the file itself is at `target`: its SHA-256, if so. `seen` hears of bytes that were read.
pub(super) fn find_whole(
    target: &Path,
    remote: &RemoteFile,
    stop: &Stop,
    seen: impl FnMut(u64),
) -> Result<Option<String>, Fault> {
    let Ok(entry) = fs::symlink_metadata(target) else { return Ok(None) };
    if !entry.is_file() {
        let message = format!("{}: is no plain file; remove it", target.display());
        return Err(Fault::Failed(Error::new(ErrorKind::Io, message)));
    }
    if entry.len() != remote.bytes {
        return Ok(None);
    }
    let mut file = File::open(target).map_err(|error| Fault::of_file(target, &error))?;
    let mut sum = Checksum::new(remote);
    checksum::read(&mut file, target, &mut sum, stop, seen)?;
    match sum.check(remote) {
        Ok(sha256) => Ok(Some(sha256)),
        Err(Fault::Wrong(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

impl<'a> Part<'a> {
    /// Opens or makes the part for `target`, and reads what it holds for the checksum.
    pub(super) fn open(
        target: &Path,
        remote: &'a RemoteFile,
        stop: &Stop,
        seen: impl FnMut(u64),
    ) -> Result<Self, Fault> {
        let path = path_of(target, remote);
        if fs::symlink_metadata(&path).is_ok_and(|entry| !entry.is_file()) {
            let message = format!("{}: is no plain file; remove it", path.display());
            return Err(Fault::Failed(Error::new(ErrorKind::Io, message)));
        }
        let fault = |error| Fault::of_file(&path, &error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(fault)?;
        let length = file.metadata().map_err(fault)?.len();
        let checksum = Checksum::new(remote);
        let mut part = Self { remote, path, file, checksum, length };
        if part.length > remote.bytes {
            part.clear()?;
        }
        checksum::read(&mut part.file, &part.path, &mut part.checksum, stop, seen)?;
        Ok(part)
    }

    /// Bytes that are here.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Starts from nothing.
    pub(super) fn clear(&mut self) -> Result<(), Fault> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(|error| Fault::of_file(&self.path, &error))?;
        self.checksum = Checksum::new(self.remote);
        self.length = 0;
        Ok(())
    }

    /// Adds what came.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| Fault::of_file(&self.path, &error))?;
        self.checksum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Whether what is here is the file. Its SHA-256.
    pub(super) fn check(&self) -> Result<String, Fault> {
        self.checksum.clone().check(self.remote)
    }

    /// Becomes the file at `target`, for good: after a power cut there is the whole file, or none.
    pub(super) fn become_file(self, target: &Path) -> Result<(), Fault> {
        let Self { path, file, .. } = self;
        file.sync_all().map_err(|error| Fault::of_file(&path, &error))?;
        drop(file);
        fs::rename(&path, target).map_err(|error| Fault::of_file(target, &error))?;
        let folder = target.parent().unwrap_or(Path::new("."));
        sync_folder(folder);
        remove_others(folder, target);
        Ok(())
    }

    /// Stays for the next time, unless there is nothing of it.
    pub(super) fn leave(self) {
        drop(self.file);
        if self.length == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Windows keeps names safe by itself, and cannot open folders so.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Ok(folder) = File::open(folder) {
        // Not all file systems can; the file itself is safe.
        let _ = folder.sync_all();
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// Parts of other contents for the same place, such as of an older revision.
fn remove_others(folder: &Path, target: &Path) {
    let Some(name) = target.file_name().and_then(|name| name.to_str()) else { return };
    let is_part = |other: &str| {
        let rest = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        let key = rest.and_then(|rest| rest.strip_suffix(".part"));
        key.is_some_and(|key| key.len() == KEY && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_part) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
