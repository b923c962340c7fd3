//! What a checked model says about itself, for the loader and for `fluid_model_info`.

use std::collections::HashMap;
use std::path::PathBuf;

use super::architecture::Architecture;
use super::hparams::Hparams;
use super::metadata::{Metadata, Texts};
use super::part::Part;
use super::reader::invalid;
use super::special::{self, Specials};
use super::tensors::Tensor;
use super::tokenizer::{Kind, Vocabulary};
use crate::error::Result;

/// A model that llama.cpp may be given.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) architecture: Architecture,
    pub(crate) name: Option<String>,
    /// All parts, in order; one for a model in one file.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) file_bytes: u64,
    /// By name: what an adapter's tensors have to fit.
    pub(crate) tensors: HashMap<String, Tensor>,
    /// Such as `Q4_1`; `None` where the file does not say it, or says a number nobody gave a name.
    pub(crate) file_type: Option<&'static str>,
    /// Weights, counted.
    pub(crate) n_parameters: u64,
    /// What the weights take in memory, without the header and padding of the file.
    pub(crate) weights_bytes: u64,
    pub(crate) n_layer: u32,
    pub(crate) n_embd: u32,
    pub(crate) n_ctx_train: u32,
    /// Query heads, and heads of keys and values, of the first layer; 0 without attention.
    pub(crate) n_head: u32,
    pub(crate) n_head_kv: u32,
    /// Whether a token sees only those before it.
    pub(crate) is_causal: bool,
    /// `llama_pooling_type`, where the file says one.
    pub(crate) pooling: Option<u32>,
    pub(crate) n_vocab: usize,
    /// Bytes of memory that the vocabulary takes, in llama.cpp and here.
    pub(crate) vocabulary_bytes: u64,
    pub(crate) tokenizer: Kind,
    pub(crate) specials: Specials,
    /// All ids of special tokens that the file names, by what they are for.
    pub(crate) special_ids: Vec<(&'static str, u32)>,
    /// Whether the tokeniser puts a space before a text.
    pub(crate) adds_space: bool,
    /// Positions from here on make llama.cpp abort: the context may not be larger.
    pub(crate) position_limit: Option<u32>,
    pub(crate) sliding_window: Option<u32>,
    /// A context longer than this has other RoPE factors than a shorter one.
    pub(crate) short_context: Option<u32>,
    /// Numbers the KV cache keeps for one token, all layers together; an upper bound.
    pub(crate) cached_per_token: u64,
    /// 32-bit numbers of recurrent state for one sequence; an upper bound.
    pub(crate) state_per_sequence: u64,
    pub(crate) chat_template: Option<String>,
    /// How a query and a document become one text, in rerankers made of chat models.
    pub(crate) rerank_template: Option<String>,
    pub(crate) sampling: SamplingDefaults,
    /// `general.*`, as far as it says where the model is from.
    pub(crate) general: Vec<(&'static str, String)>,
}

/// The sampling that a model's author recommends in `general.sampling.*`; nothing is checked.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct SamplingDefaults {
    pub(crate) temperature: Option<f32>,
    pub(crate) top_k: Option<i32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) min_p: Option<f32>,
    pub(crate) repeat_penalty: Option<f32>,
}

impl Summary {
    pub(super) fn new(
        parts: &[Part],
        files: Vec<PathBuf>,
        hparams: &Hparams,
        vocabulary: &Vocabulary,
    ) -> Result<Self> {
        let metadata = &parts.first().ok_or_else(|| invalid("has no parts"))?.metadata;
        let tensors = || parts.iter().flat_map(|part| &part.tensors);
        let layers = u64::from(hparams.n_layer);
        Ok(Self {
            architecture: hparams.architecture,
            name: metadata.text("general.name")?,
            files,
            file_bytes: parts.iter().map(|part| part.bytes).sum(),
            tensors: tensors().map(|tensor| (tensor.name.clone(), tensor.clone())).collect(),
            file_type: metadata.u32("general.file_type")?.and_then(file_type),
            n_parameters: tensors().map(|tensor| tensor.dims.iter().product::<u64>()).sum(),
            weights_bytes: tensors().map(|tensor| tensor.bytes()).sum::<Result<_>>()?,
            n_layer: hparams.n_layer,
            n_embd: hparams.n_embd,
            n_ctx_train: hparams.n_ctx_train,
            n_head: hparams.attention.heads.first().copied().unwrap_or(0),
            n_head_kv: hparams.attention.heads_kv.first().copied().unwrap_or(0),
            is_causal: hparams.is_causal,
            pooling: hparams.pooling,
            n_vocab: vocabulary.n_tokens,
            vocabulary_bytes: vocabulary_bytes(metadata)?,
            tokenizer: vocabulary.kind,
            specials: vocabulary.specials,
            special_ids: special::named(metadata, vocabulary.n_tokens)?,
            adds_space: metadata
                .flag("tokenizer.ggml.add_space_prefix")?
                .unwrap_or(vocabulary.kind != Kind::Bpe && vocabulary.kind != Kind::Rwkv),
            position_limit: tensors()
                .any(|tensor| tensor.name == "position_embd.weight")
                .then_some(hparams.n_ctx_train),
            sliding_window: hparams.sliding_window,
            short_context: tensors()
                .any(|tensor| tensor.name == "rope_factors_long.weight")
                .then(|| original_context(metadata, hparams))
                .transpose()?,
            cached_per_token: hparams.attention.cached_per_token(),
            state_per_sequence: hparams.state.numbers_per_layer * layers,
            chat_template: metadata.text("tokenizer.chat_template")?,
            rerank_template: metadata.text("tokenizer.chat_template.rerank")?,
            sampling: SamplingDefaults::read(metadata),
            general: general(metadata),
        })
    }
}

fn original_context(metadata: &Metadata, hparams: &Hparams) -> Result<u32> {
    let key = format!("{}.rope.scaling.original_context_length", hparams.architecture.name);
    Ok(metadata.u32(&key)?.unwrap_or(hparams.n_ctx_train))
}

impl SamplingDefaults {
    /// A key of the wrong type is no default; it is not worth refusing the model for.
    fn read(metadata: &Metadata) -> Self {
        let float = |name: &str| metadata.f32(&format!("general.sampling.{name}")).ok().flatten();
        let top_k =
            metadata.get("general.sampling.top_k").and_then(|value| value.integers().next());
        Self {
            temperature: float("temp"),
            top_k: top_k.and_then(|top_k| top_k.try_into().ok()),
            top_p: float("top_p"),
            min_p: float("min_p"),
            repeat_penalty: float("penalty_repeat"),
        }
    }
}

/// What `general.*` says of a model's origin; of texts the first kilobytes.
fn general(metadata: &Metadata) -> Vec<(&'static str, String)> {
    const NAMES: [&str; 13] = [
        "author",
        "organization",
        "version",
        "basename",
        "finetune",
        "size_label",
        "description",
        "license",
        "license.name",
        "license.link",
        "url",
        "repo_url",
        "quantized_by",
    ];
    const LONGEST: usize = 4_096;
    let text = |name: &str| metadata.text(&format!("general.{name}")).ok().flatten();
    let named = NAMES.iter().filter_map(|&name| Some((name, text(name)?)));
    named.map(|(name, text)| (name, text.chars().take(LONGEST).collect())).collect()
}

/// By what llama.cpp keeps of a token (two strings, a node of a hash table, a score), and of a merge
/// (two strings in another node); and what [`crate::backend::Vocab`] adds.
fn vocabulary_bytes(metadata: &Metadata) -> Result<u64> {
    const TOKEN: u64 = 160;
    const MERGE: u64 = 104;
    let count = |key| metadata.texts(key).map(|texts| texts.map_or(0, Texts::len) as u64);
    let (tokens, merges) = (count("tokenizer.ggml.tokens")?, count("tokenizer.ggml.merges")?);
    Ok(tokens * TOKEN + merges * MERGE)
}

/// `llama_ftype` by name.
fn file_type(code: u32) -> Option<&'static str> {
    const NAMES: [(u32, &str); 33] = [
        (0, "F32"),
        (1, "F16"),
        (2, "Q4_0"),
        (3, "Q4_1"),
        (7, "Q8_0"),
        (8, "Q5_0"),
        (9, "Q5_1"),
        (10, "Q2_K"),
        (11, "Q3_K_S"),
        (12, "Q3_K_M"),
        (13, "Q3_K_L"),
        (14, "Q4_K_S"),
        (15, "Q4_K_M"),
        (16, "Q5_K_S"),
        (17, "Q5_K_M"),
        (18, "Q6_K"),
        (19, "IQ2_XXS"),
        (20, "IQ2_XS"),
        (21, "Q2_K_S"),
        (22, "IQ3_XS"),
        (23, "IQ3_XXS"),
        (24, "IQ1_S"),
        (25, "IQ4_NL"),
        (26, "IQ3_S"),
        (27, "IQ3_M"),
        (28, "IQ2_S"),
        (29, "IQ2_M"),
        (30, "IQ4_XS"),
        (31, "IQ1_M"),
        (32, "BF16"),
        (36, "TQ1_0"),
        (37, "TQ2_0"),
        (38, "MXFP4"),
    ];
    NAMES.iter().find(|entry| entry.0 == code).map(|entry| entry.1)
}
