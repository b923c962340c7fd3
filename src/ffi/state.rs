//! Saving what the KV cache holds of a prompt, and bringing it back.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callback::{self, Callback};
use super::event::fluid_event_fn;
use super::guard::guard;
use super::handle::{fluid_job, fluid_model};
use super::model::{ask, MODELS};
use super::status::fluid_status;
use super::{job, pointer};
use crate::engine::job::Job;
use crate::engine::model::Model;
use crate::error::Result;
use crate::request::GenerateRequest;

/// Saves what the KV cache holds of a prompt to a file, and waits for the end of it: a later
/// process that restores it need not compute the prompt again.
///
/// `request_json` is a request as of `fluid_generate`, borrowed for the call; of it count the prompt
/// or the messages with what the template makes of them (`tools`, `chat_template_kwargs`, the fields of
/// reasoning), `lora`, `priority`, `cache_prompt` and `deadline_ms`. What is not in the KV cache is
/// computed; the state of all the prompt's tokens but the last goes into the file. Of a
/// conversation, pass the messages so far: the next request that begins with them goes on from
/// there. `path` is borrowed for the call. The file is written under another name beside it
/// (`PATH.*.part`) and renamed when it is whole: an older file there stays until then, and a
/// save that fails or is cancelled leaves nothing behind. Other jobs of the model go on while
/// it is written.
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
/// thread, and can cancel. `user_data` is handed to it. `out_json` may be `NULL`. On `FLUID_OK`
/// `*out_json` is `{"tokens": 812, "bytes": 19021356, "path": "..."}`, on `FLUID_CANCELLED` and
/// `FLUID_DEADLINE` it is `{}`; it is owned by the caller, free with `fluid_string_free`.
///
/// Errors: those of `fluid_generate`; `FLUID_ERROR_NOT_FOUND` (the folder is not there),
/// `FLUID_ERROR_INVALID_ARGUMENT` (the path is empty, or a folder), `FLUID_ERROR_IO` (it cannot
/// be written).
///
/// # Safety
/// Strings are NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be called
/// with `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_model_save_state(
    model: *mut fluid_model,
    request_json: *const c_char,
    path: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { save(model, request_json, path) }?;
        let callback = Callback { function: callback, user_data };
        // SAFETY: the caller's promise.
        unsafe { callback::run_for_text(&job, &callback, out_json) }
    })
}

/// Starts to save; arguments, outcomes and errors as of `fluid_model_save_state`, except that what
/// the model or the disk finds comes with the final event; the result is `fluid_job_json`. On
/// success `*out_job` is owned by the caller, free with `fluid_job_free`.
///
/// # Safety
/// Strings are NUL-terminated; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_model_save_state_start(
    model: *mut fluid_model,
    request_json: *const c_char,
    path: *const c_char,
    out_job: *mut *mut fluid_job,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let start = || unsafe { save(model, request_json, path) };
        // SAFETY: the caller's promise.
        unsafe { job::hand_out_to(out_job, start) }
    })
}

/// Brings back what `fluid_model_save_state` wrote, and waits for the end of it: the next
/// generation that begins alike finds it, as `prompt_tokens_details.cached_tokens` of its result
/// tells. `path` is borrowed for the call.
///
/// A state belongs to one model file, to the same cache types and flash attention, to the same
/// number of parts of the KV cache (`n_parallel`, or one with `kv_unified`) and to this version of
/// llama.cpp; `n_ctx` may differ as long as it holds the tokens. The state waits in main memory,
/// within `cache_ram_mb`, and like others there goes when it is unused for longest.
///
/// The file is read on a thread of its own and checked from its first byte to its last before
/// any of it is used. Its SHA-256 shows damage, not forgery: the content of a file that passes is
/// given to llama.cpp, so take files only from where you would take models.
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
/// thread, and can cancel. `user_data` is handed to it. `out_json` may be `NULL`. On `FLUID_OK`
/// `*out_json` is `{"tokens": 812, "bytes": 19021356, "path": "..."}`, on `FLUID_CANCELLED` it is
/// `{}`; it is owned by the caller, free with `fluid_string_free`.
///
/// Errors: `FLUID_ERROR_NOT_FOUND`, `FLUID_ERROR_IO`; `FLUID_ERROR_INVALID_STATE` (not such a file,
/// cut, damaged, of another model or other options; more tokens than `n_ctx`),
/// `FLUID_ERROR_OUT_OF_MEMORY` (more than `cache_ram_mb`), `FLUID_ERROR_UNSUPPORTED` (the model
/// does not generate text), `FLUID_ERROR_QUEUE_FULL`, `FLUID_ERROR_CALLBACK`.
///
/// # Safety
/// `path` is NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be called
/// with `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_model_restore_state(
    model: *mut fluid_model,
    path: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { restore(model, path) }?;
        let callback = Callback { function: callback, user_data };
        // SAFETY: the caller's promise.
        unsafe { callback::run_for_text(&job, &callback, out_json) }
    })
}

/// Starts to restore; arguments, outcomes and errors as of `fluid_model_restore_state`, except that
/// what concerns the file comes with the final event; the result is `fluid_job_json`. On success
/// `*out_job` is owned by the caller, free with `fluid_job_free`.
///
/// # Safety
/// `path` is NUL-terminated; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_model_restore_state_start(
    model: *mut fluid_model,
    path: *const c_char,
    out_job: *mut *mut fluid_job,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let start = || unsafe { restore(model, path) };
        // SAFETY: the caller's promise.
        unsafe { job::hand_out_to(out_job, start) }
    })
}

/// # Safety
/// The strings are null or NUL-terminated.
unsafe fn save(
    model: *mut fluid_model,
    request_json: *const c_char,
    path: *const c_char,
) -> Result<Arc<Job>> {
    // SAFETY: the caller's promise.
    let path = || unsafe { pointer::text(path, "path") };
    let act = |model: &Model, text: &str| {
        let path = path()?;
        model.save_state(GenerateRequest::parse(text)?, path)
    };
    // SAFETY: the caller's promise.
    unsafe { ask(model, request_json, act) }
}

/// # Safety
/// `path` is null or NUL-terminated.
unsafe fn restore(model: *mut fluid_model, path: *const c_char) -> Result<Arc<Job>> {
    // SAFETY: the caller's promise.
    let path = unsafe { pointer::text(path, "path") }?;
    MODELS.get(pointer::key(model))?.restore_state(path)
}
