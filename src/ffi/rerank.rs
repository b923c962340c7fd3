//! Ranking documents.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callback::{self, Callback};
use super::event::fluid_event_fn;
use super::guard::guard;
use super::handle::{fluid_job, fluid_model};
use super::job;
use super::model::ask;
use super::status::fluid_status;
use crate::engine::job::Job;
use crate::error::Result;
use crate::request::RerankRequest;

/// Ranks documents by how well they answer a query, and waits for the end.
///
/// `model` is a reranker: a GGUF whose pooling is "rank". `request_json` is a JSON object in the
/// field names of Jina's and llama-server's rerank, borrowed for the call:
///
/// | field | meaning | default |
/// |---|---|---|
/// | `query` | what is asked, a text | required |
/// | `documents` | 1 to 65,536 texts, or objects with a `text` | required |
/// | `top_n` | name so many of the best | all |
/// | `return_documents` | repeat the documents in the result | false |
/// | `truncate` | cut documents that are too long with the query, unless the model has a template of its own for both; else they are an error that names the document | false |
/// | `deadline_ms` | give up after this time | none |
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
/// thread, and can cancel. `user_data` is handed to it.
///
/// `out_json` may be `NULL`. On `FLUID_OK` `*out_json` is `{"results": [{"index": 3,
/// "relevance_score": 4.2}, ...], "usage": ...}`, the best first; the scores are the model's own,
/// for most models any number, higher is better. On `FLUID_CANCELLED` and `FLUID_DEADLINE` it has
/// the first documents. It is owned by the caller, free with `fluid_string_free`.
///
/// Errors: those of `fluid_embed`.
///
/// # Safety
/// `request_json` is NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be
/// called with `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_rerank(
    model: *mut fluid_model,
    request_json: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { start(model, request_json) }?;
        let callback = Callback { function: callback, user_data };
        // SAFETY: the caller's promise.
        unsafe { callback::run_for_text(&job, &callback, out_json) }
    })
}

/// Starts to rank; `request_json`, outcomes and errors as of `fluid_rerank`, except that what the
/// model finds comes with the final event; the result is `fluid_job_json`. On success `*out_job` is
/// owned by the caller, free with `fluid_job_free`.
///
/// # Safety
/// `request_json` is NUL-terminated; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_rerank_start(
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
    unsafe { ask(model, request_json, |model, text| model.rerank(RerankRequest::parse(text)?)) }
}
