//! The models of the model folder.

use std::ffi::c_char;

use super::engine::ENGINES;
use super::guard::guard;
use super::handle::fluid_engine;
use super::status::{fluid_status, FLUID_OK};
use super::{pointer, string};
use crate::request::ModelsRequest;

/// Lists the models in the engine's model folder (`model_dir`), with their names for
/// `fluid_load_model`.
///
/// In the folder, `llm`, `whisper` and `embedding` have a folder for each model, or GGUF files.
/// Folders may lie in that of their owner; links are followed, except those that lead back. The
/// cache that Fluid Server has in `llm/cache` is read too.
///
/// `options_json` is `NULL` or a JSON object, borrowed for the call: `type`, `"llm"`, `"whisper"`
/// or `"embedding"`, for these alone; `verify`, true to compare the checksums of what was fetched
/// from a hub, for which all its files are read.
///
/// On success `*out_json` is an object of `model_dir`, `cache_dir`, `data`, a list as of OpenAI's
/// models, and `short_names`, which stand for repositories of the hub. Each of `data` has:
///
/// | field | meaning |
/// |---|---|
/// | `name`, `id` | what loads it; give `type` as `model_type` where two have the same |
/// | `type` | `"llm"`, `"whisper"`, `"embedding"`: the folder it lies in |
/// | `format` | `"gguf"`, `"openvino"` |
/// | `path`, `bytes`, `files` | the file or folder, and how much of it is here |
/// | `complete`, `missing` | whether all of it is here, as far as headers, sizes and what is known of a download tell; else what is not |
/// | `architecture`, `quantization`, `parameters`, `context_length` | what its files say, or null |
/// | `loaded` | whether a model of this engine that was loaded from it is in memory |
/// | `runnable`, `why_not` | whether a load can work; else why not, in a sentence |
/// | `source` | the `repo` and `commit` it was fetched from, or null |
/// | `created`, `owned_by` | when it was changed, in Unix time, and the repository's owner |
///
/// A folder that is not there is empty. What cannot be read is left out, the log says so, or is not
/// complete. Headers are read, a large vocabulary takes 100 ms, and remembered until the file
/// changes. It is owned by the caller, free with `fluid_string_free`.
///
/// Errors: those of the options.
///
/// # Safety
/// `options_json` is `NULL` or NUL-terminated; `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_models(
    engine: *mut fluid_engine,
    options_json: *const c_char,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_json, "out_json") }?;
        // SAFETY: the caller's promise.
        let options = unsafe { pointer::optional_text(options_json, "options_json") }?;
        let engine = ENGINES.get(pointer::key(engine))?;
        let models = engine.models_json(&ModelsRequest::parse(options)?);
        out.set(string::owned(models)?);
        Ok(FLUID_OK)
    })
}
