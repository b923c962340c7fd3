//! What a model will take of memory, before it is loaded.
#![forbid(unsafe_code)]

use super::draft;
use super::memory::Memory;
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

/// What a model would take if it were loaded now, and all its jobs ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Main memory, by what it is for.
    pub memory: Memory,
    /// More bytes for as long as recordings of more than 30 seconds are transcribed, at most.
    pub long_audio: u64,
    /// Bytes that prefixes and states of finished jobs may take in time; they give way last come first.
    pub kept_max: u64,
    /// Bytes of the runtime library that the first model of its kind brings into the process.
    pub runtime: u64,
    /// Where it would run.
    pub device: String,
    /// Why there.
    pub device_why: String,
    /// Sizes of the context; `None` for models without one.
    pub context: Option<ContextSizes>,
    /// Why a load would be refused for want of memory, if it would.
    pub refused: Option<String>,
    /// What would be taken in all with contexts of other lengths, by [`estimate_contexts`].
    pub contexts: Vec<(u32, u64)>,
    /// The longest context whose total fits into the memory there is, by [`estimate_contexts`].
    pub longest: Option<u32>,
}

/// Sizes of a context, as chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextSizes {
    /// Tokens of one job.
    pub n_ctx: u32,
    /// Jobs that run together.
    pub n_parallel: u32,
    /// Tokens of all jobs together.
    pub n_cells: u32,
    /// Whether they share one cache.
    pub unified: bool,
}

impl Estimate {
    /// All bytes of main memory that are taken for certain.
    pub fn total(&self) -> u64 {
        self.memory.total().saturating_add(self.runtime)
    }
}

/// Estimates what the model at `path` takes with `options`, draft model and adapters included.
/// Weights are not read, nothing stays in memory. The errors are those of a load.
pub fn estimate(path: &str, options: &LoadOptions) -> Result<Estimate> {
    with_draft(path, options, false)
}

/// The same, and what contexts of other lengths take; some ten times the work.
pub fn estimate_contexts(path: &str, options: &LoadOptions) -> Result<Estimate> {
    with_draft(path, options, true)
}

fn with_draft(path: &str, options: &LoadOptions, contexts: bool) -> Result<Estimate> {
    let mut whole = estimate_one(path, options, contexts)?;
    let Some(draft) = &options.draft else {
        return Ok(whole);
    };
    let n_ctx = whole.context.map_or(0, |sizes| sizes.n_ctx);
    let own = draft::own_options(draft, options, n_ctx);
    let second = estimate_one(&draft.path, &own, false)
        .map_err(|error| Error::new(error.kind(), format!("draft_model: {}", error.message())))?;
    whole.memory += second.memory;
    for (_, total) in &mut whole.contexts {
        *total = total.saturating_add(second.memory.total());
    }
    Ok(whole)
}

fn estimate_one(path: &str, options: &LoadOptions, contexts: bool) -> Result<Estimate> {
    #[cfg(feature = "fake")]
    if let Some(script) = path.strip_prefix("fake:") {
        return super::fake::estimate(script, options);
    }
    let is_folder = super::is_folder(path, options)?;
    #[cfg(feature = "openvino")]
    if is_folder {
        return super::openvino::estimate(path, options);
    }
    #[cfg(feature = "llama")]
    if !is_folder {
        return super::llama::estimate(path, options, contexts);
    }
    let _ = (options, contexts, is_folder);
    Err(Error::new(ErrorKind::Unsupported, format!("{path}: this build has no backend for it")))
}
