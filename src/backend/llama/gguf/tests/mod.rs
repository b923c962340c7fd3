//! Each way a file can be refused, and that sound files are not.

#[path = "../../../../../tests/support/gguf.rs"]
mod writer;

mod adapter;
mod container;
mod files;
mod model;

use std::io::Cursor;
use std::path::PathBuf;

use self::writer::{Gguf, Value};
use super::*;

fn check_bytes(bytes: &[u8]) -> Result<Summary> {
    let part = Part::read(Cursor::new(bytes))?;
    check_parts(&[part], vec![PathBuf::from("model.gguf")])
}

/// The model is refused for a reason of `kind`, and the message names `culprit`.
#[track_caller]
fn refused(model: &Gguf, kind: ErrorKind, culprit: &str) {
    refused_bytes(&model.to_bytes(), kind, culprit);
}

#[track_caller]
fn refused_bytes(bytes: &[u8], kind: ErrorKind, culprit: &str) {
    let error = check_bytes(bytes).expect_err(culprit);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(culprit), "{error} does not name {culprit}");
}

/// `key` with any of `values` makes the model invalid, and the message names the key.
#[track_caller]
fn refused_values(model: &Gguf, key: &str, values: &[Value]) {
    for value in values {
        let mut model = model.clone();
        model.set(key, value.clone());
        refused(&model, ErrorKind::InvalidModel, key);
    }
}

fn u32s(numbers: &[u32]) -> Vec<Value> {
    numbers.iter().map(|&number| Value::U32(number)).collect()
}

#[test]
fn sound_models_pass() {
    let makes = [
        writer::llama,
        writer::llama_spm,
        writer::gemma3,
        writer::qwen3moe,
        writer::gpt2,
        writer::mamba,
        writer::bert,
        writer::nomic_bert,
        writer::jina_bert,
    ];
    for make in makes {
        let model = make(1);
        let summary = check_bytes(&model.to_bytes()).expect("a sound model");
        assert_eq!((summary.n_layer, summary.n_embd, summary.n_ctx_train), (2, 32, 256));
    }
}

#[test]
fn the_summary_says_what_the_file_says() {
    let mut model = writer::llama(1);
    model.f32("general.sampling.temp", 0.5).set("general.sampling.top_k", Value::I32(20));
    let bytes = model.to_bytes();
    let summary = check_bytes(&bytes).expect("a sound model");
    assert_eq!(summary.architecture.name, "llama");
    assert_eq!(summary.name.as_deref(), Some("tiny"));
    assert_eq!(summary.file_bytes, bytes.len() as u64);
    assert_eq!((summary.file_type, summary.tensors.len(), summary.n_vocab), (Some("F32"), 20, 265));
    assert_eq!(summary.chat_template.as_deref(), Some(writer::CHAT_TEMPLATE));
    assert_eq!((summary.specials.bos, summary.specials.eos), (Some(262), Some(264)));
    assert_eq!((summary.sampling.temperature, summary.sampling.top_k), (Some(0.5), Some(20)));
    // Two layers, one KV head, 16 numbers of key and 16 of value.
    assert_eq!((summary.cached_per_token, summary.position_limit), (64, None));
    let learned = check_bytes(&writer::gpt2(1).to_bytes()).expect("a sound model");
    assert_eq!(learned.position_limit, Some(256));
}
