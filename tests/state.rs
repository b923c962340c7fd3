//! Saved states: what comes back is what a computation from the start would give, for every kind of
//! model, and what does not fit is refused.
#![cfg(all(feature = "llama", feature = "fake"))]

mod support;

use std::time::Duration;

use serde_json::{json, Value};
use support::state::{restore, save, start_restore, start_save, Folder, Outcome};
use support::{alone, model_path, smollm2_path, status_name, text_of, Engine, Model};

const OPTIONS: &str = r#"{"n_parallel": 2, "n_ctx": 1024, "n_ubatch": 128, "n_threads": 1}"#;

fn tiny(name: &str) -> String {
    model_path(&format!("tiny-random-gguf/{name}.gguf"))
}

/// A text of some twelve tokens for each chapter.
fn tale(chapters: u32) -> String {
    (0..chapters).map(|n| format!("Chapter {n} tells of the sea and the wind. ")).collect()
}

fn greedy(prompt: &str) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": 32})
}

fn cached(model: &Model, request: &Value) -> (u64, String) {
    let answer = model.answer(request);
    let cached = &answer.json["usage"]["prompt_tokens_details"]["cached_tokens"];
    (cached.as_u64().expect("a count"), answer.text())
}

fn prompt_tokens(model: &Model, request: &Value) -> u64 {
    let mut request = request.clone();
    request["max_tokens"] = json!(0);
    model.answer(&request).json["usage"]["prompt_tokens"].as_u64().expect("a count")
}

/// The call failed as `status`, and its message holds `words`.
fn fails(outcome: Outcome, status: &str, words: &str) {
    let (name, message) = outcome.expect_err(words);
    assert!(name == status && message.contains(words), "{name}: {message}");
}

#[test]
fn every_kind_goes_on_in_another_model_where_it_was_saved() {
    let _turn = alone();
    let unified = r#"{"n_parallel": 3, "n_ctx": 1024, "n_threads": 1, "kv_unified": true}"#;
    let transposed = r#"{"n_parallel": 1, "n_ctx": 1024, "n_threads": 1, "flash_attn": "off", "swa_full": true}"#;
    for name in ["mamba", "hybrid", "swa"] {
        for options in [OPTIONS, unified, transposed] {
            let folder = Folder::new();
            let path = folder.path("state");
            for prompt in ["The sea is".to_owned(), tale(9), tale(40)] {
                let request = greedy(&prompt);
                let (count, text) = {
                    let (engine, path) = (Engine::new(""), &path);
                    let model = engine.load(&tiny(name), options);
                    let saved = save(&model, &request, path).expect("it is saved");
                    let bytes = std::fs::metadata(path).expect("it is there").len();
                    assert_eq!(saved["bytes"], bytes);
                    assert_eq!(saved["path"], *path);
                    (saved["tokens"].as_u64().expect("a count"), cached(&model, &request).1)
                };
                let (engine, other) = (Engine::new(""), Engine::new(""));
                let cold = other.load(&tiny(name), options);
                assert_eq!(prompt_tokens(&cold, &request), count + 1);
                assert_eq!(cached(&cold, &request), (0, text.clone()), "{name}");
                let model = engine.load(&tiny(name), options);
                assert_eq!(restore(&model, &path).expect("it fits")["tokens"], count);
                let warm = cached(&model, &request);
                assert_eq!(warm, (count, text), "{name}, {options}, {count} tokens");
                assert_eq!(folder.files(), ["state"]);
            }
        }
    }
}

#[test]
fn a_conversation_of_smollm2_goes_on() {
    let _turn = alone();
    let engine = Engine::new("");
    let options = |n_ctx| format!(r#"{{"n_parallel": 2, "n_ctx": {n_ctx}, "n_threads": 1}}"#);
    let model = engine.load(&smollm2_path(), &options(1_024));
    let folder = Folder::new();
    let path = folder.path("conversation");
    let question = json!([{"role": "user", "content": tale(8)}]);
    let request = json!({"messages": question, "temperature": 0, "max_tokens": 24});
    let saved = save(&model, &request, &path).expect("it is saved");
    // The same shapes are computed in both: a batch of the last token, then one token each.
    let (here, text) = cached(&model, &request);
    assert_eq!(saved["tokens"], here);
    let other = engine.load(&smollm2_path(), &options(768));
    restore(&other, &path).expect("it fits");
    assert_eq!(cached(&other, &request), (here, text.clone()));
    // And once more, from a state in main memory that was used before, with what came since.
    let longer = json!({"messages": [question[0], {"role": "assistant", "content": text},
        {"role": "user", "content": "Go on."}], "temperature": 0, "max_tokens": 4});
    let again = save(&other, &longer, &path).expect("it is saved over the older one");
    assert!(again["tokens"].as_u64() > Some(here + 24));
    restore(&model, &path).expect("it fits");
    assert_eq!(cached(&model, &longer).0, again["tokens"].as_u64().expect("a count"));
    assert_eq!(folder.files(), ["conversation"]);
}

#[test]
fn other_models_and_options_are_refused() {
    let _turn = alone();
    let (engine, folder) = (Engine::new(""), Folder::new());
    let path = folder.path("state");
    let model = engine.load(&tiny("swa"), OPTIONS);
    save(&model, &greedy(&tale(9)), &path).expect("it is saved");
    let with = |more: &str| OPTIONS.replace('}', &format!(", {more}}}"));
    let invalid = "FLUID_ERROR_INVALID_STATE";
    for (name, options, status, words) in [
        ("hybrid", OPTIONS.to_owned(), invalid, "by another model or with other options"),
        ("swa", with(r#""cache_type_k": "bf16""#), invalid, "its cache_type_k is f16, here bf16"),
        ("swa", with(r#""cache_type_v": "f32""#), invalid, "its cache_type_v is f16, here f32"),
        ("swa", with(r#""flash_attn": "off""#), invalid, "its flash_attn is auto, here off"),
        ("swa", with(r#""kv_unified": true"#), invalid, "is 2, here 1"),
        ("swa", OPTIONS.replace("1024", "64"), invalid, "the context holds 64"),
        ("swa", with(r#""cache_ram_mb": 0"#), "FLUID_ERROR_OUT_OF_MEMORY", "larger cache_ram_mb"),
    ] {
        let other = engine.load(&tiny(name), &options);
        let outcome = restore(&other, &path);
        assert!(outcome.as_ref().is_err_and(|(_, message)| message.starts_with(&path)));
        fails(outcome, status, words);
        assert_eq!(cached(&other, &greedy("The sea is")).0, 0);
    }
}

/// A file that a checksum would pass, with other bytes in it: what llama.cpp does not check, we do.
#[test]
fn a_state_of_other_positions_is_refused() {
    use sha2::{Digest, Sha256};
    let _turn = alone();
    let (engine, folder) = (Engine::new(""), Folder::new());
    let path = folder.path("state");
    for name in ["swa", "hybrid", "mamba"] {
        let model = engine.load(&tiny(name), OPTIONS);
        let request = greedy("The sea is");
        let count = save(&model, &request, &path).expect("it is saved")["tokens"].as_u64();
        let mut bytes = std::fs::read(&path).expect("it is there");
        let names = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
        let state = 28 + names + 4 * count.expect("a count") as usize;
        // All but the numbers of sequences: magic, parts, cells, positions, owners, layers, a type.
        for place in [0, 8, 12, 16, 20, 28].map(|place| state + place) {
            let before = bytes[place..place + 4].to_vec();
            bytes[place..place + 4].copy_from_slice(&[0xfb, 0xff, 0xff, 0x7f]);
            let end = bytes.len() - 32;
            let digest = Sha256::digest(&bytes[..end]);
            bytes[end..].copy_from_slice(&digest);
            std::fs::write(&path, &bytes).expect("it is written");
            let words = "holds no state of";
            fails(restore(&model, &path), "FLUID_ERROR_INVALID_STATE", words);
            bytes[place..place + 4].copy_from_slice(&before);
        }
        assert_eq!(status_name(model.generate(&request).status), "FLUID_OK");
    }
}

#[test]
fn a_save_beside_other_jobs_changes_nothing_for_them() {
    let _turn = alone();
    let (engine, folder) = (Engine::new(""), Folder::new());
    let model = engine.load(&tiny("hybrid"), OPTIONS);
    let requests = [greedy(&tale(9)), greedy("The sea is")];
    let texts = requests.each_ref().map(|request| model.answer(request).text());
    let jobs = requests.each_ref().map(|request| model.start(request));
    let saves: Vec<_> = (0..12)
        .map(|n| start_save(&model, &greedy(&tale(n + 1)), &folder.path(&format!("{n}"))))
        .collect();
    for (job, text) in jobs.iter().zip(&texts) {
        assert_eq!(text_of(&job.read()), *text);
    }
    for save in &saves {
        let events = save.read();
        assert_eq!(status_name(events.last().expect("an end").status), "FLUID_OK");
        assert!(events.windows(2).all(|pair| pair[0].progress <= pair[1].progress));
    }
    assert_eq!(folder.files().len(), 12);
    let restores: Vec<_> =
        (0..12).map(|n| start_restore(&model, &folder.path(&format!("{n}")))).collect();
    for restore in &restores {
        assert_eq!(restore.read().last().map(|event| event.status), Some(fluid::ffi::FLUID_OK));
        assert!(restore.json()["tokens"].as_u64() > Some(8));
    }
    for (request, text) in requests.iter().zip(texts) {
        assert_eq!(model.answer(request).text(), text);
    }
}

// --- a scripted backend: how jobs end ---

const SLOW: &str = r#"fake:{"reply": "yes", "token_us": 500}"#;

#[test]
fn a_stopped_save_leaves_nothing_behind() {
    let (engine, folder) = (Engine::new(""), Folder::new());
    let model = engine.load(SLOW, "");
    let long = "x".repeat(3_000);
    for (request, status) in [
        (json!({"prompt": long}), "FLUID_CANCELLED"),
        (json!({"prompt": long, "deadline_ms": 100}), "FLUID_DEADLINE"),
    ] {
        let job = start_save(&model, &request, &folder.path("state"));
        std::thread::sleep(Duration::from_millis(50));
        if status == "FLUID_CANCELLED" {
            job.cancel();
        }
        let end = job.read().pop().expect("a final event");
        assert_eq!((status_name(end.status), &*end.json), (status, "{}"));
        assert_eq!(folder.files(), [""; 0]);
    }
}

#[test]
fn an_older_file_stays_until_the_new_one_is_whole() {
    let (engine, folder) = (Engine::new(""), Folder::new());
    let path = folder.path("state");
    std::fs::write(&path, "older").expect("it is written");
    let model = engine.load(SLOW, "");
    let job = start_save(&model, &json!({"prompt": "x".repeat(2_000)}), &path);
    std::thread::sleep(Duration::from_millis(50));
    job.cancel();
    job.read();
    assert_eq!(std::fs::read(&path).expect("it is there"), b"older");
    save(&model, &json!({"prompt": "hello"}), &path).expect("it is saved");
    assert_eq!(restore(&model, &path).expect("it fits")["tokens"], 4);
    assert_eq!(folder.files(), ["state"]);
}

#[test]
fn freeing_the_model_ends_saves_and_restores() {
    for wait_ms in [0, 1, 5, 30] {
        let (engine, folder) = (Engine::new(""), Folder::new());
        let model = engine.load(SLOW, "");
        save(&model, &json!({"prompt": "hello"}), &folder.path("whole")).expect("it is saved");
        let prompt = json!({"prompt": "x".repeat(1_000)});
        let jobs = [
            start_save(&model, &json!({"prompt": "hello there"}), &folder.path("a")),
            start_save(&model, &prompt, &folder.path("b")),
            start_restore(&model, &folder.path("whole")),
        ];
        std::thread::sleep(Duration::from_millis(wait_ms));
        drop(model);
        // The threads are joined: nothing changes any more.
        let files = folder.files();
        assert!(!files.iter().any(|name| name.ends_with(".part")), "{files:?}");
        for job in &jobs {
            let status = status_name(job.read().pop().expect("an end").status);
            assert!(["FLUID_OK", "FLUID_CANCELLED"].contains(&status), "{status}");
        }
        assert_eq!(files.len(), folder.files().len());
    }
}

#[test]
fn what_cannot_be_a_file_is_refused_at_once() {
    let (engine, folder) = (Engine::new(""), Folder::new());
    let model = engine.load(SLOW, "");
    let request = json!({"prompt": "hello"});
    let whole = folder.path("whole");
    save(&model, &request, &whole).expect("it is saved");
    let argument = "FLUID_ERROR_INVALID_ARGUMENT";
    fails(save(&model, &request, ""), argument, "names no file");
    fails(save(&model, &request, &folder.path("")), argument, "names no file");
    fails(save(&model, &request, &folder.path("no/a")), "FLUID_ERROR_NOT_FOUND", "its folder");
    fails(save(&model, &request, &format!("{whole}/a")), "FLUID_ERROR_NOT_FOUND", "its folder");
    fails(save(&model, &request, "/proc/a"), "FLUID_ERROR_IO", "/proc/a: cannot be written");
    let one = json!({"prompt": "h"});
    fails(save(&model, &one, &folder.path("a")), "FLUID_ERROR_INVALID_REQUEST", "has one token");
    fails(restore(&model, &folder.path("no")), "FLUID_ERROR_NOT_FOUND", "/no: ");
    fails(restore(&model, &folder.path("")), "FLUID_ERROR_INVALID_STATE", "is not a file");
    fails(restore(&model, "/dev/zero"), "FLUID_ERROR_INVALID_STATE", "is not a file");
    std::fs::write(folder.path("empty"), "").expect("it is written");
    fails(restore(&model, &folder.path("empty")), "FLUID_ERROR_INVALID_STATE", "is no saved state");
    assert_eq!(cached(&model, &json!({"prompt": "hello", "max_tokens": 1})).0, 4);
}

// A state whose prompt lacks one token counts as a generation while it is computed; drafts behind it
// would be saved along.
#[test]
fn a_model_that_drafts_saves_its_states_too() {
    let _turn = alone();
    let engine = Engine::new("");
    let mut options: Value = serde_json::from_str(OPTIONS).expect("JSON");
    options["speculative"] = json!({"type": "prompt_lookup", "adaptive": false});
    let model = engine.load(&smollm2_path(), &options.to_string());
    let folder = Folder::new();
    let ids: Vec<u32> = (0..60).map(|index| 200 + index % 7).collect();
    let request = |count: usize| json!({"prompt": ids[..count], "max_tokens": 1, "temperature": 0});
    for count in [24, 30, 41] {
        model.answer(&request(count - 2));
        let path = folder.path("drafted");
        let saved = save(&model, &request(count), &path).expect("saved");
        assert_eq!(saved["tokens"], json!(count - 1));
        restore(&model, &path).expect("restored");
    }
}
