//! Rotary positions: what llama.cpp asserts about them, divides by, and loops over.

use super::architecture::Heads;
use super::heads::Attention;
use super::hparams::Keys;
use super::metadata::Type;
use super::reader::invalid;
use crate::error::Result;

/// Checks which part of each head is rotated, and how.
pub(super) fn check(keys: Keys<'_>, attention: &Attention) -> Result<()> {
    let all = attention.key_length;
    let all_swa = keys.u32("attention.key_length_swa")?.unwrap_or(all);
    let rotated = keys.u32("rope.dimension_count")?.unwrap_or(all);
    let rotated_swa = keys.u32("rope.dimension_count_swa")?.unwrap_or(rotated);
    let whole = matches!(keys.architecture.heads, Heads::Square | Heads::Whole);
    for (suffix, rotated, all) in
        [("rope.dimension_count", rotated, all), ("rope.dimension_count_swa", rotated_swa, all_swa)]
    {
        // ggml rotates pairs, and never ends when there are none.
        let possible = (2..=all).contains(&rotated) && rotated % 2 == 0;
        if !possible || (whole && rotated != all) {
            return Err(invalid(format!(
                "key '{}' is {rotated} for heads of {all}",
                keys.name(suffix)
            )));
        }
    }
    check_sections(keys, all)
}

/// The parts of a head that turn with time, height and width: their sum is a divisor.
fn check_sections(keys: Keys<'_>, length: u32) -> Result<()> {
    let needed = keys.architecture.needs_rope_sections();
    if !needed && !keys.architecture.name.starts_with("glm4") {
        return Ok(());
    }
    let key = keys.name("rope.dimension_sections");
    let sound = match keys.metadata.numbers(&key, &[Type::I32, Type::U32])? {
        None => !needed,
        Some(sections) => {
            let sum: i128 = sections.integers().sum();
            let first = sections.integers().next();
            sections.len() == 4 && sum <= length.into() && (!needed || first > Some(0))
        }
    };
    match sound {
        true => Ok(()),
        false => {
            Err(invalid(format!("key '{key}' is missing, or not four parts of a head's {length}")))
        }
    }
}

/// The way positions beyond the trained ones are reached; llama.cpp asserts that it knows it.
pub(super) fn check_scaling(keys: Keys<'_>) -> Result<()> {
    let key = keys.name("rope.scaling.type");
    match keys.metadata.text(&key)?.as_deref() {
        None | Some("none" | "linear" | "yarn" | "longrope") => Ok(()),
        Some(other) => {
            Err(invalid(format!("key '{key}' is '{other}', which llama.cpp does not know")))
        }
    }
}
