//! What a folder in OpenVINO's format is, by its files: Whisper, which runs here, or another kind.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// No `config.json` comes near it.
const MAX_BYTES: u64 = 16 << 20;

/// What `config.json` says, where there is one.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// Such as `qwen3`.
    pub(super) model_type: Option<String>,
    /// `max_position_embeddings`.
    pub(super) positions: Option<u64>,
    /// Such as `Qwen3ForCausalLM`.
    architecture: Option<String>,
}

impl Config {
    pub(super) fn read(folder: &Path) -> Self {
        let mut text = String::new();
        let file = File::open(folder.join("config.json")).ok();
        let read = file.and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text).ok());
        let value: Value =
            read.and_then(|_| serde_json::from_str(&text).ok()).unwrap_or(Value::Null);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            model_type: text(&value["model_type"]),
            positions: value["max_position_embeddings"].as_u64(),
            architecture: text(&value["architectures"][0]),
        }
    }
}

/// Refuses a folder that holds a model of a kind that does not run here, by that kind.
pub(super) fn check(folder: &Path) -> Result<()> {
    let has = |name: &str| folder.join(name).exists();
    let is_other = has("openvino_model.xml") || has("openvino_language_model.xml");
    if !is_other || has("openvino_encoder_model.xml") {
        return Ok(());
    }
    let architecture = Config::read(folder).architecture.unwrap_or_default();
    let writes = ["ForCausalLM", "ForConditionalGeneration", "LMHeadModel"];
    let is_llm = has("openvino_language_model.xml")
        || has("openvino_detokenizer.xml")
        || writes.iter().any(|ending| architecture.ends_with(ending));
    let what = if is_llm { "LLM" } else { "embedding model" };
    let advice = if is_llm { "; take the model's GGUF file" } else { "" };
    let message = format!(
        "{}: an OpenVINO {what}: no backend of this build runs it yet{advice}",
        folder.display()
    );
    Err(Error::new(ErrorKind::UnsupportedModel, message))
}
