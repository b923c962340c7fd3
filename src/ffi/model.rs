//! `fluid_model`: loading, information, freeing.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callback::{self, Callback};
use super::event::fluid_event_fn;
use super::guard::guard;
use super::handle::{fluid_engine, fluid_job, fluid_model, Table};
use super::job;
use super::status::{fluid_status, FLUID_OK};
use super::{pointer, string};
use crate::engine::job::Job;
use crate::engine::model::Model;
use crate::error::Result;
use crate::request::LoadOptions;

pub(super) static MODELS: Table<Model> = Table::new(0xf1d2, "model");

/// Loads the model that `name` stands for and waits until it can be used.
///
/// `name` is UTF-8 on every system, borrowed for the call. It is one of:
///
/// - a path: of a GGUF file, of the first file of a split one, or of the folder of a Whisper model in
///   OpenVINO's format as optimum-intel exports it. What is there by that path wins.
/// - a model of the engine's model folder, see `fluid_models`: `"name"`, `"name:Q8_0"` for one of several
///   quantisations, `"name/file.gguf"`
/// - a repository of a hub: `"owner/repo"`, `"owner/repo:Q8_0"`, `"owner/repo@revision"`, or a file
///   of it, `"owner/repo/file.gguf"`. It lies in the model folder under the repository's own name.
/// - a short name of Fluid Server, such as `"whisper-tiny"`
///
/// Of several GGUF files that of Q4_K_M is taken, else another one of four bits, then of five, six and
/// eight, of 16, then of less than four; never a vision part (mmproj) or an importance matrix. A name
/// with `..`, a drive, a backslash, control characters, or a part that begins with a dot or is a
/// device's name on Windows is refused, so no name leads out of the model folder; links that lie in
/// it are followed. A host that gets names from others should refuse absolute paths and those that
/// `fluid_models` does not list: paths are not bound to the folder.
///
/// `options_json` is `NULL` or a JSON object, borrowed for the call; an unknown key is refused:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `n_ctx` | tokens of context for each job | the model's own, as far as `kv_cache_mb` allows |
/// | `n_parallel` | jobs that run together, 1 to 64 | 4 |
/// | `n_threads` | threads that compute; models of one process take turns where cores are too few | one for each physical core |
/// | `thread_priority` | `"low"`, `"normal"`, `"medium"`, `"high"` (Linux) | `"normal"` |
/// | `cpu_affinity` | the CPUs the threads may run on, such as `[0, 1]` (Linux) | the system's choice |
/// | `n_ubatch` | most tokens of one computation, at least `n_parallel` | 512 |
/// | `kv_unified` | one KV cache for all jobs, or a part for each, which is faster with many | parts, where `n_parallel` times `n_ctx` fits into `kv_cache_mb` |
/// | `kv_cache_tokens` | tokens that a unified cache holds for all jobs, at least `n_ctx`; jobs that do not fit wait and go on later | what fits into `kv_cache_mb` |
/// | `kv_cache_mb` | MiB for the KV cache | a quarter of the free memory, at most 2048 |
/// | `cache_ram_mb` | MiB of main memory for prefixes that lie outside the KV cache, 0 for none | an eighth of the free memory, at most 2048 |
/// | `cache_type_k`, `cache_type_v` | `"f32"`, `"f16"`, `"bf16"`, `"q8_0"`, `"q5_1"`, `"q5_0"`, `"q4_1"`, `"q4_0"` | `"f16"` |
/// | `flash_attn` | `"auto"`, `"on"`, `"off"`; quantised values need it | `"auto"` |
/// | `swa_full` | sliding-window layers keep the whole context | false |
/// | `embedding` | turn texts into vectors or scores instead of generating | as the file says: true for encoders, and where it names a pooling |
/// | `use_mmap` | map the file instead of reading it; do not change it while it is mapped | true |
/// | `device` | `"AUTO"` (a GPU with room for the model, else the CPU), `"CPU"`, `"GPU"`, `"NPU"`, `"GPU.1"`: see `fluid_devices` | `"AUTO"` |
/// | `device_fallback` | where a device is not there or fails, use the next one, at last the CPU; false makes that an error | true |
/// | `n_gpu_layers` | GGUF models on a GPU: layers that it computes, the output among them | as many as fit |
/// | `model_type` | what the model is for, `"llm"`, `"whisper"` or `"embedding"`, where models of two kinds have its name, or a hub has it | as short names and the repository's name say |
/// | `download` | fetch a model that is not here from a hub | true |
/// | `cache_dir` | OpenVINO: a folder for compiled models, so that the next load takes less time | the engine's |
/// | `inference_precision` | OpenVINO: `"f32"`, `"f16"` or `"bf16"` to compute in | what is fastest |
/// | `vad_model` | Whisper: the file silero_vad_openvino_16k.onnx | in the model's folder, or the one around it |
/// | `lora` | LoRA adapters in GGUF's format, up to 64: `[{"path": "a.gguf", "name": "a", "scale": 0.5}]`; requests choose among them | none; a name is the file's, a scale 1 |
/// | `draft_model` | a smaller GGUF model of the same vocabulary, which drafts for this one: a path, or a name of the model folder | none |
/// | `draft_options` | its `n_ctx`, `use_mmap` and options of the KV cache | `n_ctx` as this model's |
/// | `speculative` | for requests that do not say it: see `fluid_generate` | off |
/// | `chat_template` | a Jinja template in place of the model's own | the model's own |
/// | `pinned` | the model's memory is given back with the model only | false |
/// | `idle_timeout` | seconds without a job after which its memory is given back; 0 for never | the engine's |
/// | `warm_up` | use the model once in the background when it is loaded; `fluid_model_info` has its status | false |
/// | `deadline_ms` | give up after this time | none |
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
/// thread, and can cancel the load; where the model is fetched first, progress from 0 to 0.9 is the download's, with its `json`; and `FLUID_EVENT_NOTICE` where the model is not loaded as asked,
/// such as on another device. `user_data` is handed to it.
///
/// Outcomes: `FLUID_CANCELLED`, `FLUID_DEADLINE`. Errors: `FLUID_ERROR_INVALID_ARGUMENT` (`name` is none,
/// or stands for models of two kinds), `FLUID_ERROR_NOT_FOUND` (with the name of the file that is
/// missing, or the names that are near `name`), `FLUID_ERROR_IO`, `FLUID_ERROR_INVALID_MODEL` (a file is cut or
/// altered), `FLUID_ERROR_BACKEND_MISSING` (OpenVINO's library was not found; the message lists
/// where it was looked for), `FLUID_ERROR_UNSUPPORTED_MODEL` (such as an LLM in OpenVINO's format),
/// `FLUID_ERROR_UNSUPPORTED_CPU`,
/// `FLUID_ERROR_OUT_OF_MEMORY`, and those of the options. On `FLUID_OK` `*out_model` is owned by
/// the caller, free with `fluid_model_free`.
///
/// # Safety
/// Strings are NUL-terminated; `out_model` can be written to; `callback` can be called with
/// `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_load_model(
    engine: *mut fluid_engine,
    name: *const c_char,
    options_json: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_model: *mut *mut fluid_model,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_model, "out_model") }?;
        // SAFETY: the caller's promise.
        let job = unsafe { start(engine, name, options_json) }?;
        let function = callback;
        let status = callback::run(&job, &Callback { function, user_data })?;
        if status == FLUID_OK {
            let key = MODELS.insert(job.take_model()?)?;
            out.set(pointer::handle(key));
        }
        Ok(status)
    })
}

/// Starts to load a model; arguments, outcomes and errors as of `fluid_load_model`, except that
/// what concerns the file comes with the final event. After a final event with `FLUID_OK`,
/// `fluid_job_take_model` hands out the model. On success `*out_job` is owned by the caller, free
/// with `fluid_job_free`.
///
/// # Safety
/// Strings are NUL-terminated; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_load_model_start(
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

/// What `act` makes of `model` and the text of a request.
///
/// # Safety
/// `request_json` is null or NUL-terminated.
pub(super) unsafe fn ask<T>(
    model: *mut fluid_model,
    request_json: *const c_char,
    act: impl FnOnce(&Model, &str) -> Result<T>,
) -> Result<T> {
    // SAFETY: the caller's promise.
    let request = unsafe { pointer::text(request_json, "request_json") }?;
    act(&*MODELS.get(pointer::key(model))?, request)
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
        super::engine::ask(engine, name, options_json, |engine, name, options| {
            engine.load(name, LoadOptions::parse(options)?)
        })
    }
}

/// Describes a model as a JSON object: `name`, `path`, `capabilities` ("generate", "transcribe",
/// "embed", "rerank", "tokenize"), `architecture`, `parameters`, `file_bytes`, `weights_bytes`,
/// `quantization`, `context_length` (of one job or text), `context_length_trained`, `n_parallel`,
/// `embedding_length`, `layers`, `heads`, `heads_kv`, `vocabulary` (its size), `special_tokens`
/// (ids by what they are for), `chat_template`, `pooling` and `dimensions` (of embedding models),
/// `general` (what the file says of its origin, such as `license`), `backend`, `device` (in use),
/// `device_name`, `device_asked`, `fallback` (why it is another one than asked for, or null), `gpu_layers`,
/// `threads`, `memory` (bytes by what they are for, as `fluid_estimate` names them: of GGUF models as
/// llama.cpp tells them, of others as estimated), `residence` (whether its weights are in memory: as in
/// `fluid_engine_info`), `warm_up` (`status`: "off", "running", "done" or "failed"; `elapsed_seconds`) and
/// more. On success `*out_json` is owned by the caller, free with `fluid_string_free`.
///
/// # Safety
/// `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_model_info(
    model: *mut fluid_model,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_json, "out_json") }?;
        let model = MODELS.get(pointer::key(model))?;
        out.set(string::owned(model.info_json()?)?);
        Ok(FLUID_OK)
    })
}

/// Frees a model: its running and waiting jobs end as cancelled, its memory is given back, its
/// threads are joined. Safe while other threads use the model: their calls return. `NULL` does
/// nothing.
///
/// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
#[no_mangle]
pub extern "C" fn fluid_model_free(model: *mut fluid_model) -> fluid_status {
    guard(|| {
        if !model.is_null() {
            MODELS.remove(pointer::key(model))?.stop();
        }
        Ok(FLUID_OK)
    })
}
