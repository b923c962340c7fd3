//! Attention heads and rotary positions: what llama.cpp asserts about them.

use super::architecture::{Architecture, Heads};
use super::hparams::Keys;
use super::metadata::Type;
use super::reader::invalid;
use crate::error::Result;

/// The attention of all layers.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    /// Query heads of each layer.
    pub(crate) heads: Vec<u32>,
    /// Key and value heads of each layer.
    pub(crate) heads_kv: Vec<u32>,
    pub(crate) key_length: u32,
    pub(crate) value_length: u32,
}

impl Attention {
    /// Numbers that the KV cache keeps for one token.
    pub(crate) fn cached_per_token(&self) -> u64 {
        let length = u64::from(self.key_length) + u64::from(self.value_length);
        self.heads_kv.iter().map(|&heads| u64::from(heads) * length).sum()
    }
}

pub(super) fn check(keys: Keys<'_>, n_embd: u32, n_layer: u32) -> Result<Attention> {
    check_scaling(keys)?;
    let rule = keys.architecture.heads;
    let heads = keys.per_layer("attention.head_count", n_layer)?;
    if rule == Heads::None {
        // These families compute with 0 heads; any other number only misleads llama.cpp.
        return Ok(Attention::default());
    }
    let heads = heads.ok_or_else(|| {
        invalid(format!("key '{}' is missing", keys.name("attention.head_count")))
    })?;
    let heads_kv =
        keys.per_layer("attention.head_count_kv", n_layer)?.unwrap_or_else(|| heads.clone());
    check_counts(keys, &heads, &heads_kv)?;
    check_mixture(keys, &heads_kv)?;
    let first = heads[0];
    let [key_length, value_length] =
        ["key", "value"].map(|which| length(keys, which, n_embd, first));
    let attention =
        Attention { heads, heads_kv, key_length: key_length?, value_length: value_length? };
    check_lengths(keys, n_embd, &attention)?;
    check_rotation(keys, &attention)?;
    Ok(attention)
}

fn check_counts(keys: Keys<'_>, heads: &[u32], heads_kv: &[u32]) -> Result<()> {
    let rule = keys.architecture.heads;
    let key = keys.name("attention.head_count");
    if heads[0] == 0 {
        return Err(invalid(format!("key '{key}' is 0 in the first layer")));
    }
    for (layer, (&query, &kv)) in heads.iter().zip(heads_kv).enumerate() {
        let absent = query == 0 || kv == 0;
        if (absent && rule != Heads::Mixed) || (!absent && query % kv != 0) {
            return Err(invalid(format!(
                "key '{key}' is {query} and '{key}_kv' {kv} in layer {layer}"
            )));
        }
    }
    // Their graphs are built with the first layer's count for all.
    let uniform = |counts: &[u32]| counts.iter().all(|&count| count == counts[0]);
    match rule == Heads::Mixed || (uniform(heads) && uniform(heads_kv)) {
        true => Ok(()),
        false => Err(invalid(format!("key '{key}' or '{key}_kv' differs between layers"))),
    }
}

/// A family of two kinds of layers needs one of each: llama.cpp prepares the inputs of both.
fn check_mixture(keys: Keys<'_>, heads_kv: &[u32]) -> Result<()> {
    let (suffix, recurrent): (_, Vec<bool>) = match keys.architecture.name {
        "granitehybrid" | "jamba" | "lfm2" | "lfm2moe" => {
            ("attention.head_count_kv", heads_kv.iter().map(|&kv| kv == 0).collect())
        }
        "nemotron_h" | "nemotron_h_moe" => {
            ("attention.head_count_kv", bare_layers(keys, heads_kv)?)
        }
        "gemma-embedding" => {
            ("attention.sliding_window_pattern", sliding(keys, heads_kv.len() as u32, 6, 1)?)
        }
        "modern-bert" => {
            ("attention.sliding_window_pattern", sliding(keys, heads_kv.len() as u32, 3, 0)?)
        }
        "qwen35" | "qwen35moe" | "qwen3next" => {
            ("full_attention_interval", interleaved(keys, heads_kv.len() as u32)?)
        }
        _ => return Ok(()),
    };
    match recurrent.contains(&true) && recurrent.contains(&false) {
        true => Ok(()),
        false => Err(invalid(format!(
            "key '{}' leaves no layer of one of the family's two kinds",
            keys.name(suffix)
        ))),
    }
}

/// Whether each layer without a feed-forward is recurrent; those with one are of neither kind.
fn bare_layers(keys: Keys<'_>, heads_kv: &[u32]) -> Result<Vec<bool>> {
    let widths = keys.per_layer("feed_forward_length", heads_kv.len() as u32)?;
    let widths = widths.unwrap_or_else(|| vec![0; heads_kv.len()]);
    Ok(heads_kv
        .iter()
        .zip(widths)
        .filter(|layer| layer.1 == 0)
        .map(|layer| *layer.0 == 0)
        .collect())
}

/// Whether each layer is recurrent, by its own list or by a rhythm.
fn interleaved(keys: Keys<'_>, layers: u32) -> Result<Vec<bool>> {
    let listed = keys.metadata.get(&keys.name("attention.recurrent_layers"));
    if let Some(listed) = listed {
        return Ok(listed.flags());
    }
    let interval = keys.u32("full_attention_interval")?.unwrap_or(4);
    let layers = layers - keys.u32("nextn_predict_layers")?.unwrap_or(0);
    Ok((1..=layers).map(|layer| interval == 0 || layer % interval != 0).collect())
}

/// Whether each layer slides; of every `interval` layers the last (`late` 1) or the first (0) does not.
fn sliding(keys: Keys<'_>, layers: u32, interval: u32, late: u32) -> Result<Vec<bool>> {
    let suffix = "attention.sliding_window_pattern";
    let interval = match keys.metadata.get(&keys.name(suffix)) {
        None => interval,
        Some(value) if value.is_array() => return Ok(value.flags()),
        Some(_) => keys.u32(suffix)?.unwrap_or(interval),
    };
    Ok((late..layers + late).map(|layer| interval == 0 || layer % interval != 0).collect())
}

fn length(keys: Keys<'_>, which: &str, n_embd: u32, heads: u32) -> Result<u32> {
    let suffix = format!("attention.{which}_length");
    match keys.u32(&suffix)? {
        Some(0) => Err(invalid(format!("key '{}' is 0", keys.name(&suffix)))),
        Some(length) => Ok(length),
        None if n_embd % heads == 0 => Ok(n_embd / heads),
        None => Err(invalid(format!(
            "key '{}' is {n_embd}, not a multiple of the {heads} heads",
            keys.name("embedding_length")
        ))),
    }
}

fn check_lengths(keys: Keys<'_>, n_embd: u32, attention: &Attention) -> Result<()> {
    let Attention { key_length, value_length, .. } = *attention;
    let query = u64::from(attention.heads[0]) * u64::from(key_length);
    let sound = match keys.architecture.heads {
        Heads::Square | Heads::Partial => key_length == value_length && query == u64::from(n_embd),
        Heads::Whole | Heads::Equal => key_length == value_length,
        Heads::Free | Heads::Latent | Heads::Mixed | Heads::None => true,
    };
    if !sound {
        return Err(invalid(format!(
            "keys '{}' {key_length} and '{}' {value_length} do not fit {} heads of {n_embd} numbers",
            keys.name("attention.key_length"),
            keys.name("attention.value_length"),
            attention.heads[0]
        )));
    }
    for (suffix, length) in
        [("attention.key_length_swa", key_length), ("attention.value_length_swa", value_length)]
    {
        let differs = keys.u32(suffix)?.is_some_and(|swa| swa != length);
        if differs && keys.architecture.heads != Heads::Mixed {
            return Err(invalid(format!(
                "key '{}' differs from the other layers' {length}",
                keys.name(suffix)
            )));
        }
    }
    Ok(())
}

fn check_rotation(keys: Keys<'_>, attention: &Attention) -> Result<()> {
    let all = attention.key_length;
    let rotated = keys.u32("rope.dimension_count")?.unwrap_or(all);
    let whole = matches!(keys.architecture.heads, Heads::Square | Heads::Whole);
    if rotated > all || rotated % 2 != 0 || (whole && rotated != all) {
        return Err(invalid(format!(
            "key '{}' is {rotated} for heads of {all}",
            keys.name("rope.dimension_count")
        )));
    }
    let all_swa = keys.u32("attention.key_length_swa")?.unwrap_or(all);
    let rotated_swa = keys.u32("rope.dimension_count_swa")?.unwrap_or(rotated);
    if rotated_swa > all_swa || rotated_swa % 2 != 0 || (whole && rotated_swa != all_swa) {
        let key = keys.name("rope.dimension_count_swa");
        return Err(invalid(format!("key '{key}' is {rotated_swa} for heads of {all_swa}")));
    }
    check_sections(keys, all)
}

/// Four sections that sum to 0 are a division by zero on a worker thread.
fn check_sections(keys: Keys<'_>, length: u32) -> Result<()> {
    if !keys.architecture.needs_rope_sections() {
        return Ok(());
    }
    let key = keys.name("rope.dimension_sections");
    let sections = keys.metadata.numbers(&key, &[Type::I32, Type::U32])?;
    let sound = sections
        .is_some_and(|sections| sections.len() == 4 && sections.integers().next() > Some(0));
    match sound {
        true => Ok(()),
        false => {
            Err(invalid(format!("key '{key}' is missing, or not four parts of a head's {length}")))
        }
    }
}

fn check_scaling(keys: Keys<'_>) -> Result<()> {
    let key = keys.name("rope.scaling.type");
    match keys.metadata.text(&key)?.as_deref() {
        None | Some("none" | "linear" | "yarn" | "longrope") => {}
        Some(other) => {
            return Err(invalid(format!("key '{key}' is '{other}', which llama.cpp does not know")))
        }
    }
    let key = keys.name("attention.sliding_window");
    match keys.u32("attention.sliding_window")? {
        Some(0) if always_slides(keys.architecture) => Err(invalid(format!("key '{key}' is 0"))),
        _ => Ok(()),
    }
}

/// Families whose sliding window cannot be switched off by 0.
fn always_slides(architecture: Architecture) -> bool {
    ["cohere2", "gemma-embedding", "gemma2", "gemma3n", "gemma4", "gpt-oss"]
        .contains(&architecture.name)
}
