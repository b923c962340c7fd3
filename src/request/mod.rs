//! What a request means: OpenAI's fields and our own options as plain, checked data.
#![forbid(unsafe_code)]

mod doctor;
mod download;
mod embed;
mod fields;
mod generate;
mod grammar;
mod kv_options;
mod lora;
mod messages;
mod models;
mod options;
mod output;
mod reasoning;
mod rerank;
mod sampling;
mod speculative;
mod tokenize;
mod tools;
mod transcribe;
mod vad;

pub use doctor::DoctorOptions;
pub use download::DownloadOptions;
pub use embed::{EmbedInput, EmbedRequest, Pooling};
pub use generate::{ContextShift, GenerateRequest, Prompt};
pub use kv_options::{CacheType, FlashAttention, KvOptions, ThreadOptions, ThreadPriority};
pub use lora::{LoraChoice, LoraFile, LoraId};
pub use models::ModelsRequest;
pub use options::{EngineOptions, LoadOptions};
pub use output::OutputFields;
pub use reasoning::Reasoning;
pub use rerank::RerankRequest;
pub use sampling::{BanFields, SamplingFields};
pub use speculative::{DraftKind, DraftOptions, SpeculativeFields};
pub use tokenize::{DetokenizeRequest, TokenizeInput, TokenizeRequest};
pub use tools::{Function, Tools};
pub use transcribe::{ResponseFormat, SpeechTask, TranscribeRequest};
pub use vad::VadOptions;

use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// Parses `text` as one JSON object; the error names line and column.
fn parse_object(text: &str, what: &str) -> Result<Map<String, Value>> {
    if text.trim().is_empty() {
        let message = format!("{what}: is empty; give a JSON object");
        return Err(Error::new(ErrorKind::InvalidJson, message));
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::InvalidJson, format!("{what}: {error}")))?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("{what}: expected a JSON object, got {}", fields::kind(&other)),
        )),
    }
}
