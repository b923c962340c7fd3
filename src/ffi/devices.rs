//! What models can run on, and whether the installation is sound.

use std::ffi::c_char;
use std::sync::Arc;

use super::callback::about_to_wait;
use super::engine::ENGINES;
use super::guard::guard;
use super::handle::fluid_engine;
use super::status::{fluid_status, FLUID_OK};
use super::version::FLUID_ABI_VERSION;
use super::{pointer, process, string};
use crate::doctor::{self, Subject};
use crate::engine::{devices, Engine};
use crate::error::Result;
use crate::request::DoctorOptions;

/// Lists what models can run on, as a JSON object:
///
/// - `cpu`: `name`, `architecture`, `instructions` (sets that kernels are written for, as far as this
///   processor has them), `instructions_needed` by this build and `instructions_missing` of these,
///   `physical_cores` and `logical_cores` of the machine, `usable_cores` for this process,
///   `memory_bytes`, `memory_available_bytes`, and `container` with its limits
///   (`memory_limit_bytes`, `memory_used_bytes`, `cpus`) or null;
/// - `devices`, those of both backends: `id`, as the load option `device` takes it, `backend`
///   ("llama.cpp" or "openvino"), `name`, `type` ("cpu", "gpu", "npu"), `integrated` (of GPUs),
///   `memory_bytes`, `memory_free_bytes`, `capabilities`, and `runs`: "gguf", "whisper";
/// - `notes`: why a backend's devices are not listed, a sentence each.
///
/// What is not known is null. Each backend numbers its own GPUs. Drivers may be slow: each backend has
/// 5 seconds to answer, then a note says that it did not. OpenVINO's library is opened for this, and
/// stays open.
///
/// `engine` may be `NULL`: it only says where OpenVINO's library is (`openvino_library`). On success
/// `*out_json` is owned by the caller, free with `fluid_string_free`.
///
/// # Safety
/// `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_devices(
    engine: *mut fluid_engine,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_json, "out_json") }?;
        let engine = optional(engine)?;
        about_to_wait()?;
        process::prepare();
        let openvino = engine.as_ref().and_then(|engine| engine.options().openvino.as_deref());
        out.set(string::owned(devices::list(openvino).to_string())?);
        Ok(FLUID_OK)
    })
}

/// Checks what an installation needs and has: the library, the system, the processor, memory, OpenVINO's
/// library with its parts and devices, the folders of models and of compiled models, the hub's
/// settings. It loads no model and uses no network, and works with everything broken: what is wrong is
/// in the result.
///
/// `engine` may be `NULL`. `options_json` is `NULL` or a JSON object, borrowed for the call; what it does
/// not say is the engine's:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `openvino` | open OpenVINO's library and ask it for devices | true |
/// | `openvino_library` | the library or a folder that holds it | the engine's, else it is looked for |
/// | `model_dir`, `cache_dir` | folders to examine; a file is written to each and taken away | the engine's |
/// | `timeout_ms` | how long each native library may take to answer, 100 to 600,000 | 10,000 |
///
/// On success `*out_json` is `{"ok": true, "checks": [{"name": "memory", "status": "ok", "found": "...",
/// "advice": null}, ...], "text": "..."}`. `status` is "ok", "info" (nothing to judge), "warning"
/// (something works less well, or some models do not) or "error"; `ok` is false where one is an error.
/// `advice` names what to do. `text` has all of it for reading, in lines. A token for the hub is never in it.
/// It is owned by the caller, free with `fluid_string_free`.
///
/// What holds where a native library crashes: nothing can stop that inside this process. A library
/// that cannot be loaded is a line of the report, but one whose own code faults while it is opened or asked,
/// as broken drivers have done, ends the process. `{"openvino": false}` leaves OpenVINO alone, so a
/// program that died in the first call can make this one after its next start.
///
/// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`.
///
/// # Safety
/// `options_json` is `NULL` or NUL-terminated; `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_doctor(
    engine: *mut fluid_engine,
    options_json: *const c_char,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_json, "out_json") }?;
        // SAFETY: the caller's promise.
        let options = unsafe { pointer::optional_text(options_json, "options_json") }?;
        let subject = subject(optional(engine)?.as_deref(), DoctorOptions::parse(options)?);
        about_to_wait()?;
        process::prepare();
        out.set(string::owned(doctor::examine(&subject).json().to_string())?);
        Ok(FLUID_OK)
    })
}

fn optional(engine: *mut fluid_engine) -> Result<Option<Arc<Engine>>> {
    match engine.is_null() {
        true => Ok(None),
        false => ENGINES.get(pointer::key(engine)).map(Some),
    }
}

fn subject(engine: Option<&Engine>, options: DoctorOptions) -> Subject {
    let own = engine.map(Engine::options);
    Subject {
        abi: FLUID_ABI_VERSION,
        openvino_library: options.openvino_library.or_else(|| own?.openvino.clone()),
        ask_openvino: options.openvino,
        patience: options.timeout,
        model_dir: options
            .model_dir
            .map(Into::into)
            .or_else(|| own?.model_dir.clone().map(Into::into)),
        cache_dir: options.cache_dir.map(Into::into).or_else(|| engine?.cache_dir()),
        hub: own.map(|own| own.hub.clone()).unwrap_or_default(),
    }
}
