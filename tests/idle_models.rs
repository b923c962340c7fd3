//! Real models that give their memory back and are used again: what they say is the same.
#![cfg(all(feature = "llama", feature = "openvino"))]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

mod support;

use std::time::{Duration, Instant};

use fluid::ffi::*;
use serde_json::{json, Value};
use support::speech::{jfk, silence, words, Sound, ENGLISH, EXACT, JFK, STATEFUL};
use support::state::{restore, save};
use support::usual::{hear, say};
use support::{alone, model_path, smollm2_path, Engine, Model, PATIENCE};

const MEBIBYTE: u64 = 1 << 20;

fn wait_for_state(model: &Model, state: &str) {
    let until = Instant::now() + PATIENCE;
    while model.state() != state {
        assert!(Instant::now() < until, "it stays {}", model.state());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_model_says_is_the_same_after_it_was_unloaded() {
    let _turn = alone();
    let engine = Engine::new(r#"{"idle_timeout": 0.2, "idle_check_interval": 0.05}"#);
    let draft = json!({"n_ctx": 512, "draft_model": smollm2_path()});
    let text = engine.load(&smollm2_path(), &draft.to_string());
    let speech = engine.load(&model_path(STATEFUL), EXACT);
    let vectors = engine.load(&model_path("minilm-gguf/f16.gguf"), "");
    let embed = json!({"input": ["a small boat", "the sea"]});
    let (said, heard, made) = (say(&text), hear(&speech), vectors.embed(&embed));
    assert_eq!(heard, JFK);
    for model in [&text, &speech, &vectors] {
        wait_for_state(model, "unloaded");
    }
    assert_eq!(engine.info()["memory_bytes"], 0);
    assert_eq!((say(&text), hear(&speech), vectors.embed(&embed)), (said, heard, made));
}

#[test]
fn adapters_and_saved_states_outlast_an_unload() {
    let _turn = alone();
    let engine = Engine::new("");
    let adapter = model_path("tiny-random-lora/llama-a.gguf");
    let options = json!({"n_ctx": 256, "lora": [{"path": adapter, "name": "a"}]});
    let model = engine.load(&model_path("tiny-random-gguf/llama.gguf"), &options.to_string());
    let request =
        |lora: Value| json!({"prompt": "abc", "max_tokens": 12, "temperature": 0, "lora": lora});
    let with = request(json!([{"id": "a", "scale": 1.0}]));
    let without = request(json!([]));
    let said = [&with, &without].map(|request| model.generate(request).tokens());
    assert_ne!(said[0], said[1], "the adapter changes nothing");
    let path = std::env::temp_dir().join(format!("fluid-idle-{}.state", std::process::id()));
    let path = path.to_str().expect("UTF-8");
    save(&model, &without, path).expect("saved");
    for _ in 0..2 {
        engine.trim();
        assert_eq!(model.state(), "unloaded");
        // It comes back for a state as for a request.
        restore(&model, path).expect("restored");
        assert_eq!(model.state(), "loaded");
        let again = [&with, &without].map(|request| model.generate(request).tokens());
        assert_eq!(again, said);
    }
    std::fs::remove_file(path).expect("the file goes");
}

/// Three models of three kinds, of which two fit, used by eight threads at once.
#[test]
fn kinds_that_do_not_fit_together_take_turns() {
    let _turn = alone();
    let probe = Engine::new("");
    let paths = [smollm2_path(), model_path(STATEFUL), model_path("minilm-gguf/f16.gguf")];
    let options = [r#"{"n_ctx": 512, "cache_ram_mb": 0}"#, EXACT, ""];
    // OpenVINO's library counts for the first model only.
    drop(probe.load(&paths[1], options[1]));
    let bytes: Vec<u64> = paths
        .iter()
        .zip(options)
        .map(|(path, options)| {
            let _model = probe.load(path, options);
            probe.info()["memory_bytes"].as_u64().expect("bytes")
        })
        .collect();
    drop(probe);
    let all: u64 = bytes.iter().sum();
    let [smallest, largest] =
        [bytes.iter().min(), bytes.iter().max()].map(|it| *it.expect("three"));
    let limit = (all - smallest / 2).max(largest) as f64 / (1u64 << 30) as f64;
    let engine = Engine::new(&json!({"max_memory": limit}).to_string());
    let events = engine.events();
    let models: Vec<Model> =
        paths.iter().zip(options).map(|(path, options)| engine.load(path, options)).collect();
    let (text, speech, vectors) = (&models[0], &models[1], &models[2]);
    let embed = json!({"input": "the sea"});
    let (said, made) = (say(text), vectors.embed(&embed));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (said, made, embed) = (&said, &made, &embed);
            scope.spawn(move || {
                for round in 0..3 {
                    match (thread + round) % 3 {
                        0 => assert_eq!(&say(text), said),
                        1 => assert_eq!(hear(speech), JFK),
                        _ => assert_eq!(&vectors.embed(embed), made),
                    }
                }
            });
        }
    });
    let info = engine.info();
    assert!(info["memory_bytes"].as_u64() <= info["max_memory_bytes"].as_u64(), "{info}");
    let mut unloads = 0;
    while let Ok(event) = events.poll(Duration::ZERO) {
        let json: Value = serde_json::from_str(&event.json).expect("JSON");
        assert_eq!(event.kind, FLUID_EVENT_MODEL);
        unloads += usize::from(json["event"] == "unloaded");
    }
    eprintln!("{unloads} unloads, {} MiB of {} MiB", all / MEBIBYTE, limit * 1024.0);
    assert!(unloads >= 2, "they fitted together");
}

/// Without a reader it would wait for ever, and the other model with it.
#[test]
fn a_transcription_that_nobody_reads_gives_way_for_memory() {
    let _turn = alone();
    let probe = Engine::new("");
    // Its one thread is the one that waits for the reader.
    let one = r#"{"n_parallel": 1}"#;
    let both = [probe.load(&model_path(ENGLISH), one), probe.load(&model_path(STATEFUL), "")];
    let bytes = probe.info()["memory_bytes"].as_u64().expect("bytes");
    drop((both, probe));
    let limit = (bytes - MEBIBYTE) as f64 / (1u64 << 30) as f64;
    let engine = Engine::new(&json!({"max_memory": limit, "event_queue": 1}).to_string());
    let other = engine.load(&model_path(STATEFUL), "");
    let model = engine.load(&model_path(ENGLISH), one);
    let sound = [jfk(), &silence(19.0)].concat().repeat(3);
    let job = model.start_transcription(Sound::Samples(&sound), &json!({"temperature": 0}));
    wait_for_state(&other, "unloaded");
    let limited = json!({"language": "en", "temperature": 0, "deadline_ms": 60_000});
    assert_eq!(other.hear(Sound::Samples(jfk()), &limited).words(), JFK);
    assert_eq!(model.state(), "unloaded");
    let end = job.read().pop().expect("an end");
    let result: Value = serde_json::from_str(&end.json).expect("JSON");
    let text = words(result["text"].as_str().expect("a text"));
    assert_eq!((end.status, text), (FLUID_OK, [JFK; 3].join(" ")));
}

/// A warm-up of each kind, in the background.
#[test]
fn each_kind_warms_up() {
    let _turn = alone();
    let engine = Engine::new("");
    for path in [smollm2_path(), model_path(STATEFUL), model_path("minilm-gguf/f16.gguf")] {
        let options = json!({"warm_up": true});
        let model = engine.load(&path, &options.to_string());
        let until = Instant::now() + PATIENCE;
        while model.info()["warm_up"]["status"] != "done" {
            assert!(Instant::now() < until, "{}", model.info()["warm_up"]);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
