//! Fetching models from a hub.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callback::{self, Callback};
use super::engine::ask;
use super::event::fluid_event_fn;
use super::guard::guard;
use super::handle::{fluid_engine, fluid_job};
use super::job;
use super::status::fluid_status;
use crate::engine::job::Job;
use crate::error::Result;
use crate::request::DownloadOptions;

/// Fetches a model from the hub into the model folder, and waits for the end of it.
///
/// `name` is one that `fluid_load_model` takes: `owner/repo`, `owner/repo:Q8_0`, `owner/repo@revision`,
/// `owner/repo/file.gguf` or a short name; borrowed for the call. Of a repository that is chosen which makes one
/// model: a GGUF file with the other parts of a split one, or OpenVINO's files. What is here whole is not fetched
/// again, and no hub is asked, unless the options name a revision, a file or a local name. `options_json` is
/// `NULL` or a JSON object, borrowed for the call; an unknown key is refused:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `revision` | a branch, a tag or a commit | the name's own, or `"main"` |
/// | `file` | one file of the repository | the name's own, or what the model needs |
/// | `model_type` | `"llm"`, `"whisper"` or `"embedding"` | what the name tells |
/// | `local_name` | its name in the model folder | the repository's |
/// | `deadline_ms` | give up after this time | none |
///
/// The hub and who asks are options of `fluid_engine_new`. Up to four files come at once, beside their
/// places and under other names (`FILE.*.part`); each is compared with the hub's checksum and then
/// renamed, so that a file in the model folder is whole. What a download that ended early has got
/// stays, and the next one goes on from there, after a crash too. A second download of the same model, in
/// this process or another, waits for the first (`FLUID_EVENT_NOTICE`) and then finds its files. Connections
/// that break, or on which nothing comes for 30 seconds, are made again; a file is given up after six
/// failures in a row.
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events some ten times a second, whose `json`
/// tells file, bytes and rate, and the final one, on this thread, and can cancel. `user_data` is handed to
/// it. `out_json` may be `NULL`. On `FLUID_OK` `*out_json` is `{"path": what to load, "repo", "revision":
/// the commit, "files": [{"path", "bytes", "sha256"}], "bytes", "downloaded_bytes": what came over the
/// network}`, of a model that was here `path` alone, with `null`, `[]` and 0 for the rest; on `FLUID_CANCELLED`
/// and `FLUID_DEADLINE` it is `{}`. It is owned by the caller, free with `fluid_string_free`.
///
/// Errors: `FLUID_ERROR_NOT_FOUND` (no such repository, revision or file; or it may not be fetched, for
/// `offline` is set), `FLUID_ERROR_ACCESS_DENIED`, `FLUID_ERROR_NETWORK`, `FLUID_ERROR_DISK_FULL`,
/// `FLUID_ERROR_IO`, `FLUID_ERROR_INVALID_MODEL` (what comes is not what the hub lists),
/// `FLUID_ERROR_QUEUE_FULL` (16 downloads run), `FLUID_ERROR_UNSUPPORTED` (a build without downloads), and
/// those of the name (`FLUID_ERROR_INVALID_ARGUMENT`) and the options.
///
/// # Safety
/// Strings are NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be called
/// with `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_download(
    engine: *mut fluid_engine,
    name: *const c_char,
    options_json: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { start(engine, name, options_json) }?;
        let callback = Callback { function: callback, user_data };
        // SAFETY: the caller's promise.
        unsafe { callback::run_for_text(&job, &callback, out_json) }
    })
}

/// Starts to fetch a model; arguments, outcomes and errors as of `fluid_download`, except that what the hub
/// or the disk says comes with the final event; the result is `fluid_job_json`. On success `*out_job` is
/// owned by the caller, free with `fluid_job_free`.
///
/// # Safety
/// Strings are NUL-terminated; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_download_start(
    engine: *mut fluid_engine,
    name: *const c_char,
    options_json: *const c_char,
    out_job: *mut *mut fluid_job,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let start = || unsafe { start(engine, name, options_json) };
        // SAFETY: the caller's promise.
        unsafe { job::hand_out_to(out_job, start) }
    })
}

/// # Safety
/// The strings are null or NUL-terminated.
unsafe fn start(
    engine: *mut fluid_engine,
    name: *const c_char,
    options_json: *const c_char,
) -> Result<Arc<Job>> {
    // SAFETY: the caller's promise.
    unsafe {
        ask(engine, name, options_json, |engine, name, options| {
            engine.download(name, &DownloadOptions::parse(options)?)
        })
    }
}
