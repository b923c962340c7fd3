//! Model folders that are wrong or incomplete, and options of a load: every error names its cause.
#![cfg(feature = "openvino")]

#[path = "support/openvino.rs"]
mod openvino;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use fluid::ffi::*;
use openvino::Folder;
use serde_json::{json, Value};
use support::speech::{jfk, Sound, ENGLISH, JFK};
use support::{alone, model_path, smollm2_path, status_name, Engine, Event};

const TINY: &str = "tiny-random-whisper-128";
const TINY_STATELESS: &str = "tiny-random-whisper-128-stateless";

/// A copy of a model's folder, to break.
fn copy_of(name: &str) -> Folder {
    let folder = Folder::new(name);
    for file in fs::read_dir(model_path(name)).expect("a model's folder") {
        let path = file.expect("a file").path();
        let to = folder.path().join(path.file_name().expect("a name"));
        fs::copy(&path, &to).expect("a copy");
    }
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The status's name and the message of a load that must fail.
fn refused(engine: &Engine, path: &str, options: &str) -> (&'static str, String) {
    let (loaded, events) = engine.try_load(path, options);
    let (status, error) = loaded.err().unwrap_or_else(|| panic!("{path} {options} was loaded"));
    assert!(!error.is_empty() && !error.contains('\n'), "no line of text: {error:?}");
    // A path without a model may be refused before a job is made.
    if let Some(end) = events.last() {
        assert_eq!((end.status, &end.text), (status, &error));
    }
    (status_name(status), error)
}

#[test]
fn each_missing_file_is_named() {
    let _turn = alone();
    let engine = Engine::new("");
    for (name, files) in [
        (TINY, &["config.json", "generation_config.json", "tokenizer.json"][..]),
        (TINY, &["openvino_encoder_model.xml", "openvino_encoder_model.bin"][..]),
        (TINY, &["openvino_decoder_model.xml", "openvino_decoder_model.bin"][..]),
        (TINY_STATELESS, &["openvino_decoder_with_past_model.xml"][..]),
        (TINY_STATELESS, &["openvino_decoder_with_past_model.bin"][..]),
    ] {
        for file in files {
            let folder = copy_of(name);
            fs::remove_file(folder.path().join(file)).expect("it was there");
            let (loaded, _) = engine.try_load(text(folder.path()), "");
            match loaded {
                // Whisper's own defaults stand in for it.
                Ok(_) => assert_eq!(*file, "generation_config.json"),
                Err((status, error)) => {
                    assert_eq!(status_name(status), "FLUID_ERROR_NOT_FOUND", "{file}: {error}");
                    assert!(error.contains(file), "{file}: {error}");
                }
            }
        }
    }
}

#[test]
fn cut_and_wrong_files_are_named() {
    let _turn = alone();
    let engine = Engine::new("");
    let cut = |bytes: &[u8]| bytes[..bytes.len() * 2 / 3].to_vec();
    let garbage = |_: &[u8]| b"this is no model \xff\x00\x01".to_vec();
    let empty = |_: &[u8]| Vec::new();
    let array = |_: &[u8]| b"[1, 2, 3]".to_vec();
    type Damage<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let damages: [Damage<'_>; 14] = [
        ("openvino_encoder_model.bin", &cut),
        ("openvino_decoder_model.bin", &cut),
        ("openvino_encoder_model.bin", &empty),
        ("openvino_encoder_model.xml", &cut),
        ("openvino_encoder_model.xml", &garbage),
        ("openvino_decoder_model.xml", &garbage),
        ("openvino_decoder_model.xml", &empty),
        ("openvino_decoder_model.xml", &array),
        ("config.json", &cut),
        ("config.json", &array),
        ("tokenizer.json", &cut),
        ("tokenizer.json", &garbage),
        ("tokenizer.json", &array),
        ("generation_config.json", &cut),
    ];
    for (file, damage) in damages {
        let folder = copy_of(TINY);
        let path = folder.path().join(file);
        let bytes = fs::read(&path).expect("a file");
        fs::write(&path, damage(&bytes)).expect("a damaged file");
        let (status, error) = refused(&engine, text(folder.path()), "");
        assert_eq!(status, "FLUID_ERROR_INVALID_MODEL", "{file}: {error}");
        assert!(error.contains(file), "{file}: {error}");
    }
}

#[test]
fn what_is_no_whisper_folder_is_refused() {
    let _turn = alone();
    let engine = Engine::new("");
    let empty = Folder::new("empty");
    let (status, error) = refused(&engine, text(empty.path()), "");
    assert!(status == "FLUID_ERROR_NOT_FOUND" || status == "FLUID_ERROR_INVALID_MODEL", "{status}");
    assert!(error.contains(text(empty.path())), "{error}");

    let chat = copy_of(TINY);
    let llm = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": 576, "num_hidden_layers": 30, "vocab_size": 49152});
    fs::write(chat.path().join("config.json"), llm.to_string()).expect("a file");
    let (status, error) = refused(&engine, text(chat.path()), "");
    assert!(status.starts_with("FLUID_ERROR_") && status.ends_with("MODEL"), "{status}: {error}");
    assert!(error.contains("config.json"), "{error}");

    let (status, error) = refused(&engine, "/no/such/folder", "");
    assert_eq!(status, "FLUID_ERROR_NOT_FOUND", "{error}");
    assert!(error.contains("/no/such/folder"), "{error}");
    // A model's own file instead of its folder.
    let (status, error) = refused(&engine, &model_path(TINY), r#"{"vad_model": "/no/vad.onnx"}"#);
    assert_eq!(status, "FLUID_ERROR_NOT_FOUND", "{error}");
    assert!(error.contains("/no/vad.onnx"), "{error}");
    let file = format!("{}/config.json", model_path(TINY));
    let (status, error) = refused(&engine, &file, "");
    assert!(error.contains("config.json"), "{status}: {error}");
}

#[test]
fn each_kind_of_model_refuses_the_others_work() {
    let _turn = alone();
    let engine = Engine::new("");
    let whisper = engine.load(&model_path(TINY), "");
    let answer = whisper.generate(&json!({"prompt": "Hello"}));
    assert_eq!(status_name(answer.status), "FLUID_ERROR_UNSUPPORTED");
    assert!(answer.error.contains("fluid_transcribe"), "{}", answer.error);
    if cfg!(feature = "llama") {
        let chat = engine.load(&smollm2_path(), r#"{"n_ctx": 64, "n_parallel": 1}"#);
        let refused = chat.transcribe(Sound::Samples(jfk()), &json!({}));
        assert_eq!(status_name(refused.status), "FLUID_ERROR_UNSUPPORTED", "{}", refused.error);
    }
}

// --- options ---

#[test]
fn a_device_that_is_not_there_is_replaced_and_told() {
    let _turn = alone();
    let engine = Engine::new("");
    for asked in ["GPU", "NPU", "CPU", "AUTO"] {
        let options = json!({"device": asked}).to_string();
        let (loaded, events) = engine.try_load(&model_path(TINY), &options);
        let model = loaded.unwrap_or_else(|(_, error)| panic!("{asked}: {error}"));
        let info = model.info();
        assert_eq!(info["device_asked"], asked);
        let used = info["device"].as_str().expect("a device");
        let name = info["device_name"].as_str().expect("a name");
        assert!(!name.is_empty() && name != used, "{used} is called {name}");
        let notices: Vec<&Event> =
            events.iter().filter(|event| event.kind == FLUID_EVENT_NOTICE).collect();
        if asked == "AUTO" || used.starts_with(asked) {
            assert_eq!(notices.len(), 0, "{asked}: {notices:?}");
            continue;
        }
        // As on this project's machines, which have neither.
        let why = info["fallback"].as_str().expect("a reason");
        assert!(why.contains(asked) && used == "CPU", "{asked}: {used}, for {why}");
        assert_eq!(notices.len(), 1, "{asked}");
        let told = &notices[0].text;
        assert!([asked, used, why].iter().all(|it| told.contains(it)), "{told}");
        let heard = model.hear(Sound::Samples(jfk()), &json!({"temperature": [0]}));
        assert!(heard.json()["text"].is_string());
    }
    for (options, path) in [
        (r#"{"device": "TPU"}"#, "device: "),
        (r#"{"inference_precision": "f8"}"#, "inference_precision: "),
        (r#"{"n_threads": 0}"#, "n_threads: "),
        (r#"{"beam_size": 5}"#, "beam_size: "),
    ] {
        let (status, error) = refused(&engine, &model_path(TINY), options);
        assert_eq!(status, "FLUID_ERROR_INVALID_REQUEST", "{options}");
        assert!(error.starts_with(path), "{options}: {error}");
    }
}

/// The files of a folder, and when they were written.
fn files(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let found = fs::read_dir(folder).expect("a folder").map(|file| {
        let file = file.expect("a file");
        let about = file.metadata().expect("a file");
        (file.path(), about.modified().expect("a time"))
    });
    found.collect()
}

#[test]
fn a_cache_folder_keeps_what_was_compiled() {
    let _turn = alone();
    let engine = Engine::new("");
    let folder = Folder::new("cache");
    let cache = folder.path().join("made/on/the/way");
    let options = json!({"cache_dir": text(&cache)}).to_string();
    let hear = || {
        let model = engine.load(&model_path(ENGLISH), &options);
        assert_eq!(model.hear(Sound::Samples(jfk()), &json!({"temperature": [0]})).words(), JFK);
    };
    hear();
    let kept = files(&cache);
    assert!(kept.len() >= 2, "{kept:?}");
    hear();
    // Decoders with their KV cache inside are written again: OpenVINO 2026.4.1 compiles them anew.
    assert!(files(&cache).iter().any(|file| kept.contains(file)), "all compiled again");

    let file = folder.path().join("a-file");
    fs::write(&file, "").expect("a file");
    let options = json!({"cache_dir": text(&file)}).to_string();
    let (status, error) = refused(&engine, &model_path(TINY), &options);
    assert_eq!(status, "FLUID_ERROR_IO", "{error}");
    assert!(error.contains("a-file"), "{error}");
}

/// A cached model that was cut, or is none, is made anew; it does not end the process.
#[test]
fn a_damaged_cache_does_no_harm() {
    let _turn = alone();
    let engine = Engine::new("");
    let cache = Folder::new("damaged-cache");
    let options = json!({"cache_dir": text(cache.path()), "device_fallback": false}).to_string();
    let hear = || {
        let (loaded, events) = engine.try_load(&model_path(TINY), &options);
        let model = loaded.unwrap_or_else(|(_, error)| panic!("{error}"));
        assert!(events.iter().all(|event| event.kind != FLUID_EVENT_NOTICE), "{events:?}");
        model.hear(Sound::Samples(jfk()), &json!({"temperature": [0]})).json()["text"].clone()
    };
    let expected = hear();
    type Damage = fn(&[u8]) -> Vec<u8>;
    let damages: [Damage; 4] = [
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes| bytes[..100].to_vec(),
        |_| Vec::new(),
        |bytes| (0..bytes.len()).map(|at| (at * at / 7) as u8).collect(),
    ];
    for damage in damages {
        let mut damaged = Vec::new();
        for (path, _) in files(cache.path()) {
            let bytes = damage(&fs::read(&path).expect("a file"));
            fs::write(&path, &bytes).expect("a damaged file");
            damaged.push((path, bytes));
        }
        assert_eq!(hear(), expected);
        for (path, bytes) in damaged {
            assert_ne!(fs::read(&path).ok(), Some(bytes), "{} was not read", path.display());
        }
    }
}

// --- without OpenVINO ---

/// In a process of its own: OpenVINO's library is no library. GGUF models work all the same.
#[test]
fn without_openvino_speech_is_refused_and_text_works() {
    const CHILD: &str = "FLUID_TEST_BROKEN";
    if std::env::var_os(CHILD).is_some() {
        return without_openvino();
    }
    let _turn = alone();
    let folder = Folder::new("broken-runtime");
    let library = folder.path().join("libopenvino_c.so");
    fs::write(&library, "not a library").expect("a file");
    let mut child = Command::new(std::env::current_exe().expect("this test has a file"));
    child.args(["--exact", "without_openvino_speech_is_refused_and_text_works", "--nocapture"]);
    child.env("FLUID_OPENVINO_LIB", &library).env(CHILD, "1");
    let output = child.output().expect("this test can run itself");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
}

fn without_openvino() {
    let engine = Engine::new("");
    for _ in 0..2 {
        let (status, error) = refused(&engine, &model_path(TINY), "");
        assert_eq!(status, "FLUID_ERROR_BACKEND_MISSING", "{error}");
        assert!(error.contains("libopenvino_c.so"), "{error}");
        if cfg!(feature = "llama") {
            let chat = engine.load(&smollm2_path(), r#"{"n_ctx": 64, "n_parallel": 1}"#);
            let request: Value = json!({"prompt": "Hello", "max_tokens": 2, "temperature": 0});
            assert_eq!(chat.answer(&request).tokens().len(), 2);
        }
    }
}
