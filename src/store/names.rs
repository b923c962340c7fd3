//! What a model's name says, and which names are no names: none leads out of the model folder.
//!
//! Links that somebody put into the model folder are followed: whoever can make them can put models
//! there as well. A name itself never leads out.
#![forbid(unsafe_code)]

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The forms that a name may have, for messages.
pub(super) const FORMS: &str = "a name is a path, a model of the model folder (\"name\", \"name:Q8_0\", \
     \"name/file.gguf\"), or one of the hub (\"owner/repo\", \"owner/repo:Q8_0\", \"owner/repo@revision\", \
     \"owner/repo/file.gguf\")";

const LONGEST_PART: usize = 255;
const MOST_PARTS: usize = 8;
/// The hub's own bound for owners and repositories.
const LONGEST_HUB_PART: usize = 96;
const LONGEST_QUANT: usize = 32;

/// A name that is no path outside the model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// A path relative to a kind's folder, with `/`.
    pub path: String,
    /// The quantisation that is wanted, as in `name:Q8_0`.
    pub quant: Option<String>,
    /// The same as a hub understands it, where it can.
    pub remote: Option<Remote>,
}

/// A repository of a hub, or one file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit; `None` where the name says none.
    pub revision: Option<String>,
    /// The path of a GGUF file in it.
    pub file: Option<String>,
}

impl Name {
    /// Reads `name`. `InvalidArgument` says why it is none.
    pub fn parse(name: &str) -> Result<Self> {
        let wrong = |why: String| {
            let shown: String = name.chars().take(LONGEST_PART).collect();
            let message = format!("\"{shown}\" is no name of a model: {why}");
            Error::new(ErrorKind::InvalidArgument, message)
        };
        let (path, quant) = split_quant(name).map_err(wrong)?;
        check_path(path).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            quant: quant.map(str::to_owned),
            remote: Remote::parse(path),
        })
    }

    /// Whether it is one word, as short names are.
    pub fn is_single(&self) -> bool {
        !self.path.contains('/')
    }
}

impl Remote {
    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.splitn(3, '/');
        let (owner, repo, file) = (parts.next()?, parts.next()?, parts.next());
        // `folder/file.gguf` is a file of the model folder.
        if file.map_or(is_gguf(repo), |file| !is_gguf(file)) {
            return None;
        }
        let (repo, revision) = match repo.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (repo, None),
        };
        let is_sound =
            [owner, repo].iter().all(|part| is_hub_part(part)) && revision.is_none_or(is_revision);
        is_sound.then(|| Self {
            repo: format!("{owner}/{repo}"),
            revision: revision.map(str::to_owned),
            file: file.map(str::to_owned),
        })
    }
}

/// Whether `name` can only be meant as a path: an absolute one, or one that begins at the current
/// folder or the one around it.
pub(super) fn is_path(name: &str) -> bool {
    let begins = |start: &str| {
        name.strip_prefix(start).is_some_and(|rest| rest.starts_with(std::path::is_separator))
    };
    Path::new(name).is_absolute() || begins(".") || begins("..")
}

/// Whether a file of this name holds a GGUF model.
pub(super) fn is_gguf(name: &str) -> bool {
    let ending = name.len().checked_sub(".gguf".len()).and_then(|at| name.get(at..));
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case(".gguf"))
}

/// Checks that `path` is a relative path with `/` that stays below the folder it is joined to, on
/// every system; else says why not.
pub(crate) fn check_path(path: &str) -> std::result::Result<(), String> {
    if path.starts_with('/') {
        return Err("it is an absolute path, and there is no such file or folder".to_owned());
    }
    if path.split('/').count() > MOST_PARTS {
        return Err(format!("it has more than {MOST_PARTS} parts"));
    }
    path.split('/').try_for_each(check_part)
}

fn check_part(part: &str) -> std::result::Result<(), String> {
    let has = |what: &dyn Fn(char) -> bool| part.chars().any(what);
    let why = match part {
        "" => "a part of it is empty",
        ".." => "it has \"..\" in it, and there is no such file or folder",
        _ if has(&char::is_control) => "it has a control character in it",
        _ if part.starts_with('.') => "a part of it begins with a dot",
        _ if part.ends_with(['.', ' ']) || part.starts_with(' ') => {
            "a part of it begins or ends with a space, or ends with a dot"
        }
        _ if has(&|c| c == '\\') => "it has a backslash in it; use \"/\"",
        _ if is_drive(part) => "it has a drive letter in it, and there is no such file or folder",
        _ if has(&|c| "<>:\"|?*".contains(c)) => {
            "it has one of <>:\"|?* in it, which not every system allows"
        }
        _ if part.len() > LONGEST_PART => "a part of it is longer than 255 bytes",
        _ if is_reserved(part) => "a part of it is the name of a device on Windows",
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

fn is_drive(part: &str) -> bool {
    let mut chars = part.chars();
    chars.next().is_some_and(|letter| letter.is_ascii_alphabetic()) && chars.next() == Some(':')
}

/// What Windows takes for a device, with any extension.
fn is_reserved(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_uppercase();
    let is_port = |digits: &str| {
        let mut digits = digits.chars();
        let first = digits.next();
        first.is_some_and(|c| c.is_ascii_digit() || "\u{b9}\u{b2}\u{b3}".contains(c))
            && digits.next().is_none()
    };
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || ["COM", "LPT"].iter().any(|name| stem.strip_prefix(name).is_some_and(is_port))
}

/// `name:QUANT` in its two halves.
fn split_quant(name: &str) -> std::result::Result<(&str, Option<&str>), String> {
    let last = name.rfind('/').map_or(0, |at| at + 1);
    let Some((before, quant)) = name[last..].split_once(':') else {
        return Ok((name, None));
    };
    let path = &name[..last + before.len()];
    if path.len() == 1 {
        return Err("it begins with a drive letter, and there is no such file".to_owned());
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if quant.is_empty() || quant.len() > LONGEST_QUANT || !quant.chars().all(is_word) {
        return Err("behind \":\" belongs a quantisation, such as Q4_K_M".to_owned());
    }
    if is_gguf(path) {
        return Err("a file has one quantisation; leave out what follows \":\"".to_owned());
    }
    Ok((path, Some(quant)))
}

/// Whether it is `owner/name` by the hub's rules.
pub(super) fn is_repo(repo: &str) -> bool {
    repo.split_once('/').is_some_and(|(owner, name)| is_hub_part(owner) && is_hub_part(name))
}

/// An owner or a repository, by the hub's rules.
fn is_hub_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_outer = |c: char| "-.".contains(c);
    part.len() <= LONGEST_HUB_PART
        && !part.is_empty()
        && part.chars().all(is_word)
        && !part.starts_with(is_outer)
        && !part.ends_with(is_outer)
        && !["--", ".."].iter().any(|twice| part.contains(twice))
        && !part.ends_with(".git")
}

/// Whether a branch, tag or commit may be called so.
pub(super) fn is_revision(revision: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !revision.is_empty()
        && revision.len() <= LONGEST_HUB_PART
        && revision.chars().all(is_word)
        && revision.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !revision.contains("..")
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
