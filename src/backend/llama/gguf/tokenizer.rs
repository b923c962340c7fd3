//! The vocabulary: what llama.cpp's tokenizers assert about it, while loading or at the first prompt.

use std::collections::HashSet;

use super::architecture::Architecture;
use super::metadata::{Metadata, Texts, Type};
use super::reader::{invalid, unsupported};
use super::special::{self, Specials};
use crate::error::Result;

const MAX_TOKENS: usize = 1 << 21;
const MAX_TOKEN_BYTES: usize = 1 << 12;
/// A trie node takes about a hundred bytes of memory for each byte of text.
const MAX_TRIE_BYTES: usize = 8 << 20;
const BYTE_TOKEN: i128 = 6;

/// The tokenizers of llama.cpp that models of ours use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SentencePiece with byte fallback.
    Spm,
    /// Byte-pair encoding with merges.
    Bpe,
    /// WordPiece, as in BERT.
    Wpm,
    /// SentencePiece's unigram model, as in T5 and XLM-R.
    Ugm,
    /// RWKV's trie.
    Rwkv,
}

impl Kind {
    /// As `fluid_model_info` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Spm => "sentencepiece",
            Kind::Bpe => "bpe",
            Kind::Wpm => "wordpiece",
            Kind::Ugm => "unigram",
            Kind::Rwkv => "rwkv",
        }
    }
}

/// What the rest of the library needs to know about the vocabulary.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) kind: Kind,
    pub(crate) n_tokens: usize,
    pub(crate) specials: Specials,
}

pub(super) fn check(metadata: &Metadata, architecture: Architecture) -> Result<Vocabulary> {
    let kind = kind(metadata)?;
    let pre = metadata.text("tokenizer.ggml.pre")?.unwrap_or_default();
    if kind == Kind::Bpe {
        check_pre(metadata, &pre)?;
    }
    let key = "tokenizer.ggml.tokens";
    let tokens = metadata.texts(key)?.ok_or_else(|| invalid(format!("key '{key}' is missing")))?;
    check_texts(tokens, kind)?;
    check_arrays(metadata, tokens, kind)?;
    match kind {
        Kind::Spm => check_bytes(tokens, |token| byte_value(token).or(single(token)))?,
        Kind::Rwkv => check_bytes(tokens, |token| single(&unescape(token)))?,
        Kind::Bpe | Kind::Wpm | Kind::Ugm => {}
    }
    check_charsmap(metadata)?;
    if architecture.name.contains("bert")
        && metadata.u32("tokenizer.ggml.token_type_count")? == Some(0)
    {
        return Err(invalid("key 'tokenizer.ggml.token_type_count' is 0"));
    }
    let specials = special::check(metadata, kind, &pre, tokens.len())?;
    Ok(Vocabulary { kind, n_tokens: tokens.len(), specials })
}

fn kind(metadata: &Metadata) -> Result<Kind> {
    let key = "tokenizer.ggml.model";
    let name = metadata.text(key)?.ok_or_else(|| invalid(format!("key '{key}' is missing")))?;
    Ok(match name.as_str() {
        "llama" => Kind::Spm,
        "gpt2" | "gemma4" => Kind::Bpe,
        "bert" => Kind::Wpm,
        "t5" => Kind::Ugm,
        "rwkv" => Kind::Rwkv,
        "none" | "no_vocab" => {
            return Err(unsupported("is a model without a vocabulary, which takes no text"))
        }
        _ => {
            return Err(unsupported(format!(
                "key '{key}' is '{name}', a tokenizer that this build does not know"
            )))
        }
    })
}

fn check_pre(metadata: &Metadata, pre: &str) -> Result<()> {
    if !pre.is_empty() && !PRE_TOKENIZERS.contains(&pre) {
        let key = "tokenizer.ggml.pre";
        return Err(unsupported(format!(
            "key '{key}' is '{pre}', a pre-tokenizer that this build does not know"
        )));
    }
    let key = "tokenizer.ggml.merges";
    let merges = match metadata.texts(key)? {
        Some(merges) => merges,
        None if pre == "kimi-k2" => return Ok(()),
        None => return Err(invalid(format!("key '{key}' is missing"))),
    };
    // The first byte may be the space that is merged.
    let torn = merges.iter().position(|merge| !merge.iter().skip(1).any(|&byte| byte == b' '));
    match torn {
        None => Ok(()),
        Some(index) => Err(invalid(format!(
            "key '{key}': number {index} is not two texts with a space between"
        ))),
    }
}

fn check_texts(tokens: &Texts, kind: Kind) -> Result<()> {
    let key = "tokenizer.ggml.tokens";
    if tokens.len() == 0 || tokens.len() > MAX_TOKENS {
        return Err(invalid(format!(
            "key '{key}' has {} tokens; 1 to {MAX_TOKENS} are possible",
            tokens.len()
        )));
    }
    let mut seen = HashSet::new();
    for (id, token) in tokens.iter().enumerate() {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid(format!("key '{key}': token {id} has {} bytes", token.len())));
        }
        if !seen.insert(as_c_string(token, id)) {
            let text = String::from_utf8_lossy(token);
            return Err(invalid(format!(
                "key '{key}': token {id} has the same text as another, '{text}'"
            )));
        }
    }
    let total: usize = tokens.iter().map(<[u8]>::len).sum();
    if matches!(kind, Kind::Ugm | Kind::Rwkv) && total > MAX_TRIE_BYTES {
        return Err(invalid(format!(
            "key '{key}' has {total} bytes of text; at most {MAX_TRIE_BYTES} are allowed"
        )));
    }
    Ok(())
}

/// The text as llama.cpp keeps it: cut at a NUL, and named where nothing is left.
fn as_c_string(token: &[u8], id: usize) -> std::borrow::Cow<'_, [u8]> {
    match token.split(|&byte| byte == 0).next() {
        Some(text) if !text.is_empty() => text.into(),
        _ => format!("[EMPTY_{id}]").into_bytes().into(),
    }
}

fn check_arrays(metadata: &Metadata, tokens: &Texts, kind: Kind) -> Result<()> {
    let scores = metadata.numbers("tokenizer.ggml.scores", &[Type::F32, Type::I32])?;
    let types = metadata.numbers("tokenizer.ggml.token_type", &[Type::I32])?;
    for (key, array) in [("scores", scores), ("token_type", types)] {
        if let Some(array) = array.filter(|array| array.len() < tokens.len()) {
            let (len, wanted) = (array.len(), tokens.len());
            return Err(invalid(format!(
                "key 'tokenizer.ggml.{key}' has {len} numbers for {wanted} tokens"
            )));
        }
    }
    if let Some(id) = scores.and_then(|scores| scores.floats().position(|score| !score.is_finite()))
    {
        return Err(invalid(format!("key 'tokenizer.ggml.scores': number {id} is not finite")));
    }
    let Some(types) = types else {
        return Ok(());
    };
    for (id, (kind_of_token, token)) in types.integers().zip(tokens.iter()).enumerate() {
        if kind_of_token == BYTE_TOKEN && (kind == Kind::Wpm || byte_value(token).is_none()) {
            return Err(invalid(format!(
                "key 'tokenizer.ggml.token_type': token {id} is no byte such as <0x0A>"
            )));
        }
    }
    Ok(())
}

fn byte_value(token: &[u8]) -> Option<u8> {
    let digits = token.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

/// Without them a prompt with a character that no token covers ends in a C++ exception, or, in
/// RWKV's tokenizer, never ends.
fn check_bytes(tokens: &Texts, byte: impl Fn(&[u8]) -> Option<u8>) -> Result<()> {
    let mut covered = [false; 256];
    for byte in tokens.iter().filter_map(byte) {
        covered[usize::from(byte)] = true;
    }
    match covered.iter().position(|covered| !covered) {
        None => Ok(()),
        Some(byte) => Err(invalid(format!(
            "key 'tokenizer.ggml.tokens' has no token for the byte <0x{byte:02X}>"
        ))),
    }
}

/// A token of RWKV's vocabulary as the bytes it stands for: `\n`, `\x0a`, `\\`.
fn unescape(token: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = token.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b't') => bytes.push(b'\t'),
            Some(b'n') => bytes.push(b'\n'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b'x') => bytes.extend(hex_pair(&mut rest)),
            other => bytes.extend(other),
        }
    }
    bytes
}

fn hex_pair(digits: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(digits.next()?).to_digit(16);
    Some((digit()? * 16 + digit()?) as u8)
}

fn single(token: &[u8]) -> Option<u8> {
    match token {
        [byte] => Some(*byte),
        _ => None,
    }
}

fn check_charsmap(metadata: &Metadata) -> Result<()> {
    let key = "tokenizer.ggml.precompiled_charsmap";
    let Some(map) = metadata.numbers(key, &[Type::I8, Type::U8])? else {
        return Ok(());
    };
    let head: Vec<u8> = map.integers().take(4).map(|byte| byte as u8).collect();
    let claimed = head.try_into().map(u32::from_le_bytes);
    match claimed {
        Ok(size) if u64::from(size) + 4 < map.len() as u64 => Ok(()),
        _ => Err(invalid(format!("key '{key}' is shorter than its table"))),
    }
}

/// All that llama.cpp knows; another one would be tokenized wrongly, so it refuses.
const PRE_TOKENIZERS: &[&str] = &[
    "a.x-4.0",
    "afmoe",
    "bailingmoe",
    "bailingmoe2",
    "bloom",
    "chameleon",
    "chatglm-bpe",
    "codeshell",
    "cohere2moe",
    "command-r",
    "dbrx",
    "deepseek-coder",
    "deepseek-llm",
    "deepseek-r1-qwen",
    "deepseek-v3",
    "default",
    "exaone",
    "exaone-moe",
    "exaone4",
    "f2llmv2",
    "falcon",
    "falcon-h1",
    "falcon3",
    "gemma4",
    "gigachat",
    "glm4",
    "glm5",
    "gpt-2",
    "gpt-4o",
    "gpt3-finnish",
    "granite-docling",
    "granite-embed-multi-311m",
    "granite-embed-multi-97m",
    "grok-2",
    "hunyuan",
    "hunyuan-dense",
    "hy_v4",
    "jais",
    "jais-2",
    "jina-de",
    "jina-es",
    "jina-v1-en",
    "jina-v2-code",
    "jina-v2-de",
    "jina-v2-es",
    "jina-v5-nano",
    "joyai-llm",
    "kanana2",
    "kimi-k2",
    "kormo",
    "laguna",
    "lfm2",
    "llada-moe",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "llama4",
    "megrez",
    "mellum",
    "mellum2",
    "midm-2.0",
    "minerva-7b",
    "minicpm5",
    "minimax-m2",
    "mmbert",
    "modern-bert",
    "mpt",
    "olmo",
    "phi-2",
    "pixtral",
    "poro-chat",
    "qwen2",
    "qwen35",
    "refact",
    "roberta-bpe",
    "sarvam-moe",
    "seed-coder",
    "smaug-bpe",
    "smollm",
    "solar-open",
    "spark2_5",
    "stablelm2",
    "starcoder",
    "superbpe",
    "talkie",
    "tekken",
    "tiny_aya",
    "trillion",
    "ufakzeka",
    "viking",
    "whitespace",
    "youtu",
];
