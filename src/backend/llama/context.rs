//! A model's native context: its KV cache, its threads, its computations.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::adapter::NativeAdapter;
use super::batch::RawBatch;
use super::native::{report, NativeModel};
use super::native_log;
use super::shim::{self, Sizes};
use super::threads::Threads;
use crate::backend::{Adapter, Interrupt};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::request::{CacheType, FlashAttention, KvOptions};

/// Sizes of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContextSize {
    /// Tokens of one job.
    pub(super) n_ctx: u32,
    pub(super) n_parallel: u32,
    pub(super) n_ubatch: u32,
    /// Rows of logits that one batch can give.
    pub(super) n_outputs: u32,
    pub(super) n_threads: u32,
    /// Cells of the KV cache, for all jobs.
    pub(super) n_cells: u32,
    /// Whether the jobs share them, or have `n_ctx` each.
    pub(super) unified: bool,
}

/// What a context is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Logits of the tokens that ask for them.
    Logits,
    /// The last layer's states of all tokens.
    States,
    /// A score for each sequence.
    Scores,
}

/// A `llama_context` with what it points to.
pub(super) struct Context {
    pointer: NonNull<sys::llama_context>,
    owned: ManuallyDrop<Owned>,
    /// An assertion failed inside: the state may be half changed, so it is not freed but left.
    broken: bool,
    // llama.cpp's objects stay on the thread that made them.
    _local: PhantomData<*const ()>,
}

/// What a context points to; dropped after it, in this order.
struct Owned {
    threads: Rc<Threads>,
    adapters: Vec<NativeAdapter>,
    model: Arc<NativeModel>,
    // The abort callback reads its flags; boxed, so that they stay where they are.
    interrupt: Box<Interrupt>,
}

/// llama.cpp's abort callback, asked after each node of the graph.
unsafe extern "C" fn on_node(user_data: *mut c_void) -> bool {
    // SAFETY: `Context::new` passes an interrupt that lives as long as the context.
    let interrupt = unsafe { &*user_data.cast::<Interrupt>() };
    interrupt.stops()
}

fn native_type(cache_type: CacheType) -> sys::ggml_type {
    match cache_type {
        CacheType::F32 => sys::GGML_TYPE_F32,
        CacheType::F16 => sys::GGML_TYPE_F16,
        CacheType::Bf16 => sys::GGML_TYPE_BF16,
        CacheType::Q8_0 => sys::GGML_TYPE_Q8_0,
        CacheType::Q5_1 => sys::GGML_TYPE_Q5_1,
        CacheType::Q5_0 => sys::GGML_TYPE_Q5_0,
        CacheType::Q4_1 => sys::GGML_TYPE_Q4_1,
        CacheType::Q4_0 => sys::GGML_TYPE_Q4_0,
    }
}

/// A native context, owned by the caller. Computations ask `interrupt`, which lives as long as they may.
fn make(
    model: &NativeModel,
    size: &ContextSize,
    options: &KvOptions,
    purpose: Purpose,
    interrupt: *const Interrupt,
) -> Result<NonNull<sys::llama_context>> {
    let mut params = params(size, options, purpose);
    params.abort_callback_data = interrupt.cast_mut().cast();
    let (made, errors) = native_log::collect(|| {
        // SAFETY: the model is alive, and so is what the params point to.
        shim::call(|out| unsafe { shim::fluid_llama_new_context(model.as_ptr(), &params, out) })
    });
    made.ok().and_then(NonNull::new).ok_or_else(|| {
        let cause = native_log::cause(&errors);
        let (cells, jobs) = (size.n_cells, size.n_parallel);
        let message = format!("cannot create a context of {cells} tokens for {jobs} jobs: {cause}");
        Error::new(ErrorKind::Backend, message)
    })
}

fn memory(context: NonNull<sys::llama_context>) -> Result<Sizes> {
    let mut sizes = Sizes::default();
    // SAFETY: the context is alive, and `sizes` can be written to.
    let asked =
        shim::call(|out| unsafe { shim::fluid_llama_memory(context.as_ptr(), &mut sizes, out) });
    asked.map_err(|error| error.describe("measuring a context"))?;
    Ok(sizes)
}

/// What a context of `model`, loaded without its weights, would take. Nothing can be computed with it.
pub(super) fn plan(
    model: &NativeModel,
    size: &ContextSize,
    options: &KvOptions,
    purpose: Purpose,
) -> Result<Sizes> {
    let interrupt = Interrupt::default();
    let context = make(model, size, options, purpose, &interrupt)?;
    let sizes = memory(context);
    // SAFETY: made just now, freed once.
    let freed = shim::call(|out| unsafe { shim::fluid_llama_free_context(context.as_ptr(), out) });
    report(freed, "freeing a context");
    sizes
}

fn params(size: &ContextSize, options: &KvOptions, purpose: Purpose) -> sys::llama_context_params {
    // SAFETY: returns a plain struct of defaults.
    let mut params = unsafe { sys::llama_context_default_params() };
    params.n_ctx = size.n_cells;
    params.n_seq_max = size.n_parallel;
    params.n_batch = size.n_ubatch;
    params.n_ubatch = size.n_ubatch;
    // Rows of logits: one for each job and those for drafts. Memory is reserved for all of them.
    params.n_outputs_max = size.n_outputs;
    params.n_threads = size.n_threads as i32;
    params.n_threads_batch = size.n_threads as i32;
    params.type_k = native_type(options.cache_type_k);
    params.type_v = native_type(options.cache_type_v);
    params.flash_attn_type = match options.flash_attn {
        FlashAttention::Auto => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
        FlashAttention::On => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
        FlashAttention::Off => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
    };
    params.kv_unified = size.unified;
    params.swa_full = options.swa_full;
    params.no_perf = true;
    params.abort_callback = Some(on_node);
    if purpose != Purpose::Logits {
        params.embeddings = true;
        params.pooling_type = match purpose {
            Purpose::Scores => sys::LLAMA_POOLING_TYPE_RANK,
            // Pooling is ours: a request may choose it.
            _ => sys::LLAMA_POOLING_TYPE_NONE,
        };
    }
    params
}

impl Context {
    /// A context of `model` and its `adapters`, which computes on `threads`.
    pub(super) fn new(
        model: Arc<NativeModel>,
        adapters: Vec<NativeAdapter>,
        threads: Rc<Threads>,
        size: &ContextSize,
        options: &KvOptions,
        purpose: Purpose,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let owned = Owned { threads, adapters, model, interrupt: Box::new(interrupt) };
        let interrupt = std::ptr::from_ref(&*owned.interrupt);
        let pointer = make(&owned.model, size, options, purpose, interrupt)?;
        let pool = owned.threads.as_ptr();
        // SAFETY: context and pool are alive; the pool outlives the context (see `drop`).
        unsafe { sys::llama_attach_threadpool(pointer.as_ptr(), pool, pool) };
        Ok(Self { pointer, owned: ManuallyDrop::new(owned), broken: false, _local: PhantomData })
    }

    pub(super) fn model(&self) -> &Arc<NativeModel> {
        &self.owned.model
    }

    /// What it and its model hold.
    pub(super) fn memory(&self) -> Result<Sizes> {
        memory(self.pointer)
    }

    /// Tokens of one sequence and of one batch, as llama.cpp has rounded them.
    pub(super) fn sizes(&self) -> (u32, u32) {
        let context = self.pointer.as_ptr();
        // SAFETY: the context is alive; the call reads a field.
        let n_ctx = unsafe { sys::llama_n_ctx_seq(context) };
        // SAFETY: as above.
        let n_ubatch = unsafe { sys::llama_n_ubatch(context) };
        (n_ctx, n_ubatch)
    }

    /// Runs a shim call on the context; after a failed assertion there are no more.
    fn call<T>(
        &mut self,
        what: &str,
        body: impl FnOnce(*mut sys::llama_context, *mut shim::Failure) -> T,
    ) -> Result<T> {
        if self.broken {
            let message =
                "an earlier assertion inside llama.cpp broke this model; free it and load it again";
            return Err(Error::new(ErrorKind::Backend, message));
        }
        let context = self.pointer.as_ptr();
        shim::call(|out| body(context, out)).map_err(|error| {
            self.broken |= error.is_assert();
            error.describe(what)
        })
    }

    /// Computes with these adapters alone from now on. Each is one of those it was made with.
    pub(super) fn set_adapters(&mut self, adapters: &[Adapter]) -> Result<()> {
        let native = |adapter: &Adapter| self.owned.adapters[adapter.index as usize].as_ptr();
        let mut pointers: Vec<_> = adapters.iter().map(native).collect();
        let mut scales: Vec<f32> = adapters.iter().map(|adapter| adapter.scale).collect();
        let (first, count, scale) = (pointers.as_mut_ptr(), pointers.len(), scales.as_mut_ptr());
        // SAFETY: the context and its adapters are alive; both arrays have `count` entries.
        self.call("choosing adapters", |context, out| unsafe {
            shim::fluid_llama_set_adapters(context, first, count, scale, out);
        })
    }

    /// `llama_decode` of `batch`, when it is this model's turn; `None` when it was interrupted
    /// before.
    pub(super) fn decode(&mut self, batch: &RawBatch<'_>) -> Result<Option<i32>> {
        let Some(turn) = self.owned.threads.wait_for_cores(&self.owned.interrupt) else {
            return Ok(None);
        };
        // SAFETY: the context is alive, and a `RawBatch` borrows arrays of `n_tokens` entries each.
        let decoded = self.call("computing a batch", |context, out| unsafe {
            shim::fluid_llama_decode(context, &batch.raw, out)
        });
        self.owned.threads.give_back(turn);
        decoded.map(Some)
    }

    /// The `n_vocab` logits of batch row `index`.
    pub(super) fn logits(&mut self, index: usize, n_vocab: usize) -> Result<&mut [f32]> {
        // SAFETY: the context is alive; llama.cpp checks the index.
        let row = self.call("reading logits", |context, out| unsafe {
            shim::fluid_llama_logits(context, index as i32, out)
        })?;
        let row = NonNull::new(row).ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("llama.cpp has no logits for row {index}"))
        })?;
        // SAFETY: llama.cpp keeps one row of n_vocab floats for each output until the next
        // decode, which needs the `&mut self` that this borrow holds.
        Ok(unsafe { std::slice::from_raw_parts_mut(row.as_ptr(), n_vocab) })
    }

    /// The state of batch row `index`, `width` numbers; of a context for [`Purpose::States`].
    pub(super) fn state(&mut self, index: usize, width: usize) -> Result<&[f32]> {
        // SAFETY: the context is alive; llama.cpp checks the index.
        let row = self.call("reading a state", |context, out| unsafe {
            shim::fluid_llama_state(context, index as i32, out)
        })?;
        let row = NonNull::new(row).ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("llama.cpp has no state for row {index}"))
        })?;
        // SAFETY: `width` is the model's own width of an output, of which llama.cpp keeps one for
        // each token until the next decode, which needs the `&mut self` that this borrow holds.
        Ok(unsafe { std::slice::from_raw_parts(row.as_ptr(), width) })
    }

    /// The score of `sequence`, the first of its class; of a context for [`Purpose::Scores`].
    pub(super) fn score(&mut self, sequence: usize) -> Result<f32> {
        // SAFETY: the context is alive; llama.cpp looks the sequence up.
        let scores = self.call("reading a score", |context, out| unsafe {
            shim::fluid_llama_pooled(context, sequence as i32, out)
        })?;
        let scores = NonNull::new(scores).ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("llama.cpp has no score for text {sequence}"))
        })?;
        // SAFETY: a classifier has at least one class, and the numbers stay until the next decode.
        Ok(unsafe { *scores.as_ptr() })
    }

    /// Drops what all sequences hold.
    pub(super) fn clear(&mut self) -> Result<()> {
        // SAFETY: the context is alive.
        self.call("dropping all sequences", |context, out| unsafe {
            shim::fluid_llama_clear(context, out);
        })
    }

    /// Drops `sequence` from position `from` on; false when llama.cpp cannot drop a part.
    pub(super) fn remove(&mut self, sequence: u32, from: u32) -> Result<bool> {
        // SAFETY: the context is alive; the numbers are checked by llama.cpp.
        self.call("dropping a sequence", |context, out| unsafe {
            shim::fluid_llama_remove(context, sequence as i32, from as i32, out)
        })
    }

    /// Lets the empty sequence `to` share what `from` holds below position `count`; without a
    /// count everything.
    pub(super) fn copy(&mut self, from: u32, to: u32, count: Option<u32>) -> Result<()> {
        let end = count.map_or(-1, |count| count as i32);
        // SAFETY: the context is alive; the sequences are below n_seq_max.
        self.call("sharing a prefix", |context, out| unsafe {
            shim::fluid_llama_copy(context, from as i32, to as i32, end, out);
        })
    }

    /// Whether what `sequence` holds could be, and was, moved: `count` tokens at `at` are gone,
    /// the rest has moved down.
    pub(super) fn shift(&mut self, sequence: u32, at: u32, count: u32) -> Result<bool> {
        // SAFETY: the context is alive; the shim asks whether its cache can shift.
        self.call("shifting a context", |context, out| unsafe {
            shim::fluid_llama_shift(context, sequence as i32, at as i32, count as i32, out)
        })
    }

    /// Positions of `sequence`.
    pub(super) fn length(&mut self, sequence: u32) -> Result<u32> {
        // SAFETY: the context is alive.
        let last = self.call("measuring a sequence", |context, out| unsafe {
            shim::fluid_llama_last(context, sequence as i32, out)
        })?;
        Ok((last + 1).max(0) as u32)
    }

    /// Bytes of the state of `sequence`.
    pub(super) fn state_bytes(&mut self, sequence: u32) -> Result<usize> {
        // SAFETY: the context is alive.
        self.call("measuring a state", |context, out| unsafe {
            shim::fluid_llama_state_bytes(context, sequence as i32, out)
        })
    }

    /// The state of `sequence`.
    pub(super) fn save(&mut self, sequence: u32) -> Result<Vec<u8>> {
        let bytes = self.state_bytes(sequence)?;
        let mut state = Vec::new();
        state.try_reserve_exact(bytes).map_err(|_| {
            let message = format!("a state of {} MiB finds no memory", bytes >> 20);
            Error::new(ErrorKind::OutOfMemory, message)
        })?;
        state.resize(bytes, 0u8);
        let (start, room) = (state.as_mut_ptr(), state.len());
        // SAFETY: `start` has room for `room` bytes.
        let written = self.call("saving a state", |context, out| unsafe {
            shim::fluid_llama_save(context, sequence as i32, start, room, out)
        })?;
        match written == bytes {
            true => Ok(state),
            false => Err(Error::new(ErrorKind::Backend, "llama.cpp did not save a state")),
        }
    }

    /// Puts `state`, of `count` tokens, into `sequence`, whose content goes.
    pub(super) fn restore(&mut self, sequence: u32, count: u32, state: &[u8]) -> Result<()> {
        // SAFETY: `state` is borrowed for the call; llama.cpp checks its lengths.
        let end = self.call("restoring a state", |context, out| unsafe {
            shim::fluid_llama_restore(context, sequence as i32, state.as_ptr(), state.len(), out)
        })?;
        if end == i64::from(count) {
            return Ok(());
        }
        self.remove(sequence, 0)?;
        let message = format!("the state is not one of {count} tokens of this model");
        Err(Error::new(ErrorKind::Backend, message))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.broken {
            log!(Error, "a broken model is left in memory, and its threads may go on computing until the process ends");
            // Nobody joins these threads or frees this memory; that is the price of going on.
            return;
        }
        let context = self.pointer.as_ptr();
        // SAFETY: made by llama.cpp, freed once, before the pool and the model.
        let freed = shim::call(|out| unsafe { shim::fluid_llama_free_context(context, out) });
        report(freed, "freeing a context");
        // SAFETY: dropped once, here, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.owned) };
    }
}
