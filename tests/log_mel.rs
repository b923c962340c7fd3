//! The log-mel spectrogram against transformers' (`tests/data/log_mel.json`, made by
//! `tools/expected_log_mel.py`).

#[path = "support/sound.rs"]
mod sound;

use std::path::{Path, PathBuf};

use fluid::audio::{read, Input, LogMel};
use serde_json::Value;

const FRAMES: usize = 3000;
const CLOSE: f64 = 1e-4;

fn expected(sound: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/log_mel.json");
    let text = std::fs::read_to_string(path).expect("a committed file");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    all[sound].as_array().expect("cases").clone()
}

fn jfk() -> Vec<f32> {
    let given = std::env::var_os("FLUID_MODELS").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"));
    let path = folder.join("jfk.wav");
    assert!(path.is_file(), "{} is not there: run `make models`", path.display());
    let path = path.to_str().expect("a path in UTF-8").to_owned();
    read(Input::Path(path), &mut |_| true).expect("audio").expect("nobody stops it")
}

fn log_mel(samples: &[f32], bands: usize) -> Vec<f32> {
    // What another window left behind must not show.
    let mut mel = LogMel::new(bands);
    let mut out = vec![f32::NAN; bands * FRAMES];
    mel.window(&sound::sine(440.0, 16_000, 30.0), &mut out);
    mel.window(samples, &mut out);
    out
}

fn assert_as_expected(name: &str, samples: &[f32]) {
    for case in expected(name) {
        let number = |key: &str| case[key].as_f64().expect("a number");
        let bands = case["bands"].as_u64().expect("a count") as usize;
        let mel = log_mel(samples, bands);
        let close = |what: &str, got: f64, wanted: f64| {
            assert!((got - wanted).abs() < CLOSE, "{name}, {bands}: {what} is {got}, not {wanted}");
        };
        let mean = |value: fn(f32) -> f32| {
            mel.iter().map(|&v| f64::from(value(v))).sum::<f64>() / mel.len() as f64
        };
        close("the mean", mean(|v| v), number("mean"));
        close("the mean of magnitudes", mean(f32::abs), number("mean_of_magnitudes"));
        close("the highest", mel.iter().copied().fold(f32::MIN, f32::max).into(), number("max"));
        close("the lowest", mel.iter().copied().fold(f32::MAX, f32::min).into(), number("min"));
        let spots = case["spots"].as_array().expect("values");
        assert!(spots.len() > 300);
        for spot in spots {
            let at = |n: usize| spot[n].as_u64().expect("an index") as usize;
            let got = mel[at(0) * FRAMES + at(1)];
            close(&spot.to_string(), got.into(), spot[2].as_f64().expect("a value"));
        }
    }
}

#[test]
fn chirps_are_as_transformers_has_them() {
    assert_as_expected("chirp_5", &sound::chirp(5));
    assert_as_expected("chirp_30", &sound::chirp(30));
}

#[test]
fn speech_is_as_transformers_has_it() {
    assert_as_expected("jfk", &jfk());
}

#[test]
fn windows_are_cut_and_filled() {
    let (long, whole) = (sound::chirp(31), sound::chirp(30));
    assert_eq!(log_mel(&long, 80), log_mel(&whole, 80), "what is over 30 s counts");
    let padded = [sound::chirp(2), vec![0.0; 28 * 16_000]].concat();
    assert_eq!(log_mel(&padded, 80), log_mel(&sound::chirp(2), 80), "silence differs from none");
    // log10 of the floor, brought to range.
    assert!(log_mel(&[], 80).iter().all(|&value| value == -1.5));
    assert!(log_mel(&[1.0], 1).iter().all(|value| value.is_finite()));
    assert_eq!(log_mel(&[0.5; 200], 256).len(), 256 * FRAMES);
    assert!(log_mel(&[1e6; 480_000], 80).iter().all(|value| value.is_finite()));
}

/// Against every value that `tools/expected_log_mel.py --all FILE` wrote; prints the largest
/// difference and the time. `FLUID_ALL_MEL=FILE cargo test --release --test log_mel -- --ignored --nocapture`
#[test]
#[ignore = "needs a file that is not committed"]
#[allow(clippy::print_stdout, reason = "the figures are the output")]
fn every_value_of_speech() {
    let path = std::env::var_os("FLUID_ALL_MEL").expect("FLUID_ALL_MEL names the file");
    let bytes = std::fs::read(path).expect("the file");
    let all: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|value| f32::from_le_bytes(value.try_into().expect("four bytes")))
        .collect();
    let wanted = [&all[..80 * FRAMES], &all[80 * FRAMES..]];
    let (speech, full) = (jfk(), sound::chirp(30));
    for (bands, wanted) in [80, 128].into_iter().zip(wanted) {
        let got = log_mel(&speech, bands);
        let apart = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let mut mel = LogMel::new(bands);
        let mut out = vec![0.0; bands * FRAMES];
        let mut time = |samples: &[f32]| {
            let start = std::time::Instant::now();
            (0..10).for_each(|_| mel.window(samples, &mut out));
            start.elapsed() / 10
        };
        println!(
            "{bands} bands: {} values, largest difference {apart:e}; {:?} for speech, {:?} for a full window",
            wanted.len(), time(&speech), time(&full)
        );
        assert_eq!(got.len(), wanted.len());
        assert!(f64::from(apart) < CLOSE);
    }
}
