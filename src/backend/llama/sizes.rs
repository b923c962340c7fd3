//! How large a context is: from the options, the model and the memory of this machine.

use super::context::ContextSize;
use super::gguf::Summary;
use super::machine;
use super::plan::Plan;
use crate::backend::memory::{self, Memory};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{KvOptions, LoadOptions, ThreadOptions};

/// Most bytes that a KV cache, or states beside it, take unasked.
const DEFAULT_BYTES: u64 = 2 << 30;

/// Most tokens of a context unasked: models without a KV cache name enormous ones.
const LONGEST_CONTEXT: u32 = 1 << 17;

/// llama.cpp rounds cells up to these.
pub(super) const CELLS: u32 = 256;
/// Tokens of a text that is embedded, unasked: attention to a whole text takes the square of it.
const LONGEST_TEXT: u32 = 2_048;

/// Texts that are embedded side by side.
const TEXTS: u32 = 64;

/// Rows of logits of one batch beside one for each job: for drafts, and for prompts whose tokens are
/// scored. They cost memory, half a megabyte each for a large vocabulary, and more gain little.
const MORE_OUTPUTS: u32 = 32;

/// What llama.cpp, and its planner too, keeps of a cell beside keys and values.
const CELL_BYTES: u64 = 64;

const F32_BYTES: u64 = 4;
const MEBIBYTE: u64 = 1 << 20;

/// The sizes of a context, and whether there is memory for it.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) size: ContextSize,
    /// What the model takes with it; `None` where memory is so ample that nobody counted.
    pub(super) memory: Option<Memory>,
    /// Why it does not fit, if so.
    pub(super) too_large: Option<String>,
}

impl Choice {
    /// The sizes, of a context that fits.
    pub(super) fn checked(self) -> Result<ContextSize> {
        match self.too_large {
            None => Ok(self.size),
            Some(why) => Err(Error::new(ErrorKind::OutOfMemory, why)),
        }
    }
}

/// Sizes for jobs that generate. Where memory is short, what the options leave open becomes smaller.
pub(super) fn choose(summary: &Summary, options: &LoadOptions, plan: &mut Plan) -> Result<Choice> {
    let most = cells_that_fit(summary, options);
    fit(summary, options, plan, most, &|most| size(summary, options, most))
}

/// Sizes for jobs that generate as they are where memory is ample.
pub(super) fn usual(summary: &Summary, options: &LoadOptions) -> Result<ContextSize> {
    size(summary, options, cells_that_fit(summary, options))
}

/// Sizes for whole texts side by side, each in one computation, as embedding takes them.
pub(super) fn choose_for_embedding(
    summary: &Summary,
    options: &LoadOptions,
    plan: &mut Plan,
) -> Result<Choice> {
    let fixed = embedding_size(summary, options)?;
    fit(summary, options, plan, CELLS, &|_| Ok(fixed))
}

/// The largest of what `size` makes of up to `most` cells for which there is memory.
///
/// Counting takes a while, so it is done where memory is short or has a limit; but always for a `plan`
/// that has been made already.
fn fit(
    summary: &Summary,
    options: &LoadOptions,
    plan: &mut Plan,
    most: u32,
    size: &dyn Fn(u32) -> Result<ContextSize>,
) -> Result<Choice> {
    let usual = size(most)?;
    let room = available(options).unwrap_or(u64::MAX);
    let beside = beside_the_cells(summary, &usual);
    if beside > room {
        // Planning itself would take that much.
        let memory = Memory { kv_cache: beside, ..Memory::default() };
        let too_large = Some(too_large(&usual, &memory, room));
        return Ok(Choice { size: usual, memory: Some(memory), too_large });
    }
    let is_ample = upper_bound(summary, options, &usual) <= room / 2;
    if is_ample && options.memory.is_none() && !plan.is_wanted() {
        return Ok(Choice { size: usual, memory: None, too_large: None });
    }
    // Mapped weights need not all be in memory; only a limit counts them.
    let is_mapped = options.use_mmap && options.memory.is_none();
    let needed = |memory: &Memory| memory.total() - if is_mapped { memory.weights } else { 0 };
    let steps = most.div_ceil(CELLS).max(1);
    let fits = |step: u32| {
        let memory = plan.memory(&size((step * CELLS).min(most.max(CELLS)))?)?;
        Ok(needed(&memory) <= room)
    };
    let found = memory::largest(steps, fits)?;
    let size = size(found.unwrap_or(1).saturating_mul(CELLS).min(most.max(CELLS)))?;
    let memory = plan.memory(&size)?;
    let too_large = found.is_none().then(|| too_large(&size, &memory, room));
    Ok(Choice { size, memory: Some(memory), too_large })
}

fn too_large(size: &ContextSize, memory: &Memory, room: u64) -> String {
    let mib = |bytes: u64| bytes.div_ceil(MEBIBYTE);
    format!(
        "the model takes {} MiB with a context of {} tokens for {} jobs (weights {}, KV cache {}, computing {}, other {}), {} MiB are free; use a smaller n_ctx or n_parallel, or a smaller model",
        mib(memory.total()),
        size.n_cells,
        size.n_parallel,
        mib(memory.weights),
        mib(memory.kv_cache),
        mib(memory.compute),
        mib(memory.other),
        room / MEBIBYTE
    )
}

fn size(summary: &Summary, options: &LoadOptions, most: u32) -> Result<ContextSize> {
    let n_ctx = n_ctx(summary, options, most)?;
    let n_parallel = options.n_parallel;
    let parts = n_ctx.next_multiple_of(CELLS).saturating_mul(n_parallel);
    let given = options.kv.kv_cache_tokens;
    let unified = options.kv.kv_unified.unwrap_or(given.is_some() || parts > most);
    let n_cells = match unified {
        true => given.unwrap_or(parts.min(most)).max(n_ctx).next_multiple_of(CELLS),
        false => parts,
    };
    if options.kv.kv_cache_mb.is_some() && n_cells > most {
        let bytes = u64::from(n_cells) * cell_bytes(summary, &options.kv);
        let message = format!(
            "{n_cells} tokens of context take {} MiB; give at least that, or ask for less context",
            bytes.div_ceil(MEBIBYTE)
        );
        return Err(Error::invalid_request("kv_cache_mb", message));
    }
    Ok(ContextSize {
        n_ctx,
        n_parallel,
        // One token of every sequence has to fit; llama.cpp asserts it.
        n_ubatch: options.n_ubatch.max(n_parallel),
        n_outputs: n_parallel + MORE_OUTPUTS,
        n_threads: n_threads(&options.threads),
        n_cells,
        unified,
    })
}

fn embedding_size(summary: &Summary, options: &LoadOptions) -> Result<ContextSize> {
    let most = u32::try_from(share_of_memory(options, 4) / output_bytes(summary));
    let own = summary.n_ctx_train.clamp(8, LONGEST_TEXT).min(most.unwrap_or(u32::MAX).max(CELLS));
    let n_ctx = checked(summary, options.n_ctx.unwrap_or(own))?;
    // Recurrent models keep a state for each text.
    let n_parallel = if summary.state_per_sequence > 0 { options.n_parallel } else { TEXTS };
    // Beside the longest text there is room for short ones.
    let n_ubatch = options.n_ubatch.max(n_ctx + CELLS).max(n_parallel);
    Ok(ContextSize {
        n_ctx,
        n_parallel,
        n_ubatch,
        // Contexts that embed give something for every token.
        n_outputs: n_ubatch,
        n_threads: n_threads(&options.threads),
        n_cells: n_ubatch.next_multiple_of(CELLS),
        unified: true,
    })
}

/// Bytes of a token that is embedded: llama.cpp makes room for logits of every token, and models
/// that generate compute them.
fn output_bytes(summary: &Summary) -> u64 {
    (summary.n_vocab as u64 + u64::from(summary.n_embd)) * F32_BYTES * 2
}

fn n_threads(options: &ThreadOptions) -> u32 {
    let pinned = match options.affinity.len() {
        0 => u32::MAX,
        count => count as u32,
    };
    options.n_threads.unwrap_or_else(|| machine::physical_cores().min(pinned))
}

/// Bytes of main memory that the model may take in all, beside one that drafts for it; `None` where
/// nobody says.
pub(super) fn available(options: &LoadOptions) -> Option<u64> {
    let draft = options.draft.as_ref().and_then(|draft| std::fs::metadata(&draft.path).ok());
    let taken = draft.map_or(0, |about| about.len());
    let free = memory::available().into_iter().chain(options.memory).min();
    free.map(|bytes| bytes.saturating_sub(taken))
}

/// Bytes of main memory for what finished jobs leave, beside the KV cache: unasked no more than is left
/// beside the `taken` bytes of the model itself.
pub(super) fn kept_bytes(options: &LoadOptions, taken: u64) -> u64 {
    let left = available(options).unwrap_or(u64::MAX).saturating_sub(taken);
    let own = || share_of_memory(options, 8).min(left);
    options.kv.cache_ram_mb.map_or_else(own, |mib| u64::from(mib) * MEBIBYTE)
}

/// A part of the memory that is free, up to the default.
fn share_of_memory(options: &LoadOptions, part: u64) -> u64 {
    available(options).map_or(DEFAULT_BYTES, |bytes| (bytes / part).min(DEFAULT_BYTES))
}

/// Bytes of a KV cache of so many cells; an upper bound.
pub(super) fn cache_bytes(summary: &Summary, options: &KvOptions, n_cells: u32) -> u64 {
    cell_bytes(summary, options).saturating_mul(u64::from(n_cells))
}

/// Bytes of one cell, all layers together; an upper bound.
fn cell_bytes(summary: &Summary, options: &KvOptions) -> u64 {
    let block = options.cache_type_k.block_bytes().max(options.cache_type_v.block_bytes());
    summary.cached_per_token.saturating_mul(block) / 32
}

/// Cells that the memory for the KV cache holds, in whole hundreds of llama.cpp.
fn cells_that_fit(summary: &Summary, options: &LoadOptions) -> u32 {
    let limit = options.kv.kv_cache_mb;
    let bytes = limit.map_or_else(|| share_of_memory(options, 4), |mib| u64::from(mib) * MEBIBYTE);
    let cells = bytes / cell_bytes(summary, &options.kv).max(1);
    u32::try_from(cells).unwrap_or(u32::MAX) / CELLS * CELLS
}

fn n_ctx(summary: &Summary, options: &LoadOptions, most: u32) -> Result<u32> {
    let own = summary.n_ctx_train.clamp(8, LONGEST_CONTEXT);
    checked(summary, options.n_ctx.unwrap_or(own.min(most.max(CELLS))))
}

fn checked(summary: &Summary, n_ctx: u32) -> Result<u32> {
    if let Some(limit) = summary.position_limit.filter(|limit| n_ctx > *limit) {
        let message = format!("{n_ctx} is more than the {limit} positions that this model has");
        return Err(Error::invalid_request("n_ctx", message));
    }
    Ok(n_ctx)
}

/// Bytes that a context takes beside keys and values: recurrent states, and what is known of each cell.
pub(super) fn beside_the_cells(summary: &Summary, size: &ContextSize) -> u64 {
    let state = summary.state_per_sequence.saturating_mul(F32_BYTES);
    let states = state.saturating_mul(u64::from(size.n_parallel));
    states.saturating_add(u64::from(size.n_cells) * CELL_BYTES)
}

/// More bytes than the model and its context take.
fn upper_bound(summary: &Summary, options: &LoadOptions, size: &ContextSize) -> u64 {
    let cells = cell_bytes(summary, &options.kv).saturating_mul(u64::from(size.n_cells));
    let rows = output_bytes(summary).saturating_mul(u64::from(size.n_outputs));
    let parts = [beside_the_cells(summary, size), cells, rows, summary.weights_bytes];
    parts.into_iter().fold(0, u64::saturating_add)
}
