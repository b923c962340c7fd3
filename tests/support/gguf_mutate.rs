//! Seeded damage to GGUF files: of their structure, of their values, of their bytes.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use super::gguf::{self, splitmix, Gguf, Tensor, Value};

/// A damaged file and what was done to it.
pub struct Mutant {
    pub bytes: Vec<u8>,
    pub description: String,
}

/// The mutant of a seed: one of the tiny models, damaged once to four times.
pub fn mutant(seed: u64) -> Mutant {
    let (name, make) = MODELS[Dice::of(seed).below(MODELS.len())];
    let mut mutant = mutate(make(seed % 7), seed);
    mutant.description.insert_str(0, &format!("{name}; "));
    mutant
}

/// `model`, damaged as the seed says.
pub fn mutate(mut model: Gguf, seed: u64) -> Mutant {
    let mut dice = Dice::of(!seed);
    let bytes_only = dice.one_in(4);
    let rounds = match bytes_only {
        true => 0,
        false => 1 + dice.below(4) * usize::from(dice.one_in(3)),
    };
    let mut done: Vec<String> =
        (0..rounds).map(|_| damage_structure(&mut model, &mut dice)).collect();
    let mut bytes = model.to_bytes();
    if bytes_only || dice.one_in(20) {
        done.push(damage_bytes(&mut bytes, &mut dice));
    }
    Mutant { bytes, description: done.join("; ") }
}

type Make = fn(u64) -> Gguf;

const MODELS: [(&str, Make); 6] = [
    ("llama", gguf::llama),
    ("llama_spm", gguf::llama_spm),
    ("gemma3", gguf::gemma3),
    ("qwen3moe", gguf::qwen3moe),
    ("gpt2", gguf::gpt2),
    ("mamba", gguf::mamba),
];

const FAMILIES: &[&str] = &[
    "llama",
    "qwen2",
    "qwen3",
    "qwen3moe",
    "gemma",
    "gemma2",
    "gemma3",
    "phi2",
    "phi3",
    "gpt2",
    "gptneox",
    "falcon",
    "mpt",
    "bloom",
    "starcoder",
    "starcoder2",
    "stablelm",
    "mamba",
    "mamba2",
    "rwkv6",
    "rwkv7",
    "bert",
    "nomic-bert",
    "modern-bert",
    "jamba",
    "olmo",
    "olmo2",
    "granite",
    "granitehybrid",
    "deepseek2",
    "lfm2",
    "smollm3",
    "mistral3",
    "command-r",
    "cohere2",
    "internlm2",
    "baichuan",
    "exaone",
    "chatglm",
    "glm4",
    "llama4",
    "gpt-oss",
    "qwen2vl",
    "t5",
    "clip",
    "unknown",
];

const SUFFIXES: &[&str] = &[
    "context_length",
    "embedding_length",
    "embedding_length_out",
    "block_count",
    "feed_forward_length",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "expert_count",
    "expert_used_count",
    "expert_shared_count",
    "expert_group_count",
    "expert_group_used_count",
    "expert_gating_func",
    "nextn_predict_layers",
    "n_deepstack_layers",
    "pooling_type",
    "leading_dense_block_count",
    "vocab_size",
    "interleave_moe_layer_step",
    "full_attention_interval",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.max_alibi_bias",
    "attention.clamp_kqv",
    "attention.causal",
    "attention.q_lora_rank",
    "attention.kv_lora_rank",
    "attention.scale",
    "attention.temperature_scale",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.dimension_sections",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_log_multiplier",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "ssm.conv_kernel",
    "ssm.inner_size",
    "ssm.state_size",
    "ssm.time_step_rank",
    "ssm.group_count",
    "ssm.dt_b_c_rms",
    "wkv.head_size",
    "token_shift_count",
    "shortconv.l_cache",
    "classifier.output_labels",
    "use_parallel_residual",
];

const GENERAL: &[&str] = &[
    "general.architecture",
    "general.type",
    "general.alignment",
    "general.file_type",
    "general.name",
    "split.count",
    "split.no",
    "split.tensors.count",
    "general.sampling.temp",
    "general.sampling.top_k",
    "general.tensor_extra.name",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.token_type_count",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.unknown_token_id",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.precompiled_charsmap",
    "tokenizer.ggml.suppress_tokens",
    "tokenizer.ggml.normalizer.lowercase",
    "tokenizer.chat_template",
];

const TEXTS: &[&str] = &[
    "",
    "llama",
    "gpt2",
    "bert",
    "t5",
    "rwkv",
    "none",
    "no_vocab",
    "gemma4",
    "plamo2",
    "default",
    "llama-bpe",
    "gpt-2",
    "tekken",
    "qwen2",
    "glm4",
    "linear",
    "yarn",
    "longrope",
    "none",
    "su",
    "clip",
    "adapter",
    "phi-3",
    "a\0b",
];

const TENSOR_BASES: &[&str] = &[
    "attn_norm",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "attn_output",
    "attn_q_norm",
    "attn_k_norm",
    "ffn_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "ffn_gate_inp",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_down_exps",
    "ssm_in",
    "ssm_a",
    "ssm_conv1d",
    "ssm_x",
    "post_attention_norm",
    "post_ffw_norm",
    "attn_norm_2",
    "rope_freqs",
];

/// Random choices of one seed.
struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x5851_f42d_4c95_7f2d))
    }

    fn below(&mut self, bound: usize) -> usize {
        (splitmix(&mut self.0) % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// Numbers at which code breaks, and numbers near one that it expects.
    fn number(&mut self, near: u64) -> u64 {
        const EDGES: [u64; 22] = [
            0,
            1,
            2,
            3,
            4,
            5,
            7,
            8,
            16,
            31,
            33,
            64,
            100,
            255,
            512,
            513,
            1024,
            65536,
            1 << 31,
            u32::MAX as u64,
            1 << 62,
            u64::MAX,
        ];
        match self.below(6) {
            0 => near.wrapping_add(1),
            1 => near.wrapping_sub(1),
            2 => near.wrapping_mul(2),
            3 => near / 2,
            4 => self.below(300) as u64,
            _ => EDGES[self.below(EDGES.len())],
        }
    }

    fn float(&mut self) -> f32 {
        const EDGES: [f32; 12] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            1e-38,
            1e38,
            -1e38,
            1e-5,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            10000.0,
        ];
        EDGES[self.below(EDGES.len())]
    }

    fn value(&mut self, near: u64) -> Value {
        let number = self.number(near);
        let length = [0, 1, 2, 3, 4, 512, 600][self.below(7)];
        match self.below(16) {
            0 => Value::U8(number as u8),
            1 => Value::U16(number as u16),
            2 => Value::I32(number as i32),
            3 => Value::F32(self.float()),
            4 => Value::Bool(self.one_in(2)),
            5 => self.pick(TEXTS).into(),
            6 => Value::U64(number),
            7 => Value::Texts((0..length).map(|_| self.pick(TEXTS).as_bytes().to_vec()).collect()),
            8 => Value::F32s((0..length).map(|_| self.float()).collect()),
            9 => Value::I32s((0..length).map(|_| self.number(near) as i32).collect()),
            10 => Value::U32s((0..length).map(|_| self.number(near) as u32).collect()),
            11 => Value::U8s((0..length).map(|_| self.number(near) as u8).collect()),
            12 => Value::Bools((0..length).map(|_| self.one_in(2)).collect()),
            _ => Value::U32(number as u32),
        }
    }
}

fn damage_structure(model: &mut Gguf, dice: &mut Dice) -> String {
    match dice.below(12) {
        0..=2 => damage_key(model, dice),
        3 => add_key(model, dice),
        4 => remove_key(model, dice),
        5 => change_family(model, dice),
        6..=7 => damage_array(model, dice),
        8 => change_version(model, dice),
        _ => damage_tensor(model, dice),
    }
}

fn change_version(model: &mut Gguf, dice: &mut Dice) -> String {
    model.version = [2, 0, 1, 4, 0x0300_0000, u32::MAX][dice.below(6)];
    format!("version {}", model.version)
}

fn damage_key(model: &mut Gguf, dice: &mut Dice) -> String {
    let index = dice.below(model.keys.len());
    let (key, value) = &mut model.keys[index];
    match &mut *value {
        Value::U32(number) if !dice.one_in(4) => *number = dice.number(u64::from(*number)) as u32,
        Value::F32(number) if !dice.one_in(4) => *number = dice.float(),
        Value::Text(text) if !dice.one_in(4) => *text = dice.pick(TEXTS).as_bytes().to_vec(),
        _ => *value = dice.value(2),
    }
    describe(&format!("{key} ="), value)
}

fn add_key(model: &mut Gguf, dice: &mut Dice) -> String {
    let family = family(model);
    let key = match dice.one_in(3) {
        true => dice.pick(GENERAL).to_owned(),
        false => format!("{family}.{}", dice.pick(SUFFIXES)),
    };
    let value = dice.value(2);
    model.set(&key, value.clone());
    describe(&format!("add {key} ="), &value)
}

fn describe(what: &str, value: &Value) -> String {
    format!("{what} {:.60}", format!("{value:?}"))
}

fn remove_key(model: &mut Gguf, dice: &mut Dice) -> String {
    let key = model.keys[dice.below(model.keys.len())].0.clone();
    model.remove(&key);
    format!("remove {key}")
}

fn family(model: &Gguf) -> String {
    let known = model.keys.iter().find(|(key, _)| key == "general.architecture");
    match known {
        Some((_, Value::Text(name))) => String::from_utf8_lossy(name).into_owned(),
        _ => "llama".to_owned(),
    }
}

/// The same sizes and tensors under another family's name.
fn change_family(model: &mut Gguf, dice: &mut Dice) -> String {
    let (old, new) = (family(model), dice.pick(FAMILIES));
    model.text("general.architecture", new);
    for (key, _) in &mut model.keys {
        if let Some(rest) = key.strip_prefix(&format!("{old}.")) {
            *key = format!("{new}.{rest}");
        }
    }
    model.f32(&format!("{new}.attention.layer_norm_epsilon"), 1e-5);
    format!("family {new}")
}

/// One element of one of the vocabulary's arrays, or its length.
fn damage_array(model: &mut Gguf, dice: &mut Dice) -> String {
    let arrays: Vec<usize> =
        (0..model.keys.len()).filter(|&at| is_array(&model.keys[at].1)).collect();
    if arrays.is_empty() {
        return "no array".to_owned();
    }
    let (key, value) = &mut model.keys[arrays[dice.below(arrays.len())]];
    match value {
        Value::Texts(texts) if !texts.is_empty() => damage_texts(key, texts, dice),
        Value::I32s(numbers) if !numbers.is_empty() => {
            damage_numbers(key, numbers, dice, |dice| dice.number(3) as i32)
        }
        Value::F32s(numbers) if !numbers.is_empty() => {
            damage_numbers(key, numbers, dice, Dice::float)
        }
        _ => format!("{key} untouched"),
    }
}

fn is_array(value: &Value) -> bool {
    matches!(value, Value::Texts(_) | Value::I32s(_) | Value::F32s(_))
}

fn damage_numbers<T: Copy>(
    key: &str,
    numbers: &mut Vec<T>,
    dice: &mut Dice,
    make: fn(&mut Dice) -> T,
) -> String {
    let at = dice.below(numbers.len());
    match dice.below(4) {
        0 => numbers.truncate(at),
        1 => numbers.push(make(dice)),
        _ => numbers[at] = make(dice),
    }
    format!("{key}: number {at}, now {} long", numbers.len())
}

fn damage_texts(key: &str, texts: &mut Vec<Vec<u8>>, dice: &mut Dice) -> String {
    let at = dice.below(texts.len());
    let what = dice.below(9);
    match what {
        0 => texts.truncate(at),
        1 => texts[at] = texts[dice.below(texts.len())].clone(),
        2 => texts[at] = Vec::new(),
        3 => texts[at] = vec![0xff, 0xfe, b' ', 0xc3],
        4 => texts[at].insert(0, 0),
        5 => texts[at] = vec![b'x'; 1 << dice.below(18)],
        6 => {
            texts[at] =
                dice.pick(&["<mask>", "\n", " ", "a b c", "<0x0A>", "<0xZZ>", "<", "</s>"]).into()
        }
        7 => texts.push(format!("new {}", texts.len()).into()),
        _ => drop(texts.remove(at)),
    }
    format!("{key}: damage {what} to text {at}")
}

fn damage_tensor(model: &mut Gguf, dice: &mut Dice) -> String {
    let at = dice.below(model.tensors.len());
    let name = model.tensors.get(at).map(|tensor| tensor.name.clone()).unwrap_or_default();
    let what = dice.below(10);
    let Some(tensor) = model.tensors.get_mut(at) else {
        return "no tensors".to_owned();
    };
    match what {
        0 | 1 => drop(model.tensors.remove(at)),
        2 => tensor.name = rename(&name, dice),
        3 => tensor.offset = Some(dice.number(tensor.data.len() as u64)),
        4 => reshape(tensor, dice),
        5 => tensor.dims.push(dice.number(1)),
        6 => retype(tensor, dice),
        7 => poison(tensor, dice),
        8 => drop(tensor.dims.pop()),
        _ => {
            let other = dice.below(model.tensors.len());
            model.tensors.swap(at, other);
        }
    }
    format!("tensor {name}: damage {what}")
}

fn rename(name: &str, dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => format!("blk.{}.{}.weight", dice.number(1), dice.pick(TENSOR_BASES)),
        1 => format!("{name}\0x"),
        2 => name.replace(".weight", ".bias"),
        _ => "x".repeat(dice.below(80)),
    }
}

/// Another shape, with as much data as it asks for where that is little.
fn reshape(tensor: &mut Tensor, dice: &mut Dice) {
    let at = dice.below(tensor.dims.len());
    match tensor.dims.get_mut(at) {
        Some(dim) if dice.one_in(2) => *dim = dice.number(*dim),
        _ => tensor.dims.reverse(),
    }
    let bytes = tensor.dims.iter().try_fold(4_u64, |product, &dim| product.checked_mul(dim));
    if let Some(bytes) = bytes.filter(|&bytes| bytes < 1 << 20) {
        tensor.data.resize(bytes as usize, 0);
    }
}

fn retype(tensor: &mut Tensor, dice: &mut Dice) {
    tensor.kind = dice.number(20) as u32 % 64;
    let count: u64 = tensor.dims.iter().product();
    let (block, bytes) = match tensor.kind {
        1 | 30 => (1, 2),
        2 | 20 => (32, 18),
        3 => (32, 20),
        8 => (32, 34),
        24 => (1, 1),
        25 => (1, 2),
        27 | 28 => (1, 8),
        39 => (32, 17),
        _ => (1, 4),
    };
    tensor.data.resize((count / block * bytes) as usize, 1);
}

/// Numbers that no sum survives.
fn poison(tensor: &mut Tensor, dice: &mut Dice) {
    let bytes = dice.float().to_le_bytes();
    let every = 1 + dice.below(3) * 8;
    tensor.data.chunks_exact_mut(4).step_by(every).for_each(|chunk| chunk.copy_from_slice(&bytes));
}

fn damage_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    // Most of the header is vocabulary; its first kilobyte holds the counts and sizes.
    let zone = [1 << 10, 1 << 13, bytes.len()][dice.below(3)].min(bytes.len());
    let at = dice.below(zone);
    match dice.below(5) {
        0 => {
            bytes.truncate(at);
            format!("cut at byte {at}")
        }
        1 => {
            let number = dice.number(1).to_le_bytes();
            bytes.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
            format!("8 bytes at {at}")
        }
        2 => {
            bytes.remove(at);
            format!("without byte {at}")
        }
        3 => {
            bytes.insert(at, dice.below(256) as u8);
            format!("one byte more at {at}")
        }
        _ => {
            let count = 1 + dice.below(8);
            for _ in 0..count {
                let flipped = dice.below(zone);
                bytes[flipped] ^= 1 << dice.below(8);
            }
            format!("{count} bits flipped in the first {zone} bytes")
        }
    }
}
