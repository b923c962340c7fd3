//! No damaged audio may panic, hang or take the memory: mutants of every format, read in process.
//!
//! `FLUID_MUTATIONS_FIRST` and `FLUID_MUTATIONS` choose the seeds.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

#[path = "support/dice.rs"]
mod dice;
#[path = "support/sound.rs"]
mod sound;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use dice::Dice;
use fluid::audio::{read, Input};
use fluid::error::ErrorKind;
use sound::{tones, wav, Coding};

const MUTANTS: u64 = 3_000;
/// What a mutant may take; a whole file takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the process may take in all, in KiB.
const MEMORY: u64 = 500 << 10;

/// A tenth of a second of WAV, and the committed files: small ones, so that damage hits headers.
fn originals() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let names = [
        "tones.flac",
        "tones.mp3",
        "tones.ogg",
        "tones.m4a",
        "fragments.m4a",
        "tones.aac",
        "opus.ogg",
    ];
    let file = |name| std::fs::read(folder.join(name)).expect("a committed file");
    let mut all: Vec<_> = names.iter().map(|&name| (name, file(name))).collect();
    let short: Vec<f32> = tones(44_100)[8_000..12_000].to_vec();
    all.push(("16-bit WAV", wav(&short, 44_100, 2, Coding { tag: 1, bits: 16 })));
    all.push(("float WAV", wav(&short, 44_100, 1, Coding { tag: 3, bits: 32 })));
    all
}

fn mutant(originals: &[(&'static str, Vec<u8>)], seed: u64) -> (String, Vec<u8>) {
    let mut dice = Dice::new(seed);
    let (name, original) = &originals[dice.below(originals.len())];
    let mut bytes = original.clone();
    let mut done = (*name).to_owned();
    for _ in 0..1 + dice.below(3) {
        // Half of the damage goes to the headers.
        let reach = if dice.below(2) == 0 { bytes.len().min(700) } else { bytes.len() };
        let at = dice.below(reach);
        done += &damage(&mut bytes, at, &mut dice);
    }
    (done, bytes)
}

fn damage(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) -> String {
    const STRANGE: [u32; 8] = [0, 1, 7, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, u32::MAX];
    let end = |bytes: &Vec<u8>, length: usize| (at + length).min(bytes.len());
    match dice.below(8) {
        0 => {
            bytes.truncate(at);
            format!("; cut at {at}")
        }
        1 => {
            let strange = dice.pick(&STRANGE);
            let number =
                if dice.below(2) == 0 { strange.to_le_bytes() } else { strange.to_be_bytes() };
            let end = end(bytes, 4);
            bytes[at..end].copy_from_slice(&number[..end - at]);
            format!("; {strange:#x} at {at}")
        }
        2 => {
            let length = 1 + dice.below(64);
            let end = end(bytes, length);
            bytes.drain(at..end);
            format!("; {length} bytes fewer at {at}")
        }
        3 => {
            let (from, length) = (dice.below(bytes.len()), 1 + dice.below(600));
            let part = bytes[from..(from + length).min(bytes.len())].to_vec();
            bytes.splice(at..at, part);
            format!("; {length} bytes of {from} put at {at}")
        }
        4 => {
            let (length, value) = (1 + dice.below(200), dice.next() as u8);
            let end = end(bytes, length);
            bytes[at..end].fill(value);
            format!("; {length} times {value} at {at}")
        }
        _ => {
            let flip = 1 << dice.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= flip;
            }
            format!("; {flip:#04x} flipped at {at}")
        }
    }
}

/// The most memory that the process has had, in KiB; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn no_audio_ends_the_process() {
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let first: u64 = number("FLUID_MUTATIONS_FIRST", 0);
    let originals = originals();
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut slowest = (Duration::ZERO, String::new());
    for seed in first..first + number("FLUID_MUTATIONS", MUTANTS) {
        let (what, bytes) = mutant(&originals, seed);
        let start = Instant::now();
        let outcome = match read(Input::Encoded(bytes), &mut |_| true) {
            Ok(Some(samples)) => {
                assert!(samples.iter().all(|sample| sample.is_finite()), "seed {seed}: {what}");
                "samples"
            }
            Err(error) if error.kind() == ErrorKind::InvalidAudio => "InvalidAudio",
            other => panic!("seed {seed}: {what}: {other:?}"),
        };
        let took = start.elapsed();
        assert!(took < PATIENCE, "seed {seed}: {what}: {took:?}");
        let memory = peak_memory();
        assert!(memory < MEMORY, "seed {seed}: {what}: {memory} KiB");
        slowest = slowest.max((took, format!("seed {seed}: {what}")));
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}; {} KiB; slowest {slowest:?}", peak_memory());
    assert!(outcomes.len() == 2, "all came to the same: {outcomes:?}");
}
