//! Owners of llama.cpp's objects: made and freed through the shim, on one thread.

use std::ffi::{c_char, c_void, CString};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use llama_cpp_sys_2 as sys;

use super::batch::RawBatch;
use super::native_log;
use super::shim::{self, NativeError};
use crate::backend::Interrupt;
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;

/// A loaded `llama_model`.
pub(super) struct NativeModel {
    pointer: NonNull<sys::llama_model>,
}

/// What llama.cpp's progress callback works on.
struct Watch<'a> {
    progress: &'a mut dyn FnMut(f32) -> bool,
    stopped: bool,
}

/// llama.cpp's progress callback. A panic must not unwind into it.
unsafe extern "C" fn on_progress(done: f32, user_data: *mut c_void) -> bool {
    // SAFETY: `load` passes a `Watch` that lives until llama.cpp's loader returns, and nothing
    // else touches it meanwhile.
    let watch = unsafe { &mut *user_data.cast::<Watch<'_>>() };
    let call = std::panic::AssertUnwindSafe(|| (watch.progress)(done));
    let go_on = std::panic::catch_unwind(call).unwrap_or(false);
    watch.stopped |= !go_on;
    go_on
}

impl NativeModel {
    /// Loads a file that our own check has passed. `Ok(None)`: `progress` gave it up.
    pub(super) fn load(
        path: &str,
        use_mmap: bool,
        progress: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Option<Self>> {
        let c_path = CString::new(path)
            .map_err(|_| Error::new(ErrorKind::InvalidArgument, "the path contains a NUL"))?;
        let mut watch = Watch { progress, stopped: false };
        // SAFETY: returns a plain struct of defaults.
        let mut params = unsafe { sys::llama_model_default_params() };
        params.load_mode =
            if use_mmap { sys::LLAMA_LOAD_MODE_MMAP } else { sys::LLAMA_LOAD_MODE_NONE };
        params.progress_callback = Some(on_progress);
        params.progress_callback_user_data = (&raw mut watch).cast();
        let (loaded, errors) = native_log::collect(|| {
            // SAFETY: path, params and the watch they point to live through the call.
            shim::call(|out| unsafe { shim::fluid_llama_load(c_path.as_ptr(), &params, out) })
        });
        match loaded.map(NonNull::new) {
            Ok(Some(pointer)) => Ok(Some(Self { pointer })),
            Ok(None) if watch.stopped => Ok(None),
            Ok(None) => Err(refused(path, &native_log::cause(&errors))),
            // llama.cpp turns our assertion's exception into a null of its own, noted in its log.
            Err(_) if !errors.is_empty() => Err(refused(path, &native_log::cause(&errors))),
            Err(error) => Err(error.describe(path)),
        }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::llama_model {
        self.pointer.as_ptr()
    }

    /// The vocabulary; it lives as long as the model.
    pub(super) fn vocab(&self) -> *const sys::llama_vocab {
        // SAFETY: the model is alive; the call only reads a field.
        unsafe { sys::llama_model_get_vocab(self.as_ptr()) }
    }
}

fn refused(path: &str, cause: &str) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("{path}: llama.cpp refuses the model: {cause}"))
}

impl Drop for NativeModel {
    fn drop(&mut self) {
        // SAFETY: made by llama.cpp, freed once, and its context is gone (see `Context`).
        let freed = shim::call(|out| unsafe { shim::fluid_llama_free_model(self.as_ptr(), out) });
        report(freed, "freeing a model");
    }
}

/// ggml's own threads for one context.
pub(super) struct Threads {
    pointer: NonNull<sys::ggml_threadpool>,
}

impl Threads {
    /// A pool of `count` threads, the calling one included.
    pub(super) fn new(count: u32) -> Result<Self> {
        // SAFETY: takes a number and returns a pool or null.
        let made = shim::call(|out| unsafe { shim::fluid_llama_new_threads(count as i32, out) });
        // ggml asserts that each thread could be made.
        let pointer = made.ok().and_then(NonNull::new).ok_or_else(|| {
            let message = format!("cannot start {count} compute threads; use a smaller n_threads");
            Error::new(ErrorKind::OutOfMemory, message)
        })?;
        Ok(Self { pointer })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: made by ggml, freed once, after the context it was attached to.
        let freed =
            shim::call(|out| unsafe { shim::fluid_llama_free_threads(self.pointer.as_ptr(), out) });
        report(freed, "stopping compute threads");
    }
}

fn report(freed: std::result::Result<(), NativeError>, what: &str) {
    if let Err(error) = freed {
        log!(Error, "{}", error.describe(what));
    }
}

/// Sizes of a context.
pub(super) struct ContextSize {
    pub(super) n_ctx: u32,
    pub(super) n_parallel: u32,
    pub(super) n_ubatch: u32,
    pub(super) n_threads: u32,
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

/// What a context points to; dropped after it.
struct Owned {
    threads: Threads,
    model: NativeModel,
    // The abort callback reads its flag.
    interrupt: Interrupt,
}

/// llama.cpp's abort callback, asked after each node of the graph.
unsafe extern "C" fn on_node(user_data: *mut c_void) -> bool {
    // SAFETY: `Context::new` passes the flag of an interrupt that lives as long as the context.
    let flag = unsafe { &*user_data.cast::<AtomicBool>() };
    flag.load(Ordering::Acquire)
}

impl Context {
    pub(super) fn new(
        model: NativeModel,
        size: &ContextSize,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let owned = Owned { threads: Threads::new(size.n_threads)?, model, interrupt };
        // SAFETY: returns a plain struct of defaults.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = size.n_ctx.saturating_mul(size.n_parallel);
        params.n_seq_max = size.n_parallel;
        params.n_batch = size.n_ubatch;
        params.n_ubatch = size.n_ubatch;
        params.n_threads = size.n_threads as i32;
        params.n_threads_batch = size.n_threads as i32;
        params.no_perf = true;
        params.abort_callback = Some(on_node);
        params.abort_callback_data = owned.interrupt.as_ptr().cast_mut().cast();
        let (made, errors) = native_log::collect(|| {
            // SAFETY: the model is alive, and so is what the params point to.
            shim::call(|out| unsafe {
                shim::fluid_llama_new_context(owned.model.as_ptr(), &params, out)
            })
        });
        let pointer = made.ok().and_then(NonNull::new).ok_or_else(|| {
            let cause = native_log::cause(&errors);
            Error::new(
                ErrorKind::Backend,
                format!(
                    "cannot create a context of {} x {} tokens: {cause}",
                    size.n_parallel, size.n_ctx
                ),
            )
        })?;
        let pool = owned.threads.pointer.as_ptr();
        // SAFETY: context and pool are alive; the pool outlives the context (see `drop`).
        unsafe { sys::llama_attach_threadpool(pointer.as_ptr(), pool, pool) };
        Ok(Self { pointer, owned: ManuallyDrop::new(owned), broken: false, _local: PhantomData })
    }

    pub(super) fn model(&self) -> &NativeModel {
        &self.owned.model
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

    /// `llama_decode` of `batch`.
    pub(super) fn decode(&mut self, batch: &RawBatch<'_>) -> Result<i32> {
        // SAFETY: the context is alive, and a `RawBatch` borrows arrays of `n_tokens` entries each.
        self.call("computing a batch", |context, out| unsafe {
            shim::fluid_llama_decode(context, &batch.raw, out)
        })
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

    /// Drops `sequence` from position `from` on; false when llama.cpp cannot drop a part.
    pub(super) fn remove(&mut self, sequence: u32, from: u32) -> Result<bool> {
        // SAFETY: the context is alive; the numbers are checked by llama.cpp.
        self.call("dropping a sequence", |context, out| unsafe {
            shim::fluid_llama_remove(context, sequence as i32, from as i32, out)
        })
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

/// The bytes of `token`; `special` shows control tokens too.
pub(super) fn piece(
    model: &NativeModel,
    token: i32,
    special: bool,
    buffer: &mut Vec<u8>,
) -> Result<usize> {
    let vocab = model.vocab();
    loop {
        let capacity = buffer.len() as i32;
        let text = buffer.as_mut_ptr().cast::<c_char>();
        // SAFETY: the vocabulary is alive, and `text` has room for `capacity` bytes.
        let length = shim::call(|out| unsafe {
            shim::fluid_llama_piece(vocab, token, text, capacity, special, out)
        });
        let length = length.map_err(|error| error.describe("reading the vocabulary"))?;
        match usize::try_from(length) {
            Ok(length) => return Ok(length),
            // Negative: the room it takes.
            Err(_) => buffer.resize(length.unsigned_abs() as usize, 0),
        }
    }
}

/// `text` as tokens.
pub(super) fn tokenize(model: &NativeModel, text: &str, special: bool) -> Result<Vec<u32>> {
    let too_long = || Error::new(ErrorKind::ContextOverflow, "the prompt is longer than 2 GiB");
    let length = i32::try_from(text.len()).map_err(|_| too_long())?;
    let vocab = model.vocab();
    // One token for each byte and a few special ones is the most there can be, as a rule.
    let mut tokens = vec![0i32; text.len() + 8];
    loop {
        let capacity = i32::try_from(tokens.len()).map_err(|_| too_long())?;
        let (start, room) = (text.as_ptr().cast(), tokens.as_mut_ptr());
        // SAFETY: the vocabulary is alive, `text` has `length` bytes, `room` has `capacity` places.
        let count = shim::call(|out| unsafe {
            shim::fluid_llama_tokenize(vocab, start, length, room, capacity, special, out)
        });
        let count = count.map_err(|error| error.describe("tokenising the prompt"))?;
        match usize::try_from(count) {
            Ok(count) => return Ok(tokens[..count].iter().map(|&token| token as u32).collect()),
            Err(_) if count == i32::MIN => return Err(too_long()),
            Err(_) => tokens.resize(count.unsigned_abs() as usize, 0),
        }
    }
}
