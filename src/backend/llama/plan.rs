//! What a model would take, by llama.cpp's own planner: it goes through a load and the making of a
//! context, but neither reads weights nor allocates what they and the context need.

use super::context::{self, ContextSize, Purpose};
use super::gguf::Summary;
use super::native::NativeModel;
use super::shim::Sizes;
use crate::backend::give_memory_back;
use crate::backend::memory::Memory;
use crate::error::Result;
use crate::request::{LoadOptions, LoraFile};

const F32_BYTES: u64 = 4;

/// What a model takes beside all that depends on its size, as measured: descriptions of graphs,
/// threads, and what is read ahead.
const OTHER: u64 = 7 << 20;

/// Plans for one model with the options of one load.
pub(super) struct Plan<'a> {
    path: &'a str,
    summary: &'a Summary,
    options: &'a LoadOptions,
    purpose: Purpose,
    is_wanted: bool,
    // Made when first asked for: it takes as long as the vocabulary takes to read.
    outline: Option<NativeModel>,
}

impl<'a> Plan<'a> {
    /// Plans for the model at `path`, which our own check has passed. `is_wanted`: what it takes is
    /// to be known even where memory is ample.
    pub(super) fn new(
        path: &'a str,
        summary: &'a Summary,
        options: &'a LoadOptions,
        purpose: Purpose,
        is_wanted: bool,
    ) -> Self {
        Self { path, summary, options, purpose, is_wanted, outline: None }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// What the model takes with a context of this `size`.
    pub(super) fn memory(&mut self, size: &ContextSize) -> Result<Memory> {
        let outline = match self.outline.take() {
            Some(outline) => outline,
            None => NativeModel::outline(self.path)?,
        };
        let outline = self.outline.insert(outline);
        let sizes = context::plan(outline, size, &self.options.kv, self.purpose)?;
        Ok(memory(self.summary, self.options, size, self.purpose, &sizes))
    }
}

impl Drop for Plan<'_> {
    fn drop(&mut self) {
        if self.outline.take().is_some() {
            // The vocabulary was read, and is gone again; the load's peak would stand on top of it.
            give_memory_back();
        }
    }
}

/// What a model takes whose context has these `sizes`, with what llama.cpp does not tell.
pub(super) fn memory(
    summary: &Summary,
    options: &LoadOptions,
    size: &ContextSize,
    purpose: Purpose,
    sizes: &Sizes,
) -> Memory {
    let n_vocab = summary.n_vocab as u64;
    let rows = match purpose {
        Purpose::Logits if options.speculative.is_none() => u64::from(size.n_parallel) * n_vocab,
        Purpose::Logits => u64::from(size.n_outputs) * n_vocab,
        // One text at a time, if it is long.
        _ => u64::from(size.n_ctx) * (n_vocab + u64::from(summary.n_embd)),
    };
    Memory {
        weights: sizes.weights.saturating_add(adapters(options)),
        kv_cache: sizes.cache,
        compute: sizes.compute + rows * F32_BYTES,
        other: OTHER + summary.vocabulary_bytes,
    }
}

/// Adapters lie in memory as in their files; what is wrong with one, the load will tell.
fn adapters(options: &LoadOptions) -> u64 {
    let bytes = |file: &LoraFile| std::fs::metadata(&file.path).map_or(0, |about| about.len());
    options.lora.iter().map(bytes).sum()
}
