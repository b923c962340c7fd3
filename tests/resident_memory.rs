//! What real models take of this process's memory returns when they are unloaded.
#![cfg(all(feature = "llama", feature = "openvino", target_os = "linux"))]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

mod support;

use support::process::{held, settled, use_one_arena};
use support::speech::{jfk, EXACT, STATEFUL};
use support::usual::{hear, say};
use support::{model_path, smollm2_path, Engine, Model};

/// A model that is used and unloaded over and over leaves no more than this behind each time, in KiB.
const DRIFT: u64 = 4 * 1024;
/// What an unloaded model may keep of what it took, in KiB: vocabulary and templates; and OpenVINO's
/// library, which a process has once and for all.
const KEPT_LLAMA: u64 = 24 * 1024;
const KEPT_OPENVINO: u64 = 112 * 1024;

/// Has `model` used, unloaded and used again; its memory returns each time, all but `kept` KiB.
fn memory_returns(what: &str, engine: &Engine, model: &Model, kept: u64, used: impl Fn(&Model)) {
    used(model);
    engine.trim();
    let (threads, files, base) = held();
    let mut after = 0;
    for _ in 0..4 {
        used(model);
        let (_, _, full) = held();
        engine.trim();
        assert_eq!(model.state(), "unloaded");
        let (threads_now, files_now, now) = settled(threads);
        assert_eq!((threads_now, files_now), (threads, files), "threads and open files pile up");
        after = now;
        eprintln!("{what}: {} MiB loaded, {} MiB unloaded", full >> 10, now >> 10);
        assert!(full > now + kept, "{what} took no memory that could return");
    }
    assert!(after <= base + DRIFT, "{what}: {base} KiB became {after} KiB");
}

/// Models of each kind, one after the other: the test is alone in its process.
#[test]
fn resident_memory_returns() {
    use_one_arena();
    jfk();
    let engine = Engine::new("");
    let (_, _, empty) = held();
    let text = engine.load(&smollm2_path(), r#"{"n_ctx": 2048}"#);
    memory_returns("SmolLM2", &engine, &text, 60 * 1024, |model| drop(say(model)));
    let (_, _, now) = held();
    assert!(now <= empty + KEPT_LLAMA, "SmolLM2 keeps {} KiB", now - empty);
    drop(text);
    let speech = engine.load(&model_path(STATEFUL), EXACT);
    memory_returns("Whisper base", &engine, &speech, 60 * 1024, |model| drop(hear(model)));
    let (_, _, now) = held();
    assert!(now <= empty + KEPT_LLAMA + KEPT_OPENVINO, "Whisper keeps {} KiB", now - empty);
}
