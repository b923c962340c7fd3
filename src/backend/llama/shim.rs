//! The Rust side of shim.cpp: calls into llama.cpp that cannot throw.

use std::ffi::{c_char, c_void, CStr};

use llama_cpp_sys_2 as sys;

use crate::error::{Error, ErrorKind};

/// What a native call failed with; laid out as `failure` in shim.cpp.
#[repr(C)]
pub(super) struct Failure {
    kind: i32,
    text: [c_char; 508],
}

/// What ggml says of a device; laid out as `device` in shim.cpp.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RawDevice {
    pub(super) handle: sys::ggml_backend_dev_t,
    pub(super) kind: sys::ggml_backend_dev_type,
    pub(super) memory_free: usize,
    pub(super) memory_total: usize,
    pub(super) backend: [c_char; 64],
    pub(super) name: [c_char; 64],
    pub(super) description: [c_char; 256],
}

const FAILURE_NONE: i32 = 0;
const FAILURE_MEMORY: i32 = 2;
const FAILURE_ASSERT: i32 = 3;

/// Bytes that a context and its model take; laid out as `memory` in shim.cpp.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) weights: u64,
    /// Of the KV cache and of recurrent states.
    pub(super) cache: u64,
    /// Of the graphs' values.
    pub(super) compute: u64,
}

extern "C" {
    pub(super) fn fluid_llama_prepare(log: sys::ggml_log_callback);
    pub(super) fn fluid_llama_devices(
        devices: *mut RawDevice,
        room: usize,
        out: *mut Failure,
    ) -> usize;
    pub(super) fn fluid_llama_load(
        path: *const c_char,
        params: *const sys::llama_model_params,
        out: *mut Failure,
    ) -> *mut sys::llama_model;
    pub(super) fn fluid_llama_free_model(model: *mut sys::llama_model, out: *mut Failure);
    pub(super) fn fluid_llama_load_adapter(
        model: *mut sys::llama_model,
        path: *const c_char,
        out: *mut Failure,
    ) -> *mut sys::llama_adapter_lora;
    pub(super) fn fluid_llama_free_adapter(
        adapter: *mut sys::llama_adapter_lora,
        out: *mut Failure,
    );
    pub(super) fn fluid_llama_set_adapters(
        context: *mut sys::llama_context,
        adapters: *mut *mut sys::llama_adapter_lora,
        count: usize,
        scales: *mut f32,
        out: *mut Failure,
    );
    pub(super) fn fluid_llama_new_context(
        model: *mut sys::llama_model,
        params: *const sys::llama_context_params,
        out: *mut Failure,
    ) -> *mut sys::llama_context;
    pub(super) fn fluid_llama_free_context(context: *mut sys::llama_context, out: *mut Failure);
    pub(super) fn fluid_llama_memory(
        context: *const sys::llama_context,
        sizes: *mut Sizes,
        out: *mut Failure,
    );
    pub(super) fn fluid_llama_new_threads(
        count: i32,
        out: *mut Failure,
    ) -> *mut sys::ggml_threadpool;
    pub(super) fn fluid_llama_free_threads(pool: *mut sys::ggml_threadpool, out: *mut Failure);
    pub(super) fn fluid_llama_decode(
        context: *mut sys::llama_context,
        batch: *const sys::llama_batch,
        out: *mut Failure,
    ) -> i32;
    pub(super) fn fluid_llama_logits(
        context: *mut sys::llama_context,
        index: i32,
        out: *mut Failure,
    ) -> *mut f32;
    pub(super) fn fluid_llama_state(
        context: *mut sys::llama_context,
        index: i32,
        out: *mut Failure,
    ) -> *mut f32;
    pub(super) fn fluid_llama_pooled(
        context: *mut sys::llama_context,
        sequence: i32,
        out: *mut Failure,
    ) -> *mut f32;
    pub(super) fn fluid_llama_clear(context: *mut sys::llama_context, out: *mut Failure);
    pub(super) fn fluid_llama_remove(
        context: *mut sys::llama_context,
        sequence: i32,
        from: i32,
        out: *mut Failure,
    ) -> bool;
    pub(super) fn fluid_llama_copy(
        context: *mut sys::llama_context,
        from: i32,
        to: i32,
        end: i32,
        out: *mut Failure,
    );
    pub(super) fn fluid_llama_shift(
        context: *mut sys::llama_context,
        sequence: i32,
        at: i32,
        count: i32,
        out: *mut Failure,
    ) -> bool;
    pub(super) fn fluid_llama_last(
        context: *mut sys::llama_context,
        sequence: i32,
        out: *mut Failure,
    ) -> i32;
    pub(super) fn fluid_llama_state_bytes(
        context: *mut sys::llama_context,
        sequence: i32,
        out: *mut Failure,
    ) -> usize;
    pub(super) fn fluid_llama_save(
        context: *mut sys::llama_context,
        sequence: i32,
        bytes: *mut u8,
        room: usize,
        out: *mut Failure,
    ) -> usize;
    pub(super) fn fluid_llama_restore(
        context: *mut sys::llama_context,
        sequence: i32,
        bytes: *const u8,
        length: usize,
        out: *mut Failure,
    ) -> i64;
    pub(super) fn fluid_llama_tokenize(
        vocab: *const sys::llama_vocab,
        text: *const c_char,
        length: i32,
        tokens: *mut i32,
        capacity: i32,
        special: bool,
        parse: bool,
        out: *mut Failure,
    ) -> i32;
    pub(super) fn fluid_llama_piece(
        vocab: *const sys::llama_vocab,
        token: i32,
        text: *mut c_char,
        capacity: i32,
        special: bool,
        out: *mut Failure,
    ) -> i32;
    pub(super) fn fluid_llama_compiled_for() -> u32;
}

/// Passed to a shim call as its last argument, looked at afterwards.
pub(super) fn call<T>(body: impl FnOnce(*mut Failure) -> T) -> Result<T, NativeError> {
    let mut failure = Failure { kind: FAILURE_NONE, text: [0; 508] };
    let value = body(&mut failure);
    if failure.kind == FAILURE_NONE {
        return Ok(value);
    }
    // SAFETY: shim.cpp writes the text with snprintf, so it ends with a NUL inside the array.
    let text = unsafe { CStr::from_ptr(failure.text.as_ptr()) };
    Err(NativeError { kind: failure.kind, text: text.to_string_lossy().into_owned() })
}

/// A failure inside llama.cpp.
#[derive(Debug)]
pub(super) struct NativeError {
    kind: i32,
    text: String,
}

impl NativeError {
    /// Whether llama.cpp's state can no longer be trusted.
    pub(super) fn is_assert(&self) -> bool {
        self.kind == FAILURE_ASSERT
    }

    /// The error for a caller; `what` says what was tried.
    pub(super) fn describe(&self, what: &str) -> Error {
        let kind = match self.kind {
            FAILURE_MEMORY => ErrorKind::OutOfMemory,
            _ => ErrorKind::Backend,
        };
        Error::new(kind, format!("{what}: {}", self.text))
    }
}

/// ggml's log callback: hands lines to our log, and errors to whoever collects them on this thread.
///
/// # Safety
/// `text` is null or a NUL-terminated string, valid for the call; ggml passes such.
pub(super) unsafe extern "C" fn on_log(
    level: sys::ggml_log_level,
    text: *const c_char,
    _user_data: *mut c_void,
) {
    if text.is_null() {
        return;
    }
    // SAFETY: not null, and NUL-terminated by the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    super::native_log::line(level, &text.to_string_lossy());
}
