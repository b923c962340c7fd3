//! The hub of a build without downloads: it says so.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::{Fetched, HubOptions, Progress, RemoteFile, Snapshot};
use crate::error::{Error, ErrorKind, Result};

fn refuse<T>() -> Result<T> {
    let message = "this build cannot download; put the files into the model folder, or build with the feature \"hub\"";
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// No hub: nobody can make one.
#[derive(Debug)]
pub enum Hub {}

impl Hub {
    /// Refuses, after a look at the options.
    pub fn new(options: &HubOptions) -> Result<Self> {
        options.endpoint()?;
        options.token()?;
        let _ = options.is_offline();
        refuse()
    }

    /// Never called.
    pub fn is_offline(&self) -> bool {
        true
    }

    /// Never called.
    pub fn check_online(&self, _missing: &str) -> Result<()> {
        refuse()
    }

    /// Never called.
    pub fn snapshot(
        &self,
        _repo: &str,
        _revision: &str,
        _go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Snapshot>> {
        refuse()
    }

    /// Never called.
    pub fn fetch(
        &self,
        _snapshot: &Snapshot,
        _files: &[(RemoteFile, PathBuf)],
        _folder: &Path,
        _watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<Option<Vec<Fetched>>> {
        refuse()
    }
}

/// Nobody can take one.
#[derive(Debug)]
pub enum FolderLock {}

impl FolderLock {
    /// Refuses.
    pub fn take(
        _folder: &Path,
        _watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<Option<Self>> {
        refuse()
    }
}
