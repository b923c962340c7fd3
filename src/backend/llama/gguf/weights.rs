//! Tensors that llama.cpp's graphs use without asking whether they are there.

use std::collections::HashMap;

use super::architecture::Heads;
use super::hparams::{Hparams, Keys};
use super::reader::invalid;
use super::tensors::Tensor;
use super::tokenizer::Vocabulary;
use crate::error::Result;

/// The model's tensors by name.
type Weights<'a> = HashMap<&'a str, &'a Tensor>;

pub(super) fn check(
    hparams: &Hparams,
    keys: Keys<'_>,
    tensors: &[&Tensor],
    vocabulary: &Vocabulary,
) -> Result<()> {
    let weights: Weights<'_> =
        tensors.iter().map(|tensor| (tensor.name.as_str(), *tensor)).collect();
    let width = u64::from(hparams.n_embd);
    shape(&weights, "token_embd.weight", [width, vocabulary.n_tokens as u64])?;
    if weights.contains_key("position_embd.weight") {
        shape(&weights, "position_embd.weight", [width, hparams.n_ctx_train.into()])?;
    }
    check_attention(hparams, &weights)?;
    check_recurrent(hparams, &weights)?;
    check_embeddings(hparams, keys, &weights)
}

fn shape(weights: &Weights<'_>, name: &str, wanted: [u64; 2]) -> Result<()> {
    match weights.get(name) {
        Some(tensor) if tensor.dims == [wanted[0], wanted[1], 1, 1] => Ok(()),
        Some(tensor) => Err(invalid(format!(
            "tensor '{name}' has the shape {:?} instead of {wanted:?}",
            tensor.dims
        ))),
        None => Err(invalid(format!("tensor '{name}' is missing"))),
    }
}

/// Query, key and value weights of each layer, fused or not.
fn check_attention(hparams: &Hparams, weights: &Weights<'_>) -> Result<()> {
    if !matches!(
        hparams.architecture.heads,
        Heads::Square | Heads::Partial | Heads::Whole | Heads::Free
    ) {
        return Ok(());
    }
    for layer in 0..hparams.n_layer {
        let has = |name: &str| weights.contains_key(format!("blk.{layer}.{name}.weight").as_str());
        if !(has("attn_qkv") || has("attn_q") && has("attn_k") && has("attn_v")) {
            return Err(invalid(format!(
                "tensor 'blk.{layer}.attn_qkv.weight' (or attn_q, attn_k, attn_v) is missing"
            )));
        }
    }
    Ok(())
}

/// What the recurrent layers of a family use without asking.
fn check_recurrent(hparams: &Hparams, weights: &Weights<'_>) -> Result<()> {
    for layer in 0..hparams.n_layer {
        let has = |name: &str| weights.contains_key(format!("blk.{layer}.{name}.weight").as_str());
        let conv = has("ssm_conv1d");
        let bias = weights.contains_key(format!("blk.{layer}.ssm_conv1d.bias").as_str());
        let gated = has("attn_qkv") && has("attn_gate");
        let (sound, missing) = match hparams.architecture.name {
            "qwen35" | "qwen35moe" => (gated || !conv, "attn_qkv.weight' or 'attn_gate.weight"),
            "qwen3next" => (gated || has("ssm_in") || !conv, "ssm_in.weight"),
            "rwkv6" => {
                let one_by_one = ["w", "k", "v", "r", "g"]
                    .iter()
                    .all(|lerp| has(&format!("time_mix_lerp_{lerp}")));
                (has("time_mix_lerp_fused") || one_by_one, "time_mix_lerp_fused.weight")
            }
            _ => (bias || !conv, "ssm_conv1d.bias"),
        };
        if !sound {
            return Err(invalid(format!("tensor 'blk.{layer}.{missing}' is missing")));
        }
    }
    Ok(())
}

/// Widths of what an embedding request reads back.
fn check_embeddings(hparams: &Hparams, keys: Keys<'_>, weights: &Weights<'_>) -> Result<()> {
    const RANK: u32 = 4;
    if hparams.pooling == Some(RANK) {
        check_classifier(hparams, keys, weights)?;
    }
    if hparams.architecture.name == "jina-bert-v2" {
        check_gated_width(hparams, keys, weights)?;
    }
    let Some(out) =
        keys.u32("embedding_length_out")?.filter(|&out| out != 0 && out != hparams.n_embd)
    else {
        return Ok(());
    };
    let name = "dense_2.weight";
    shape(weights, name, [hparams.n_embd.into(), out.into()]).map_err(|error| {
        let key = keys.name("embedding_length_out");
        invalid(format!("key '{key}' is {out}: {}", error.message()))
    })
}

/// A ranking model's last layer gives one score for each class: llama.cpp reads as many.
fn check_classifier(hparams: &Hparams, keys: Keys<'_>, weights: &Weights<'_>) -> Result<()> {
    let labels = keys.metadata.texts(&keys.name("classifier.output_labels"))?;
    let classes = labels.map_or(1, |labels| labels.len().max(1)) as u64;
    let last = ["cls.output.weight", "cls.weight"];
    let Some(name) = last.into_iter().find(|&name| weights.contains_key(name)) else {
        return Err(invalid(format!(
            "key '{}' asks for ranking, but there is no tensor 'cls'",
            keys.name("pooling_type")
        )));
    };
    shape(weights, name, [hparams.n_embd.into(), classes])
}

/// The gate's half of the feed-forward may lie in `ffn_up`; llama.cpp asserts that it is nothing else.
fn check_gated_width(hparams: &Hparams, keys: Keys<'_>, weights: &Weights<'_>) -> Result<()> {
    let widths = keys.per_layer("feed_forward_length", hparams.n_layer)?;
    let widths = widths.unwrap_or_else(|| vec![0; hparams.n_layer as usize]);
    for (layer, &width) in widths.iter().enumerate() {
        let find = |name: &str| weights.get(format!("blk.{layer}.{name}.weight").as_str());
        let Some(up) = find("ffn_up") else { continue };
        let (plain, both) = (u64::from(width), 2 * u64::from(width));
        if up.dims[1] != plain && (up.dims[1] != both || find("ffn_gate").is_some()) {
            return Err(invalid(format!(
                "tensor '{}' has {} rows; the feed-forward length is {width}",
                up.name, up.dims[1]
            )));
        }
    }
    Ok(())
}
