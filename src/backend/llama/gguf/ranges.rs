//! The range in which each hyperparameter makes sense, whichever family it is from.

use super::architecture::Architecture;
use super::metadata::{Metadata, Value};
use super::reader::invalid;
use crate::error::Result;

/// Sizes beyond the largest models by far, yet small enough that products of three stay below 2^63.
const WIDTH: i128 = 1 << 20;
const HEADS: i128 = 1 << 12;
const HEAD_LENGTH: i128 = 1 << 13;
const POSITIONS: i128 = 1 << 30;
/// `LLAMA_MAX_LAYERS`.
pub(super) const LAYERS: i128 = 512;
/// `LLAMA_MAX_EXPERTS`.
const EXPERTS: i128 = 1024;
/// llama.cpp multiplies the window by up to 256 sequences, in 32 bits.
const WINDOW: i128 = 1 << 23;

/// Key after `<architecture>.`, least and greatest value, for numbers and for elements of arrays.
const INTEGERS: &[(&str, i128, i128)] = &[
    ("attention.decay_lora_rank", 0, WIDTH),
    ("attention.gate_lora_rank", 0, WIDTH),
    ("attention.group_norm_groups", 0, WIDTH),
    ("attention.head_count", 0, HEADS),
    ("attention.head_count_kv", 0, HEADS),
    ("attention.iclr_lora_rank", 0, WIDTH),
    ("attention.key_length", 0, HEAD_LENGTH),
    ("attention.key_length_mla", 0, HEAD_LENGTH),
    ("attention.key_length_swa", 0, HEAD_LENGTH),
    ("attention.kv_lora_rank", 0, WIDTH),
    ("attention.q_lora_rank", 0, WIDTH),
    ("attention.relative_buckets_count", 0, EXPERTS),
    ("attention.shared_kv_layers", 0, LAYERS),
    ("attention.sliding_window", 0, WINDOW),
    ("attention.sliding_window_pattern", 0, LAYERS),
    ("attention.temperature_length", 0, POSITIONS),
    ("attention.value_length", 0, HEAD_LENGTH),
    ("attention.value_length_mla", 0, HEAD_LENGTH),
    ("attention.value_length_swa", 0, HEAD_LENGTH),
    ("attention.value_residual_mix_lora_rank", 0, WIDTH),
    ("block_count", 1, LAYERS),
    ("context_length", 1, POSITIONS),
    ("decoder_block_count", 0, LAYERS),
    ("dense_2_feat_in", 0, WIDTH),
    ("dense_2_feat_out", 0, WIDTH),
    ("dense_3_feat_in", 0, WIDTH),
    ("dense_3_feat_out", 0, WIDTH),
    ("embedding_length", 1, WIDTH),
    ("embedding_length_out", 0, WIDTH),
    ("embedding_length_per_layer_input", 0, WIDTH),
    ("expert_chunk_feed_forward_length", 0, WIDTH),
    ("expert_count", 0, EXPERTS),
    ("expert_feed_forward_length", 0, WIDTH),
    ("expert_gating_func", 0, 4),
    ("expert_group_count", 0, EXPERTS),
    ("expert_group_used_count", 0, EXPERTS),
    ("expert_shared_count", 0, EXPERTS),
    ("expert_shared_feed_forward_length", 0, WIDTH),
    ("expert_used_count", 0, EXPERTS),
    ("experts_per_group", 0, EXPERTS),
    ("feed_forward_length", 0, WIDTH),
    ("full_attention_interval", 0, LAYERS),
    ("interleave_moe_layer_step", 0, LAYERS),
    ("leading_dense_block_count", 0, LAYERS),
    ("moe_every_n_layers", 0, LAYERS),
    ("moe_latent_size", 0, WIDTH),
    ("n_deepstack_layers", 0, LAYERS),
    ("nextn_predict_layers", 0, LAYERS),
    ("rescale_every_n_layers", 0, LAYERS),
    ("rope.dimension_count", 0, HEAD_LENGTH),
    ("rope.dimension_count_swa", 0, HEAD_LENGTH),
    ("rope.dimension_sections", 0, HEAD_LENGTH),
    ("rope.scaling.original_context_length", 0, POSITIONS),
    ("shortconv.l_cache", 0, EXPERTS),
    ("ssm.conv_kernel", 0, EXPERTS),
    ("ssm.group_count", 0, HEADS),
    ("ssm.inner_size", 0, WIDTH),
    ("ssm.state_size", 0, HEAD_LENGTH),
    ("ssm.time_step_rank", 0, WIDTH),
    ("time_decay_extra_dim", 0, WIDTH),
    ("time_mix_extra_dim", 0, WIDTH),
    ("token_shift_count", 0, 2),
    ("vocab_size", 0, 1 << 24),
    ("wkv.head_size", 0, HEAD_LENGTH),
];

/// Numbers that may not be negative: ggml asserts it while it computes.
const NOT_NEGATIVE: &[&str] = &[
    "attention.group_norm_epsilon",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.max_alibi_bias",
];

/// llama.cpp itself writes minus infinity here, for "no bound".
const UNBOUNDED: &str = "kda.gate_lower_bound";

/// Every hyperparameter is in its range.
pub(super) fn check(metadata: &Metadata, architecture: Architecture) -> Result<()> {
    let prefix = format!("{}.", architecture.name);
    for (key, value) in metadata.iter() {
        if let Some(suffix) = key.strip_prefix(&prefix) {
            check_integers(key, suffix, value)?;
            check_floats(key, suffix, value)?;
        }
    }
    Ok(())
}

fn check_integers(key: &str, suffix: &str, value: &Value) -> Result<()> {
    let Some(&(_, least, greatest)) = INTEGERS.iter().find(|entry| entry.0 == suffix) else {
        return Ok(());
    };
    match value.integers().find(|number| !(least..=greatest).contains(number)) {
        None => Ok(()),
        Some(number) => Err(invalid(format!(
            "key '{key}' is {number}; it has to be from {least} to {greatest}"
        ))),
    }
}

fn check_floats(key: &str, suffix: &str, value: &Value) -> Result<()> {
    if let Some(number) = value.floats().find(|number| !number.is_finite() && suffix != UNBOUNDED) {
        return Err(invalid(format!("key '{key}' is {number}; it has to be finite")));
    }
    match value.floats().find(|&number| number < 0.0 && NOT_NEGATIVE.contains(&suffix)) {
        None => Ok(()),
        Some(number) => Err(invalid(format!("key '{key}' is {number}; it may not be negative"))),
    }
}
