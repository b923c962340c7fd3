//! The Hugging Face hub's protocol: what a repository holds, and its files, whole and checked.

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
    /// All its files, in the order of their paths.
    pub files: Vec<RemoteFile>,
}
