//! What `fluid_estimate` says against what is resident after a load and a few jobs, each case in a
//! process of its own.
#![cfg(all(target_os = "linux", feature = "llama", feature = "openvino"))]

mod support;

#[path = "support/children.rs"]
mod children;
#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/resident.rs"]
mod resident;

use std::env;
use std::ffi::CString;
use std::path::PathBuf;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use fluid::ffi::*;
use resident::Resident;
use serde_json::{json, Value};
use support::speech::{jfk, Sound};
use support::{last_error, model_path, smollm2_path, status_name, take_json, Engine, Job, Model};

/// What an estimate may be off, in percent of what is measured.
const TOLERANCE: f64 = 10.0;

/// How much too high that of a Whisper model may be on a processor without AMX: OpenVINO's kernels, and the copies
/// of weights that they want, are the processor's. The formulas were measured with AMX; without it less is taken.
const TOO_HIGH_WITHOUT_AMX: f64 = 25.0;

fn has_amx() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" amx_int8"))
}

/// A model, and the options it is estimated and loaded with.
type Case = (&'static str, &'static str);

const CASES: [Case; 9] = [
    ("smollm2", r#"{"n_ctx": 2048, "n_parallel": 4}"#),
    (
        "smollm2",
        r#"{"n_ctx": 8192, "n_parallel": 1, "cache_type_k": "q8_0", "cache_type_v": "q8_0", "use_mmap": false}"#,
    ),
    ("window", r#"{"n_ctx": 4096, "n_parallel": 2}"#),
    ("recurrent", r#"{"n_parallel": 4, "n_ubatch": 64}"#),
    ("repacked", r#"{"n_ctx": 4096, "n_parallel": 1}"#),
    ("minilm-gguf/f16.gguf", "{}"),
    ("whisper-base-int8-ov", r#"{"n_parallel": 1}"#),
    ("whisper-base-int8-ov", r#"{"n_parallel": 4}"#),
    ("whisper-tiny.en-int8-ov", r#"{"n_parallel": 2}"#),
];

/// Beside them, where `FLUID_ESTIMATE_ALL` is set.
const MORE: [Case; 15] = [
    ("smollm2", r#"{"n_ctx": 512, "n_parallel": 1}"#),
    ("smollm2", r#"{"n_ctx": 8192, "n_parallel": 4}"#),
    ("smollm2", r#"{"n_ctx": 2048, "n_parallel": 1}"#),
    ("smollm2", r#"{"n_ctx": 2048, "n_parallel": 4, "kv_cache_tokens": 4096}"#),
    (
        "smollm2",
        r#"{"n_ctx": 2048, "n_parallel": 2, "lora": [{"path": "models/tiny-random-lora/smollm2-a.gguf"}]}"#,
    ),
    ("smollm2", r#"{"embedding": true, "n_ctx": 512}"#),
    (
        "smollm2",
        r#"{"n_ctx": 2048, "n_parallel": 1, "draft_model": "models/SmolLM2-135M-Instruct.Q4_1.gguf"}"#,
    ),
    ("minilm-gguf/q8_0.gguf", "{}"),
    ("whisper-base-int8-ov", r#"{"n_parallel": 1, "inference_precision": "f32"}"#),
    ("whisper-base-int8-ov", r#"{"n_parallel": 2}"#),
    ("whisper-tiny.en-int8-ov", r#"{"n_parallel": 1}"#),
    ("whisper-tiny.en-int8-ov", r#"{"n_parallel": 4}"#),
    ("whisper-base-int8-stateless-ov", r#"{"n_parallel": 1}"#),
    ("whisper-base-int8-stateless-ov", r#"{"n_parallel": 2}"#),
    ("whisper-base-int8-stateless-ov", r#"{"n_parallel": 4}"#),
];

fn cases() -> Vec<Case> {
    let more = if env::var_os("FLUID_ESTIMATE_ALL").is_some() { &MORE[..] } else { &[] };
    CASES.iter().chain(more).copied().collect()
}

#[test]
fn what_is_estimated_is_what_a_load_takes() {
    if let Some(seeds) = children::range() {
        return children::run_child(seeds, |seed| measure(cases()[seed as usize]));
    }
    let describe = |seed: u64| format!("{:?}", cases()[seed as usize]);
    let count = cases().len() as u64;
    let name = "what_is_estimated_is_what_a_load_takes";
    children::run_all(name, 0..count, 1, &["close"], describe);
}

/// Estimates, loads and uses a model; whether what is then resident is what was estimated.
fn measure((name, options): Case) -> Result<String, String> {
    let path = prepared(name);
    let is_speech = name.starts_with("whisper");
    // Threads that wait for each other are slow on a busy machine.
    let options = &options.replacen('{', r#"{"n_threads": 1, "#, 1).replace(", }", "}");
    if is_speech {
        // Read before, so that the recording is no part of what is measured.
        jfk();
    }
    let engine = Engine::new("");
    let before = Resident::now();
    let start = Instant::now();
    let estimate = estimate(&engine, &path, options)?;
    let took = start.elapsed();
    // The peak begins at what is resident; the C library keeps what was freed.
    Resident::now();
    resident::forget_peak();
    let model = engine.load(&path, options);
    exercise(&model);
    let after = Resident::now();
    // OpenVINO's code counts as its runtime; ours is there with or without a model.
    let code = if is_speech { 0 } else { after.code.saturating_sub(before.code) };
    let measured = resident::peak().max(after.total()) - before.total() - code;
    let off = (estimate["total_bytes"].as_f64().expect("a sum") / measured as f64 - 1.0) * 100.0;
    let shown = options.replace("\"n_threads\": 1, ", "").replace("\"n_threads\": 1", "");
    let row = format!(
        "| {name} | `{shown}` | {} | {:.1} | {off:+.1} % | {} ms |",
        parts(&estimate),
        measured as f64 / 1e6,
        took.as_millis()
    );
    if let Ok(path) = env::var("FLUID_ESTIMATE_TABLE") {
        use std::io::Write as _;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("a table's file"), "{row}").expect("room on the disk");
    }
    let fact = &model.info()["memory"];
    if !is_speech && fact["kv_cache_bytes"] != estimate["kv_cache_bytes"] {
        return Err(format!("the KV cache is another: {fact} of {estimate}"));
    }
    if took > Duration::from_secs(5) {
        return Err(format!("took too long: {row}"));
    }
    let too_high = if is_speech && !has_amx() { TOO_HIGH_WITHOUT_AMX } else { TOLERANCE };
    match (-TOLERANCE..=too_high).contains(&off) {
        true => Ok("close".to_owned()),
        false => Err(format!("{row} before {before:?}, after {after:?}")),
    }
}

fn parts(estimate: &Value) -> String {
    let names = ["weights", "kv_cache", "compute", "other", "runtime", "total"];
    let megabytes = |name: &str| estimate[format!("{name}_bytes")].as_f64().expect("bytes") / 1e6;
    names.map(|name| format!("{:.1}", megabytes(name))).join(" | ")
}

fn estimate(engine: &Engine, path: &str, options: &str) -> Result<Value, String> {
    let [path, options] = [path, options].map(|text| CString::new(text).expect("no NUL"));
    let mut json = null_mut();
    // SAFETY: C strings, and a place for the string.
    match unsafe { fluid_estimate(engine.raw(), path.as_ptr(), options.as_ptr(), &mut json) } {
        FLUID_OK => Ok(take_json(json)),
        status => Err(format!("{}: {}", status_name(status), last_error())),
    }
}

/// Jobs that touch what a model keeps ready: a whole batch of tokens, a window in each session.
fn exercise(model: &Model) {
    let info = model.info();
    let count = info["n_parallel"].as_u64().unwrap_or(1);
    let length = info["context_length"].as_u64().unwrap_or(0) as usize;
    match info["capabilities"][0].as_str() {
        Some("transcribe") => {
            let request = json!({"temperature": [0]});
            let start = |_| model.start_transcription(Sound::Samples(jfk()), &request);
            let jobs: Vec<Job> = (0..count).map(start).collect();
            jobs.iter().for_each(|job| drop(job.read()));
        }
        Some("generate") => {
            // A token each, two where the vocabulary is one of bytes.
            let long = "a ".repeat(520.min(length - 12));
            let prompt = |n| if n == 0 { &*long } else { "The sea is" };
            let request = |n| json!({"prompt": prompt(n), "max_tokens": 2, "temperature": 0});
            let jobs: Vec<Job> = (0..count).map(|n| model.start(&request(n))).collect();
            jobs.iter().for_each(|job| drop(job.read()));
        }
        _ => {
            model.embed(&json!({"input": "a ".repeat(length - 2)}));
        }
    }
}

/// The path of a model of `models/`, or of one that is written here: one whose weights outweigh what
/// every model takes.
fn prepared(name: &str) -> String {
    let model = match name {
        "smollm2" => return smollm2_path(),
        "window" => enlarged(gguf::gemma3(1), 0),
        "recurrent" => enlarged(gguf::mamba(1), 0),
        "repacked" => enlarged(gguf::gemma3(1), 2),
        _ => return model_path(name),
    };
    let path = temporary(name);
    std::fs::write(&path, model.to_bytes()).expect("room on the disk");
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn temporary(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("estimate-{name}.gguf"))
}

/// `model` made wider by 32 times, its matrices of zeros of ggml's type `kind` (0: f32, 2: q4_0).
fn enlarged(mut model: gguf::Gguf, kind: u32) -> gguf::Gguf {
    let wider = |size: u64| if [16, 32, 64, 128].contains(&size) { size * 32 } else { size };
    for (key, value) in &mut model.keys {
        let is_width = ["_length", "inner_size"].iter().any(|end| key.ends_with(end));
        match value {
            gguf::Value::U32(number) if is_width => *number = wider(u64::from(*number)) as u32,
            _ => {}
        }
        if key.ends_with("context_length") {
            *value = gguf::Value::U32(4_096);
        }
    }
    for tensor in &mut model.tensors {
        tensor.dims.iter_mut().for_each(|size| *size = wider(*size));
        let count: u64 = tensor.dims.iter().product();
        let is_matrix = tensor.dims.len() > 1 && !tensor.name.contains("embd") && kind == 2;
        let bytes = if is_matrix { count / 32 * 18 } else { count * 4 };
        tensor.kind = if is_matrix { kind } else { 0 };
        tensor.data = vec![0; bytes as usize];
    }
    model
}

fn loaded(engine: &Engine, options: &str) -> Result<Model, (fluid_status, String)> {
    engine.try_load(&smollm2_path(), options).0
}

#[test]
fn under_a_limit_contexts_shrink_until_the_model_fits() {
    let limit: u64 = 200 << 20;
    let engine = Engine::new(&json!({"max_memory": 200.0 / 1024.0}).to_string());
    let said = estimate(&engine, &smollm2_path(), "{}").expect("an estimate");
    assert_eq!((&said["fits"], &said["available_bytes"]), (&json!(true), &json!(limit)));
    assert!(said["total_bytes"].as_u64() <= Some(limit), "{said}");
    // Not smaller than need be: what is left is less than what a few more cells take.
    let kv_cache = said["kv_cache_bytes"].as_u64().expect("bytes");
    assert!(kv_cache > limit / 8, "{said}");
    let info = loaded(&engine, "{}").expect("a model that fits").info();
    for (key, place) in
        [("n_ctx", &info["context_length"]), ("kv_cache_tokens", &info["kv_cache_tokens"])]
    {
        assert_eq!(&said[key], place, "{said} {info}");
    }
    assert_eq!(info["memory"]["kv_cache_bytes"], said["kv_cache_bytes"]);
}

#[test]
fn what_does_not_fit_is_told_before_and_refused_after() {
    let engine = Engine::new(&json!({"max_memory": 0.25}).to_string());
    let whole = r#"{"n_ctx": 8192, "n_parallel": 2, "kv_unified": false}"#;
    let said = estimate(&engine, &smollm2_path(), whole).expect("an estimate");
    assert_eq!(said["fits"], false, "{said}");
    let most = said["n_ctx_max"].as_u64().expect("a shorter one fits");
    assert!(
        said["advice"].as_str().expect("advice").contains(&format!("at most {most}")),
        "{said}"
    );
    let (status, message) = loaded(&engine, whole).err().expect("too large");
    assert_eq!(status, FLUID_ERROR_OUT_OF_MEMORY, "{message}");
    let fits = |n_ctx: u64| {
        let options = json!({"n_ctx": n_ctx, "n_parallel": 2, "kv_unified": false});
        let said = estimate(&engine, &smollm2_path(), &options.to_string());
        said.expect("an estimate")["fits"].clone()
    };
    assert_eq!((fits(most), fits(most + 256)), (json!(true), json!(false)));
    let tiny = Engine::new(&json!({"max_memory": 0.03}).to_string());
    let said = estimate(&tiny, &smollm2_path(), "{}").expect("an estimate");
    assert_eq!((&said["fits"], &said["n_ctx_max"]), (&json!(false), &Value::Null), "{said}");
    assert!(said["advice"].as_str().expect("advice").contains("weights alone"), "{said}");
}

#[test]
fn an_estimate_fails_as_a_load_does() {
    let engine = Engine::new("");
    let bytes = std::fs::read(smollm2_path()).expect("a model");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let cut = folder.join("estimate-cut.gguf");
    std::fs::write(&cut, &bytes[..bytes.len() - (1 << 20)]).expect("room on the disk");
    let whisper = folder.join("estimate-cut-whisper");
    std::fs::create_dir_all(&whisper).expect("a folder");
    for name in ["config.json", "openvino_encoder_model.xml", "openvino_encoder_model.bin"] {
        let from = model_path(&format!("tiny-random-whisper-128/{name}"));
        let bytes = std::fs::read(from).expect("a file");
        let length = if name.ends_with("bin") { bytes.len() / 2 } else { bytes.len() };
        std::fs::write(whisper.join(name), &bytes[..length]).expect("room on the disk");
    }
    for (path, options) in [
        (cut.as_path(), "{}"),
        (folder.join("nothing.gguf").as_path(), "{}"),
        (whisper.as_path(), r#"{"lora": [{"path": "a.gguf"}]}"#),
        (cut.as_path(), r#"{"device": "NPU"}"#),
    ] {
        let path = path.to_str().expect("UTF-8");
        let (status, message) = engine.try_load(path, options).0.err().expect("a broken file");
        let said = estimate(&engine, path, options).expect_err("a broken file");
        assert_eq!(said, format!("{}: {message}", status_name(status)));
    }
    let said = estimate(&engine, whisper.to_str().expect("UTF-8"), "{}").expect_err("a cut file");
    assert!(said.contains("is cut") && said.contains("INVALID_MODEL"), "{said}");
    let said = estimate(&engine, &smollm2_path(), r#"{"n_ctz": 1}"#).expect_err("an unknown key");
    assert!(said.contains("n_ctz"), "{said}");
}

#[test]
fn other_models_take_room_and_pinned_ones_keep_it() {
    let model = |mebibytes: u64| format!("fake:{}", json!({"memory": mebibytes << 20}));
    let engine = Engine::new(&json!({"max_memory": 10.0 / 1024.0}).to_string());
    let fits = |count: u64| {
        let said = estimate(&engine, &model(count), "{}").expect("an estimate");
        (said["fits"] == true, said["fits_now"] == true)
    };
    assert_eq!((fits(10), fits(11)), ((true, true), (false, false)));
    let idle = engine.try_load(&model(4), "{}").0.expect("a model");
    assert_eq!((fits(6), fits(10)), ((true, true), (true, false)));
    drop(idle);
    let pinned = engine.try_load(&model(4), r#"{"pinned": true}"#).0.expect("a model");
    assert_eq!((fits(6), fits(7)), ((true, true), (false, false)));
    drop(pinned);
}

#[test]
fn a_model_that_only_a_hub_has_is_not_found() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("estimate-names");
    std::fs::create_dir_all(folder.join("llm")).expect("a folder");
    let here = folder.join("llm/here.gguf");
    std::fs::remove_file(&here).ok();
    std::fs::hard_link(smollm2_path(), &here)
        .or_else(|_| std::fs::copy(smollm2_path(), &here).map(|_| ()))
        .expect("room on the disk");
    let engine = Engine::new(&json!({"model_dir": folder, "offline": true}).to_string());
    let said = estimate(&engine, "here", "{}").expect("an estimate");
    assert_eq!(said["fits"], true, "{said}");
    let why = estimate(&engine, "ggml-org/gemma-3-4b-it-GGUF", "{}").expect_err("not here");
    assert!(why.starts_with("FLUID_ERROR_NOT_FOUND") && why.contains("fluid_download"), "{why}");
}
