//! Which files of a repository are a model, and so are fetched.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::gguf_files::{self, GgufModel};
use super::hub::{RemoteFile, Snapshot};
use super::names::{self, is_gguf};
use super::{Kind, Wanted};
use crate::error::{Error, ErrorKind, Result};

/// Names of files in one message.
const MOST_NAMED: usize = 12;
/// Far more than any model's, which a hostile repository could have.
const MOST_FILES: usize = 2_048;

/// The files of `snapshot` that are the model `wanted`, each with its place in `wanted.folder`, which is
/// its path in the repository:
///
/// - a GGUF file that is named, with the other parts of a split one;
/// - else a GGUF model: the quantisation that is asked for, or the first there is of
///   [`PREFERRED`](super::PREFERRED); never vision parts (`mmproj`) and importance matrices (`imatrix`),
///   models that draft for others only where there is nothing else;
/// - else OpenVINO's networks at the top of the repository with the files beside them that describe
///   model, tokeniser and preprocessing; no weights in other formats. For Whisper these come first.
///
/// # Errors
/// `NotFound`: the repository has no such file or model; the message names what it has.
/// `InvalidModel`: parts are missing, or a file has a path that no folder may have.
/// `UnsupportedModel`: it holds models, but in no format that this library knows.
pub fn choose(wanted: &Wanted, snapshot: &Snapshot) -> Result<Vec<(RemoteFile, PathBuf)>> {
    let networks = || openvino(wanted, snapshot);
    let chosen = match (&wanted.file, &wanted.quant) {
        (Some(file), _) => named(file, wanted, snapshot)?,
        (None, None) if wanted.kind == Kind::Whisper && !networks().is_empty() => networks(),
        (None, quant) => match gguf(quant.as_deref(), wanted, snapshot)? {
            files if files.is_empty() && quant.is_none() => networks(),
            files => files,
        },
    };
    if chosen.is_empty() {
        return Err(none(wanted, snapshot));
    }
    if chosen.len() > MOST_FILES {
        let message = format!("{}: a model of {} files; it is none", wanted.repo, chosen.len());
        return Err(Error::new(ErrorKind::InvalidModel, message));
    }
    chosen.into_iter().map(|file| Ok((file.clone(), place(file, wanted)?))).collect()
}

/// What is loaded of the `files` that [`choose`] chose, once they are in their places.
pub fn path_of(wanted: &Wanted, files: &[(RemoteFile, PathBuf)]) -> PathBuf {
    match files.first() {
        Some((first, place)) if is_gguf(&first.path) => wanted.folder.join(place),
        _ => wanted.folder.clone(),
    }
}

/// Whether a load of the `files` that [`choose`] chose can work, as far as their names tell: before
/// gigabytes are fetched in vain. `UnsupportedModel` says what they are.
pub fn check_runnable(wanted: &Wanted, files: &[(RemoteFile, PathBuf)]) -> Result<()> {
    let has = |name: &str| files.iter().any(|(file, _)| file.path == name);
    let is_gguf = files.iter().all(|(file, _)| is_gguf(&file.path));
    if is_gguf || has("openvino_encoder_model.xml") {
        return Ok(());
    }
    let what = match wanted.kind {
        Kind::Embedding => "an OpenVINO embedding model",
        _ => "an OpenVINO LLM",
    };
    let message = format!(
        "{}: {what}: no backend of this build runs it yet; take a repository of GGUF files",
        wanted.repo
    );
    Err(Error::new(ErrorKind::UnsupportedModel, message))
}

/// Where a file comes to lie. What a hub says is checked as what a person types.
fn place(file: &RemoteFile, wanted: &Wanted) -> Result<PathBuf> {
    names::check_path(&file.path).map_err(|why| {
        let message = format!("{}: the file \"{}\" cannot lie here: {why}", wanted.repo, file.path);
        Error::new(ErrorKind::InvalidModel, message)
    })?;
    Ok(file.path.split('/').collect())
}

fn named<'a>(file: &str, wanted: &Wanted, snapshot: &'a Snapshot) -> Result<Vec<&'a RemoteFile>> {
    match find(snapshot, file) {
        Some(_) => parts(&GgufModel::of(file), wanted, snapshot),
        None => {
            let message = format!("{}: has no file {file}; {}", wanted.repo, what_is(snapshot));
            Err(Error::new(ErrorKind::NotFound, message))
        }
    }
}

fn gguf<'a>(
    quant: Option<&str>,
    wanted: &Wanted,
    snapshot: &'a Snapshot,
) -> Result<Vec<&'a RemoteFile>> {
    let models = gguf_files::models(snapshot.files.iter().map(|file| &*file.path));
    let models: Vec<&GgufModel> = models.iter().collect();
    match (gguf_files::pick(&models, quant), quant) {
        (Some(model), _) => parts(model, wanted, snapshot),
        (None, None) => Ok(Vec::new()),
        (None, Some(quant)) => {
            let message =
                format!("{}: has no GGUF file of {quant}; {}", wanted.repo, what_is(snapshot));
            Err(Error::new(ErrorKind::NotFound, message))
        }
    }
}

fn parts<'a>(
    model: &GgufModel,
    wanted: &Wanted,
    snapshot: &'a Snapshot,
) -> Result<Vec<&'a RemoteFile>> {
    let part = |part: &String| {
        find(snapshot, part).ok_or_else(|| {
            let message = format!("{}: the part {part} of its model is missing", wanted.repo);
            Error::new(ErrorKind::InvalidModel, message)
        })
    };
    model.parts.iter().map(part).collect()
}

/// OpenVINO's networks and what is read with them; nothing where there is no network.
fn openvino<'a>(wanted: &Wanted, snapshot: &'a Snapshot) -> Vec<&'a RemoteFile> {
    let is_there = |path: &str| find(snapshot, path).is_some();
    let has_main = match wanted.kind {
        Kind::Whisper => is_there("openvino_encoder_model.xml"),
        _ => is_there("openvino_model.xml") || is_there("openvino_language_model.xml"),
    };
    if !has_main {
        return Vec::new();
    }
    snapshot.files.iter().filter(|file| belongs(&file.path, &is_there)).collect()
}

/// Whether a file at the top of a repository belongs to its networks.
fn belongs(path: &str, is_there: &dyn Fn(&str) -> bool) -> bool {
    let Some((stem, ending)) = path.rsplit_once('.').filter(|_| !path.contains('/')) else {
        return false;
    };
    match ending {
        _ if path.starts_with('.') => false,
        "xml" => is_there(&format!("{stem}.bin")),
        "bin" => is_there(&format!("{stem}.xml")),
        // `model.safetensors.index.json` describes files that are left out.
        "json" => !stem.ends_with(".index"),
        // Vocabularies; licences and notes are no part of a model.
        "txt" => matches!(stem, "merges" | "vocab"),
        "jinja" | "model" | "tiktoken" | "spm" => true,
        "onnx" => stem.starts_with("silero_vad"),
        _ => false,
    }
}

fn find<'a>(snapshot: &'a Snapshot, path: &str) -> Option<&'a RemoteFile> {
    snapshot.files.iter().find(|file| file.path == path)
}

fn none(wanted: &Wanted, snapshot: &Snapshot) -> Error {
    let has = |path: &str| find(snapshot, path).is_some();
    let is_whisper = has("openvino_encoder_model.xml") && wanted.kind != Kind::Whisper;
    let advice = match (wanted.kind, is_whisper) {
        (_, true) => "it is a Whisper model; say \"model_type\": \"whisper\"",
        (Kind::Whisper, _) => "no Whisper model in OpenVINO's format is in it",
        _ => "no model in GGUF or OpenVINO's format is in it",
    };
    let message = format!("{}: {advice}; {}", wanted.repo, what_is(snapshot));
    Error::new(ErrorKind::UnsupportedModel, message)
}

/// What a repository has, in words.
fn what_is(snapshot: &Snapshot) -> String {
    let is_hidden = |path: &str| path.starts_with('.');
    let all: Vec<&str> =
        snapshot.files.iter().map(|file| &*file.path).filter(|path| !is_hidden(path)).collect();
    let ggufs: Vec<&str> = all.iter().copied().filter(|path| is_gguf(path)).collect();
    let named = if ggufs.is_empty() { all } else { ggufs };
    if named.is_empty() {
        return "it has no files".to_owned();
    }
    let more = match named.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("it has {}{more}", named[..named.len().min(MOST_NAMED)].join(", "))
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
