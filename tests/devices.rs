//! `fluid_devices`, and loads for devices that are not there.
#![cfg(all(feature = "llama", feature = "openvino"))]

#[path = "support/openvino.rs"]
mod openvino;
mod support;

use std::env;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use fluid::ffi::*;
use openvino::library;
use serde_json::{json, Value};
use support::installation::{answer, devices, doctor, in_child, of, try_doctor};
use support::process::held;
use support::{alone, last_error, model_path, smollm2_path, status_name, Engine};

#[test]
fn a_child_says_what_it_is_asked() {
    answer(|asked| (asked == "often").then(ask_often));
}

// --- the list ---

#[test]
fn the_list_has_the_processor_of_both_backends() {
    let _turn = alone();
    let engine = Engine::new("");
    let list = devices(engine.raw());
    assert_eq!(list["notes"], json!([]));
    let cpu = &list["cpu"];
    assert_eq!(cpu["architecture"], env::consts::ARCH);
    assert_eq!(cpu["instructions_missing"], json!([]));
    let known = cpu["instructions"].as_array().expect("an array");
    let needed = cpu["instructions_needed"].as_array().expect("an array");
    assert!(needed.iter().all(|name| known.contains(name)), "{cpu}");
    assert!(cpu["usable_cores"].as_u64() >= Some(1), "{cpu}");
    let (total, free) = (cpu["memory_bytes"].as_u64(), cpu["memory_available_bytes"].as_u64());
    assert!(free > Some(1 << 20) && free <= total, "{cpu}");
    for (backend, runs) in [("llama.cpp", "gguf"), ("openvino", "whisper")] {
        let devices = of(&list, backend);
        let cpu = devices.iter().find(|device| device["id"] == "CPU").expect("a CPU");
        assert_eq!((&cpu["type"], &cpu["runs"]), (&json!("cpu"), &json!([runs])));
        assert!(cpu["name"].as_str().is_some_and(|name| name.len() > 3), "{cpu}");
        assert!(cpu["memory_bytes"].as_u64() > Some(1 << 20), "{cpu}");
    }
    assert_eq!(devices(null_mut())["cpu"]["name"], cpu["name"]);
}

/// Each id is one that a load takes, and none of the others is needed.
#[test]
fn a_model_can_be_loaded_on_each_device_that_runs_it() {
    let _turn = alone();
    let engine = Engine::new("");
    let list = devices(engine.raw());
    let whisper = model_path("tiny-random-whisper-128");
    let chat = smollm2_path();
    for (backend, path) in [("llama.cpp", &chat), ("openvino", &whisper)] {
        for device in of(&list, backend) {
            let options = json!({"device": device["id"], "device_fallback": false});
            let model = engine.load(path, &options.to_string());
            assert_eq!(model.info()["device"], device["id"]);
            assert_eq!(model.info()["device_name"], device["name"]);
            assert_eq!(model.info()["fallback"], Value::Null);
        }
    }
}

#[test]
fn wrong_calls_are_refused() {
    let _turn = alone();
    // SAFETY: a null that is refused.
    assert_eq!(unsafe { fluid_devices(null_mut(), null_mut()) }, FLUID_ERROR_INVALID_ARGUMENT);
    // SAFETY: as above.
    let status = unsafe { fluid_doctor(null_mut(), null(), null_mut()) };
    assert_eq!(status, FLUID_ERROR_INVALID_ARGUMENT);
    let freed = Engine::new("").into_raw();
    assert_eq!(fluid_engine_free(freed), FLUID_OK);
    let mut json = null_mut();
    // SAFETY: a place for a string.
    assert_eq!(unsafe { fluid_devices(freed, &mut json) }, FLUID_ERROR_INVALID_HANDLE);
    assert_eq!(try_doctor(freed, ""), Err(FLUID_ERROR_INVALID_HANDLE));
    for (options, status, words) in [
        ("{", FLUID_ERROR_INVALID_JSON, "doctor options"),
        ("[]", FLUID_ERROR_INVALID_REQUEST, "an array"),
        (r#"{"folder": "a"}"#, FLUID_ERROR_INVALID_REQUEST, "folder"),
        (r#"{"model_dir": ""}"#, FLUID_ERROR_INVALID_REQUEST, "model_dir: "),
        (r#"{"timeout_ms": 1}"#, FLUID_ERROR_INVALID_REQUEST, "timeout_ms: "),
        (r#"{"openvino": 1}"#, FLUID_ERROR_INVALID_REQUEST, "openvino: "),
    ] {
        assert_eq!(try_doctor(null_mut(), options), Err(status), "{options}");
        assert!(last_error().contains(words), "{options}: {}", last_error());
    }
    assert!(json.is_null());
}

/// A log callback runs on any thread of the library, also on one that these calls wait for.
#[test]
fn the_log_callback_cannot_wait_for_devices() {
    unsafe extern "C" fn on_line(_: i32, _: *const c_char, said: *mut c_void) {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        let status = unsafe { fluid_devices(null_mut(), &mut json) };
        // SAFETY: the test passes a vector, and the log calls one at a time.
        unsafe { &mut *said.cast::<Vec<fluid_status>>() }.push(status);
    }
    let _turn = alone();
    let mut said: Vec<fluid_status> = Vec::new();
    // SAFETY: the vector lives until the log is silent again.
    unsafe { fluid_log_set(Some(on_line), (&raw mut said).cast(), FLUID_LOG_WARN) };
    let engine = Engine::new("");
    let (refused, _) = engine.try_load("/no/such/model.gguf", "");
    assert!(refused.is_err());
    // SAFETY: as above.
    unsafe { fluid_log_set(None, null_mut(), FLUID_LOG_ERROR) };
    assert!(!said.is_empty() && said.iter().all(|it| *it == FLUID_ERROR_BUSY), "{said:?}");
}

/// In a child, where no other test's threads are: what it held before and after many calls.
fn ask_often() -> Value {
    let engine = Engine::new("");
    let ask = || (devices(engine.raw()), doctor(engine.raw(), ""));
    let (list, report) = ask();
    assert!(report["ok"] == true, "{}", report["text"]);
    let before = held();
    for _ in 0..10 {
        ask();
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (again, _) = ask();
                assert_eq!(again["devices"][0]["id"], list["devices"][0]["id"]);
                assert_eq!(again["notes"], json!([]));
            });
        }
    });
    // A thread that has ended is listed for a moment more.
    let begin = Instant::now();
    while held().0 > before.0 && begin.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    json!([before, held()])
}

#[test]
fn asking_often_and_from_many_threads_leaves_nothing_behind() {
    let _turn = alone();
    let library = library();
    let said = in_child(&[("FLUID_OPENVINO_LIB", &library)], &["often"]).remove(0);
    let (before, after) = (&said[0], &said[1]);
    assert_eq!((&before[0], &before[1]), (&after[0], &after[1]), "threads and files");
    let memory = |held: &Value| held[2].as_u64().expect("KiB");
    assert!(memory(after) < memory(before) + 16_384, "{said}");
}

// --- devices that are not there ---

#[test]
fn a_gguf_model_falls_back_to_the_processor_and_says_so() {
    let _turn = alone();
    let engine = Engine::new("");
    let request = json!({"prompt": "The sea is", "max_tokens": 8, "temperature": 0});
    let said = |options: &Value| {
        let mut options = options.clone();
        options["n_ctx"] = json!(64);
        let (loaded, events) = engine.try_load(&smollm2_path(), &options.to_string());
        let model = loaded.unwrap_or_else(|(_, error)| panic!("{options}: {error}"));
        let notices = events.into_iter().filter(|event| event.kind == FLUID_EVENT_NOTICE);
        (
            model.info(),
            notices.map(|event| event.text).collect::<Vec<_>>(),
            model.generate(&request).text(),
        )
    };
    let (info, notices, expected) = said(&json!({}));
    assert_eq!((&info["device_asked"], &info["fallback"]), (&json!("AUTO"), &Value::Null));
    assert_eq!(notices.len(), 0, "{notices:?}");
    let gpus = of(&devices(engine.raw()), "llama.cpp").len() > 1;
    for asked in ["GPU", "GPU.3", "NPU"].into_iter().filter(|asked| *asked != "GPU" || !gpus) {
        let (info, notices, text) = said(&json!({"device": asked, "n_gpu_layers": 4}));
        assert_eq!((&info["device"], &info["device_asked"]), (&json!("CPU"), &json!(asked)));
        let why = info["fallback"].as_str().expect("a reason");
        assert!(why.starts_with(&format!("there is no {asked}: llama.cpp sees CPU")), "{why}");
        assert_eq!(notices, [format!("asked for {asked}, using CPU: {why}")]);
        assert_eq!((text.as_str(), &info["gpu_layers"]), (expected.as_str(), &json!(0)));

        let strict = json!({"device": asked, "device_fallback": false}).to_string();
        let (refused, events) = engine.try_load(&smollm2_path(), &strict);
        let (status, error) = refused.err().expect("it is not there");
        assert_eq!(status_name(status), "FLUID_ERROR_UNSUPPORTED");
        assert!(error.starts_with(&format!("device: there is no {asked}")), "{error}");
        assert!(events.iter().all(|event| event.kind != FLUID_EVENT_NOTICE));
    }
    let embedding = json!({"device": "NPU", "embedding": true, "n_ctx": 64}).to_string();
    assert_eq!(engine.load(&smollm2_path(), &embedding).info()["device_asked"], "NPU");
}

#[test]
fn whisper_without_fallback_is_refused() {
    let _turn = alone();
    let engine = Engine::new("");
    if of(&devices(engine.raw()), "openvino").iter().any(|device| device["type"] == "npu") {
        return;
    }
    let options = json!({"device": "NPU", "device_fallback": false}).to_string();
    let (refused, _) = engine.try_load(&model_path("tiny-random-whisper-128"), &options);
    let (status, error) = refused.err().expect("it is not there");
    assert_eq!(status_name(status), "FLUID_ERROR_UNSUPPORTED");
    assert!(error.starts_with("device: there is no NPU: OpenVINO sees CPU"), "{error}");
}
