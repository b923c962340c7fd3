//! The Hugging Face hub's protocol: what a repository holds, and its files, whole and checked.
//!
//! The protocol is what `huggingface_hub` 2.4 speaks: `GET /api/models/{repo}/revision/{revision}` for
//! the commit, `/api/models/{repo}/tree/{commit}` for files with sizes and checksums, page by page, and
//! `/{repo}/resolve/{commit}/{path}`, which sends a file or redirects to where it lies.
#![forbid(unsafe_code)]

#[cfg(feature = "hub")]
mod checksum;
#[cfg(feature = "hub")]
mod client;
mod config;
#[cfg(feature = "hub")]
mod fault;
#[cfg(feature = "hub")]
mod fetch;
#[cfg(feature = "hub")]
mod http;
#[cfg(feature = "hub")]
mod listing;
#[cfg(feature = "hub")]
mod lock;
#[cfg(feature = "hub")]
mod names;
#[cfg(feature = "hub")]
mod part;
#[cfg(feature = "hub")]
mod proxy;
#[cfg(feature = "hub")]
mod retry;
#[cfg(feature = "hub")]
mod stop;
#[cfg(feature = "hub")]
mod transfer;
#[cfg(not(feature = "hub"))]
mod without;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "hub")]
pub use client::Hub;
pub use config::{HubOptions, Token};
#[cfg(feature = "hub")]
pub use lock::FolderLock;
#[cfg(not(feature = "hub"))]
pub use without::{FolderLock, Hub};

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path in the repository, with `/`.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of its contents in lower-case hex, where the hub has it (large files).
    pub sha256: Option<String>,
    /// The hub's id of its contents otherwise: git's SHA-1 of `blob <bytes>\0` and the contents.
    pub blob: Option<String>,
}

/// A repository as it was at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// `owner/name`.
    pub repo: String,
    /// The commit's id.
    pub commit: String,
    /// All its files, in the order of their paths. Their names are the hub's word: what cannot be a
    /// file here is refused when it is to be fetched.
    pub files: Vec<RemoteFile>,
}

/// A file that is here now, and whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its path in the repository.
    pub path: String,
    /// Its place in the model's folder.
    pub place: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of its contents in lower-case hex.
    pub sha256: String,
    /// Bytes that came over the network for it this time.
    pub received: u64,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The hub is asked what it has.
    Listing,
    /// Somebody else fetches to the same folder; who, in words, once that is known.
    Waiting(&'a str),
    /// Files come.
    Fetching {
        /// One of those that come now, by its path in the repository.
        file: &'a str,
        /// Bytes of all files that are here.
        bytes: u64,
        /// Bytes of all files.
        total_bytes: u64,
        /// Bytes that come per second.
        bytes_per_second: u64,
    },
}

/// How long is waited for what may pass. Tests make it short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pauses {
    /// A connection on which no byte comes for this time is given up.
    pub stall: Duration,
    /// Before the second try; it doubles with each further one, up to 30 s. A file is given up after six
    /// failures in a row, a list after three.
    pub first: Duration,
    /// What a hub may ask us to wait; it asks for more: an error.
    pub longest_asked: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            first: Duration::from_millis(500),
            longest_asked: Duration::from_secs(120),
        }
    }
}
