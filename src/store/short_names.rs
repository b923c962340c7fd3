//! The short names of Fluid Server, and what they stand for.
#![forbid(unsafe_code)]

use super::Kind;

/// A short name and its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortName {
    /// As Fluid Server writes it; also the name of its folder in the model folder.
    pub name: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// `owner/name` on the hub.
    pub repo: &'static str,
    /// The quantisation that Fluid Server takes, of GGUF repositories.
    pub quant: Option<&'static str>,
}

/// All of them.
pub const SHORT_NAMES: [ShortName; 8] = [
    openvino("qwen3-8b-int8-ov", Kind::Llm, "FluidInference/Qwen3-8B-int8-ov"),
    openvino("qwen3-8b-int4-ov", Kind::Llm, "FluidInference/Qwen3-8B-int4-ov"),
    openvino("qwen3-4b-int8-ov", Kind::Llm, "FluidInference/Qwen3-4B-int8-ov"),
    openvino("phi-4-mini", Kind::Llm, "FluidInference/phi-4-mini-instruct-int4-ov-npu"),
    gguf("gemma-3-4b-it-gguf", "ggml-org/gemma-3-4b-it-GGUF", "Q4_K_M"),
    gguf("gemma-3-4b-it-qat-GGUF", "unsloth/gemma-3-4b-it-qat-GGUF", "BF16"),
    openvino("whisper-tiny", Kind::Whisper, "FluidInference/whisper-tiny-int4-ov-npu"),
    openvino(
        "whisper-large-v3-turbo-fp16-ov-npu",
        Kind::Whisper,
        "FluidInference/whisper-large-v3-turbo-fp16-ov-npu",
    ),
];

const fn openvino(name: &'static str, kind: Kind, repo: &'static str) -> ShortName {
    ShortName { name, kind, repo, quant: None }
}

const fn gguf(name: &'static str, repo: &'static str, quant: &'static str) -> ShortName {
    ShortName { name, kind: Kind::Llm, repo, quant: Some(quant) }
}

/// What `name` stands for, its case as given.
pub(super) fn find(name: &str) -> Option<&'static ShortName> {
    SHORT_NAMES.iter().find(|short| short.name == name)
}
