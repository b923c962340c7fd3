//! Adapters that are damaged, of another kind, or of another model.

use super::writer::{adapter_of, Tensor};
use super::*;
use crate::backend::llama::gguf::adapter::check_part;

fn check(model: &Gguf, adapter: &Gguf) -> Result<AdapterSummary> {
    let summary = check_bytes(&model.to_bytes()).expect("a sound model");
    let part = Part::read(Cursor::new(adapter.to_bytes()))?;
    check_part(&part, &summary)
}

/// The adapter is refused for a reason of `kind`, and the message holds `words`.
#[track_caller]
fn refused_adapter(adapter: &Gguf, kind: ErrorKind, words: &str) {
    let error = check(&writer::llama(1), adapter).expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(words), "{error} does not say {words}");
}

fn tensor<'a>(adapter: &'a mut Gguf, name: &str) -> &'a mut Tensor {
    adapter.tensors.iter_mut().find(|tensor| tensor.name == name).expect(name)
}

#[test]
fn sound_adapters_pass() {
    for make in [writer::llama, writer::gemma3, writer::qwen3moe, writer::gpt2, writer::mamba] {
        let model = make(1);
        let adapter = adapter_of(&model, 2);
        let summary = check(&model, &adapter).expect("a sound adapter");
        assert_eq!((summary.alpha, summary.rank), (8.0, 4));
        assert_eq!(summary.n_weights * 2, adapter.tensors.len());
        let bytes: usize = adapter.tensors.iter().map(|tensor| tensor.data.len()).sum();
        assert_eq!(summary.bytes, bytes as u64);
    }
    let mut adapter = adapter_of(&writer::llama(1), 2);
    adapter.remove("adapter.lora.alpha").ones("output_norm.weight", 32);
    assert_eq!(check(&writer::llama(1), &adapter).expect("a sound adapter").alpha, 0.0);
}

#[test]
fn what_it_says_it_is_has_to_be_right() {
    let whole = adapter_of(&writer::llama(1), 2);
    let with = |key: &str, value: Value| whole.clone().set(key, value).clone();
    let (invalid, unsupported) = (ErrorKind::InvalidModel, ErrorKind::UnsupportedModel);
    for (key, value, kind) in [
        ("general.type", "model".into(), unsupported),
        ("general.type", Value::U32(1), invalid),
        ("adapter.type", "ia3".into(), unsupported),
        ("adapter.type", Value::U32(1), invalid),
        ("general.architecture", Value::F32(1.0), invalid),
        ("adapter.lora.alpha", Value::F32(f32::NAN), invalid),
        ("adapter.lora.alpha", Value::F32(f32::INFINITY), invalid),
        ("adapter.lora.alpha", Value::U32(8), invalid),
        ("adapter.lora.alpha", "8".into(), invalid),
    ] {
        refused_adapter(&with(key, value), kind, key);
    }
    refused_adapter(&with("general.architecture", "qwen2".into()), invalid, "for 'qwen2' models");
    refused_adapter(
        &with("adapter.alora.invocation_tokens", Value::U32s(vec![1])),
        unsupported,
        "aLoRA",
    );
    refused_adapter(&with("split.count", Value::U16(2)), unsupported, "several parts");
    refused_adapter(whole.clone().remove("general.type"), unsupported, "general.type");
    let mut empty = whole.clone();
    empty.tensors.clear();
    refused_adapter(&empty, invalid, "no tensors");
}

#[test]
fn each_pair_has_to_fit_its_weight() {
    const A: &str = "blk.0.attn_q.weight.lora_a";
    const B: &str = "blk.0.attn_q.weight.lora_b";
    let whole = adapter_of(&writer::llama(1), 2);
    let invalid = ErrorKind::InvalidModel;
    for (name, missing) in [(A, "lora_a' is missing"), (B, "lora_b' is missing")] {
        let mut adapter = whole.clone();
        adapter.tensors.retain(|tensor| tensor.name != name);
        refused_adapter(&adapter, invalid, missing);
    }
    for name in ["blk.9.attn_q.weight", "blk.0.attn_q", "x"] {
        let mut adapter = whole.clone();
        adapter
            .matrix(&format!("{name}.lora_a"), &[32, 4])
            .matrix(&format!("{name}.lora_b"), &[4, 32]);
        refused_adapter(&adapter, invalid, "of another model");
    }
    let mut adapter = whole.clone();
    adapter.matrix("blk.0.attn_q.weight", &[32, 32]);
    refused_adapter(&adapter, invalid, "neither a");
    for (name, dims) in
        [(A, [4, 32]), (A, [32, 8]), (A, [16, 8]), (B, [4, 64]), (B, [8, 16]), (B, [32, 4])]
    {
        let mut adapter = whole.clone();
        tensor(&mut adapter, name).dims = dims.to_vec();
        tensor(&mut adapter, name).data.resize(dims.iter().product::<u64>() as usize * 4, 0);
        refused_adapter(&adapter, invalid, "of another model");
    }
    let mut adapter = whole.clone();
    tensor(&mut adapter, A).dims = vec![32, 2, 2];
    refused_adapter(&adapter, invalid, "of another model");
    // A third dimension without a second matrix behind it.
    tensor(&mut adapter, A).dims = vec![32, 4, 1];
    assert!(check(&writer::llama(1), &adapter).is_ok());
}

#[test]
fn an_output_that_is_the_embedding_cannot_be_changed() {
    let (mut tied, mut adapter) = (writer::llama(1), adapter_of(&writer::llama(1), 2));
    let dims = tensor(&mut tied, "token_embd.weight").dims.clone();
    let name = "token_embd.weight";
    adapter
        .matrix(&format!("{name}.lora_a"), &[4, dims[1]])
        .matrix(&format!("{name}.lora_b"), &[4, dims[0]]);
    refused_adapter(&adapter, ErrorKind::UnsupportedModel, "as its output");
    let mut untied = tied;
    untied.matrix("output.weight", &dims);
    check(&untied, &adapter).expect("it has an output of its own");
    // llama.cpp compares one side of each half only, and asserts when it computes.
    tensor(&mut adapter, "token_embd.weight.lora_a").dims = vec![2, dims[1]];
    assert!(check(&untied, &adapter).is_err());
}

#[test]
fn halves_are_of_types_that_can_be_multiplied() {
    const A: &str = "blk.0.attn_q.weight.lora_a";
    for (kind, bytes, is_sound) in
        [(0, 4, true), (1, 2, true), (30, 2, true), (8, 0, true), (2, 0, false)]
    {
        let mut adapter = adapter_of(&writer::llama(1), 2);
        let half = tensor(&mut adapter, A);
        half.kind = kind;
        // Blocks of 32 numbers: 34 bytes of q8_0, 18 of q4_0.
        let block = if kind == 8 { 34 } else { 18 };
        half.data = vec![0; if bytes > 0 { 128 * bytes } else { 4 * block }];
        let checked = check(&writer::llama(1), &adapter);
        assert_eq!(checked.is_ok(), is_sound, "{kind}: {checked:?}");
        if !is_sound {
            refused_adapter(&adapter, ErrorKind::UnsupportedModel, "q4_0");
        }
    }
}
