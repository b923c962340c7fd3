//! `fluid_engine`.

use std::ffi::c_char;
use std::sync::Arc;

use super::guard::guard;
use super::handle::{fluid_engine, Table};
use super::model::MODELS;
use super::status::{fluid_status, FLUID_OK};
use super::{pointer, process};
use crate::engine::Engine;
use crate::request::EngineOptions;

pub(super) static ENGINES: Table<Engine> = Table::new(0xf1d1, "engine");

/// Frees all engines, for the process is about to end.
pub(super) fn shut_down_all() {
    for engine in ENGINES.remove_all(|_| true) {
        engine.shut_down();
    }
}

/// Makes an engine. Several can live side by side; each has its own models and threads.
///
/// `options_json`: `NULL`, or a JSON object borrowed for the call: `max_queue`, how many jobs
/// may wait for a slot of one model (256); `event_queue`, how many events wait in one job for
/// its reader before the job pauses (256); `openvino_library`, OpenVINO's C library or the folder
/// that holds it. Without, it is looked for, when a model first needs it, by the variable
/// `FLUID_OPENVINO_LIB`, beside libfluid, in the active Python environment, where Intel's installer
/// puts it and in the system's library folders. One process has one: the first that was opened.
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

/// Frees an engine: cancels its jobs, frees its models, joins its threads. Native work that
/// cannot be stopped (one node of a model's graph, the reading of a model's metadata) is waited
/// for. Handles of its models then are invalid; handles of its jobs live until they are freed,
/// their events and results too. Its jobs end with `FLUID_CANCELLED`, and so do the calls that
/// run them. Inside the log callback it does not wait. `NULL` does nothing.
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
