//! What is known of a loaded GGUF model, and its vocabulary, as plain data.

use llama_cpp_sys_2 as sys;
use serde_json::{json, Map, Value};

use super::context::ContextSize;
use super::gguf::{self, Summary};
use super::native::{piece, NativeModel};
use crate::backend::memory::Memory;
use crate::backend::{Infill, ModelInfo, SamplingDefaults, Vocab};
use crate::error::Result;

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
        if length == 0 {
            vocab.name_control(special(model, token)?);
        }
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
    size: &ContextSize,
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
        infill: infill(model),
        sampling: sampling(&summary.sampling),
        details: details(path, summary, model, size),
        // Known once there is a context.
        memory: Memory::default(),
    })
}

/// The tokens around a text that is to be filled in.
fn infill(model: &NativeModel) -> Option<Infill> {
    let native = model.vocab();
    let known = |token: i32| u32::try_from(token).ok();
    // SAFETY: the vocabulary is alive; this call and those below read a field.
    let wants_begin = unsafe { sys::llama_vocab_get_add_bos(native) };
    // SAFETY: as above.
    let begin = known(unsafe { sys::llama_vocab_bos(native) });
    Some(Infill {
        begin: begin.filter(|_| wants_begin),
        // SAFETY: as above.
        prefix: known(unsafe { sys::llama_vocab_fim_pre(native) })?,
        // SAFETY: as above.
        suffix: known(unsafe { sys::llama_vocab_fim_suf(native) })?,
        // SAFETY: as above.
        middle: known(unsafe { sys::llama_vocab_fim_mid(native) })?,
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
    size: &ContextSize,
) -> Map<String, Value> {
    let mut details = Map::new();
    let mut put = |key: &str, value: Value| details.insert(key.to_owned(), value);
    put("path", json!(path));
    put("title", json!(summary.name));
    put("architecture", json!(summary.architecture.name));
    put("quantization", json!(summary.file_type));
    put("parameters", json!(summary.n_parameters));
    put("weights_bytes", json!(summary.weights_bytes));
    put("tensors", json!(summary.tensors.len()));
    put("file_bytes", json!(summary.file_bytes));
    put("files", json!(summary.files.len()));
    put("context_length_trained", json!(summary.n_ctx_train));
    put("sliding_window", json!(summary.sliding_window));
    put("embedding_length", json!(summary.n_embd));
    put("layers", json!(summary.n_layer));
    put("heads", json!(summary.n_head));
    put("heads_kv", json!(summary.n_head_kv));
    put("vocabulary", json!(summary.n_vocab));
    put("tokenizer", json!(summary.tokenizer.name()));
    put("bos_token", json!(summary.specials.bos));
    put("eos_token", json!(summary.specials.eos));
    put("adds_bos", json!(summary.specials.adds_bos));
    put("adds_eos", json!(summary.specials.adds_eos));
    put("special_tokens", object(&summary.special_ids));
    put("general", object(&summary.general));
    put("backend", json!("llama.cpp"));
    put("gpu_layers", json!(model.gpu_layers()));
    put("threads", json!(size.n_threads));
    put("kv_cache_tokens", json!(size.n_cells));
    put("kv_unified", json!(size.unified));
    details
}

fn object<T: Clone + Into<Value>>(entries: &[(&str, T)]) -> Value {
    let entries = entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into()));
    Value::Object(entries.collect())
}
