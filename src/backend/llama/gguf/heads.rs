//! Attention heads: what llama.cpp asserts about their number and length.

use super::architecture::Heads;
use super::hparams::Keys;
use super::reader::invalid;
use super::{mixture, rope};
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
    rope::check_scaling(keys)?;
    mixture::check_sliding(keys, n_layer)?;
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
    mixture::check(keys, &heads_kv)?;
    let first = heads[0];
    let [key_length, value_length] =
        ["key", "value"].map(|which| length(keys, which, n_embd, first));
    let attention =
        Attention { heads, heads_kv, key_length: key_length?, value_length: value_length? };
    check_lengths(keys, n_embd, &attention)?;
    rope::check(keys, &attention)?;
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
    let equal = key_length == value_length;
    let query = u64::from(attention.heads[0]) * u64::from(key_length);
    // The projections of these families are square.
    let square = query == u64::from(n_embd);
    let sound = match (keys.architecture.heads, keys.architecture.name) {
        (Heads::Square | Heads::Partial, _) | (_, "jamba" | "lfm2" | "lfm2moe") => equal && square,
        (_, "openelm") => equal,
        (_, "dots1") => equal && attention.heads == attention.heads_kv,
        (Heads::Whole | Heads::Equal, _) => equal,
        (Heads::Latent, _) => return check_latent(keys, attention),
        (Heads::Free | Heads::Mixed | Heads::None, _) => true,
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

/// DeepSeek's compressed keys and values: what is cached is their common source, once for all heads.
fn check_latent(keys: Keys<'_>, attention: &Attention) -> Result<()> {
    let Attention { key_length, value_length, .. } = *attention;
    let compressed = keys.u32("attention.key_length_mla")?.unwrap_or(0) > 0;
    let rank = keys.u32("attention.kv_lora_rank")?.unwrap_or(0);
    let rotated = keys.u32("rope.dimension_count")?.unwrap_or(key_length);
    let sound = match compressed {
        true => {
            attention.heads_kv.iter().all(|&kv| kv == 1)
                && key_length == rank + rotated
                && value_length == rank
                && keys.u32("attention.key_length_mla")? > Some(rotated)
                && keys.u32("attention.value_length_mla")? > Some(0)
        }
        false => attention.heads_kv == attention.heads,
    };
    match sound && rotated < key_length {
        true => Ok(()),
        false => Err(invalid(format!(
            "keys '{}' do not fit a latent attention of rank {rank}",
            keys.name("attention.*")
        ))),
    }
}
