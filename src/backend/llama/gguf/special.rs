//! Special tokens, as llama.cpp ends up with them; a tokenizer that has to add a missing one aborts.

use super::metadata::Metadata;
use super::reader::invalid;
use super::tokenizer::Kind;
use crate::error::Result;

/// Keys whose tokens begin and end texts; out of the vocabulary they show a damaged file.
const IDS: [&str; 4] = ["bos", "eos", "eot", "eom"];

/// The special tokens that the check had to find out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Specials {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) adds_bos: bool,
    pub(crate) adds_eos: bool,
}

pub(super) fn check(
    metadata: &Metadata,
    kind: Kind,
    pre: &str,
    n_tokens: usize,
) -> Result<Specials> {
    for name in IDS {
        let key = format!("tokenizer.ggml.{name}_token_id");
        if let Some(id) = metadata.u32(&key)?.filter(|&id| id as usize >= n_tokens) {
            return Err(invalid(format!(
                "key '{key}' is {id} in a vocabulary of {n_tokens} tokens"
            )));
        }
    }
    let [bos, eos, sep, unknown] = default_ids(metadata, kind, pre)?;
    let effective = |name: &str, default: Option<u32>| -> Result<Option<u32>> {
        let set = metadata.u32(&format!("tokenizer.ggml.{name}_token_id"))?;
        Ok([set, default].into_iter().flatten().find(|&id| (id as usize) < n_tokens))
    };
    let specials = Specials {
        bos: effective("bos", bos)?,
        eos: effective("eos", eos)?,
        adds_bos: adds(metadata, "bos", adds_bos_by_default(kind, pre))?
            || is_gemma4(metadata, pre)?,
        adds_eos: adds(metadata, "eos", kind == Kind::Ugm)?,
    };
    let sep = effective("seperator", sep)?;
    let unknown = effective("unknown", unknown)?;
    let needs = [
        ("bos", (specials.adds_bos || kind == Kind::Wpm) && kind != Kind::Rwkv, specials.bos),
        ("eos", specials.adds_eos && !matches!(kind, Kind::Rwkv | Kind::Wpm), specials.eos),
        ("seperator", kind == Kind::Wpm, sep),
        ("unknown", matches!(kind, Kind::Wpm | Kind::Ugm), unknown),
    ];
    match needs.iter().find(|(_, needed, id)| *needed && id.is_none()) {
        None => Ok(specials),
        Some((name, ..)) => Err(invalid(format!(
            "key 'tokenizer.ggml.{name}_token_id' is missing, but the tokenizer adds that token to texts"
        ))),
    }
}

/// The ids that the file names, for what they are; those outside the vocabulary are left out.
pub(super) fn named(metadata: &Metadata, n_tokens: usize) -> Result<Vec<(&'static str, u32)>> {
    const NAMES: [(&str, &str); 13] = [
        ("bos", "bos"),
        ("eos", "eos"),
        ("eot", "eot"),
        ("eom", "eom"),
        ("unknown", "unknown"),
        ("seperator", "separator"),
        ("padding", "padding"),
        ("cls", "cls"),
        ("mask", "mask"),
        ("fim_pre", "fim_prefix"),
        ("fim_suf", "fim_suffix"),
        ("fim_mid", "fim_middle"),
        ("fim_pad", "fim_padding"),
    ];
    let mut ids = Vec::new();
    for (key, name) in NAMES {
        let id = metadata.u32(&format!("tokenizer.ggml.{key}_token_id"))?;
        ids.extend(id.filter(|&id| (id as usize) < n_tokens).map(|id| (name, id)));
    }
    Ok(ids)
}

/// The token ids that llama.cpp assumes for bos, eos, the separator and what it cannot spell.
fn default_ids(metadata: &Metadata, kind: Kind, pre: &str) -> Result<[Option<u32>; 4]> {
    let gemma4 = metadata.text("tokenizer.ggml.model")?.as_deref() == Some("gemma4");
    Ok(match kind {
        Kind::Spm => [Some(1), Some(2), None, Some(0)],
        Kind::Bpe if gemma4 => [None; 4],
        Kind::Bpe if ["chatglm-bpe", "glm4", "glm5"].contains(&pre) => [None, Some(11), None, None],
        Kind::Bpe => [Some(11), Some(11), None, None],
        Kind::Wpm => [Some(101), None, Some(102), Some(100)],
        Kind::Ugm => [None, Some(1), None, Some(2)],
        Kind::Rwkv => [None; 4],
    })
}

fn adds(metadata: &Metadata, name: &str, default: bool) -> Result<bool> {
    Ok(metadata.flag(&format!("tokenizer.ggml.add_{name}_token"))?.unwrap_or(default))
}

fn adds_bos_by_default(kind: Kind, pre: &str) -> bool {
    const PRE: [&str; 11] = [
        "chameleon",
        "falcon-h1",
        "falcon3",
        "jina-v5-nano",
        "lfm2",
        "llama-bpe",
        "llama-v3",
        "llama3",
        "midm-2.0",
        "pixtral",
        "tekken",
    ];
    matches!(kind, Kind::Spm | Kind::Wpm) || (kind == Kind::Bpe && PRE.contains(&pre))
}

/// For this pre-tokenizer llama.cpp adds bos whatever the file says.
fn is_gemma4(metadata: &Metadata, pre: &str) -> Result<bool> {
    let model = metadata.text("tokenizer.ggml.model")?;
    Ok(model.as_deref() == Some("gemma4") || ["gemma4", "granite-embed-multi-311m"].contains(&pre))
}
