//! Names that a hub gives its files: which of them may become paths here, and their folders.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::fault::Fault;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of one part of a path; what we add to a name while it is fetched needs some too.
const PART_MAX: usize = 200;
/// Bytes of a path.
const PATH_MAX: usize = 1000;
/// What our own files beside a model begin with.
pub(super) const OURS: &str = ".fluid";

/// Refuses a path that could lead out of its folder, or that some system cannot have: parts with `..`,
/// absolute ones, drives, backslashes, control characters, Windows' devices, names of our own files.
pub(super) fn check(path: &str) -> Result<()> {
    let refuse = |cause: &str| {
        let message = format!("\"{}\" cannot be a file here: {cause}", path.escape_debug());
        Err(Error::new(ErrorKind::InvalidModel, message))
    };
    if path.is_empty() || path.len() > PATH_MAX {
        return refuse("it is empty or too long");
    }
    for part in path.split('/') {
        let is_forbidden =
            |c: char| c.is_control() || matches!(c, '\\' | ':' | '<' | '>' | '"' | '|' | '?' | '*');
        if matches!(part, "" | "." | "..") {
            return refuse("it has an empty part, or one of dots");
        }
        if part.contains(is_forbidden) {
            return refuse("it has a character that paths cannot have everywhere");
        }
        if part.len() > PART_MAX || part.ends_with(['.', ' ']) || is_device(part) {
            return refuse("Windows has no such name");
        }
        if part.to_ascii_lowercase().starts_with(OURS) || part.ends_with(".part") {
            return refuse("libfluid itself uses such names");
        }
    }
    Ok(())
}

/// Whether Windows opens a device by this name, whatever follows its first dot.
fn is_device(part: &str) -> bool {
    let name = part.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&name.as_str()) {
        return true;
    }
    let number = name.strip_prefix("COM").or_else(|| name.strip_prefix("LPT"));
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"];
    number.is_some_and(|number| digits.contains(&number))
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
        for path in [
            "config.json",
            ".gitattributes",
            "a/b/c-00001-of-00003.gguf",
            "Modèle 1 (neu).gguf",
            "console.txt",
            "com10/lpt.txt",
        ] {
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
            "a/..",
            "a/../b",
            "a//b",
            "a/",
            ".",
            "./a",
            "a\\b",
            "..\\a",
            "C:",
            "C:a",
            "c:/a",
            "a:stream",
            "\\\\host\\share",
            "a\nb",
            "a\0b",
            "\u{7f}",
            "\u{85}",
            "con",
            "CON.txt",
            "aux .x",
            "a/Nul",
            "com1.gguf",
            "LPT²",
            "a.",
            "a ",
            "a?",
            "a*",
            ".fluid.json",
            "a/.Fluid-lock",
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
