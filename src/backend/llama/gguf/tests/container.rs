//! Files that are cut, damaged, or of another kind.

use super::*;

#[test]
fn every_cut_is_refused() {
    let bytes = writer::tiny_llama(1);
    // The padding behind the last tensor is not missed.
    let end = bytes.len() - 32;
    for len in (0..end).step_by(7) {
        let error = check_bytes(&bytes[..len]).expect_err("a cut file");
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{len}: {error}");
    }
}

#[test]
fn what_is_no_gguf_file_is_refused() {
    refused_bytes(b"", ErrorKind::InvalidModel, "empty");
    refused_bytes(b"GG", ErrorKind::InvalidModel, "not a GGUF");
    refused_bytes(b"<!DOCTYPE html>", ErrorKind::InvalidModel, "<!DO");
    refused_bytes(b"lmgg\x01\0\0\0", ErrorKind::UnsupportedModel, "older");
    for (version, kind) in [
        (0, ErrorKind::InvalidModel),
        (1, ErrorKind::UnsupportedModel),
        (4, ErrorKind::UnsupportedModel),
        (0x0300_0000, ErrorKind::UnsupportedModel),
    ] {
        let mut model = writer::llama(1);
        model.version = version;
        refused(&model, kind, if version == 0x0300_0000 { "big-endian" } else { "version" });
    }
}

#[test]
fn wild_counts_are_refused_before_memory_is_asked_for() {
    let bytes = writer::tiny_llama(1);
    for (at, what) in [(8, "tensors"), (16, "keys")] {
        for count in [1 << 20, 1 << 40, u64::MAX] {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            refused_bytes(&bytes, ErrorKind::InvalidModel, what);
        }
    }
    let mut bytes = bytes;
    bytes[24..32].copy_from_slice(&(1_u64 << 30).to_le_bytes());
    refused_bytes(&bytes, ErrorKind::InvalidModel, "metadata key number 0");
}

#[test]
fn keys_that_mislead_are_refused() {
    let mut model = writer::llama(1);
    model.keys.push(("llama.block_count".to_owned(), Value::U32(3)));
    refused(&model, ErrorKind::InvalidModel, "'llama.block_count' appears twice");
    let mut model = writer::llama(1);
    model.u32("llama.block_count\0", 3);
    refused(&model, ErrorKind::InvalidModel, "NUL");
    refused_values(&writer::llama(1), "general.alignment", &u32s(&[0, 1, 16, 33, 1 << 20]));
    refused_values(&writer::llama(1), "general.alignment", &[Value::U64(32)]);
    refused_values(&writer::llama(1), "general.file_type", &["Q4_0".into()]);
}

#[test]
fn what_is_no_language_model_is_unsupported() {
    for (key, value, culprit) in [
        ("general.architecture", "clip", "mmproj"),
        ("general.architecture", "unheard", "unheard"),
        ("general.architecture", "t5", "t5"),
        ("general.type", "adapter", "adapter"),
        ("tokenizer.ggml.model", "no_vocab", "vocabulary"),
        ("tokenizer.ggml.model", "unheard", "unheard"),
        ("tokenizer.ggml.pre", "unheard", "unheard"),
    ] {
        let mut model = writer::llama(1);
        model.text(key, value);
        refused(&model, ErrorKind::UnsupportedModel, culprit);
    }
    let mut model = writer::llama(1);
    model.set("general.architecture", Value::Text(vec![0xff]));
    refused(&model, ErrorKind::UnsupportedModel, "general.architecture");
}

#[test]
fn tensors_with_wrong_shapes_types_or_places_are_refused() {
    type Damage = fn(&mut writer::Tensor);
    let cases: [(&str, Damage); 9] = [
        ("output_norm.weight", |tensor| tensor.dims = vec![]),
        ("output_norm.weight", |tensor| tensor.dims = vec![0]),
        ("output_norm.weight", |tensor| tensor.dims = vec![u64::MAX]),
        ("output_norm.weight", |tensor| tensor.dims = vec![1 << 30, 1 << 30, 1 << 30]),
        ("output_norm.weight", |tensor| tensor.dims = vec![1; 5]),
        ("output_norm.weight", |tensor| tensor.kind = 4),
        ("output_norm.weight", |tensor| tensor.kind = 99),
        ("output_norm.weight", |tensor| tensor.offset = Some(1)),
        ("token_embd.weight", |tensor| tensor.offset = Some(32)),
    ];
    for (name, damage) in cases {
        let mut model = writer::llama(1);
        model.tensors.iter_mut().filter(|tensor| tensor.name == name).for_each(damage);
        refused(&model, ErrorKind::InvalidModel, name);
    }
    let mut model = writer::llama(1);
    model.tensors[1].kind = 1;
    refused(&model, ErrorKind::UnsupportedModel, "output_norm.weight");
    let mut model = writer::llama(1);
    model.tensors[2].name = model.tensors[1].name.clone();
    refused(&model, ErrorKind::InvalidModel, "'output_norm.weight' appears twice");
    let mut model = writer::llama(1);
    model.tensors.clear();
    refused(&model, ErrorKind::InvalidModel, "no tensors");
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused() {
    let mut model = writer::llama(1);
    let tensor = &mut model.tensors[0];
    (tensor.kind, tensor.dims[0]) = (2, 33);
    refused(&model, ErrorKind::InvalidModel, "a multiple of 32");
}
