//! What a GGUF model will take of memory.

use std::path::Path;

use super::context::{ContextSize, Purpose};
use super::device;
use super::gguf::{self, Summary};
use super::plan::Plan;
use super::sizes::{self, CELLS};
use super::{embedding, start};
use crate::backend::device::{first_choice, Asked, Device};
use crate::backend::memory;
use crate::backend::{ContextSizes, Estimate};
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

/// The shortest context of the list of contexts; each further one is twice as long.
const SHORTEST: u32 = 2_048;

/// Estimates what the model at `path` takes if the processor computes all of it: layers that go to a GPU
/// take its memory instead, and less of the machine's.
pub(in crate::backend) fn estimate(
    path: &str,
    options: &LoadOptions,
    with_contexts: bool,
) -> Result<Estimate> {
    start()?;
    let summary = gguf::check(Path::new(path))?;
    let devices: Vec<Device> = device::devices()?.into_iter().map(|it| it.device).collect();
    let choice = first_choice(Asked::of(options), &super::offer(&devices))?;
    let (device, device_why) = (choice.used.id.clone(), choice.reason().to_owned());
    let embeds = embedding::is_wanted(&summary, options)?;
    let purpose = match embeds {
        true => embedding::purpose(&summary),
        false => Purpose::Logits,
    };
    let mut plan = Plan::new(path, &summary, options, purpose, true);
    let choice = match embeds {
        true => sizes::choose_for_embedding(&summary, options, &mut plan)?,
        false => sizes::choose(&summary, options, &mut plan)?,
    };
    let memory = choice.memory.ok_or_else(uncounted)?;
    let mut estimate =
        Estimate { memory, device, device_why, refused: choice.too_large, ..Estimate::default() };
    if embeds {
        return Ok(estimate);
    }
    estimate.kept_max = sizes::kept_bytes(options, memory.total());
    estimate.context = Some(sizes_of(&choice.size));
    if with_contexts {
        add_contexts(&mut estimate, &summary, options, &mut plan)?;
    }
    Ok(estimate)
}

fn uncounted() -> Error {
    Error::new(ErrorKind::Internal, "a plan that was wanted was not made")
}

fn sizes_of(size: &ContextSize) -> ContextSizes {
    ContextSizes {
        n_ctx: size.n_ctx,
        n_parallel: size.n_parallel,
        n_cells: size.n_cells,
        unified: size.unified,
    }
}

/// Adds totals for contexts of several lengths, and the longest one that fits.
fn add_contexts(
    estimate: &mut Estimate,
    summary: &Summary,
    options: &LoadOptions,
    plan: &mut Plan<'_>,
) -> Result<()> {
    let room = sizes::available(options).unwrap_or(u64::MAX);
    let own = summary.position_limit.unwrap_or(summary.n_ctx_train).max(8);
    let mut total = |n_ctx: u32| -> Result<u64> {
        let asked = LoadOptions { n_ctx: Some(n_ctx), ..options.clone() };
        let size = sizes::usual(summary, &asked)?;
        match sizes::beside_the_cells(summary, &size) > room {
            true => Ok(u64::MAX),
            false => Ok(plan.memory(&size)?.total()),
        }
    };
    let lengths = std::iter::successors(Some(SHORTEST), |length| length.checked_mul(2));
    for n_ctx in lengths.take_while(|&length| length < own).chain([own]) {
        estimate.contexts.push((n_ctx, total(n_ctx)?));
    }
    let at = |step: u32| step.saturating_mul(CELLS).min(own);
    let longest = memory::largest(own.div_ceil(CELLS), |step| Ok(total(at(step))? <= room))?;
    estimate.longest = longest.map(at);
    Ok(())
}
