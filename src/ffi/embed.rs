//! Turning texts into vectors.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callback::{self, Callback};
use super::event::fluid_event_fn;
use super::guard::guard;
use super::handle::{fluid_job, fluid_model};
use super::model::ask;
use super::status::fluid_status;
use super::{floats, job, pointer};
use crate::engine::job::Job;
use crate::error::Result;
use crate::request::EmbedRequest;

/// Turns texts into vectors and waits for the end.
///
/// `model` is an encoder (BERT and its kin), or a decoder whose file names a pooling or that was loaded
/// with `"embedding": true`.
/// `request_json` is a JSON object in the field names of OpenAI's embeddings, borrowed for the call:
///
/// | field | meaning | default |
/// |---|---|---|
/// | `input` | a text, an array of texts, an array of token ids, or an array of such arrays; 1 to 65,536 texts, none empty | required |
/// | `dimensions` | keep so many numbers of each vector, the first ones; for models trained for it | all |
/// | `pooling` | `"mean"`, `"cls"` or `"last"`: which tokens' states make the vector | the model's own |
/// | `normalize` | make each vector's length 1 | true |
/// | `truncate` | cut texts that are longer than the model takes; else they are an error that names the text | false |
/// | `deadline_ms` | give up after this time | none |
///
/// `model`, `user` and `encoding_format` are accepted; the vectors are floats in memory whatever
/// they say. A text has at most `n_ctx` tokens, which for these models is their own up to 2,048 unless
/// the load option says more. Texts of up to 64 jobs are computed together.
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
/// thread, and can cancel. `user_data` is handed to it.
///
/// On `FLUID_OK` `*out_data` holds `*out_count` vectors of `*out_dimensions` floats, one after the
/// other, in the order of the texts; on `FLUID_CANCELLED` and `FLUID_DEADLINE` those of the first
/// texts, and `NULL` where there are none. It is owned by the caller, free with
/// `fluid_floats_free`. `out_json` may be `NULL`, else `*out_json` is OpenAI's object without
/// `data`: `model`, `usage`, and beside them `count`, `dimensions`, `truncated` (the places of
/// texts that were cut) and `timings`. It is owned by the caller, free with `fluid_string_free`.
///
/// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST` (also for a text that is too
/// long), `FLUID_ERROR_UNSUPPORTED` (the model does not embed), `FLUID_ERROR_QUEUE_FULL`,
/// `FLUID_ERROR_BACKEND`, `FLUID_ERROR_OUT_OF_MEMORY`, `FLUID_ERROR_CALLBACK`.
///
/// # Safety
/// `request_json` is NUL-terminated; the outputs can be written to, but `out_json` may be `NULL`;
/// `callback` can be called with `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_embed(
    model: *mut fluid_model,
    request_json: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_data: *mut *mut f32,
    out_count: *mut usize,
    out_dimensions: *mut usize,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { pointer::output(out_data, "out_data") }?;
        // SAFETY: as above.
        let count = unsafe { pointer::output(out_count, "out_count") }?;
        // SAFETY: as above.
        let dimensions = unsafe { pointer::output(out_dimensions, "out_dimensions") }?;
        // SAFETY: as above.
        let job = unsafe { start(model, request_json) }?;
        let callback = Callback { function: callback, user_data };
        let status = callback::run(&job, &callback)?;
        let (values, width) = job.floats()?;
        let owned = floats::owned(&values)?;
        // SAFETY: as above.
        let told = unsafe { callback::hand_out_text(&job, out_json) };
        // SAFETY: its own floats, which nobody has yet.
        told.inspect_err(|_| unsafe { floats::fluid_floats_free(owned) })?;
        data.set(owned);
        count.set(values.len() / width.max(1));
        dimensions.set(width);
        Ok(status)
    })
}

/// Starts to embed; `request_json`, outcomes and errors as of `fluid_embed`, except that what the
/// model finds, a text that is too long among it, comes with the final event. The vectors are
/// `fluid_job_floats`, the rest of the result is `fluid_job_json`. On success `*out_job` is owned by
/// the caller, free with `fluid_job_free`.
///
/// # Safety
/// `request_json` is NUL-terminated; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_embed_start(
    model: *mut fluid_model,
    request_json: *const c_char,
    out_job: *mut *mut fluid_job,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let start = || unsafe { start(model, request_json) };
        // SAFETY: the caller's promise.
        unsafe { job::hand_out_to(out_job, start) }
    })
}

/// # Safety
/// `request_json` is null or NUL-terminated.
unsafe fn start(model: *mut fluid_model, request_json: *const c_char) -> Result<Arc<Job>> {
    // SAFETY: the caller's promise.
    unsafe { ask(model, request_json, |model, text| model.embed(EmbedRequest::parse(text)?)) }
}
