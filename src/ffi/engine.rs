//! `fluid_engine`.

use std::ffi::c_char;
use std::sync::Arc;

use super::guard::guard;
use super::handle::{fluid_engine, fluid_job, Table};
use super::model::MODELS;
use super::status::{fluid_status, FLUID_OK};
use super::{job, pointer, process, string};
use crate::engine::{self, Engine};
use crate::error::Result;
use crate::request::EngineOptions;

pub(super) static ENGINES: Table<Engine> = Table::new(0xf1d1, "engine");

/// Frees all engines, for the process is about to end, and waits for those that are being freed.
pub(super) fn shut_down_all() {
    for engine in ENGINES.remove_all(|_| true) {
        engine.shut_down();
    }
    engine::stop_workers();
}

/// Makes an engine. Several can live side by side; each has its own models and threads.
///
/// `options_json`: `NULL`, or a JSON object borrowed for the call; an unknown key is refused:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `max_queue` | how many jobs may wait for a slot of one model | 256 |
/// | `event_queue` | how many events wait in one job for its reader before the job pauses | 256 |
/// | `openvino_library` | OpenVINO's C library, or the folder that holds it; one process has one, the first that was opened | looked for when a model first needs it: by the variable `FLUID_OPENVINO_LIB`, beside libfluid, in the active Python environment, where Intel's installer puts it, in the system's library folders |
/// | `model_dir` | the folder that names of models lead to, see `fluid_models`; need not be there yet | none: `fluid_load_model` takes paths only |
/// | `cache_dir` | a folder for models that OpenVINO has compiled, so that the next load takes less time; it takes as much room again as they do, and can be deleted when no model is loading | `cache` in the model folder |
/// | `max_memory` | GiB that all models may take together, as `fluid_estimate` counts; 0 for no limit | 0 |
/// | `idle_timeout` | seconds without a job after which a model gives its memory back; 0 for never | 0 |
/// | `idle_check_interval` | seconds between looks at that, 0.01 to 86,400 | 60 |
/// | `hub_endpoint` | the address of a hub that speaks Hugging Face's protocol | the variable `HF_ENDPOINT`, or `"https://huggingface.co"` |
/// | `hub_token` | a user's token; it goes to the hub alone, and into no message; `""` for none | the variable `HF_TOKEN`, or the file at `HF_TOKEN_PATH`, `$HF_HOME/token` or `~/.cache/huggingface/token` |
/// | `offline` | ask no hub | whether the variable `HF_HUB_OFFLINE` says so |
///
/// A model is looked at each `idle_check_interval` only: with a short `idle_timeout` set both. Each load is a model of
/// its own, which takes memory of its own.
///
/// A model that gave its memory back is still there: its handle, its information and its queue. The next
/// request has it loaded again, with the options it had; it takes that much longer, and can be
/// cancelled meanwhile. What lay in its KV cache is computed again. `max_memory` is kept so: a load that
/// it has no room for has idle models give way, the least recently used one first, and fails with the
/// sums where they do not suffice; a model that jobs wait for also has busy ones give way, when the jobs
/// they have begun have ended, in the order they asked. Models loaded with `pinned` stay.
///
/// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST` for an unknown key or a
/// wrong value. On success `*out_engine` is owned by the caller, free with `fluid_engine_free`.
///
/// # Safety
/// `options_json` is `NULL` or NUL-terminated; `out_engine` is `NULL` or can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_engine_new(
    options_json: *const c_char,
    out_engine: *mut *mut fluid_engine,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_engine, "out_engine") }?;
        // SAFETY: the caller's promise.
        let options = unsafe { pointer::optional_text(options_json, "options_json") }?;
        let engine = Engine::new(EngineOptions::parse(options)?);
        process::prepare();
        let key = ENGINES.insert(Arc::new(engine))?;
        out.set(pointer::handle(key));
        Ok(FLUID_OK)
    })
}

/// Describes an engine as a JSON object: `max_memory_bytes`, `memory_bytes` (what its models take, as
/// estimated), `idle_timeout`, `idle_check_interval`, and `models`, each with `model` (its name), `path`,
/// `state` ("loading", "loaded", "unloaded"), `pinned`, `jobs` (that have not ended), `idle_seconds` and
/// `memory_bytes`. On success `*out_json` is owned by the caller, free with `fluid_string_free`.
///
/// # Safety
/// `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_engine_info(
    engine: *mut fluid_engine,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { hand_out_json(engine, out_json, |engine| Ok(engine.info_json())) }
    })
}

/// Starts a job without an end of its own that tells what happens to the engine's models unasked, as
/// events of kind `FLUID_EVENT_MODEL`. Read it like any job, or attach it to a queue. The events'
/// `json` has `event`, `model` (the name that it was loaded by) and `path`, as `fluid_model_info` has it:
///
/// | `event` | what happened | more |
/// |---|---|---|
/// | `"loaded"` | a model was loaded, or loaded again | `seconds`, `bytes` |
/// | `"unloaded"` | a model gave its memory back | `reason`: `"idle"`, `"memory"` (another needs it), `"trim"`, `"unwanted"` (the jobs that had it loaded again were stopped); `bytes` |
/// | `"loading"` | jobs wait for it, and it is loaded again | |
/// | `"load_failed"` | that failed; the jobs that waited ended with the same error | `message` |
/// | `"notice"` | a load does not go as asked, such as on another device | `message` |
///
/// Where the reader falls behind, the oldest events beyond `event_queue` are dropped. The job ends with
/// `FLUID_CANCELLED` when the engine is freed or the job is cancelled. On success `*out_job` is owned by
/// the caller, free with `fluid_job_free`.
///
/// # Safety
/// `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_engine_events(
    engine: *mut fluid_engine,
    out_job: *mut *mut fluid_job,
) -> fluid_status {
    guard(|| {
        let start = || ENGINES.get(pointer::key(engine))?.events();
        // SAFETY: the caller's promise.
        unsafe { job::hand_out_to(out_job, start) }
    })
}

/// Gives memory back, as when the system runs short of it: models that have no jobs and are not
/// `pinned` are unloaded until they are used again. Waits until they are, at most two seconds for each;
/// inside the log callback not at all. `out_json` may be `NULL`; on success `*out_json` is
/// `{"unloaded": ["..."], "bytes": 123}`, owned by the caller, free with `fluid_string_free`.
///
/// # Safety
/// `out_json` is `NULL` or can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_engine_trim(
    engine: *mut fluid_engine,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        if out_json.is_null() {
            ENGINES.get(pointer::key(engine))?.trim();
            return Ok(FLUID_OK);
        }
        // SAFETY: the caller's promise.
        unsafe { hand_out_json(engine, out_json, |engine| Ok(engine.trim())) }
    })
}

/// What `act` makes of an engine, a name and options.
///
/// # Safety
/// The strings are null or NUL-terminated.
pub(super) unsafe fn ask<T>(
    engine: *mut fluid_engine,
    name: *const c_char,
    options_json: *const c_char,
    act: impl FnOnce(&Engine, &str, &str) -> Result<T>,
) -> Result<T> {
    // SAFETY: the caller's promise.
    let name = unsafe { pointer::text(name, "name") }?;
    // SAFETY: the caller's promise.
    let options = unsafe { pointer::optional_text(options_json, "options_json") }?;
    act(&*ENGINES.get(pointer::key(engine))?, name, options)
}

/// Sets `out_json` to what `make` says of `engine`.
///
/// # Safety
/// `out_json` is null, or can be written to.
pub(super) unsafe fn hand_out_json(
    engine: *mut fluid_engine,
    out_json: *mut *mut c_char,
    make: impl FnOnce(&Engine) -> Result<String>,
) -> Result<fluid_status> {
    // SAFETY: the caller's promise.
    let out = unsafe { pointer::output(out_json, "out_json") }?;
    let engine = ENGINES.get(pointer::key(engine))?;
    out.set(string::owned(make(&engine)?)?);
    Ok(FLUID_OK)
}

/// Frees an engine: cancels its jobs, frees its models, joins its threads. Native work that
/// cannot be stopped (one node of a model's graph, the reading of a model's metadata) is waited
/// for. Handles of its models then are invalid; handles of its jobs live until they are freed,
/// their events and results too. Its jobs end with `FLUID_CANCELLED`, and so do the calls that
/// run them. Inside the log callback it does not wait; the end of the process then does. `NULL` does nothing.
///
/// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
#[no_mangle]
pub extern "C" fn fluid_engine_free(engine: *mut fluid_engine) -> fluid_status {
    guard(|| {
        if !engine.is_null() {
            let engine = ENGINES.remove(pointer::key(engine))?;
            engine.shut_down();
            MODELS.remove_all(|model| engine.owns(model));
        }
        Ok(FLUID_OK)
    })
}
