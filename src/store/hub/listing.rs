//! What a hub says of a repository, in JSON nobody vouches for: its commit, and its files page by page.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use serde_json::Value;

use super::RemoteFile;
use crate::error::{Error, ErrorKind, Result};

/// Files of a repository, at most.
const FILES_MAX: usize = 100_000;

/// The commit that `text`, the answer for a revision, names.
pub(super) fn commit(text: &str, subject: &str) -> Result<String> {
    let value = parse(text, subject)?;
    let commit = value.get("sha").and_then(Value::as_str).unwrap_or_default();
    let is_id = matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_id {
        return Err(wrong(subject, "it names no commit"));
    }
    Ok(commit.to_owned())
}

/// Bytes of a file's path, far beyond any that can be fetched.
const PATH_MAX: usize = 4096;

/// The files of a repository, as its pages come.
#[derive(Default)]
pub(super) struct Files {
    files: Vec<RemoteFile>,
    paths: HashSet<String>,
}

impl Files {
    /// Adds a page. Folders and what else is no file are left out.
    pub(super) fn add(&mut self, text: &str, subject: &str) -> Result<()> {
        let page = parse(text, subject)?;
        let Value::Array(entries) = &page else {
            return Err(wrong(subject, "its list of files is no list"));
        };
        for entry in entries {
            if entry.get("type").and_then(Value::as_str) != Some("file") {
                continue;
            }
            let file = file(entry)
                .ok_or_else(|| wrong(subject, "it lists a file without path, size or checksum"))?;
            if file.path.len() > PATH_MAX {
                return Err(wrong(subject, "a path in it is too long"));
            }
            if !self.paths.insert(file.path.clone()) {
                return Err(wrong(subject, "it lists a file twice"));
            }
            self.files.push(file);
        }
        if self.files.len() > FILES_MAX {
            return Err(wrong(subject, "it lists too many files"));
        }
        Ok(())
    }

    /// All of them, in the order of their paths.
    pub(super) fn finish(mut self) -> Vec<RemoteFile> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.files
    }
}

/// One entry of the tree. `lfs` has the SHA-256 of large files, whose `oid` is that of a pointer.
fn file(entry: &Value) -> Option<RemoteFile> {
    let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_ascii_lowercase);
    let path = entry.get("path")?.as_str()?.to_owned();
    let bytes = entry.get("size")?.as_u64()?;
    match entry.get("lfs").filter(|lfs| !lfs.is_null()) {
        Some(lfs) => {
            let sha256 = Some(text(lfs, "oid")?);
            let bytes = lfs.get("size").map_or(Some(bytes), Value::as_u64)?;
            Some(RemoteFile { path, bytes, sha256, blob: None })
        }
        None => Some(RemoteFile { path, bytes, sha256: None, blob: Some(text(entry, "oid")?) }),
    }
}

/// The address of the next page in a `Link` header (RFC 8288), if there is one.
pub(super) fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|entry| {
        let (address, parameters) = entry.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=')?;
            Some(name.trim() == "rel" && value.trim().trim_matches('"') == "next")
        };
        parameters.split(';').any(|parameter| is_next(parameter) == Some(true)).then_some(address)
    })
}

fn parse(text: &str, subject: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|_| wrong(subject, "it is no JSON, as a page to log in is not"))
}

fn wrong(subject: &str, cause: &str) -> Error {
    let message = format!("{subject}: the hub's answer cannot be used: {cause}");
    Error::new(ErrorKind::Network, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_commit_is_a_commit() {
        let given = format!(r#"{{"id": "a/b", "sha": "{COMMIT}", "siblings": []}}"#);
        assert_eq!(commit(&given, "a/b").expect("one"), COMMIT);
        for text in ["", "<html>", "[]", "{}", r#"{"sha": 1}"#, r#"{"sha": "../../../x"}"#] {
            let error = commit(text, "a/b").expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Network);
        }
    }

    #[test]
    fn large_files_have_a_sha256_and_small_ones_a_git_id() {
        let page = r#"[
            {"type": "directory", "oid": "1", "size": 0, "path": "b"},
            {"type": "file", "oid": "2", "size": 7, "path": "b/c", "lfs": {"oid": "AB", "size": 7, "pointerSize": 134}},
            {"type": "file", "oid": "3", "size": 5, "path": "a", "lfs": null}
        ]"#;
        let mut files = Files::default();
        files.add(page, "a/b").expect("a page");
        files.add("[]", "a/b").expect("an empty page");
        let [a, c] = &files.finish()[..] else { panic!("two files") };
        assert_eq!((a.path.as_str(), a.bytes, a.blob.as_deref()), ("a", 5, Some("3")));
        assert_eq!((c.sha256.as_deref(), c.blob.as_deref()), (Some("ab"), None));
    }

    #[test]
    fn broken_lists_are_refused() {
        for page in [
            "{}",
            "[1]x",
            r#"[{"type": "file", "path": "a", "oid": "1"}]"#,
            r#"[{"type": "file", "path": "a", "size": -1, "oid": "1"}]"#,
            r#"[{"type": "file", "path": "a", "size": 1e30, "oid": "1"}]"#,
            r#"[{"type": "file", "path": "a", "size": 1}]"#,
            r#"[{"type": "file", "size": 1, "oid": "1"}]"#,
            r#"[{"type": "file", "path": "a", "size": 1, "oid": "1", "lfs": {}}]"#,
            r#"[{"type":"file","path":"a","size":1,"oid":"1"},{"type":"file","path":"a","size":1,"oid":"1"}]"#,
        ] {
            assert!(Files::default().add(page, "a/b").is_err(), "{page}");
        }
    }

    #[test]
    fn the_next_page_is_linked() {
        let next = r#"<https://hub.example/api?cursor=x%3D>; rel="next""#;
        assert_eq!(next_page(next), Some("https://hub.example/api?cursor=x%3D"));
        assert_eq!(next_page(r#"</first>; rel="prev", </second>; a=b; rel=next"#), Some("/second"));
        for none in ["", "<", "<a>", r#"<a>; rel="last""#, "rel=next"] {
            assert_eq!(next_page(none), None, "{none}");
        }
    }
}
