//! LoRA adapters as llama.cpp holds them.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;
use serde_json::{json, Value};

use super::gguf::{self, AdapterSummary, Summary};
use super::native::{report, NativeModel};
use super::{fingerprint, native_log, shim};
use crate::backend::{memory, AdapterInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoraFile;

/// A `llama_adapter_lora`. It is dropped before its model is.
pub(super) struct NativeAdapter {
    pointer: NonNull<sys::llama_adapter_lora>,
}

impl NativeAdapter {
    /// Loads a file that our own check has passed.
    fn load(model: &NativeModel, path: &str) -> Result<Self> {
        let c_path = CString::new(path)
            .map_err(|_| Error::new(ErrorKind::InvalidArgument, "the path contains a NUL"))?;
        let (loaded, errors) = native_log::collect(|| {
            // SAFETY: the model is alive, and the path lives through the call.
            shim::call(|out| unsafe {
                shim::fluid_llama_load_adapter(model.as_ptr(), c_path.as_ptr(), out)
            })
        });
        let pointer = loaded.map_err(|error| error.describe(path))?;
        let pointer = NonNull::new(pointer).ok_or_else(|| {
            let cause = native_log::cause(&errors);
            let message = format!("{path}: llama.cpp refuses the adapter: {cause}");
            Error::new(ErrorKind::InvalidModel, message)
        })?;
        Ok(Self { pointer })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::llama_adapter_lora {
        self.pointer.as_ptr()
    }
}

impl Drop for NativeAdapter {
    fn drop(&mut self) {
        // SAFETY: made by llama.cpp, freed once, before its model (see `Owned` in context.rs).
        let freed = shim::call(|out| unsafe { shim::fluid_llama_free_adapter(self.as_ptr(), out) });
        report(freed, "freeing an adapter");
    }
}

/// Checks and loads `files` for the model of `summary`. This has to be before its context is made,
/// whose graphs are sized for them.
pub(super) fn load(
    files: &[LoraFile],
    model: &NativeModel,
    summary: &Summary,
) -> Result<(Vec<NativeAdapter>, Vec<AdapterInfo>)> {
    let mut loaded = (Vec::new(), Vec::new());
    for file in files {
        let checked = gguf::check_adapter(Path::new(&file.path), summary)?;
        check_memory(&file.path, checked.bytes)?;
        loaded.1.push(AdapterInfo {
            name: file.name.clone(),
            scale: file.scale,
            fingerprint: fingerprint::of_file(Path::new(&file.path))?,
            details: details(file, &checked),
        });
        loaded.0.push(NativeAdapter::load(model, &file.path)?);
    }
    Ok(loaded)
}

fn check_memory(path: &str, needed: u64) -> Result<()> {
    match memory::available() {
        Some(available) if needed > available => Err(Error::new(
            ErrorKind::OutOfMemory,
            format!("{path}: takes {} MiB, {} MiB are free", needed >> 20, available >> 20),
        )),
        _ => Ok(()),
    }
}

fn details(file: &LoraFile, checked: &AdapterSummary) -> Value {
    json!({
        "path": file.path,
        "alpha": checked.alpha,
        "rank": checked.rank,
        "weights": checked.n_weights,
        "bytes": checked.bytes,
    })
}
