//! Whisper models that are used and unloaded over and over leave neither threads nor memory behind:
//! one test, so that the process is its own.
#![cfg(all(feature = "openvino", target_os = "linux"))]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

mod support;

use serde_json::json;
use support::process::{held, settled, use_one_arena};
use support::speech::{jfk, Sound, EXACT, STATEFUL};
use support::{model_path, Engine, Model};

/// What memory may differ by after any cycle of a model, in KiB: the heap does not always shrink alike.
/// OpenVINO's stateful decoders, left to themselves, keep 10 MB of each one that was used, and a model
/// has two, one of them to align words.
const DRIFT: u64 = 8 << 10;

/// Has both decoders used.
fn hear(model: &Model) {
    let request = json!({"language": "en", "temperature": [0], "stream": false,
        "response_format": "verbose_json", "timestamp_granularities": ["word"]});
    let heard = model.hear(Sound::Samples(jfk()), &request);
    assert!(heard.json()["words"].is_array(), "{}", heard.body);
}

/// Uses and unloads the model `name` twice and then `cycles` times more, which must not show.
fn nothing_stays(name: &str, cycles: usize) {
    let engine = Engine::new("");
    let model = engine.load(&model_path(name), EXACT);
    let cycle = || {
        hear(&model);
        let (_, _, full) = held();
        engine.trim();
        assert_eq!(model.state(), "unloaded");
        (full, held())
    };
    // What the libraries keep for good comes with the first uses.
    cycle();
    let (_, (threads, files, before)) = cycle();
    for _ in 0..cycles {
        let (full, _) = cycle();
        let after = settled(threads);
        let (threads_now, files_now, now) = after;
        eprintln!("{name}: {} MiB, unloaded {} MiB, {threads_now} threads", full >> 10, now >> 10);
        assert_eq!(files_now, files, "{name}: open files");
        // The pool that all models share may grow by one late.
        assert!(threads_now <= threads + 1, "{name}: {threads} threads became {threads_now}");
        assert!(now <= before + DRIFT, "{name}: {before} KiB became {now} KiB");
    }
}

#[test]
fn an_unloaded_model_leaves_nothing_behind() {
    use_one_arena();
    jfk();
    nothing_stays("tiny-random-whisper-128", 8);
    nothing_stays("tiny-random-whisper-128-stateless", 3);
    nothing_stays(STATEFUL, 3);
}
