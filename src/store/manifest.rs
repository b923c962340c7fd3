//! What a model's folder was fetched from, written beside its files: by it, a file that is missing,
//! cut or altered is told from a whole one without asking the hub.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};

use super::hub::{RemoteFile, Snapshot};
use super::{names, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;

/// Its file's name. It begins with a dot, as no model's file does.
pub const MANIFEST: &str = ".fluid.json";

const VERSION: u64 = 1;
/// Thousands of files take less than a megabyte.
const MAX_BYTES: u64 = 16 << 20;

/// Where the files of a folder are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `owner/name`.
    pub repo: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit that was fetched last.
    pub commit: String,
    /// The files, by their paths below the folder, with `/`.
    pub files: BTreeMap<String, Recorded>,
}

/// A file as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of its contents in lower-case hex, where it is known.
    pub sha256: Option<String>,
    /// The commit it is from.
    pub commit: String,
    /// It came whole; false from the beginning of its download to the end.
    pub done: bool,
}

impl Manifest {
    /// The manifest of `folder`; none where there is none, or none that can be read: the log says why.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(MANIFEST);
        let mut text = String::new();
        let is_file = fs::metadata(&path).ok()?.is_file();
        let read = match is_file {
            true => {
                File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
            }
            false => Err(IoKind::InvalidInput.into()),
        };
        let parsed = match read {
            Ok(_) => Self::parse(&text),
            Err(error) => Err(error.to_string()),
        };
        parsed.inspect_err(|why| log!(Warn, "{}: ignored: {why}", path.display())).ok()
    }

    /// Reads what [`to_json`](Self::to_json) wrote; else says why it cannot be that.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let root = value.as_object().ok_or("is no JSON object")?;
        match root.get("version").and_then(Value::as_u64) {
            Some(VERSION) => {}
            version => return Err(format!("is of version {version:?}, not {VERSION}")),
        }
        let mut files = BTreeMap::new();
        for entry in root.get("files").and_then(Value::as_array).ok_or("`files` is no list")? {
            let entry = entry.as_object().ok_or("`files` holds what is no object")?;
            let path = text_of(entry, "path")?;
            names::check_path(&path).map_err(|why| format!("\"{path}\": {why}"))?;
            files.insert(path, Recorded::parse(entry)?);
        }
        let repo = text_of(root, "repo")?;
        let (revision, commit) = (text_of(root, "revision")?, text_of(root, "commit")?);
        // They become parts of addresses when the model is fetched again.
        if !names::is_repo(&repo) || ![&revision, &commit].iter().all(|it| names::is_revision(it)) {
            return Err("`repo`, `revision` or `commit` is none of a hub".to_owned());
        }
        Ok(Self { repo, revision, commit, files })
    }

    /// As it is written.
    pub fn to_json(&self) -> String {
        let file = |(path, file): (&String, &Recorded)| {
            let Recorded { bytes, sha256, commit, done } = file;
            json!({"path": path, "bytes": bytes, "sha256": sha256, "commit": commit, "done": done})
        };
        let root = json!({
            "version": VERSION,
            "repo": self.repo,
            "revision": self.revision,
            "commit": self.commit,
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
        });
        format!("{root:#}\n")
    }

    /// Notes in the manifest of `wanted.folder` that `files` of `snapshot` belong there, beside what it
    /// says of others from the same repository. Written before a download, not `done`, it tells an unfinished
    /// one from a whole one; written again after it, with the checksums that the hub did not know, also
    /// an altered one. `Io` when it cannot be written.
    pub fn record(
        wanted: &Wanted,
        snapshot: &Snapshot,
        files: &[(RemoteFile, PathBuf)],
        done: bool,
    ) -> Result<Self> {
        let before = Self::read(&wanted.folder).filter(|before| before.repo == wanted.repo);
        let mut manifest = Self {
            repo: wanted.repo.clone(),
            revision: wanted.revision.clone(),
            commit: snapshot.commit.clone(),
            files: before.map(|before| before.files).unwrap_or_default(),
        };
        for (remote, place) in files {
            let path = slashed(place);
            let is_it = |there: &Recorded| {
                let same_sum = there.sha256.is_some() && there.sha256 == remote.sha256;
                there.done && (there.commit == snapshot.commit || same_sum)
            };
            let recorded = Recorded {
                bytes: remote.bytes,
                sha256: remote.sha256.clone(),
                commit: snapshot.commit.clone(),
                done: done || manifest.files.get(&path).is_some_and(is_it),
            };
            manifest.files.insert(path, recorded);
        }
        manifest.write(&wanted.folder)?;
        Ok(manifest)
    }

    /// Writes it to `folder`, which is made, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let own = folder.join(format!("{MANIFEST}.{}.{number}", std::process::id()));
        let written = (|| {
            fs::create_dir_all(folder)?;
            let mut file = OpenOptions::new().write(true).create_new(true).open(&own)?;
            file.write_all(self.to_json().as_bytes())?;
            file.sync_all()?;
            fs::rename(&own, folder.join(MANIFEST))
        })();
        written.map_err(|error| {
            // What is left of it would only lie there.
            let _ = fs::remove_file(&own);
            let message =
                format!("{}: cannot be written: {error}", folder.join(MANIFEST).display());
            Error::new(ErrorKind::Io, message)
        })
    }

    /// What is not as it was fetched of the files that `concerns` names; only sizes are compared.
    pub(super) fn lacking(&self, folder: &Path, concerns: impl Fn(&str) -> bool) -> Option<String> {
        let mut files = self.files.iter().filter(|(path, _)| concerns(path));
        files.find_map(|(path, file)| match fs::metadata(folder.join(path)) {
            Err(_) => Some(format!("{path} is missing")),
            Ok(there) if there.len() != file.bytes => {
                Some(format!("{path} has {} bytes, not {}", there.len(), file.bytes))
            }
            // An older file of the same size may still lie in its place.
            Ok(_) if !file.done => Some(format!("the download of {path} has not ended")),
            Ok(_) => None,
        })
    }

    /// The same, with the checksums compared: all bytes are read.
    pub(super) fn altered(&self, folder: &Path, concerns: impl Fn(&str) -> bool) -> Option<String> {
        self.lacking(folder, &concerns).or_else(|| {
            let mut files = self.files.iter().filter(|(path, _)| concerns(path));
            files.find_map(|(path, file)| {
                let recorded = file.sha256.as_ref()?;
                match sha256(&folder.join(path)) {
                    Err(error) => Some(format!("{path} cannot be read: {error}")),
                    Ok(sum) if sum != *recorded => {
                        Some(format!("{path} is not as it was fetched: its SHA-256 is {sum}"))
                    }
                    Ok(_) => None,
                }
            })
        })
    }
}

impl Recorded {
    fn parse(entry: &Map<String, Value>) -> std::result::Result<Self, String> {
        let sha256 = match entry.get("sha256") {
            None | Some(Value::Null) => None,
            Some(_) => Some(text_of(entry, "sha256")?),
        };
        let is_hex = |sum: &String| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        if !sha256.as_ref().is_none_or(is_hex) {
            return Err("`sha256` is no SHA-256".to_owned());
        }
        let bytes = entry.get("bytes").and_then(Value::as_u64).ok_or("`bytes` is no number")?;
        let done = entry.get("done").is_none_or(|done| done == &Value::Bool(true));
        Ok(Self { bytes, sha256, commit: text_of(entry, "commit")?, done })
    }
}

/// A place as manifests name it, with `/` on every system.
fn slashed(place: &Path) -> String {
    let parts = place.components().map(|part| part.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

fn text_of(map: &Map<String, Value>, key: &str) -> std::result::Result<String, String> {
    let text = map.get(key).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| format!("`{key}` is no text"))
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => sum.update(&buffer[..count]),
            Err(error) if error.kind() == IoKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
