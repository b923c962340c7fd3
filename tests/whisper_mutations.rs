//! No damaged Whisper folder may end the host's process: mutants of a tiny model, loaded and asked to
//! transcribe through the C interface, in child processes.
//!
//! `FLUID_MUTATIONS_FIRST` and `FLUID_MUTATIONS` choose the seeds.
#![cfg(feature = "openvino")]

#[path = "support/children.rs"]
mod children;
mod support;
#[path = "support/whisper_mutate.rs"]
mod whisper_mutate;

use std::env;

use fluid::ffi::*;
use serde_json::json;
use support::speech::{jfk, Sound};
use support::{model_path, status_name, Engine};
use whisper_mutate::{Mutant, Originals};

/// Mutants of one child; a new process now and then keeps the damage of one apart from the next.
const BATCH: u64 = 40;
const MUTANTS: u64 = 80;
/// An allocation that a file alone can drive above this fails instead of taking the machine along.
const MEMORY_LIMIT: u64 = 6 << 30;

#[test]
fn mutants_never_end_the_process() {
    let originals = Originals::read(&model_path("tiny-random-whisper-128"));
    if let Some(seeds) = children::range() {
        return run_child(seeds, &originals);
    }
    let expected = ["FLUID_OK", "FLUID_ERROR_INVALID_MODEL"];
    let describe = |seed| originals.mutant(seed).description;
    let seeds = children::seeds(MUTANTS);
    children::run_all("mutants_never_end_the_process", seeds, BATCH, &expected, describe);
}

fn run_child(seeds: std::ops::Range<u64>, originals: &Originals) {
    children::limit_memory(MEMORY_LIMIT);
    let folder = env::temp_dir().join(format!("fluid-whisper-mutant-{}", std::process::id()));
    let engine = Engine::new("");
    children::run_child(seeds, |seed| {
        let mutant: Mutant = originals.mutant(seed);
        mutant.write(&folder).map_err(|error| error.to_string())?;
        try_model(&engine, folder.to_str().expect("UTF-8"))
    });
    drop(engine);
    let _ = std::fs::remove_dir_all(&folder);
}

/// Loads the folder and transcribes a second, as a host would. Returns the status's name.
fn try_model(engine: &Engine, folder: &str) -> Result<String, String> {
    let options = r#"{"n_parallel": 1, "n_threads": 1, "deadline_ms": 20000}"#;
    let model = match engine.try_load(folder, options).0 {
        Ok(model) => model,
        Err((status, message)) => return judge(status, &message),
    };
    let request = json!({"temperature": [0], "timestamp_granularities": ["word"],
        "log_prob_threshold": null, "no_speech_threshold": null, "deadline_ms": 5000});
    let heard = model.transcribe(Sound::Samples(&jfk()[..16_000]), &request);
    judge(heard.status, &heard.error)
}

/// Errors are what damaged files deserve; a panic, or a status without a message, is a bug.
fn judge(status: fluid_status, message: &str) -> Result<String, String> {
    let name = status_name(status);
    if status == FLUID_ERROR_INTERNAL || message.contains("panicked") {
        return Err(format!("{name}: {message}"));
    }
    if status < 0 && message.is_empty() {
        return Err(format!("{name} without a message"));
    }
    Ok(name.to_owned())
}
