//! Recurrent state: state-space, RWKV and short-convolution layers.

use super::hparams::Keys;
use super::reader::invalid;
use crate::error::Result;

/// Four times what the largest published models keep; more is a wild number.
const MAX_STATE: u64 = 1 << 26;

/// What one recurrent layer keeps for a sequence.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct State {
    /// 32-bit numbers a layer.
    pub(crate) numbers_per_layer: u64,
}

pub(super) fn check(keys: Keys<'_>, n_embd: u32) -> Result<State> {
    if !keys.architecture.has_state() {
        return Ok(State::default());
    }
    let numbers = match keys.architecture.name {
        "lfm2" | "lfm2moe" => {
            u64::from(n_embd) * u64::from(at_least(keys, "shortconv.l_cache", 2)?)
        }
        "rwkv6" | "rwkv7" => check_rwkv(keys, n_embd)?,
        _ => check_ssm(keys, n_embd)?,
    };
    if numbers > MAX_STATE {
        return Err(invalid(format!(
            "keys '{}': a state of {numbers} numbers is impossible",
            keys.name("*")
        )));
    }
    Ok(State { numbers_per_layer: numbers })
}

/// A size that llama.cpp divides by, or subtracts 1 from.
fn at_least(keys: Keys<'_>, suffix: &str, least: u32) -> Result<u32> {
    match keys.required(suffix)? {
        size if size >= least => Ok(size),
        size => Err(invalid(format!(
            "key '{}' is {size}; it has to be at least {least}",
            keys.name(suffix)
        ))),
    }
}

fn check_rwkv(keys: Keys<'_>, n_embd: u32) -> Result<u64> {
    let head = at_least(keys, "wkv.head_size", 1)?;
    if n_embd % head != 0 {
        return Err(invalid(format!(
            "key '{}' is {head} in a model of width {n_embd}",
            keys.name("wkv.head_size")
        )));
    }
    let kv = keys.u32("attention.head_count_kv")?.unwrap_or(0);
    if kv != 0 && kv != n_embd / head {
        return Err(invalid(format!("key '{}' is {kv}", keys.name("attention.head_count_kv"))));
    }
    let shifts = 2;
    if keys.u32("token_shift_count")?.unwrap_or(shifts) != shifts {
        return Err(invalid(format!(
            "key '{}' has to be {shifts}",
            keys.name("token_shift_count")
        )));
    }
    Ok(u64::from(n_embd) * u64::from(head + shifts))
}

fn check_ssm(keys: Keys<'_>, n_embd: u32) -> Result<u64> {
    let conv = at_least(keys, "ssm.conv_kernel", 2)?;
    let inner = at_least(keys, "ssm.inner_size", 1)?;
    let state = at_least(keys, "ssm.state_size", 1)?;
    let rank = at_least(keys, "ssm.time_step_rank", 1)?;
    // In Mamba-2 and the delta nets "rank" is the number of heads.
    let grouped = !["mamba", "jamba"].contains(&keys.architecture.name);
    let groups = match grouped {
        true => at_least(keys, "ssm.group_count", 1)?,
        false => 1,
    };
    if grouped && (inner % rank != 0 || inner % groups != 0 || rank % groups != 0) {
        return Err(invalid(format!(
            "key '{}' is {inner}, for {rank} heads in {groups} groups",
            keys.name("ssm.inner_size")
        )));
    }
    // What llama.cpp takes for granted, and asserts at best.
    let wanted = match keys.architecture.name {
        "mamba" | "jamba" | "granitehybrid" => Some(u64::from(n_embd) * 2),
        name if name.starts_with("qwen3") => Some(u64::from(state) * u64::from(rank)),
        _ => None,
    };
    if let Some(wanted) = wanted.filter(|&wanted| wanted != u64::from(inner)) {
        let key = keys.name("ssm.inner_size");
        return Err(invalid(format!("key '{key}' is {inner}; it has to be {wanted}")));
    }
    let [conv, inner, state, groups] = [conv, inner, state, groups].map(u64::from);
    Ok(conv * (inner + 2 * groups * state) + state * inner)
}
