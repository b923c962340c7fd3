//! No damaged or forged state file may end the host's process: mutants of states of tiny models,
//! through the C interface, in child processes. Most are given a right checksum, so that they
//! reach llama.cpp; what is beyond repair there must be an error or a state that works.
//!
//! `FLUID_MUTATIONS_FIRST` and `FLUID_MUTATIONS` choose the seeds.
#![cfg(feature = "llama")]

#[path = "support/children.rs"]
mod children;
#[path = "support/dice.rs"]
mod dice;
mod support;

use dice::Dice;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use support::state::{restore, save, Folder};
use support::{model_path, status_name, Engine, Model};

const KINDS: [&str; 3] = ["mamba", "hybrid", "swa"];
const OPTIONS: &str = r#"{"n_parallel": 2, "n_ctx": 256, "n_threads": 1}"#;
const MUTANTS: u64 = 6_000;
/// Bytes of the digest at a file's end, and of the numbers in front.
const DIGEST: usize = 32;
const HEADER: usize = 28;
/// What some seed must come to.
const EXPECTED: [&str; 3] =
    ["FLUID_OK", "FLUID_ERROR_INVALID_STATE", "FLUID_OK, computed from the start"];

/// Tokens of the state that is damaged.
const LENGTH: usize = 9;

/// Tokens of its own for each seed, or the next generation would go on from what the one before
/// left in the cache; one more than the state has.
fn prompt(seed: u64) -> Vec<u32> {
    let mut dice = Dice::new(!seed);
    (0..=LENGTH).map(|_| 100 + dice.below(1_000) as u32).collect()
}

fn request(seed: u64) -> Value {
    json!({"prompt": prompt(seed), "temperature": 0, "max_tokens": 3})
}

/// What `seed` does to the file of a state, after giving it tokens of its own.
fn damage(file: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = file.to_vec();
    let names = u32::from_le_bytes([file[12], file[13], file[14], file[15]]) as usize;
    let outline = HEADER + names + 4 * LENGTH;
    let tokens = prompt(seed).into_iter().take(LENGTH).flat_map(u32::to_le_bytes);
    bytes[HEADER + names..outline].copy_from_slice(&tokens.collect::<Vec<_>>());
    for _ in 0..1 + dice.below(3) {
        let end = bytes.len().saturating_sub(DIGEST).max(1);
        // The head of the state has most of what is read as a number.
        let place = match dice.below(4) {
            0 => dice.below(end),
            1 => dice.below(outline.min(end)),
            _ => (outline + dice.below(400)).min(end - 1),
        };
        match dice.below(8) {
            0 => bytes.truncate(dice.below(bytes.len() + 1).max(1)),
            1 => bytes[place] ^= 1 << dice.below(8),
            2 => bytes[place] = dice.next() as u8,
            3 => drop(bytes.splice(place..place, [0; 12])),
            _ => {
                let number = dice.pick(&[0u32, 1, 2, 3, 7, 0x7fff_ffff, 0x8000_0000, u32::MAX]);
                let room = bytes.len().min(place / 4 * 4 + 4) - place / 4 * 4;
                bytes[place / 4 * 4..][..room].copy_from_slice(&number.to_le_bytes()[..room]);
            }
        }
    }
    if !dice.one_in(8) && bytes.len() > DIGEST {
        let end = bytes.len() - DIGEST;
        let state = end.checked_sub(outline);
        if let Some(state) = state.filter(|_| !dice.one_in(4)) {
            bytes[20..28].copy_from_slice(&(state as u64).to_le_bytes());
        }
        let digest = Sha256::digest(&bytes[..end]);
        bytes[end..].copy_from_slice(&digest);
    }
    bytes
}

#[test]
fn no_state_ends_the_process() {
    let Some(seeds) = children::range() else {
        let describe = |seed| format!("{}, damaged", KINDS[(seed % 3) as usize]);
        let (name, seeds) = ("no_state_ends_the_process", children::seeds(MUTANTS));
        return children::run_all(name, seeds, 500, &EXPECTED, describe);
    };
    let (engine, folder) = (Engine::new(""), Folder::new());
    let models: Vec<(Model, Vec<u8>)> = KINDS
        .iter()
        .map(|name| {
            let path = folder.path(name);
            let model = engine.load(&model_path(&format!("tiny-random-gguf/{name}.gguf")), OPTIONS);
            save(&model, &request(0), &path).expect("it is saved");
            (model, std::fs::read(&path).expect("it is there"))
        })
        .collect();
    let path = folder.path("mutant");
    children::run_child(seeds, |seed| {
        let (model, file) = &models[(seed % 3) as usize];
        std::fs::write(&path, damage(file, seed)).map_err(|error| error.to_string())?;
        attempt(model, &path, seed)
    });
}

/// Restores the file and generates from it, as a host would.
fn attempt(model: &Model, path: &str, seed: u64) -> Result<String, String> {
    if let Err((status, message)) = restore(model, path) {
        return match status {
            "FLUID_ERROR_INVALID_STATE" if message.starts_with(path) => Ok(status.to_owned()),
            // Where the header asks for more than is kept.
            "FLUID_ERROR_OUT_OF_MEMORY" => Ok(status.to_owned()),
            _ => Err(format!("{status}: {message}")),
        };
    }
    let answer = model.generate(&request(seed));
    let cached = &answer.json["usage"]["prompt_tokens_details"]["cached_tokens"];
    match (status_name(answer.status), &*answer.error) {
        ("FLUID_OK", _) if cached == 0 => Ok("FLUID_OK, computed from the start".to_owned()),
        ("FLUID_OK", _) => Ok("FLUID_OK".to_owned()),
        // Finite numbers that are too large to compute with.
        ("FLUID_ERROR_BACKEND", error) if error.contains("no usable logits") => {
            Ok("FLUID_ERROR_BACKEND".to_owned())
        }
        (status, error) => Err(format!("{status}: {error}")),
    }
}
