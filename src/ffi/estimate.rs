//! Will a model fit.

use std::ffi::c_char;

use super::engine::ask;
use super::guard::guard;
use super::handle::fluid_engine;
use super::status::{fluid_status, FLUID_OK};
use super::{pointer, string};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::request::LoadOptions;

/// Tells what a model would take of memory, before it is loaded: its files are looked at, weights are
/// not read, nothing stays in memory. It takes milliseconds, with large vocabularies up to a second.
///
/// `name` and `options_json` are those of `fluid_load_model`, borrowed for the call; a draft model and
/// adapters count. Nothing is fetched for it. On success `*out_json` is a JSON object, owned by the caller, free with
/// `fluid_string_free`:
///
/// | field | meaning |
/// |---|---|
/// | `weights_bytes` | weights; mapped files count wholly, as do copies in the order of the processor's kernels |
/// | `kv_cache_bytes` | keys, values and recurrent states; of Whisper those of one window for each job |
/// | `compute_bytes` | room for what is computed |
/// | `other_bytes` | vocabulary, descriptions of graphs, threads |
/// | `runtime_bytes` | OpenVINO itself, where this process has not opened it yet; else 0 |
/// | `total_bytes` | all of the above: what is resident when `n_parallel` jobs with full contexts run |
/// | `kept_bytes_max` | what `cache_ram_mb` allows beside that; it fills as jobs finish |
/// | `long_audio_bytes` | Whisper: at most so much more while recordings of over 30 seconds are transcribed |
/// | `available_bytes` | memory that is free, or what `max_memory` leaves beside pinned models where that is less; `null` where the system does not say |
/// | `fits` | whether the total is no more than that: other models may have to give way |
/// | `fits_now` | whether it also fits into what `max_memory` leaves beside all models that are loaded now |
/// | `advice` | what to do, where it does not fit |
/// | `device`, `device_why` | where it would run |
/// | `n_ctx`, `n_parallel`, `kv_cache_tokens`, `kv_unified` | the sizes that a load would choose now, for models that generate |
/// | `n_ctx_max` | the longest `n_ctx` whose total fits; `null` where none does |
/// | `contexts` | totals of other lengths: `[{"n_ctx": 2048, "total_bytes": 1, "fits": true}]` |
///
/// What is resident after a load differs from the total by up to 10 % for the models of this
/// project's tests; of Whisper models it is up to 20 % less on processors without AMX. The figures
/// are those of a CPU that computes all of it, also where `device` is another one: the parts of a
/// model that go to a GPU take its memory instead.
///
/// Errors: those of `fluid_load_model` that concern the files and the options, and
/// `FLUID_ERROR_NOT_FOUND` for a model that is not here, even if a hub has it. What only shows
/// while weights are read, or when OpenVINO's library is opened, a load alone tells.
///
/// # Safety
/// Strings are NUL-terminated; `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_estimate(
    engine: *mut fluid_engine,
    name: *const c_char,
    options_json: *const c_char,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_json, "out_json") }?;
        if crate::log::is_writing() {
            // llama.cpp is inside a call that logs: it would begin another one on the same thread.
            let message = "the log callback cannot estimate models; do it outside";
            return Err(Error::new(ErrorKind::Busy, message));
        }
        let estimate = |engine: &Engine, name: &str, options: &str| {
            engine.estimate(name, LoadOptions::parse(options)?)
        };
        // SAFETY: the caller's promise.
        let json = unsafe { ask(engine, name, options_json, estimate) }?;
        out.set(string::owned(json)?);
        Ok(FLUID_OK)
    })
}
