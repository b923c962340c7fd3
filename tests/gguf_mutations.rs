//! No damaged model file may end the host's process: mutants of tiny models, through the C
//! interface, in child processes.
//!
//! `FLUID_MUTATIONS_FIRST` and `FLUID_MUTATIONS` choose the seeds.

#[path = "support/children.rs"]
mod children;
#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/gguf_mutate.rs"]
mod gguf_mutate;

use std::env;
use std::ffi::{c_char, CStr, CString};
use std::path::Path;
use std::ptr::{null, null_mut};

use fluid::ffi::*;

/// Mutants of one child; a new process now and then keeps the damage of one apart from the next.
const BATCH: u64 = 500;
const MUTANTS: u64 = 20_000;
/// An allocation that a file alone can drive above this fails instead of taking the machine along.
const MEMORY_LIMIT: u64 = 4 << 30;

#[test]
fn mutants_never_end_the_process() {
    if let Some(seeds) = children::range() {
        return run_child(seeds);
    }
    let expected = ["FLUID_OK", "FLUID_ERROR_INVALID_MODEL"];
    let describe = |seed| gguf_mutate::mutant(seed).description;
    let seeds = children::seeds(MUTANTS);
    children::run_all("mutants_never_end_the_process", seeds, BATCH, &expected, describe);
}

fn run_child(seeds: std::ops::Range<u64>) {
    children::limit_memory(MEMORY_LIMIT);
    let path = env::temp_dir().join(format!("fluid-mutant-{}.gguf", std::process::id()));
    let mut engine = null_mut();
    // SAFETY: the output can be written to.
    assert_eq!(unsafe { fluid_engine_new(null(), &mut engine) }, FLUID_OK);
    children::run_child(seeds, |seed| {
        std::fs::write(&path, gguf_mutate::mutant(seed).bytes)
            .map_err(|error| error.to_string())?;
        try_model(engine, &path)
    });
    fluid_engine_free(engine);
    let _ = std::fs::remove_file(&path);
}

/// Loads the file and has it do a little of what it is for. Returns the status's name.
fn try_model(engine: *mut fluid_engine, path: &Path) -> Result<String, String> {
    let path = CString::new(path.to_string_lossy().as_bytes()).expect("a path without NUL");
    let options = c"{\"n_ctx\": 64, \"n_parallel\": 1, \"n_threads\": 1, \"n_ubatch\": 32}";
    let request = c"{\"prompt\": [1, 2, 3], \"max_tokens\": 4, \"temperature\": 0}";
    let mut model = null_mut();
    // SAFETY: strings and outputs live through the call.
    let status = unsafe {
        fluid_load_model(engine, path.as_ptr(), options.as_ptr(), None, null_mut(), &mut model)
    };
    if status != FLUID_OK {
        return judge(status);
    }
    // SAFETY: strings live through the call; no output is wanted.
    let mut status =
        unsafe { fluid_generate(model, request.as_ptr(), None, null_mut(), null_mut()) };
    if status == FLUID_ERROR_UNSUPPORTED {
        status = embed_or_rank(model);
    }
    let outcome = judge(status);
    fluid_model_free(model);
    outcome
}

/// What a model does that does not generate.
fn embed_or_rank(model: *mut fluid_model) -> fluid_status {
    let texts = c"{\"input\": [\"a bc\", \"d\", \"\u{e9}\"]}";
    let documents = c"{\"query\": \"a\", \"documents\": [\"bc\", \"\"]}";
    let (mut data, mut count, mut dimensions) = (null_mut(), 0, 0);
    // SAFETY: strings and outputs live through the call.
    let status = unsafe {
        fluid_embed(
            model,
            texts.as_ptr(),
            None,
            null_mut(),
            &mut data,
            &mut count,
            &mut dimensions,
            null_mut(),
        )
    };
    if status != FLUID_ERROR_UNSUPPORTED {
        // SAFETY: the library's own floats, or null.
        unsafe { fluid_floats_free(data) };
        return status;
    }
    // SAFETY: strings live through the call; no output is wanted.
    unsafe { fluid_rerank(model, documents.as_ptr(), None, null_mut(), null_mut()) }
}

/// Errors are what damaged files deserve. An assertion inside llama.cpp, even one that was
/// caught, is a check of ours that is missing; a status without a message is a bug.
fn judge(status: fluid_status) -> Result<String, String> {
    let text = |pointer: *const c_char| {
        // SAFETY: both callers pass a static or borrowed string of the library.
        unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
    };
    let (name, message) = (text(fluid_status_name(status)), text(fluid_last_error()));
    if message.contains("GGML_ASSERT") || message.contains("panicked") {
        return Err(format!("{name}: {message}"));
    }
    if status < 0 && message.is_empty() {
        return Err(format!("{name} without a message"));
    }
    Ok(name)
}
