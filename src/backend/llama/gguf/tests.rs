//! Each way a file can be refused, and that sound files are not.

#[path = "../../../../tests/support/gguf.rs"]
mod writer;

use std::io::Cursor;
use std::path::{Path, PathBuf};

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
        writer::llama, writer::llama_spm, writer::gemma3, writer::qwen3moe, writer::gpt2, writer::mamba,
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
    assert_eq!((summary.file_type, summary.n_tensors, summary.n_vocab), (Some("F32"), 20, 265));
    assert_eq!(summary.chat_template.as_deref(), Some(writer::CHAT_TEMPLATE));
    assert_eq!((summary.specials.bos, summary.specials.eos), (Some(262), Some(264)));
    assert_eq!((summary.sampling.temperature, summary.sampling.top_k), (Some(0.5), Some(20)));
    // Two layers, one KV head, 16 numbers of key and 16 of value.
    assert_eq!((summary.cached_per_token, summary.position_limit), (64, None));
    let learned = check_bytes(&writer::gpt2(1).to_bytes()).expect("a sound model");
    assert_eq!(learned.position_limit, Some(256));
}

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
        (0, ErrorKind::InvalidModel), (1, ErrorKind::UnsupportedModel), (4, ErrorKind::UnsupportedModel),
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
        ("general.architecture", "clip", "mmproj"), ("general.architecture", "unheard", "unheard"),
        ("general.architecture", "t5", "t5"), ("general.type", "adapter", "adapter"),
        ("tokenizer.ggml.model", "no_vocab", "vocabulary"), ("tokenizer.ggml.model", "unheard", "unheard"),
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
    let cases: [(&str, fn(&mut writer::Tensor)); 9] = [
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

#[test]
fn missing_tensors_are_refused() {
    for (make, name) in [
        (writer::llama as fn(u64) -> Gguf, "token_embd.weight"), (writer::llama, "blk.1.attn_q"),
        (writer::mamba, "blk.1.ssm_conv1d.bias"),
    ] {
        let mut model = make(1);
        model.tensors.retain(|tensor| !tensor.name.starts_with(name));
        refused(&model, ErrorKind::InvalidModel, if name.contains("attn_q") { "blk.1.attn_qkv" } else { name });
    }
}

#[test]
fn wild_sizes_are_refused() {
    let llama = writer::llama(1);
    for (suffix, numbers) in [
        ("block_count", &[0, 513, u32::MAX] as &[u32]), ("context_length", &[0, 1 << 31]),
        ("embedding_length", &[0, 33, u32::MAX]), ("feed_forward_length", &[u32::MAX]),
        ("attention.head_count", &[0, 3, u32::MAX]), ("attention.head_count_kv", &[0, 3, u32::MAX]),
        ("attention.key_length", &[0, 8, 1 << 20]), ("attention.value_length", &[0, 8]),
        ("attention.sliding_window", &[1 << 24]), ("rope.dimension_count", &[0, 7, 17, 32]),
        ("expert_count", &[1025]), ("expert_used_count", &[1]), ("nextn_predict_layers", &[2, 3]),
        ("pooling_type", &[4, 5]), ("embedding_length_out", &[64]), ("vocab_size", &[u32::MAX]),
    ] {
        let key = format!("llama.{suffix}");
        for number in numbers {
            let mut model = llama.clone();
            model.u32(&key, *number);
            refused(&model, ErrorKind::InvalidModel, if suffix == "embedding_length" { "llama." } else { &key });
        }
    }
    for suffix in ["block_count", "context_length", "embedding_length", "attention.head_count"] {
        let key = format!("llama.{suffix}");
        refused(llama.clone().remove(&key), ErrorKind::InvalidModel, &key);
        refused_values(&llama, &key, &[Value::I32(2), Value::U64(2), "two".into(), Value::F32(2.0)]);
    }
}

#[test]
fn lists_of_layers_have_to_fit_the_layers() {
    let llama = writer::llama(1);
    let key = "llama.attention.head_count";
    refused_values(&llama, key, &[Value::U32s(vec![2]), Value::U32s(vec![2; 3]), Value::U32s(vec![2, 4])]);
    let mut model = llama;
    model.set(key, Value::U32s(vec![2, 2]));
    assert!(check_bytes(&model.to_bytes()).is_ok());
}

#[test]
fn numbers_that_abort_or_divide_are_refused() {
    let bad = [f32::NAN, f32::INFINITY, -1.0].map(Value::F32);
    refused_values(&writer::llama(1), "llama.attention.layer_norm_rms_epsilon", &bad);
    refused_values(&writer::llama(1), "llama.rope.freq_base", &bad[..2]);
    refused_values(&writer::llama(1), "llama.rope.scaling.type", &["su".into(), Value::U32(1)]);
    refused_values(&writer::llama(1), "llama.attention.causal", &[Value::Bool(false)]);
    refused_values(&writer::qwen3moe(1), "qwen3moe.expert_count", &u32s(&[0, 1, 1025]));
    refused_values(&writer::qwen3moe(1), "qwen3moe.expert_used_count", &u32s(&[0, 5]));
    refused_values(&writer::qwen3moe(1), "qwen3moe.expert_group_count", &u32s(&[2, 3, 4]));
    for (suffix, numbers) in [("conv_kernel", [0, 1]), ("inner_size", [0, u32::MAX]), ("state_size", [0, 1 << 30])] {
        refused_values(&writer::mamba(1), &format!("mamba.ssm.{suffix}"), &u32s(&numbers));
    }
}

#[test]
fn vocabularies_that_abort_are_refused() {
    let key = "tokenizer.ggml.tokens";
    let damages: [fn(&mut Vec<Vec<u8>>); 5] = [
        |tokens| tokens.clear(),
        |tokens| tokens[1] = tokens[0].clone(),
        // C cuts the text at the NUL, and then it is the other token's.
        |tokens| tokens[1] = [&tokens[0], &b"\0x"[..]].concat(),
        |tokens| tokens[1] = vec![b'x'; 1 << 16],
        |tokens| tokens.push(b"one too many".to_vec()),
    ];
    for damage in damages {
        let mut model = writer::llama(1);
        let tokens = model.keys.iter_mut().find(|entry| entry.0 == key);
        let Some((_, Value::Texts(tokens))) = tokens else { panic!("the model has tokens") };
        damage(tokens);
        refused(&model, ErrorKind::InvalidModel, "tok");
    }
    refused(writer::llama(1).remove(key), ErrorKind::InvalidModel, key);
    refused_values(&writer::llama(1), key, &[Value::I32s(vec![1]), "one".into()]);
    let types = "tokenizer.ggml.token_type";
    refused_values(&writer::llama(1), types, &[Value::I32s(vec![1]), Value::F32s(vec![1.0; 265])]);
    refused_values(&writer::llama(1), types, &[Value::I32s(vec![6; 265])]);
    let scores = "tokenizer.ggml.scores";
    refused_values(&writer::llama_spm(1), scores, &[Value::F32s(vec![0.0]), Value::F32s(vec![f32::NAN; 271])]);
}

#[test]
fn tokens_that_have_to_be_there_are_asked_for() {
    refused(writer::llama(1).remove("tokenizer.ggml.merges"), ErrorKind::InvalidModel, "merges");
    let mut model = writer::llama(1);
    refused(model.texts("tokenizer.ggml.merges", &["h e", "torn"]), ErrorKind::InvalidModel, "number 1");
    for key in ["bos", "eos", "eot"].map(|name| format!("tokenizer.ggml.{name}_token_id")) {
        refused_values(&writer::llama(1), &key, &[Value::U32(265), Value::U32(u32::MAX), Value::I32(1)]);
    }
    // T5's tokenizer has no bos of its own; asked to add it, llama.cpp aborts.
    let mut model = writer::llama_spm(1);
    model.text("tokenizer.ggml.model", "t5").set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    refused(model.remove("tokenizer.ggml.bos_token_id"), ErrorKind::InvalidModel, "bos_token_id");
    // RWKV's tokenizer never ends on a byte that only begins longer tokens.
    let mut model = writer::llama_spm(1);
    refused(model.text("tokenizer.ggml.model", "rwkv"), ErrorKind::InvalidModel, "<0x00>");
    let mut model = writer::llama_spm(1);
    let Some((_, Value::Texts(tokens))) = model.keys.iter_mut().find(|entry| entry.0 == "tokenizer.ggml.tokens") else {
        panic!("the model has tokens")
    };
    tokens[3 + 0x41] = b"other".to_vec();
    refused(model.remove("tokenizer.ggml.token_type"), ErrorKind::InvalidModel, "<0x41>");
    let map = Value::U8s(vec![200, 0, 0, 0, 1]);
    refused_values(&writer::llama_spm(1), "tokenizer.ggml.precompiled_charsmap", &[map, Value::F32s(vec![])]);
}

#[test]
fn families_of_two_kinds_of_layers_need_both() {
    let mut model = writer::llama(1);
    for (key, _) in &mut model.keys {
        *key = key.replace("llama.", "jamba.");
    }
    model.text("general.architecture", "jamba");
    refused(&model, ErrorKind::InvalidModel, "jamba.attention.head_count_kv");
}

/// A fresh folder below the build's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fluid-gguf-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}

#[test]
fn paths_that_are_no_file_are_refused() {
    let missing = check(Path::new("/nonexistent/model.gguf")).expect_err("no such file");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.message().starts_with("/nonexistent/model.gguf: "), "{missing}");
    let folder = folder("folder");
    let error = check(&folder).expect_err("a folder");
    assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
    std::fs::remove_dir(&folder).expect("the folder is empty");
}

/// `llama` in two parts, `broken` by the caller before they are written.
fn two_parts(name: &str, broken: fn(&mut [Gguf; 2])) -> Result<Summary> {
    let mut first = writer::llama(1);
    let mut second = Gguf::new(1);
    second.tensors = first.tensors.split_off(10);
    for (number, part) in [&mut first, &mut second].into_iter().enumerate() {
        part.set("split.count", Value::U16(2)).set("split.no", Value::U16(number as u16));
        part.set("split.tensors.count", Value::I32(20));
    }
    let mut parts = [first, second];
    broken(&mut parts);
    let folder = folder(name);
    for (part, number) in parts.iter().zip(1..) {
        let path = folder.join(format!("tiny-{number:05}-of-00002.gguf"));
        std::fs::write(path, part.to_bytes()).expect("the temporary folder is writable");
    }
    let result = check(&folder.join("tiny-00001-of-00002.gguf"));
    std::fs::remove_dir_all(&folder).expect("the folder was made above");
    result
}

#[test]
fn all_parts_of_a_split_model_are_checked() {
    let whole = two_parts("whole", |_| {}).expect("two sound parts");
    assert_eq!((whole.files.len(), whole.n_tensors), (2, 20));
    let broken: [(&str, fn(&mut [Gguf; 2])); 5] = [
        ("split.no", |parts| drop(parts[1].set("split.no", Value::U16(5)))),
        ("split.no", |parts| drop(parts[1].set("split.no", Value::U32(1)))),
        ("split.tensors.count", |parts| drop(parts[0].set("split.tensors.count", Value::I32(21)))),
        ("in two parts", |parts| parts[1].tensors[0].name = parts[0].tensors[0].name.clone()),
        ("does not end in", |parts| drop(parts[0].set("split.count", Value::U16(3)))),
    ];
    for (index, (culprit, broken)) in broken.into_iter().enumerate() {
        let error = two_parts(&format!("broken-{index}"), broken).expect_err(culprit);
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
        assert!(error.message().contains(culprit), "{error}");
    }
}
