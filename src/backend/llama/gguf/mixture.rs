//! Families with two kinds of layers, of which each has to be there.

use super::hparams::Keys;
use super::reader::invalid;
use crate::error::Result;

/// A family of two kinds of layers needs one of each: llama.cpp prepares the inputs of both.
pub(super) fn check(keys: Keys<'_>, heads_kv: &[u32]) -> Result<()> {
    let (suffix, recurrent): (_, Vec<bool>) = match keys.architecture.name {
        "granitehybrid" | "jamba" | "lfm2" | "lfm2moe" => {
            ("attention.head_count_kv", heads_kv.iter().map(|&kv| kv == 0).collect())
        }
        "nemotron_h" | "nemotron_h_moe" => {
            ("attention.head_count_kv", bare_layers(keys, heads_kv)?)
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

/// A sliding window needs layers that slide; without a KV cache, also layers that do not.
pub(super) fn check_sliding(keys: Keys<'_>, n_layer: u32) -> Result<()> {
    let name = keys.architecture.name;
    let window = keys.u32("attention.sliding_window")?;
    if window == Some(0) && ALWAYS_SLIDE.contains(&name) {
        return Err(invalid(format!("key '{}' is 0", keys.name("attention.sliding_window"))));
    }
    let slides = window.unwrap_or(0) > 0 || ALWAYS_SLIDE.contains(&name);
    let Some(layers) = sliding(keys, n_layer)?.filter(|_| slides) else {
        return Ok(());
    };
    if name == "gemma4" {
        check_shared(keys, &layers)?;
    }
    let both = ["gemma-embedding", "modern-bert"].contains(&name);
    match layers.contains(&true) && (!both || layers.contains(&false)) {
        true => Ok(()),
        false => Err(invalid(format!(
            "key '{}' leaves no layer of one kind",
            keys.name("attention.sliding_window_pattern")
        ))),
    }
}

/// The last layers take keys and values from the last two that have their own, kind by kind.
fn check_shared(keys: Keys<'_>, slides: &[bool]) -> Result<()> {
    let suffix = "attention.shared_kv_layers";
    let own = slides.len().saturating_sub(keys.u32(suffix)?.unwrap_or(0) as usize);
    let (own, shared) = slides.split_at(own);
    let sound = match own {
        [.., second, last] => {
            (*second || !shared.contains(&true)) && (!*last || !shared.contains(&false))
        }
        _ => false,
    };
    match sound {
        true => Ok(()),
        false => Err(invalid(format!("key '{}' leaves no layer to share with", keys.name(suffix)))),
    }
}

/// Whether each layer slides, where the file or the family says so.
fn sliding(keys: Keys<'_>, n_layer: u32) -> Result<Option<Vec<bool>>> {
    let suffix = "attention.sliding_window_pattern";
    let default = match keys.architecture.name {
        "gemma-embedding" => Some(6),
        "modern-bert" => Some(3),
        _ => None,
    };
    let interval = match keys.metadata.get(&keys.name(suffix)) {
        Some(value) if value.is_array() => {
            return Ok(Some(value.flags().into_iter().take(n_layer as usize).collect()));
        }
        Some(_) => keys.u32(suffix)?,
        None => default,
    };
    // Of each interval one layer does not slide: the last, in one family the first.
    let shift = u32::from(keys.architecture.name != "modern-bert");
    let slides = |interval: u32| {
        (shift..n_layer + shift).map(|layer| interval == 0 || layer % interval != 0).collect()
    };
    Ok(interval.map(slides))
}

/// Families whose sliding window cannot be switched off by 0.
const ALWAYS_SLIDE: &[&str] =
    &["cohere2", "gemma-embedding", "gemma2", "gemma3n", "gemma4", "gpt-oss", "llama4"];
