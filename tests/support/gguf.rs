//! Writes GGUF files for tests: any keys and tensors, and tiny random models that really run.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part"
)]

pub mod dice;
mod gguf_encoders;
mod gguf_vocabularies;

use self::dice::Dice;
pub use self::gguf_encoders::{bert, jina_bert, nomic_bert};
use self::gguf_vocabularies::{bpe_vocabulary, spm_vocabulary};

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U8(u8),
    U16(u16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(Vec<u8>),
    U64(u64),
    F64(f64),
    Texts(Vec<Vec<u8>>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
    U32s(Vec<u32>),
    U8s(Vec<u8>),
    Bools(Vec<bool>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

/// A tensor; `kind` 0 is f32. `offset` overrides where the file says that its data lies.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub name: String,
    pub dims: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    pub offset: Option<u64>,
}

/// A GGUF file in the making.
#[derive(Debug, Clone)]
pub struct Gguf {
    pub version: u32,
    pub keys: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
    random: Dice,
}

impl Gguf {
    pub fn new(seed: u64) -> Self {
        Self { version: 3, keys: Vec::new(), tensors: Vec::new(), random: Dice::new(seed) }
    }

    /// Sets a key, in place where it is there already.
    pub fn set(&mut self, key: &str, value: Value) -> &mut Self {
        match self.keys.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1 = value,
            None => self.keys.push((key.to_owned(), value)),
        }
        self
    }

    pub fn u32(&mut self, key: &str, value: u32) -> &mut Self {
        self.set(key, Value::U32(value))
    }

    pub fn f32(&mut self, key: &str, value: f32) -> &mut Self {
        self.set(key, Value::F32(value))
    }

    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.set(key, value.into())
    }

    pub fn texts<T: AsRef<[u8]>>(&mut self, key: &str, texts: &[T]) -> &mut Self {
        self.set(key, Value::Texts(texts.iter().map(|text| text.as_ref().to_vec()).collect()))
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.keys.retain(|(known, _)| known != key);
        self
    }

    /// A matrix of small random numbers.
    pub fn matrix(&mut self, name: &str, dims: &[u64]) -> &mut Self {
        let count: u64 = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.next_f32() * 0.2).collect();
        self.tensor(name, dims, &values)
    }

    /// A vector of ones, as norms have.
    pub fn ones(&mut self, name: &str, length: u64) -> &mut Self {
        self.tensor(name, &[length], &vec![1.0; length as usize])
    }

    pub fn tensor(&mut self, name: &str, dims: &[u64], values: &[f32]) -> &mut Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dims: dims.to_vec(),
            kind: 0,
            data,
            offset: None,
        });
        self
    }

    /// Uniform in [-1, 1).
    fn next_f32(&mut self) -> f32 {
        (self.random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let alignment = match self.keys.iter().find(|(key, _)| key == "general.alignment") {
            Some((_, Value::U32(alignment))) => (*alignment as usize).clamp(1, 1 << 16),
            _ => 32,
        };
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            put_text(&mut out, key.as_bytes());
            put_value(&mut out, value);
        }
        let mut data: Vec<u8> = Vec::new();
        for tensor in &self.tensors {
            put_text(&mut out, tensor.name.as_bytes());
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(alignment), 0);
        }
        out.resize(out.len().next_multiple_of(alignment), 0);
        out.extend(data);
        out
    }
}

/// The next number of the generator that all of this uses.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let scalar = |out: &mut Vec<u8>, code: u32, bytes: &[u8]| {
        out.extend(code.to_le_bytes());
        out.extend(bytes);
    };
    let array = |out: &mut Vec<u8>, code: u32, count: usize| {
        out.extend(9_u32.to_le_bytes());
        out.extend(code.to_le_bytes());
        out.extend((count as u64).to_le_bytes());
    };
    match value {
        Value::U8(value) => scalar(out, 0, &value.to_le_bytes()),
        Value::U16(value) => scalar(out, 2, &value.to_le_bytes()),
        Value::U32(value) => scalar(out, 4, &value.to_le_bytes()),
        Value::I32(value) => scalar(out, 5, &value.to_le_bytes()),
        Value::F32(value) => scalar(out, 6, &value.to_le_bytes()),
        Value::Bool(value) => scalar(out, 7, &[u8::from(*value)]),
        Value::U64(value) => scalar(out, 10, &value.to_le_bytes()),
        Value::F64(value) => scalar(out, 12, &value.to_le_bytes()),
        Value::Text(text) => {
            out.extend(8_u32.to_le_bytes());
            put_text(out, text);
        }
        Value::Texts(texts) => {
            array(out, 8, texts.len());
            texts.iter().for_each(|text| put_text(out, text));
        }
        Value::U8s(values) => {
            array(out, 0, values.len());
            out.extend(values);
        }
        Value::Bools(values) => {
            array(out, 7, values.len());
            out.extend(values.iter().map(|&value| u8::from(value)));
        }
        Value::U32s(values) => {
            array(out, 4, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Value::I32s(values) => {
            array(out, 5, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Value::F32s(values) => {
            array(out, 6, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
}

pub const WIDTH: u64 = 32;
pub const CHAT_TEMPLATE: &str =
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}\
     <|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A llama-like model with a byte-pair vocabulary, as a file.
pub fn tiny_llama(seed: u64) -> Vec<u8> {
    llama(seed).to_bytes()
}

/// The same with a SentencePiece vocabulary.
pub fn tiny_spm(seed: u64) -> Vec<u8> {
    llama_spm(seed).to_bytes()
}

/// Two layers, two heads, a context of 256 tokens.
pub fn llama(seed: u64) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, "llama");
    model.u32("llama.rope.dimension_count", 16);
    let n_vocab = bpe_vocabulary(&mut model);
    transformer(&mut model, n_vocab, &[]);
    model
}

/// The same with further tokens, each with its type: 1 is text, 3 control, 4 user-defined.
pub fn llama_with(seed: u64, tokens: &[(&str, i32)]) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, "llama");
    model.u32("llama.rope.dimension_count", 16).u32("llama.context_length", 4_096);
    let n_vocab = bpe_vocabulary(&mut model) + tokens.len() as u64;
    for (key, value) in &mut model.keys {
        match (key.as_str(), value) {
            ("tokenizer.ggml.tokens", Value::Texts(texts)) => {
                texts.extend(tokens.iter().map(|(text, _)| text.as_bytes().to_vec()));
            }
            ("tokenizer.ggml.token_type", Value::I32s(types)) => {
                types.extend(tokens.iter().map(|(_, kind)| *kind));
            }
            _ => {}
        }
    }
    transformer(&mut model, n_vocab, &[]);
    model
}

pub fn llama_spm(seed: u64) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, "llama");
    let n_vocab = spm_vocabulary(&mut model);
    transformer(&mut model, n_vocab, &[]);
    model
}

/// Sliding-window attention, as Gemma 3 has: every second layer sees 8 tokens.
pub fn gemma3(seed: u64) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, "gemma3");
    model.u32("gemma3.attention.key_length", 16).u32("gemma3.attention.value_length", 16);
    model
        .u32("gemma3.attention.sliding_window", 8)
        .u32("gemma3.attention.sliding_window_pattern", 2);
    let n_vocab = spm_vocabulary(&mut model);
    let norms = [
        ("post_attention_norm", 32),
        ("post_ffw_norm", 32),
        ("attn_q_norm", 16),
        ("attn_k_norm", 16),
    ];
    transformer(&mut model, n_vocab, &norms);
    model
}

/// Four experts of which two are used, as Qwen 3 has them.
pub fn qwen3moe(seed: u64) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, "qwen3moe");
    model.u32("qwen3moe.expert_count", 4).u32("qwen3moe.expert_used_count", 2);
    model.u32("qwen3moe.expert_feed_forward_length", 16);
    let n_vocab = bpe_vocabulary(&mut model);
    transformer(&mut model, n_vocab, &[("attn_q_norm", 16), ("attn_k_norm", 16)]);
    model.tensors.retain(|tensor| {
        !["ffn_gate", "ffn_up", "ffn_down"].iter().any(|name| tensor.name.contains(name))
    });
    for layer in 0..2 {
        model.matrix(&format!("blk.{layer}.ffn_gate_inp.weight"), &[WIDTH, 4]);
        model.matrix(&format!("blk.{layer}.ffn_gate_exps.weight"), &[WIDTH, 16, 4]);
        model.matrix(&format!("blk.{layer}.ffn_up_exps.weight"), &[WIDTH, 16, 4]);
        model.matrix(&format!("blk.{layer}.ffn_down_exps.weight"), &[16, WIDTH, 4]);
    }
    model
}

/// Learned positions and biases everywhere.
pub fn gpt2(seed: u64) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, "gpt2");
    model.f32("gpt2.attention.layer_norm_epsilon", 1e-5);
    let n_vocab = bpe_vocabulary(&mut model);
    model
        .matrix("token_embd.weight", &[WIDTH, n_vocab])
        .matrix("position_embd.weight", &[WIDTH, 256]);
    norm_with_bias(&mut model, "output_norm");
    for layer in 0..2 {
        let name = |base: &str| format!("blk.{layer}.{base}");
        norm_with_bias(&mut model, &name("attn_norm"));
        norm_with_bias(&mut model, &name("ffn_norm"));
        biased(&mut model, layer, &[("attn_qkv", 32, 64), ("attn_output", 32, 32)]);
        biased(&mut model, layer, &[("ffn_up", 32, 64), ("ffn_down", 64, 32)]);
    }
    model
}

/// Recurrent state instead of keys and values.
pub fn mamba(seed: u64) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, "mamba");
    for (key, value) in
        [("conv_kernel", 4), ("inner_size", 64), ("state_size", 8), ("time_step_rank", 2)]
    {
        model.u32(&format!("mamba.ssm.{key}"), value);
    }
    model.u32("mamba.attention.head_count", 0).remove("mamba.attention.head_count_kv");
    let n_vocab = bpe_vocabulary(&mut model);
    model.matrix("token_embd.weight", &[WIDTH, n_vocab]).ones("output_norm.weight", WIDTH);
    for layer in 0..2 {
        let name = |base: &str| format!("blk.{layer}.{base}");
        model.ones(&name("attn_norm.weight"), WIDTH).matrix(&name("ssm_in.weight"), &[WIDTH, 128]);
        model.matrix(&name("ssm_conv1d.weight"), &[4, 64]).ones(&name("ssm_conv1d.bias"), 64);
        model.matrix(&name("ssm_x.weight"), &[64, 18]).matrix(&name("ssm_dt.weight"), &[2, 64]);
        model.ones(&name("ssm_dt.bias"), 64).tensor(&name("ssm_a"), &[8, 64], &[-1.0; 512]);
        model.ones(&name("ssm_d"), 64).matrix(&name("ssm_out.weight"), &[64, WIDTH]);
    }
    model
}

/// The keys that every family has.
fn sizes(model: &mut Gguf, family: &str) {
    model
        .text("general.architecture", family)
        .text("general.name", "tiny")
        .u32("general.file_type", 0);
    let numbers = [
        ("context_length", 256),
        ("embedding_length", 32),
        ("block_count", 2),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ];
    for (key, value) in numbers {
        model.u32(&format!("{family}.{key}"), value);
    }
    model.f32(&format!("{family}.attention.layer_norm_rms_epsilon"), 1e-5);
    model.f32(&format!("{family}.rope.freq_base"), 10000.0);
}

/// Attention and a gated feed-forward in each of two layers, with extra norms as the family asks.
fn transformer(model: &mut Gguf, n_vocab: u64, norms: &[(&str, u64)]) {
    model.matrix("token_embd.weight", &[WIDTH, n_vocab]).ones("output_norm.weight", WIDTH);
    for layer in 0..2 {
        let name = |base: &str| format!("blk.{layer}.{base}.weight");
        model.ones(&name("attn_norm"), WIDTH).ones(&name("ffn_norm"), WIDTH);
        for (base, length) in norms {
            model.ones(&name(base), *length);
        }
        model.matrix(&name("attn_q"), &[WIDTH, 32]).matrix(&name("attn_k"), &[WIDTH, 16]);
        model.matrix(&name("attn_v"), &[WIDTH, 16]).matrix(&name("attn_output"), &[32, WIDTH]);
        model.matrix(&name("ffn_gate"), &[WIDTH, 64]).matrix(&name("ffn_up"), &[WIDTH, 64]);
        model.matrix(&name("ffn_down"), &[64, WIDTH]);
    }
}

/// A LoRA adapter for all matrices of `model` that llama.cpp computes one for.
pub fn adapter_of(model: &Gguf, seed: u64) -> Gguf {
    const RANK: u64 = 4;
    let mut adapter = Gguf::new(seed);
    let family = model.keys.iter().find(|(key, _)| key == "general.architecture");
    adapter.text("general.type", "adapter").text("adapter.type", "lora");
    adapter.set("general.architecture", family.expect("a model").1.clone());
    adapter.f32("adapter.lora.alpha", 8.0);
    let has_output = model.tensors.iter().any(|tensor| tensor.name == "output.weight");
    for tensor in model.tensors.iter().filter(|tensor| tensor.dims.len() > 1) {
        let is_table = tensor.name.ends_with("token_embd.weight");
        if is_table && !has_output {
            continue;
        }
        let (input, output, experts) = (tensor.dims[0], tensor.dims[1], &tensor.dims[2..]);
        let (a, b) = match is_table {
            true => ([RANK, output], [RANK, input]),
            false => ([input, RANK], [RANK, output]),
        };
        adapter.matrix(&format!("{}.lora_a", tensor.name), &[&a, experts].concat());
        adapter.matrix(&format!("{}.lora_b", tensor.name), &[&b, experts].concat());
    }
    adapter
}

/// Matrices of one layer, each with a bias: name, rows and columns.
fn biased(model: &mut Gguf, layer: u32, matrices: &[(&str, u64, u64)]) {
    for &(base, rows, columns) in matrices {
        model.matrix(&format!("blk.{layer}.{base}.weight"), &[rows, columns]);
        model.ones(&format!("blk.{layer}.{base}.bias"), columns);
    }
}

fn norm_with_bias(model: &mut Gguf, name: &str) {
    model.ones(&format!("{name}.weight"), WIDTH).matrix(&format!("{name}.bias"), &[WIDTH]);
}
