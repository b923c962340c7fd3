//! Sizes, weights and vocabularies that llama.cpp would abort on.

use super::*;

#[test]
fn missing_tensors_are_refused() {
    for (make, name) in [
        (writer::llama as fn(u64) -> Gguf, "token_embd.weight"),
        (writer::llama, "blk.1.attn_q"),
        (writer::mamba, "blk.1.ssm_conv1d.bias"),
    ] {
        let mut model = make(1);
        model.tensors.retain(|tensor| !tensor.name.starts_with(name));
        refused(
            &model,
            ErrorKind::InvalidModel,
            if name.contains("attn_q") { "blk.1.attn_qkv" } else { name },
        );
    }
}

#[test]
fn wild_sizes_are_refused() {
    // The message may name the other number that they do not fit.
    let shared = ["embedding_length", "expert_used_count"];
    let llama = writer::llama(1);
    for (suffix, numbers) in [
        ("block_count", &[0, 513, u32::MAX] as &[u32]),
        ("context_length", &[0, 1 << 31]),
        ("embedding_length", &[0, 33, u32::MAX]),
        ("feed_forward_length", &[u32::MAX]),
        ("attention.head_count", &[0, u32::MAX]),
        ("attention.head_count_kv", &[0, 3, u32::MAX]),
        ("attention.key_length", &[0, 8, 1 << 20]),
        ("attention.value_length", &[0, 8]),
        ("attention.sliding_window", &[1 << 24]),
        ("rope.dimension_count", &[0, 7, 17, 32]),
        ("expert_count", &[1025]),
        ("expert_used_count", &[1]),
        ("nextn_predict_layers", &[2, 3]),
        ("pooling_type", &[4, 5]),
        ("embedding_length_out", &[64]),
        ("vocab_size", &[u32::MAX]),
    ] {
        let key = format!("llama.{suffix}");
        for number in numbers {
            let mut model = llama.clone();
            model.u32(&key, *number);
            refused(
                &model,
                ErrorKind::InvalidModel,
                if shared.contains(&suffix) { "llama." } else { &key },
            );
        }
    }
    for suffix in ["block_count", "context_length", "embedding_length", "attention.head_count"] {
        let key = format!("llama.{suffix}");
        refused(llama.clone().remove(&key), ErrorKind::InvalidModel, &key);
        refused_values(
            &llama,
            &key,
            &[Value::I32(2), Value::U64(2), "two".into(), Value::F32(2.0)],
        );
    }
}

#[test]
fn lists_of_layers_have_to_fit_the_layers() {
    let llama = writer::llama(1);
    let key = "llama.attention.head_count";
    refused_values(
        &llama,
        key,
        &[Value::U32s(vec![2]), Value::U32s(vec![2; 3]), Value::U32s(vec![2, 4])],
    );
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
    refused_values(&writer::llama(1), "llama.attention.causal", &[Value::U32(0)]);
    refused_values(&writer::qwen3moe(1), "qwen3moe.expert_count", &u32s(&[0, 1025]));
    refused_values(&writer::qwen3moe(1), "qwen3moe.expert_used_count", &u32s(&[0, 5]));
    refused_values(&writer::qwen3moe(1), "qwen3moe.expert_group_count", &u32s(&[2, 3, 4]));
    for (suffix, numbers) in
        [("conv_kernel", [0, 1]), ("inner_size", [0, u32::MAX]), ("state_size", [0, 1 << 30])]
    {
        refused_values(&writer::mamba(1), &format!("mamba.ssm.{suffix}"), &u32s(&numbers));
    }
}

#[test]
fn what_encoders_need_is_asked_for() {
    let of_vectors = check_bytes(&writer::bert(2).to_bytes()).expect("a sound model");
    assert_eq!((of_vectors.is_causal, of_vectors.pooling), (false, Some(1)));
    let mut seeing_all = writer::llama(1);
    seeing_all.set("llama.attention.causal", Value::Bool(false));
    assert!(!check_bytes(&seeing_all.to_bytes()).expect("a sound model").is_causal);
    refused_values(&writer::bert(2), "bert.pooling_type", &u32s(&[4, 5]));
    // llama.cpp reads a score for each label.
    let mut labelled = writer::bert(1);
    labelled.texts("bert.classifier.output_labels", &["no", "yes"]);
    refused(&labelled, ErrorKind::InvalidModel, "cls.output.weight");
    let mut headless = writer::bert(1);
    headless.tensors.retain(|tensor| tensor.name != "cls.output.weight");
    refused(&headless, ErrorKind::InvalidModel, "cls.weight");
    // Added to f32 numbers on ggml's own threads, which abort on any other type.
    let mut half = writer::bert(1);
    for tensor in half.tensors.iter_mut().filter(|tensor| tensor.name == "token_types.weight") {
        tensor.kind = 1;
    }
    refused(&half, ErrorKind::UnsupportedModel, "token_types.weight");
    // The gate is in a tensor of its own, or in `ffn_up`, but not in both.
    let mut gated = writer::jina_bert(1);
    gated.matrix("blk.1.ffn_gate.weight", &[32, 64]);
    refused(&gated, ErrorKind::InvalidModel, "blk.1.ffn_up.weight");
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
    refused_values(
        &writer::llama_spm(1),
        scores,
        &[Value::F32s(vec![0.0]), Value::F32s(vec![f32::NAN; 271])],
    );
}

#[test]
fn tokens_that_have_to_be_there_are_asked_for() {
    refused(writer::llama(1).remove("tokenizer.ggml.merges"), ErrorKind::InvalidModel, "merges");
    let mut model = writer::llama(1);
    refused(
        model.texts("tokenizer.ggml.merges", &["h e", "torn"]),
        ErrorKind::InvalidModel,
        "number 1",
    );
    for key in ["bos", "eos", "eot"].map(|name| format!("tokenizer.ggml.{name}_token_id")) {
        refused_values(
            &writer::llama(1),
            &key,
            &[Value::U32(265), Value::U32(u32::MAX), Value::I32(1)],
        );
    }
    // T5's tokenizer has no bos of its own; asked to add it, llama.cpp aborts.
    let mut model = writer::llama_spm(1);
    model.text("tokenizer.ggml.model", "t5").set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    refused(model.remove("tokenizer.ggml.bos_token_id"), ErrorKind::InvalidModel, "bos_token_id");
    // RWKV's tokenizer never ends on a byte that only begins longer tokens.
    let mut model = writer::llama_spm(1);
    refused(model.text("tokenizer.ggml.model", "rwkv"), ErrorKind::InvalidModel, "<0x00>");
    let mut model = writer::llama_spm(1);
    let Some((_, Value::Texts(tokens))) =
        model.keys.iter_mut().find(|entry| entry.0 == "tokenizer.ggml.tokens")
    else {
        panic!("the model has tokens")
    };
    tokens[3 + 0x41] = b"other".to_vec();
    refused(model.remove("tokenizer.ggml.token_type"), ErrorKind::InvalidModel, "<0x41>");
    let map = Value::U8s(vec![200, 0, 0, 0, 1]);
    refused_values(
        &writer::llama_spm(1),
        "tokenizer.ggml.precompiled_charsmap",
        &[map, Value::F32s(vec![])],
    );
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

/// `llama` under another family's name, with that family's state-space sizes.
fn renamed(family: &str) -> Gguf {
    let mut model = writer::llama(1);
    for (key, _) in &mut model.keys {
        *key = key.replace("llama.", &format!("{family}."));
    }
    model.text("general.architecture", family);
    let sizes = [
        ("conv_kernel", 4),
        ("inner_size", 64),
        ("state_size", 16),
        ("time_step_rank", 4),
        ("group_count", 2),
    ];
    for (suffix, size) in sizes {
        model.u32(&format!("{family}.ssm.{suffix}"), size);
    }
    model
}

#[test]
fn weights_that_would_be_null_pointers_are_refused() {
    for (family, culprit) in
        [("qwen35", "attn_qkv"), ("qwen3next", "ssm_in"), ("falcon-h1", "ssm_conv1d.bias")]
    {
        let mut model = renamed(family);
        model.u32(&format!("{family}.full_attention_interval"), 2);
        model.u32(&format!("{family}.expert_count"), 4);
        model.u32(&format!("{family}.expert_used_count"), 2);
        let sections = Value::I32s(vec![4, 2, 2, 0]);
        model.set(&format!("{family}.rope.dimension_sections"), sections);
        model.matrix("blk.0.ssm_conv1d.weight", &[4, 64]);
        refused(&model, ErrorKind::InvalidModel, culprit);
    }
}

#[test]
fn a_rotation_of_nothing_is_refused() {
    // llama.cpp's loop over the pairs of a head never ends then.
    for family in ["glm4", "gptneox", "gemma3"] {
        let key = format!("{family}.rope.dimension_count");
        let mut model = renamed(family);
        model.u32(&key, 0);
        refused(&model, ErrorKind::InvalidModel, &key);
    }
}
