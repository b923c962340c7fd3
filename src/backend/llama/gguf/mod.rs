//! Our own check of a GGUF file before llama.cpp sees it.
//!
//! llama.cpp answers a damaged or hostile file with `abort()`, a division by zero, a null
//! pointer or an endless loop, any of which ends the host's process. Whatever can lead there is
//! refused here, with the key or tensor at fault named.
#![forbid(unsafe_code)]

mod adapter;
mod architecture;
mod heads;
mod hparams;
mod metadata;
mod mixture;
mod part;
mod ranges;
mod reader;
mod rope;
mod special;
mod split;
mod state;
mod summary;
mod tensors;
mod tokenizer;
mod weights;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use part::Part;
use reader::{invalid, unsupported};

pub(crate) use adapter::{check as check_adapter, AdapterSummary};
pub(crate) use architecture::{Architecture, Task};
pub(crate) use summary::{SamplingDefaults, Summary};

/// Checks the model at `path`, with all its parts, and returns what it says about itself.
///
/// Reads the header only, with memory bounded by its size. The error is `NotFound`, `Io`,
/// `InvalidModel` or `UnsupportedModel`, and its message names the file and the cause.
pub(crate) fn check(path: &Path) -> Result<Summary> {
    let first = open(path)?;
    let paths = first.part_count().and_then(|count| match count {
        0 | 1 => Ok(vec![path.to_path_buf()]),
        count => split::part_paths(path, count),
    });
    let paths = paths.map_err(|error| at(path, &error))?;
    let mut parts = vec![first];
    for (index, path) in paths.iter().enumerate().skip(1) {
        let part = open(path)?;
        part.check_index(index).map_err(|error| at(path, &error))?;
        parts.push(part);
    }
    check_parts(&parts, paths).map_err(|error| at(path, &error))
}

/// Checks what only all parts together can show: the model itself.
fn check_parts(parts: &[Part], files: Vec<PathBuf>) -> Result<Summary> {
    let Some(first) = parts.first() else {
        return Err(invalid("has no parts"));
    };
    if parts.len() > 1 {
        first.check_index(0)?;
    }
    let tensors = parts.iter().flat_map(|part| &part.tensors);
    let mut names = HashSet::new();
    if let Some(twice) = tensors.clone().find(|tensor| !names.insert(tensor.name.as_str())) {
        return Err(invalid(format!("tensor '{}' is in two parts", twice.name)));
    }
    first.check_tensor_count(names.len())?;
    let architecture = find_architecture(first)?;
    let hparams = hparams::check(&first.metadata, architecture)?;
    let vocabulary = tokenizer::check(&first.metadata, architecture)?;
    hparams.check_tensors(&first.metadata, &tensors.collect::<Vec<_>>(), &vocabulary)?;
    Summary::new(parts, files, &hparams, &vocabulary)
}

fn find_architecture(first: &Part) -> Result<Architecture> {
    let kind = first.metadata.text("general.type")?;
    if let Some(kind) = kind.filter(|kind| kind != "model") {
        return Err(unsupported(format!("is a GGUF file of type '{kind}', not a language model")));
    }
    let name = first
        .metadata
        .text("general.architecture")?
        .ok_or_else(|| invalid("key 'general.architecture' is missing"))?;
    if name == "clip" {
        return Err(unsupported(
            "is the vision part (mmproj) of a model; name the language model's file instead",
        ));
    }
    Architecture::find(&name).ok_or_else(|| {
        unsupported(format!("key 'general.architecture' is '{name}', which this build cannot run"))
    })
}

fn open(path: &Path) -> Result<Part> {
    let metadata = std::fs::metadata(path).map_err(|error| at(path, &from_io(&error)))?;
    // Opening a FIFO would block, and a device may never end.
    if !metadata.is_file() {
        return Err(at(path, &invalid("is not a file; name a .gguf file")));
    }
    let file = File::open(path).map_err(|error| at(path, &from_io(&error)))?;
    Part::read(file).map_err(|error| at(path, &error))
}

fn from_io(error: &std::io::Error) -> Error {
    match error.kind() {
        IoErrorKind::NotFound => Error::new(ErrorKind::NotFound, "there is no such file"),
        _ => Error::new(ErrorKind::Io, format!("cannot be opened: {error}")),
    }
}

fn at(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {}", path.display(), error.message()))
}
