//! Owners of llama.cpp's objects: made and freed through the shim, on one thread.

use std::ffi::{c_char, c_void, CString};
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::native_log;
use super::offload::Placement;
use super::shim::{self, NativeError};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;

/// A loaded `llama_model`.
pub(super) struct NativeModel {
    pointer: NonNull<sys::llama_model>,
    n_gpu_layers: u32,
}

// SAFETY: nothing is changed in a model once it is loaded; threads other than its worker only read
// its vocabulary. llama.cpp frees a model on any thread.
unsafe impl Send for NativeModel {}
// SAFETY: as above.
unsafe impl Sync for NativeModel {}

/// Which layers are recurrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recurrence {
    None,
    Some,
    All,
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
    /// Loads a file that our own check has passed to its `place`. `Ok(None)`: `progress` gave it up.
    pub(super) fn load(
        path: &str,
        place: Placement,
        use_mmap: bool,
        progress: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Option<Self>> {
        // SAFETY: returns a plain struct of defaults.
        let mut params = unsafe { sys::llama_model_default_params() };
        params.load_mode =
            if use_mmap { sys::LLAMA_LOAD_MODE_MMAP } else { sys::LLAMA_LOAD_MODE_NONE };
        Self::load_as(path, place, params, progress)
    }

    /// A model without its weights, for [`plan`](super::context::plan) alone, on the processor.
    pub(super) fn outline(path: &str) -> Result<Self> {
        // SAFETY: returns a plain struct of defaults.
        let mut params = unsafe { sys::llama_model_default_params() };
        params.load_mode = sys::LLAMA_LOAD_MODE_NONE;
        params.no_alloc = true;
        let loaded = Self::load_as(path, Placement::PROCESSOR, params, &mut |_| true)?;
        loaded.ok_or_else(|| Error::new(ErrorKind::Internal, "a load stopped by nobody"))
    }

    fn load_as(
        path: &str,
        place: Placement,
        mut params: sys::llama_model_params,
        progress: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Option<Self>> {
        let c_path = CString::new(path)
            .map_err(|_| Error::new(ErrorKind::InvalidArgument, "the path contains a NUL"))?;
        let mut watch = Watch { progress, stopped: false };
        // Up to a null; with none before it, all is the processor's, whatever else there is.
        let mut devices = [place.device, std::ptr::null_mut()];
        params.devices = devices.as_mut_ptr();
        if !place.device.is_null() {
            params.n_gpu_layers = place.n_gpu_layers as i32;
        }
        params.progress_callback = Some(on_progress);
        params.progress_callback_user_data = (&raw mut watch).cast();
        let (loaded, errors) = native_log::collect(|| {
            // SAFETY: path, params, and the watch and devices they point to, live through the call.
            shim::call(|out| unsafe { shim::fluid_llama_load(c_path.as_ptr(), &params, out) })
        });
        match loaded.map(NonNull::new) {
            Ok(Some(pointer)) => Ok(Some(Self { pointer, n_gpu_layers: place.n_gpu_layers })),
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

    /// Layers that a GPU computes, the output among them.
    pub(super) fn gpu_layers(&self) -> u32 {
        self.n_gpu_layers
    }

    /// Whether a sequence is summed up in a state (recurrent layers), in all layers or in some.
    pub(super) fn recurrence(&self) -> Recurrence {
        // SAFETY: the model is alive; the call reads a field.
        let all = unsafe { sys::llama_model_is_recurrent(self.as_ptr()) };
        // SAFETY: as above.
        let some = unsafe { sys::llama_model_is_hybrid(self.as_ptr()) };
        match (all, some) {
            (true, _) => Recurrence::All,
            (false, true) => Recurrence::Some,
            (false, false) => Recurrence::None,
        }
    }

    /// Whether layers look back through a window only.
    pub(super) fn has_window(&self) -> bool {
        // SAFETY: the model is alive; the call reads a field.
        unsafe { sys::llama_model_n_swa(self.as_ptr()) > 0 }
    }

    /// Numbers of a token's state, where states are what is wanted.
    pub(super) fn state_width(&self) -> usize {
        // SAFETY: the model is alive; the call reads a field.
        unsafe { sys::llama_model_n_embd_out(self.as_ptr()).max(0) as usize }
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
        // SAFETY: made by llama.cpp, freed once, and its context, which holds it, is gone.
        let freed = shim::call(|out| unsafe { shim::fluid_llama_free_model(self.as_ptr(), out) });
        report(freed, "freeing a model");
    }
}

/// Writes a failure of `what` to the log: a destructor has nobody else to tell.
pub(super) fn report(freed: std::result::Result<(), NativeError>, what: &str) {
    if let Err(error) = freed {
        log!(Error, "{}", error.describe(what));
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

/// `text` as tokens: `special` adds those that the model wants around a text, `parse` reads those
/// that the text spells out.
pub(super) fn tokenize(
    model: &NativeModel,
    text: &str,
    special: bool,
    parse: bool,
) -> Result<Vec<u32>> {
    let too_long = || Error::new(ErrorKind::ContextOverflow, "the text is longer than 2 GiB");
    let length = i32::try_from(text.len()).map_err(|_| too_long())?;
    let vocab = model.vocab();
    // One token for each byte and a few special ones is the most there can be, as a rule.
    let mut tokens = vec![0i32; text.len() + 8];
    loop {
        let capacity = i32::try_from(tokens.len()).map_err(|_| too_long())?;
        let (start, room) = (text.as_ptr().cast(), tokens.as_mut_ptr());
        // SAFETY: the vocabulary is alive, `text` has `length` bytes, `room` has `capacity` places.
        let count = shim::call(|out| unsafe {
            shim::fluid_llama_tokenize(vocab, start, length, room, capacity, special, parse, out)
        });
        let count = count.map_err(|error| error.describe("tokenising a text"))?;
        match usize::try_from(count) {
            Ok(count) => return Ok(tokens[..count].iter().map(|&token| token as u32).collect()),
            Err(_) if count == i32::MIN => return Err(too_long()),
            Err(_) => tokens.resize(count.unsigned_abs() as usize, 0),
        }
    }
}
