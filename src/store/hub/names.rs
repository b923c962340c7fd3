//! Names that a hub gives its files: which of them may become paths here, and their folders.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::fault::Fault;
use crate::error::{Error, ErrorKind, Result};
use crate::store;

/// Bytes of one part of a path; what we add to a name while it is fetched needs some too.
const PART_MAX: usize = 200;
/// What our own files beside a model begin with; no model's file begins with a dot.
pub(super) const OURS: &str = ".fluid";

/// Refuses a path that the store's rules for names refuse, and what would get in the way of our own files.
pub(super) fn check(path: &str) -> Result<()> {
    let is_ours = |part: &str| part.len() > PART_MAX || part.ends_with(".part");
    let checked = match store::names::check_path(path) {
        Ok(()) if path.split('/').any(is_ours) => {
            Err("a part of it is too long, or ends as what is being fetched".to_owned())
        }
        checked => checked,
    };
    checked.map_err(|why| {
        let message = format!("\"{}\" cannot be a file here: {why}", path.escape_debug());
        Error::new(ErrorKind::InvalidModel, message)
    })
}

/// The same for a place in a model's folder.
pub(super) fn check_place(place: &Path) -> Result<()> {
    let normal = |part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    };
    let parts: Option<Vec<&str>> = place.components().map(normal).collect();
    match parts {
        Some(parts) => check(&parts.join("/")),
        None => check(".."),
    }
}

/// Makes the folders that `place` needs below `folder`. One that is a link is an error: what is fetched
/// stays inside.
pub(super) fn make_parents(folder: &Path, place: &Path) -> std::result::Result<PathBuf, Fault> {
    let mut path = folder.to_path_buf();
    fs::create_dir_all(&path).map_err(|error| Fault::of_file(&path, &error))?;
    let parents = place.parent().into_iter().flat_map(Path::components);
    for part in parents {
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let entry = fs::symlink_metadata(&path);
                let entry = entry.map_err(|error| Fault::of_file(&path, &error))?;
                if !entry.is_dir() {
                    return Err(Fault::Failed(no_folder(&path)));
                }
            }
            Err(error) => return Err(Fault::of_file(&path, &error)),
        }
    }
    Ok(folder.join(place))
}

fn no_folder(path: &Path) -> Error {
    let message =
        format!("{}: a file or a link, where a folder is needed; remove it", path.display());
    Error::new(ErrorKind::Io, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_pass() {
        for path in ["config.json", "a/b/c-00001-of-00003.gguf", "Modèle 1 (neu).gguf"] {
            check(path).unwrap_or_else(|error| panic!("{error}"));
            check_place(Path::new(path)).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let long = "a".repeat(201);
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a//b",
            ".",
            "a\\b",
            "C:a",
            "\\\\host\\share",
            "a\nb",
            "a\0b",
            "con",
            "a.",
            ".fluid.json",
            "a/.fluid-lock",
            "a.part",
            &long,
        ] {
            let error = check(path).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::InvalidModel);
        }
        for place in ["", "..", "../a", "/a", "a/../../b"] {
            check_place(Path::new(place)).expect_err(place);
        }
    }
}
