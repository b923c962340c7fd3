//! GGUF models through llama.cpp.

mod batch;
mod gguf;
mod info;
mod machine;
mod native;
mod native_log;
mod shim;

use std::path::Path;

use llama_cpp_2::llama_backend::LlamaBackend;
use once_cell::sync::OnceCell;

use self::batch::Batch;
use self::native::{Context, ContextSize, NativeModel};
use super::{Backend, BatchToken, Decoded, Interrupt, Limits, Loaded, LoadedText, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::request::LoadOptions;

/// The share of a load's progress that reading the weights has; the context has the rest.
const WEIGHTS: f32 = 0.95;

/// Started once for the process, on first use; it is never stopped.
static BACKEND: OnceCell<LlamaBackend> = OnceCell::new();

fn start() -> Result<()> {
    BACKEND.get_or_try_init(|| {
        machine::check_instructions()?;
        // SAFETY: called before anything else of llama.cpp; the callback keeps to its contract.
        unsafe { shim::fluid_llama_prepare(Some(shim::on_log)) };
        LlamaBackend::init().map_err(|error| {
            Error::new(ErrorKind::Backend, format!("llama.cpp does not start: {error}"))
        })
    })?;
    Ok(())
}

pub(super) fn load(
    path: &str,
    options: &LoadOptions,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Option<Loaded>> {
    if !matches!(&*options.device, "AUTO" | "CPU") {
        let message = format!(
            "this build has no {} for GGUF models; use \"CPU\" or \"AUTO\"",
            options.device
        );
        return Err(Error::unsupported("device", message));
    }
    start()?;
    let summary = gguf::check(Path::new(path))?;
    if summary.architecture.task != gguf::Task::Generation {
        let message = format!(
            "{path}: \"{}\" models turn text into vectors; this build only generates text",
            summary.architecture.name
        );
        return Err(Error::new(ErrorKind::UnsupportedModel, message));
    }
    let size = size(&summary, options)?;
    if !progress(0.0) {
        return Ok(None);
    }
    let mut weights = |done: f32| progress(done * WEIGHTS);
    let Some(model) = NativeModel::load(path, options.use_mmap, &mut weights)? else {
        return Ok(None);
    };
    let vocab = info::vocab(&model)?;
    let context = Context::new(model, &size, interrupt.clone())?;
    let (rounded_up, n_batch) = context.sizes();
    // llama.cpp rounds up, beyond what a model may have positions for.
    let n_ctx = rounded_up.min(size.n_ctx);
    let limits = Limits { n_ctx, n_parallel: size.n_parallel, n_batch };
    let info = info::describe(path, &summary, context.model(), size.n_threads)?;
    if !progress(1.0) {
        return Ok(None);
    }
    log!(Info, "{path}: {} threads, {} slots of {n_ctx} tokens", size.n_threads, size.n_parallel);
    let backend = Llama {
        context,
        interrupt: interrupt.clone(),
        batch: Batch::default(),
        n_vocab: vocab.len(),
    };
    let backend = Box::new(backend);
    Ok(Some(Loaded::Text(Box::new(LoadedText { backend, limits, vocab, info }))))
}

/// Without `n_ctx`, at most this many tokens: a model's own maximum can be a machine's memory.
const DEFAULT_CONTEXT: u32 = 4_096;

fn size(summary: &gguf::Summary, options: &LoadOptions) -> Result<ContextSize> {
    let default = summary.n_ctx_train.clamp(8, DEFAULT_CONTEXT);
    let n_ctx = options.n_ctx.unwrap_or(default);
    if let Some(limit) = summary.position_limit.filter(|limit| n_ctx > *limit) {
        let message = format!("{n_ctx} is more than the {limit} positions that this model has");
        return Err(Error::invalid_request("n_ctx", message));
    }
    check_memory(summary, n_ctx, options.n_parallel)?;
    Ok(ContextSize {
        n_ctx,
        n_parallel: options.n_parallel,
        // One token of every sequence has to fit; llama.cpp asserts it.
        n_ubatch: options.n_ubatch.max(options.n_parallel),
        n_threads: options.n_threads.unwrap_or_else(machine::physical_cores),
    })
}

/// Refuses a context that the machine cannot hold: the system would grant the memory and end
/// the process when it is used.
fn check_memory(summary: &gguf::Summary, n_ctx: u32, n_parallel: u32) -> Result<()> {
    let n_cells = u64::from(n_ctx).next_multiple_of(CELLS);
    let per_sequence = summary.cached_per_token.saturating_mul(n_cells * F16_BYTES);
    let state = summary.state_per_sequence.saturating_mul(F32_BYTES);
    let needed = per_sequence.saturating_add(state).saturating_mul(u64::from(n_parallel));
    match machine::available_memory() {
        Some(available) if needed > available => Err(Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "{n_parallel} contexts of {n_ctx} tokens take {} MiB, {} MiB are free; use a smaller n_ctx or n_parallel",
                needed >> 20,
                available >> 20
            ),
        )),
        _ => Ok(()),
    }
}

/// llama.cpp rounds a sequence's cells up to these.
const CELLS: u64 = 256;
const F16_BYTES: u64 = 2;
const F32_BYTES: u64 = 4;

/// A model's native state.
struct Llama {
    context: Context,
    interrupt: Interrupt,
    batch: Batch,
    n_vocab: usize,
}

impl Backend for Llama {
    fn tokenize(&mut self, text: &str, special: bool) -> Result<Vec<u32>> {
        native::tokenize(self.context.model(), text, special)
    }

    fn decode(&mut self, batch: &[BatchToken]) -> Result<Decoded> {
        let batch = self.batch.raw(batch);
        match self.context.decode(&batch)? {
            0 => Ok(Decoded::Done),
            2 => Ok(Decoded::Interrupted),
            1 => Err(Error::new(ErrorKind::Backend, "llama.cpp found no room in the KV cache")),
            // An interrupt can also surface as a failed computation.
            _ if self.interrupt.is_raised() => Ok(Decoded::Interrupted),
            code => Err(Error::new(
                ErrorKind::Backend,
                format!("llama.cpp could not compute the batch (code {code}); the log has more"),
            )),
        }
    }

    fn logits(&mut self, index: usize) -> Result<&mut [f32]> {
        self.context.logits(index, self.n_vocab)
    }

    fn truncate(&mut self, sequence: u32, from: u32) -> bool {
        match self.context.remove(sequence, from) {
            Ok(true) => true,
            // Whole sequences can always be dropped; a broken context computes nothing any more.
            Ok(false) | Err(_) => {
                let _ = self.context.remove(sequence, 0);
                from == 0
            }
        }
    }
}
