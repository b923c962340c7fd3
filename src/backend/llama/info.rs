//! What is known of a loaded GGUF model, and its vocabulary, as plain data.

use llama_cpp_sys_2 as sys;
use serde_json::{json, Map, Value};

use super::gguf::{self, Summary};
use super::native::{piece, NativeModel};
use crate::backend::{ModelInfo, SamplingDefaults, Vocab};
use crate::error::Result;

/// The context the model was trained for, in tokens.
pub(super) fn trained_context(model: &NativeModel) -> u32 {
    // SAFETY: the model is alive; the call reads a field.
    let trained = unsafe { sys::llama_model_n_ctx_train(model.as_ptr()) };
    u32::try_from(trained).unwrap_or(0)
}

/// All tokens' bytes, and which of them end an answer.
pub(super) fn vocab(model: &NativeModel) -> Result<Vocab> {
    let native = model.vocab();
    // SAFETY: the vocabulary is alive; the call reads a field.
    let count = unsafe { sys::llama_vocab_n_tokens(native) };
    let mut vocab = Vocab::default();
    let mut buffer = vec![0; 256];
    for token in 0..count {
        let length = piece(model, token, false, &mut buffer)?;
        // SAFETY: the vocabulary is alive and `token` is one of its ids.
        let ends = unsafe { sys::llama_vocab_is_eog(native, token) };
        vocab.push(&buffer[..length], ends);
    }
    Ok(vocab)
}

/// The text of a special token; empty where the model has none.
fn special(model: &NativeModel, token: i32) -> Result<String> {
    if token < 0 {
        return Ok(String::new());
    }
    let mut buffer = vec![0; 256];
    let length = piece(model, token, true, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

pub(super) fn describe(
    path: &str,
    summary: &Summary,
    model: &NativeModel,
    vocab: &Vocab,
    n_threads: u32,
) -> Result<ModelInfo> {
    let native = model.vocab();
    // SAFETY: the vocabulary is alive; the call reads a field.
    let bos = special(model, unsafe { sys::llama_vocab_bos(native) })?;
    // SAFETY: as above.
    let eos = special(model, unsafe { sys::llama_vocab_eos(native) })?;
    let stem = std::path::Path::new(path).file_stem();
    let file_name = stem.map(|stem| stem.to_string_lossy().into_owned());
    Ok(ModelInfo {
        name: file_name.unwrap_or_else(|| path.to_owned()),
        chat_template: summary.chat_template.clone(),
        bos,
        eos,
        sampling: sampling(&summary.sampling),
        details: details(path, summary, model, vocab, n_threads),
    })
}

/// What the file's author recommends, as far as it is in range.
fn sampling(given: &gguf::SamplingDefaults) -> SamplingDefaults {
    let within = |value: Option<f32>, high: f32| value.filter(|value| (0.0..=high).contains(value));
    SamplingDefaults {
        temperature: within(given.temperature, 100.0),
        top_p: within(given.top_p, 1.0),
        top_k: given.top_k.and_then(|top_k| u32::try_from(top_k).ok()),
        min_p: within(given.min_p, 1.0),
        repeat_penalty: within(given.repeat_penalty, 100.0).filter(|penalty| *penalty > 0.0),
        repeat_last_n: None,
    }
}

fn details(
    path: &str,
    summary: &Summary,
    model: &NativeModel,
    vocab: &Vocab,
    n_threads: u32,
) -> Map<String, Value> {
    let native = model.as_ptr();
    // SAFETY: the model is alive; the call reads a field.
    let parameters = unsafe { sys::llama_model_n_params(native) };
    // SAFETY: as above.
    let weights = unsafe { sys::llama_model_size(native) };
    // SAFETY: as above.
    let n_embd = unsafe { sys::llama_model_n_embd(native) };
    // SAFETY: as above.
    let n_layer = unsafe { sys::llama_model_n_layer(native) };
    let mut details = Map::new();
    let mut put = |key: &str, value: Value| details.insert(key.to_owned(), value);
    put("path", json!(path));
    put("title", json!(summary.name));
    put("architecture", json!(summary.architecture.name));
    put("parameters", json!(parameters));
    put("weights_bytes", json!(weights));
    put("file_bytes", json!(summary.file_bytes));
    put("context_length_trained", json!(trained_context(model)));
    put("embedding_length", json!(n_embd));
    put("layers", json!(n_layer));
    put("vocabulary", json!(vocab.len()));
    put("quantization", json!(quantization(model)));
    put("backend", json!("llama.cpp"));
    put("device", json!("CPU"));
    put("threads", json!(n_threads));
    details
}

/// The kind of most weights, such as `Q4_1`.
fn quantization(model: &NativeModel) -> String {
    // SAFETY: the model is alive; the call reads a field.
    let file_type = unsafe { sys::llama_model_ftype(model.as_ptr()) };
    // SAFETY: returns a static string, or null for a number it does not know.
    let name = unsafe { sys::llama_ftype_name(file_type) };
    if name.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: not null, static and NUL-terminated.
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    name.to_string_lossy().into_owned()
}
