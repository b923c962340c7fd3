//! LoRA adapters: the files of a load, and what a request chooses of them.
#![forbid(unsafe_code)]

use std::path::Path;

use serde_json::Value;

use super::fields::{kind, Fields};
use super::options::refuse_unknown;
use crate::error::{Error, Result};

/// Adapters of one model at most.
const MOST: usize = 64;

/// An adapter to load.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFile {
    /// A GGUF file.
    pub path: String,
    /// What requests call it; by default the file's name without its ending.
    pub name: String,
    /// For requests that choose none, -100 to 100; 0 leaves it out.
    pub scale: f32,
}

/// An adapter that a request wants.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraChoice {
    /// Which one.
    pub adapter: LoraId,
    /// How much of it, -100 to 100; 0 leaves it out.
    pub scale: f32,
}

/// Names one of a model's adapters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoraId {
    /// Its place in the load options, from 0.
    Number(u32),
    /// Its name there.
    Name(String),
}

impl LoraFile {
    /// `lora` of the load options.
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Vec<Self>> {
        let files = entries(fields, |fields| {
            let path = fields.string("path")?.filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| missing(fields, "path", "name a LoRA adapter's file"))?;
            let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
            let name = fields.string("name")?.unwrap_or(&stem).to_owned();
            let file = Self { path: path.to_owned(), name, scale: scale(fields)? };
            refuse_unknown(fields, "path, name, scale")?;
            Ok(file)
        })?;
        let files = files.unwrap_or_default();
        for (index, file) in files.iter().enumerate() {
            if files[..index].iter().any(|other| other.name == file.name) {
                let message = format!("\"{}\" names two adapters; give each its own", file.name);
                return Err(Error::invalid_request(&format!("lora[{index}].name"), message));
            }
        }
        Ok(files)
    }
}

impl LoraChoice {
    /// `lora` of a request; `None` leaves the choice to the load options.
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Option<Vec<Self>>> {
        entries(fields, |fields| {
            let id = fields.integer("id", 0..=MOST as i64)?;
            let adapter = match (id, fields.string("name")?) {
                (Some(id), None) => LoraId::Number(id as u32),
                (None, Some(name)) => LoraId::Name(name.to_owned()),
                _ => return Err(missing(fields, "id", "give id, or name, and not both")),
            };
            Ok(Self { adapter, scale: scale(fields)? })
        })
    }
}

fn missing(fields: &Fields<'_>, name: &str, message: &str) -> Error {
    Error::invalid_request(&fields.path(name), message)
}

fn scale(fields: &mut Fields<'_>) -> Result<f32> {
    Ok(fields.float("scale", -100.0..=100.0)?.unwrap_or(1.0))
}

/// What `read` makes of each object in the array `lora`.
fn entries<T>(
    fields: &mut Fields<'_>,
    read: impl Fn(&mut Fields<'_>) -> Result<T>,
) -> Result<Option<Vec<T>>> {
    let Some(items) = fields.array("lora")? else { return Ok(None) };
    if items.len() > MOST {
        let message = format!("{} adapters are more than {MOST}", items.len());
        return Err(Error::invalid_request("lora", message));
    }
    let entries = items.iter().enumerate().map(|(index, item)| match item {
        Value::Object(map) => read(&mut Fields::new(format!("lora[{index}]"), map)),
        other => Err(Error::invalid_request(
            &format!("lora[{index}]"),
            format!("expected an object, got {}", kind(other)),
        )),
    });
    Ok(Some(entries.collect::<Result<_>>()?))
}
