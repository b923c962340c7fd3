//! The sizes of a model, each in itself and against the others.

use super::architecture::{Architecture, Task};
use super::heads::{self, Attention};
use super::metadata::Metadata;
use super::reader::invalid;
use super::state::{self, State};
use super::tensors::Tensor;
use super::tokenizer::Vocabulary;
use super::{ranges, weights};
use crate::error::Result;

/// Access to the keys of one architecture.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) architecture: Architecture,
}

impl Keys<'_> {
    /// The whole key of a hyperparameter.
    pub(super) fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture.name)
    }

    pub(super) fn u32(&self, suffix: &str) -> Result<Option<u32>> {
        self.metadata.u32(&self.name(suffix))
    }

    pub(super) fn required(&self, suffix: &str) -> Result<u32> {
        self.u32(suffix)?.ok_or_else(|| invalid(format!("key '{}' is missing", self.name(suffix))))
    }

    /// One number for each of `layers`, from an array or from one number for all.
    pub(super) fn per_layer(&self, suffix: &str, layers: u32) -> Result<Option<Vec<u32>>> {
        let key = self.name(suffix);
        let Some(value) = self.metadata.get(&key) else {
            return Ok(None);
        };
        if !value.is_array() {
            return Ok(self.u32(suffix)?.map(|number| vec![number; layers as usize]));
        }
        let numbers: Vec<u32> = value.integers().map(|number| number as u32).collect();
        if numbers.len() != layers as usize {
            return Err(invalid(format!(
                "key '{key}' has {} numbers for {layers} layers",
                value.len()
            )));
        }
        Ok(Some(numbers))
    }
}

/// The sizes of one model.
#[derive(Debug)]
pub(crate) struct Hparams {
    pub(crate) architecture: Architecture,
    pub(crate) n_ctx_train: u32,
    pub(crate) n_embd: u32,
    pub(crate) n_layer: u32,
    pub(crate) attention: Attention,
    pub(crate) state: State,
    pub(crate) pooling: Option<u32>,
    /// Whether a token sees only those before it.
    pub(crate) is_causal: bool,
    pub(crate) sliding_window: Option<u32>,
}

/// Checks all hyperparameters that do not depend on the tensors.
pub(super) fn check(metadata: &Metadata, architecture: Architecture) -> Result<Hparams> {
    ranges::check(metadata, architecture)?;
    let keys = Keys { metadata, architecture };
    let n_embd = keys.required("embedding_length")?;
    let n_layer = keys.required("block_count")?;
    check_layers(keys, n_layer)?;
    check_experts(keys, n_layer)?;
    check_temperature(keys, n_layer)?;
    Ok(Hparams {
        architecture,
        n_ctx_train: keys.required("context_length")?,
        n_embd,
        n_layer,
        attention: heads::check(keys, n_embd, n_layer)?,
        state: state::check(keys, n_embd)?,
        pooling: pooling(keys)?,
        is_causal: is_causal(keys)?,
        sliding_window: keys.u32("attention.sliding_window")?.filter(|&window| window > 0),
    })
}

impl Hparams {
    /// The tensors that llama.cpp takes for granted are there.
    pub(super) fn check_tensors(
        &self,
        metadata: &Metadata,
        tensors: &[&Tensor],
        vocabulary: &Vocabulary,
    ) -> Result<()> {
        weights::check(
            self,
            Keys { metadata, architecture: self.architecture },
            tensors,
            vocabulary,
        )
    }
}

fn check_layers(keys: Keys<'_>, n_layer: u32) -> Result<()> {
    for suffix in ["nextn_predict_layers", "attention.shared_kv_layers", "n_deepstack_layers"] {
        if keys.u32(suffix)?.is_some_and(|layers| layers >= n_layer) {
            return Err(invalid(format!(
                "key '{}' leaves none of the {n_layer} layers",
                keys.name(suffix)
            )));
        }
    }
    let suffix = "leading_dense_block_count";
    if keys.u32(suffix)?.is_some_and(|layers| layers > n_layer) {
        return Err(invalid(format!(
            "key '{}' is more than the model's {n_layer} layers",
            keys.name(suffix)
        )));
    }
    Ok(())
}

/// llama.cpp asserts all of this, and divides by some of it.
fn check_experts(keys: Keys<'_>, n_layer: u32) -> Result<()> {
    let experts = keys.u32("expert_count")?.unwrap_or(0);
    let used = keys.per_layer("expert_used_count", n_layer)?.unwrap_or(vec![0; n_layer as usize]);
    let groups = keys.u32("expert_group_count")?.unwrap_or(0);
    let count = keys.name("expert_count");
    if experts == 0 {
        return match (
            keys.architecture.needs_experts(),
            used.iter().all(|&used| used == 0) && groups == 0,
        ) {
            (false, true) => Ok(()),
            _ => Err(invalid(format!("key '{count}' is missing or 0 in a model with experts"))),
        };
    }
    if let Some(used) = used.iter().find(|&&used| used == 0 || used > experts) {
        return Err(invalid(format!(
            "key '{}' is {used} of {experts} experts",
            keys.name("expert_used_count")
        )));
    }
    let ungated = keys.u32("expert_gating_func")?.unwrap_or(0) == 0;
    if ungated && ["dots1", "lfm2moe", "minimax-m2"].contains(&keys.architecture.name) {
        return Err(invalid(format!("key '{}' is missing or 0", keys.name("expert_gating_func"))));
    }
    if keys.u32("interleave_moe_layer_step")? == Some(0) && keys.architecture.name == "ernie4_5-moe"
    {
        return Err(invalid(format!("key '{}' is 0", keys.name("interleave_moe_layer_step"))));
    }
    check_groups(keys, experts, groups)
}

fn check_groups(keys: Keys<'_>, experts: u32, groups: u32) -> Result<()> {
    let used = keys.u32("expert_group_used_count")?.unwrap_or(0);
    // Groups are ranked by their two best experts.
    let sound = groups <= 1 && groups < experts
        || groups > 1
            && experts % groups == 0
            && experts / groups >= 2
            && used > 0
            && used < groups;
    match sound {
        true => Ok(()),
        false => Err(invalid(format!(
            "key '{}' is {groups} ({used} used) for {experts} experts",
            keys.name("expert_group_count")
        ))),
    }
}

/// Scaling by position: llama.cpp makes its input ready even where no layer takes it.
fn check_temperature(keys: Keys<'_>, n_layer: u32) -> Result<()> {
    let key = keys.name("attention.temperature_scale");
    let scale = keys.metadata.f32(&key)?.unwrap_or(0.0);
    let length = keys.u32("attention.temperature_length")?.unwrap_or(0);
    if keys.architecture.name == "deepseek2" && scale != 0.0 && length == 0 {
        return Err(invalid(format!("key '{key}' is {scale}, without a length")));
    }
    // Every fourth layer, the one without rotation, takes it.
    if keys.architecture.name == "llama4" && n_layer < 4 {
        return Err(invalid(format!(
            "key '{}' is {n_layer}; this family needs 4",
            keys.name("block_count")
        )));
    }
    Ok(())
}

/// `llama_pooling_type`; llama.cpp writes -1 for "not said" and aborts on a number it does not know.
fn pooling(keys: Keys<'_>) -> Result<Option<u32>> {
    const RANK: u32 = 4;
    match keys.u32("pooling_type")? {
        None | Some(u32::MAX) => Ok(None),
        Some(pooling @ 0..=RANK) => Ok(Some(pooling)),
        Some(pooling) => Err(invalid(format!("key '{}' is {pooling}", keys.name("pooling_type")))),
    }
}

/// Families that turn texts into vectors see the whole text, whatever else their files say.
fn is_causal(keys: Keys<'_>) -> Result<bool> {
    let said = keys.metadata.flag(&keys.name("attention.causal"))?;
    Ok(keys.architecture.task == Task::Generation && said.unwrap_or(true))
}
