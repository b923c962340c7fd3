//! How large a context is: from the options, the model and the memory of this machine.

use super::context::ContextSize;
use super::gguf::Summary;
use super::machine;
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

const F32_BYTES: u64 = 4;
const MEBIBYTE: u64 = 1 << 20;

pub(super) fn size(summary: &Summary, options: &LoadOptions) -> Result<ContextSize> {
    let most = cells_that_fit(summary, &options.kv);
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
    check_memory(summary, options, n_cells, 0)?;
    Ok(ContextSize {
        n_ctx,
        n_parallel,
        // One token of every sequence has to fit; llama.cpp asserts it.
        n_ubatch: options.n_ubatch.max(n_parallel),
        n_outputs: n_parallel,
        n_threads: n_threads(&options.threads),
        n_cells,
        unified,
    })
}

/// Sizes for whole texts side by side, each in one computation, as embedding takes them.
pub(super) fn embedding_size(summary: &Summary, options: &LoadOptions) -> Result<ContextSize> {
    // llama.cpp makes room for logits of every token, and models that generate compute them.
    let row = (summary.n_vocab as u64 + u64::from(summary.n_embd)) * F32_BYTES * 2;
    let most = u32::try_from(share_of_memory(4) / row).unwrap_or(u32::MAX);
    let own = summary.n_ctx_train.clamp(8, LONGEST_TEXT).min(most.max(CELLS));
    let n_ctx = checked(summary, options.n_ctx.unwrap_or(own))?;
    // Recurrent models keep a state for each text.
    let n_parallel = if summary.state_per_sequence > 0 { options.n_parallel } else { TEXTS };
    // Beside the longest text there is room for short ones.
    let n_ubatch = options.n_ubatch.max(n_ctx + CELLS).max(n_parallel);
    let n_cells = n_ubatch.next_multiple_of(CELLS);
    check_memory(summary, options, n_cells, row.saturating_mul(n_ubatch.into()))?;
    Ok(ContextSize {
        n_ctx,
        n_parallel,
        n_ubatch,
        // Contexts that embed give something for every token.
        n_outputs: n_ubatch,
        n_threads: n_threads(&options.threads),
        n_cells,
        unified: true,
    })
}

fn n_threads(options: &ThreadOptions) -> u32 {
    let pinned = match options.affinity.len() {
        0 => u32::MAX,
        count => count as u32,
    };
    options.n_threads.unwrap_or_else(|| machine::physical_cores().min(pinned))
}

/// Bytes of main memory for what finished jobs leave, beside the KV cache.
pub(super) fn kept_bytes(options: &KvOptions) -> u64 {
    options.cache_ram_mb.map_or_else(|| share_of_memory(8), |mib| u64::from(mib) * MEBIBYTE)
}

/// A part of the memory that is free, up to the default.
fn share_of_memory(part: u64) -> u64 {
    machine::available_memory().map_or(DEFAULT_BYTES, |bytes| (bytes / part).min(DEFAULT_BYTES))
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
fn cells_that_fit(summary: &Summary, options: &KvOptions) -> u32 {
    let limit = options.kv_cache_mb;
    let bytes = limit.map_or_else(|| share_of_memory(4), |mib| u64::from(mib) * MEBIBYTE);
    let cells = bytes / cell_bytes(summary, options).max(1);
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

/// Refuses a context that the machine cannot hold: the system would grant the memory and end
/// the process when it is used. `more` bytes are for what is computed.
fn check_memory(summary: &Summary, options: &LoadOptions, n_cells: u32, more: u64) -> Result<()> {
    let cells = cache_bytes(summary, &options.kv, n_cells);
    let state = summary.state_per_sequence.saturating_mul(F32_BYTES);
    let states = state.saturating_mul(u64::from(options.n_parallel));
    let needed = cells.saturating_add(states).saturating_add(more);
    match machine::available_memory() {
        Some(available) if needed > available => Err(Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "a context of {n_cells} tokens for {} jobs takes {} MiB, {} MiB are free; use a smaller n_ctx or n_parallel",
                options.n_parallel,
                needed >> 20,
                available >> 20
            ),
        )),
        _ => Ok(()),
    }
}
