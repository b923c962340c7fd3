//! The JSON files of a Whisper folder, as optimum-intel exports it: each field that is used,
//! checked, with the file's name in every error.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{ErrorKind as IoKind, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// No file of a Whisper folder that is read here comes near this size; larger ones are refused
/// before they fill the memory.
const MAX_BYTES: u64 = 64 << 20;
/// Bounds far above every real model, so that a hostile file cannot ask for gigabytes.
const MAX_SIZE: u64 = 1 << 20;

/// The numbers of a model's shape, from `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Logits per step (`vocab_size`).
    pub vocabulary: u32,
    /// The most tokens a decode may have, prompt included (`max_target_positions`, 448).
    pub max_target_positions: usize,
    /// Positions of the encoder's output (`max_source_positions`, 1500).
    pub max_source_positions: usize,
    /// Mel bins of the input (`num_mel_bins`, 80 or 128).
    pub mel_bins: usize,
    /// Width of the encoder's output (`d_model`).
    pub width: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Attention heads in each of the decoder's layers.
    pub decoder_heads: usize,
}

/// The shape of the model in `folder`, by its `config.json`; errors as of
/// [`Vocabulary::read`](super::Vocabulary::read).
pub fn sizes(folder: &Path) -> Result<Sizes> {
    JsonFile::read(folder, "config.json")?.sizes()
}

/// One of the folder's JSON files.
pub(super) struct JsonFile {
    path: String,
    fields: Map<String, Value>,
}

impl JsonFile {
    /// Whether `name` is there. `NotFound` when it is missing.
    pub(super) fn find(folder: &Path, name: &str) -> Result<()> {
        let path = folder.join(name);
        match path.is_file() {
            true => Ok(()),
            false => Err(missing(&path.display().to_string())),
        }
    }

    /// Reads `name` in `folder`. `NotFound` when it is missing, `Io` when it cannot be read,
    /// `InvalidModel` when it is not one JSON object of at most 64 MiB.
    pub(super) fn read(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let shown = path.display().to_string();
        let bytes = read_bytes(&path, &shown)?;
        let value = serde_json::from_slice(&bytes).map_err(|e| {
            let message = format!("{shown} is not valid JSON ({e}); fetch the model again");
            Error::new(ErrorKind::InvalidModel, message)
        })?;
        match value {
            Value::Object(fields) => Ok(Self { path: shown, fields }),
            _ => Err(Error::new(
                ErrorKind::InvalidModel,
                format!("{shown} does not hold a JSON object"),
            )),
        }
    }

    /// An `InvalidModel` error about this file.
    pub(super) fn invalid(&self, message: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidModel, format!("{}: {message}", self.path))
    }

    /// The field `key`; `None` when missing or null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// Takes the field `key` out of the file.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.get_mut(key).map(Value::take).filter(|value| !value.is_null())
    }

    /// A whole number of 1 to about a million.
    fn size(&self, key: &str) -> Result<u32> {
        let value = self.get(key).ok_or_else(|| self.invalid(format!("`{key}` is missing")))?;
        let size = value.as_u64().filter(|size| (1..=MAX_SIZE).contains(size));
        let size = size.and_then(|size| u32::try_from(size).ok());
        size.ok_or_else(|| self.invalid(format!("`{key}` is {value}, not 1 to {MAX_SIZE}")))
    }

    /// A number of 0 to `u32::MAX`; `None` when missing.
    pub(super) fn number(&self, key: &str) -> Result<Option<u32>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
        number.map(Some).ok_or_else(|| self.invalid(format!("`{key}` is {value}, not a number")))
    }

    /// True or false; `None` when missing.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let flag = value.as_bool();
        flag.map(Some).ok_or_else(|| self.invalid(format!("`{key}` is {value}, not a boolean")))
    }

    /// A list of token ids below `limit`, sorted, each once; `None` when missing, or when it
    /// holds -1, which the reference implementation reads as "the usual ones".
    pub(super) fn tokens(&self, key: &str, limit: u32) -> Result<Option<Vec<u32>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.invalid(format!("`{key}` is no list")))?;
        if list.iter().any(|item| item.as_i64() == Some(-1)) {
            return Ok(None);
        }
        let mut ids = Vec::with_capacity(list.len());
        for item in list {
            let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
            ids.push(id.filter(|id| *id < limit).ok_or_else(|| {
                self.invalid(format!("`{key}` holds {item}, no token of {limit}"))
            })?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    /// The pairs of layer and head whose attention follows the speech; `None` when missing.
    pub(super) fn alignment_heads(&self, sizes: &Sizes) -> Result<Option<Vec<(usize, usize)>>> {
        let Some(value) = self.get("alignment_heads") else { return Ok(None) };
        let wrong = || self.invalid("`alignment_heads` is not a list of [layer, head] in range");
        let index = |value: &Value, limit: usize| {
            value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n < limit)
        };
        let mut heads = Vec::new();
        for pair in value.as_array().ok_or_else(wrong)? {
            let Some([layer, head]) = pair.as_array().map(Vec::as_slice) else {
                return Err(wrong());
            };
            let layer = index(layer, sizes.decoder_layers).ok_or_else(wrong)?;
            let head = index(head, sizes.decoder_heads).ok_or_else(wrong)?;
            if !heads.contains(&(layer, head)) {
                heads.push((layer, head));
            }
        }
        Ok(Some(heads).filter(|heads| !heads.is_empty()))
    }

    /// The model's shape; for `config.json`.
    pub(super) fn sizes(&self) -> Result<Sizes> {
        let size = |key| self.size(key).map(|n| n as usize);
        Ok(Sizes {
            vocabulary: self.size("vocab_size")?,
            max_target_positions: size("max_target_positions")?,
            max_source_positions: size("max_source_positions")?,
            mel_bins: size("num_mel_bins")?,
            width: size("d_model")?,
            decoder_layers: size("decoder_layers")?,
            decoder_heads: size("decoder_attention_heads")?,
        })
    }
}

fn missing(shown: &str) -> Error {
    let message =
        format!("{shown} is missing; a Whisper model is a folder as optimum-intel exports it");
    Error::new(ErrorKind::NotFound, message)
}

fn read_bytes(path: &Path, shown: &str) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| match e.kind() {
        IoKind::NotFound => missing(shown),
        _ => Error::new(ErrorKind::Io, format!("cannot read {shown}: {e}")),
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("{shown} is larger than 64 MiB; it is no file of a Whisper model");
        return Err(Error::new(ErrorKind::InvalidModel, message));
    }
    Ok(bytes)
}
