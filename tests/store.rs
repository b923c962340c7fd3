//! The model folder: what names stand for, what is listed, and that what is listed loads.
#![cfg(all(unix, feature = "llama", feature = "openvino"))]

#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/store.rs"]
mod store;
mod support;

use std::fs;
use std::path::PathBuf;

use fluid::error::ErrorKind;
use fluid::ffi::*;
use fluid::store::hub::{RemoteFile, Snapshot};
use fluid::store::{Found, Kind, Manifest, Wanted, MANIFEST};
use serde_json::{json, Value};
use store::{entry, listed, models, split, Folder};
use support::{alone, model_path, smollm2_path, status_name, Engine};

const SMALL: &str = r#"{"n_ctx": 64, "n_parallel": 1, "n_threads": 1}"#;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The real models in their folders.
fn real_models() -> Folder {
    let folder = Folder::new();
    let smollm2 = "llm/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
    folder.link(&smollm2_path(), smollm2);
    folder.link(&model_path("tiny-random-gguf/llama.gguf"), "llm/bare.gguf");
    folder.link(&model_path("whisper-base-int8-ov"), "whisper/whisper-base-int8-ov");
    folder.link(&model_path("minilm-gguf"), "embedding/minilm-gguf");
    folder
}

#[test]
fn what_is_listed_loads_by_its_name() {
    let _turn = alone();
    let folder = real_models();
    for (name, bytes) in split(&gguf::llama(1), "llm/tiny-split/tiny", &[4, 11]) {
        folder.write(&name, bytes);
    }
    let engine = folder.engine();
    let all = listed(&engine);
    let names: Vec<&str> = all.iter().filter_map(|entry| entry["name"].as_str()).collect();
    let expected = [
        "SmolLM2-135M-Instruct",
        "bare.gguf",
        "tiny-split",
        "whisper-base-int8-ov",
        "minilm-gguf/f16.gguf",
        "minilm-gguf/q8_0.gguf",
        "minilm-gguf/tiny-reranker.gguf",
    ];
    assert_eq!(names, expected);
    for entry in &all {
        let name = entry["name"].as_str().expect("a name");
        assert_eq!(
            (&entry["complete"], &entry["runnable"]),
            (&json!(true), &json!(true)),
            "{entry}"
        );
        assert_eq!((&entry["loaded"], &entry["source"]), (&json!(false), &Value::Null), "{entry}");
        let model = engine.load(name, SMALL);
        let info = model.info();
        for field in ["architecture", "quantization", "parameters"] {
            assert!(info.get(field).is_none_or(|told| *told == entry[field]), "{name}: {field}");
        }
        let loaded: Vec<Value> =
            listed(&engine).into_iter().filter(|it| it["loaded"] == true).collect();
        assert_eq!(loaded.len(), 1, "{loaded:#?}");
        assert_eq!(loaded[0]["name"], name);
    }
    assert!(listed(&engine).iter().all(|entry| entry["loaded"] == false));
    let split = &all[2];
    assert_eq!((&split["files"], &split["format"]), (&json!(3), &json!("gguf")), "{split}");
    let whisper = &all[3];
    assert_eq!((&whisper["format"], &whisper["type"]), (&json!("openvino"), &json!("whisper")));
    assert!(whisper["bytes"].as_u64() > Some(80_000_000), "{whisper}");
}

/// What is compiled for a model without `cache_dir` goes to the engine's folder, and comes from there.
#[test]
fn compiled_models_are_kept() {
    let _turn = alone();
    let folder = real_models();
    let engine = folder.engine();
    let blobs = || match fs::read_dir(folder.at("cache")) {
        Ok(entries) => entries
            .flatten()
            .filter_map(|it| Some((it.path(), it.metadata().ok()?.len())))
            .collect(),
        Err(_) => Vec::new(),
    };
    assert_eq!(blobs(), []);
    drop(engine.load("SmolLM2-135M-Instruct", SMALL));
    assert_eq!(blobs(), [], "GGUF models are not compiled");
    drop(engine.load("whisper-base-int8-ov", "{}"));
    let kept: Vec<(PathBuf, u64)> = blobs();
    assert!(
        kept.iter()
            .any(|(path, bytes)| path.extension().is_some_and(|it| it == "blob") && *bytes > 0),
        "{kept:?}"
    );
    drop(engine.load("whisper-base-int8-ov", "{}"));
    assert_eq!(blobs(), kept, "the second load makes nothing new");
}

#[test]
fn a_split_model_says_what_the_whole_one_says() {
    let _turn = alone();
    let folder = Folder::new();
    folder.write("llm/whole.gguf", gguf::tiny_llama(1));
    let parts = split(&gguf::llama(1), "llm/parts/tiny", &[10]);
    for (name, bytes) in &parts {
        folder.write(name, bytes);
    }
    let engine = folder.engine();
    let request =
        json!({"prompt": "the cat", "temperature": 0, "max_tokens": 8, "ignore_eos": true});
    let answer = |name: &str| engine.load(name, SMALL).answer(&request).tokens();
    let whole = answer("whole");
    assert_eq!(whole.len(), 8);
    for name in ["parts", "parts/tiny-00001-of-00002.gguf"] {
        assert_eq!(answer(name), whole, "{name}");
    }
    let drafted = engine.load("whole", r#"{"n_ctx": 64, "n_parallel": 1, "draft_model": "parts"}"#);
    assert!(drafted.info()["draft_model"]
        .as_str()
        .is_some_and(|path| path.ends_with("parts/tiny-00001-of-00002.gguf")));
    drop(drafted);

    fs::write(folder.at(&parts[1].0), &parts[1].1[..parts[1].1.len() - 100]).expect("written");
    let cut = entry(&engine, "parts");
    assert_eq!(cut["complete"], false);
    assert!(cut["missing"].as_str().is_some_and(|why| why.contains("00002-of-00002")), "{cut}");

    fs::remove_file(folder.at(&parts[1].0)).expect("it is there");
    let cut = entry(&engine, "parts");
    assert_eq!((&cut["complete"], &cut["files"]), (&json!(false), &json!(1)));
    assert_eq!(cut["missing"], "tiny-00002-of-00002.gguf is missing");
    let (loaded, _) = engine.try_load("parts", SMALL);
    let (status, message) = loaded.map(drop).expect_err("a part is missing");
    assert_eq!(status, FLUID_ERROR_INVALID_MODEL, "{message}");
    assert!(message.contains("tiny-00002-of-00002.gguf is missing"), "{message}");
}

fn refused(engine: &Engine, name: &str, options: &str) -> (&'static str, String) {
    let (loaded, _) = engine.try_load(name, options);
    let (status, message) = loaded.map(drop).expect_err(name);
    (status_name(status), message)
}

#[test]
fn names_that_stand_for_nothing_are_refused_with_a_sentence() {
    let folder = Folder::new();
    folder.write("llm/qwen3-0.6b/q.gguf", "");
    let engine = folder.engine();
    for (name, status, words) in [
        ("../../nowhere/a", "FLUID_ERROR_NOT_FOUND", "../../nowhere/a"),
        ("a/../../b", "FLUID_ERROR_INVALID_ARGUMENT", "\"..\""),
        ("C:\\models\\a", "FLUID_ERROR_INVALID_ARGUMENT", "drive letter"),
        ("a\u{7}b", "FLUID_ERROR_INVALID_ARGUMENT", "control"),
        ("nul", "FLUID_ERROR_INVALID_ARGUMENT", "Windows"),
        ("/nowhere/a.gguf", "FLUID_ERROR_NOT_FOUND", "/nowhere/a.gguf"),
        ("qwen3-0.6", "FLUID_ERROR_NOT_FOUND", "near it are: qwen3-0.6b"),
        ("nothing-like-it", "FLUID_ERROR_NOT_FOUND", "owner/repo/file.gguf"),
        ("", "FLUID_ERROR_INVALID_ARGUMENT", "name is empty"),
    ] {
        let (found, message) = refused(&engine, name, SMALL);
        assert_eq!(found, status, "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
    }
    let (found, message) = refused(&engine, "owner/repo", r#"{"download": false}"#);
    assert_eq!(found, "FLUID_ERROR_NOT_FOUND");
    assert!(message.contains("owner/repo") && message.contains("fluid_download"), "{message}");
    // What is here is of another quantisation.
    folder.write("llm/other/m-Q4_K_M.gguf", gguf::tiny_llama(1));
    let offline = Engine::new(&json!({"model_dir": folder.at(""), "offline": true}).to_string());
    for (engine, options, words) in [
        (&engine, r#"{"download": false}"#, "fetch owner/other:Q8_0 with fluid_download"),
        (&offline, "", "owner/other:Q8_0 would have to come from a hub, and may not be fetched"),
    ] {
        let (found, message) = refused(engine, "owner/other:Q8_0", options);
        assert_eq!(found, "FLUID_ERROR_NOT_FOUND");
        assert!(message.contains(words), "{message}");
    }
    let (found, message) = refused(&engine, "qwen3-0.6b", r#"{"model_type": "audio"}"#);
    assert_eq!(found, "FLUID_ERROR_INVALID_REQUEST");
    assert!(message.starts_with("model_type: ") && message.contains("whisper"), "{message}");
    let (found, message) = refused(&engine, "qwen3-0.6b", r#"{"download": 1}"#);
    assert!(
        found == "FLUID_ERROR_INVALID_REQUEST" && message.starts_with("download: "),
        "{message}"
    );
    let (found, message) = refused(&Engine::new("{}"), "qwen3-0.6b", SMALL);
    assert_eq!(found, "FLUID_ERROR_NOT_FOUND");
    assert!(message.contains("model_dir"), "{message}");
    assert_eq!(models(&Engine::new("{}"), "{}")["data"], json!([]));
}

#[test]
fn a_name_of_two_kinds_needs_the_kind() {
    let folder = Folder::new();
    let here = |kind: &str| folder.write(&format!("{kind}/both.gguf"), gguf::tiny_llama(1));
    let (llm, embedding) = (here("llm"), here("embedding"));
    let store = folder.store();
    let error = store.find("both", None).expect_err("there are two");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("model_type"), "{error}");
    assert_eq!(store.find("both", Some(Kind::Llm)), Ok(Found::Here(llm)));
    assert_eq!(store.find("both.gguf", Some(Kind::Embedding)), Ok(Found::Here(embedding)));
    let error = store.find("both", Some(Kind::Whisper)).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn other_kinds_in_openvino_s_format_are_listed_and_refused() {
    let folder = Folder::new();
    let network = |name: &str, config: Value| {
        folder.write(&format!("{name}/openvino_model.xml"), "<net/>");
        folder.write(&format!("{name}/openvino_model.bin"), "weights");
        folder.write(&format!("{name}/config.json"), config.to_string());
    };
    network(
        "llm/phi-4-mini",
        json!({"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "max_position_embeddings": 131_072}),
    );
    network("embedding/bge", json!({"architectures": ["BertModel"], "model_type": "bert"}));
    let engine = folder.engine();
    for (name, words) in [("phi-4-mini", "an OpenVINO LLM"), ("bge", "an OpenVINO embedding model")]
    {
        let entry = entry(&engine, name);
        assert_eq!(
            (&entry["complete"], &entry["runnable"]),
            (&json!(true), &json!(false)),
            "{entry}"
        );
        let why = entry["why_not"].as_str().expect("a sentence");
        assert!(
            why.contains(words) && why.contains("no backend of this build runs it yet"),
            "{why}"
        );
        let path = entry["path"].as_str().expect("a path");
        for name in [name, path] {
            let (status, message) = refused(&engine, name, SMALL);
            assert_eq!((status, &*message), ("FLUID_ERROR_UNSUPPORTED_MODEL", why));
        }
    }
    let phi = entry(&engine, "phi-4-mini");
    assert_eq!((&phi["architecture"], &phi["context_length"]), (&json!("phi3"), &json!(131_072)));
    fs::remove_file(folder.at("llm/phi-4-mini/openvino_model.bin")).expect("it is there");
    let phi = entry(&engine, "phi-4-mini");
    assert_eq!(
        (&phi["complete"], &phi["missing"]),
        (&json!(false), &json!("openvino_model.bin is missing"))
    );
}

#[test]
fn whisper_s_missing_files_are_named() {
    let _turn = alone();
    let folder = Folder::new();
    let engine = folder.engine();
    let source = model_path("whisper-base-int8-ov");
    let files: Vec<String> = fs::read_dir(&source)
        .expect("a folder")
        .flatten()
        .filter_map(|file| file.file_name().into_string().ok())
        .collect();
    for file in &files {
        folder.link(&format!("{source}/{file}"), &format!("whisper/base/{file}"));
    }
    for file in [
        "config.json",
        "tokenizer.json",
        "generation_config.json",
        "openvino_decoder_model.bin",
        "openvino_encoder_model.xml",
    ] {
        let path = folder.at(&format!("whisper/base/{file}"));
        fs::remove_file(&path).expect("it is there");
        let base = entry(&engine, "base");
        assert_eq!(base["complete"], false, "{file}: {base}");
        assert!(base["missing"].as_str().is_some_and(|why| why.contains(file)), "{base}");
        let (status, message) = refused(&engine, "base", SMALL);
        assert!(
            matches!(status, "FLUID_ERROR_NOT_FOUND" | "FLUID_ERROR_INVALID_MODEL"),
            "{status}"
        );
        assert!(message.contains(file), "{message}");
        folder.link(&format!("{source}/{file}"), &format!("whisper/base/{file}"));
    }
    let bin = folder.at("whisper/base/openvino_encoder_model.bin");
    fs::remove_file(&bin).expect("it is there");
    fs::write(&bin, "short").expect("written");
    let base = entry(&engine, "base");
    assert!(base["missing"].as_str().is_some_and(|why| why.contains("is cut")), "{base}");
}

fn wanted(found: fluid::error::Result<Found>) -> Wanted {
    match found {
        Ok(Found::Wanted(wanted)) => wanted,
        other => panic!("not of a hub: {other:?}"),
    }
}

#[test]
fn names_of_a_hub_have_a_folder_of_their_own() {
    let folder = Folder::new();
    let store = folder.store();
    let text = |text: &str| Some(text.to_owned());
    for (name, repo, revision, file, quant, place) in [
        (
            "qwen3-8b-int8-ov",
            "FluidInference/Qwen3-8B-int8-ov",
            "main",
            None,
            None,
            "llm/qwen3-8b-int8-ov",
        ),
        (
            "gemma-3-4b-it-gguf",
            "ggml-org/gemma-3-4b-it-GGUF",
            "main",
            None,
            text("Q4_K_M"),
            "llm/gemma-3-4b-it-gguf",
        ),
        (
            "gemma-3-4b-it-gguf:Q8_0",
            "ggml-org/gemma-3-4b-it-GGUF",
            "main",
            None,
            text("Q8_0"),
            "llm/gemma-3-4b-it-gguf",
        ),
        (
            "whisper-tiny",
            "FluidInference/whisper-tiny-int4-ov-npu",
            "main",
            None,
            None,
            "whisper/whisper-tiny",
        ),
        (
            "ggml-org/gemma-3-4b-it-GGUF",
            "ggml-org/gemma-3-4b-it-GGUF",
            "main",
            None,
            None,
            "llm/gemma-3-4b-it-GGUF",
        ),
        ("a/b-GGUF@v1:Q8_0", "a/b-GGUF", "v1", None, text("Q8_0"), "llm/b-GGUF@v1"),
        ("a/b-GGUF/sub/c.gguf", "a/b-GGUF", "main", text("sub/c.gguf"), None, "llm/b-GGUF"),
        (
            "OpenVINO/whisper-base-int8-ov",
            "OpenVINO/whisper-base-int8-ov",
            "main",
            None,
            None,
            "whisper/whisper-base-int8-ov",
        ),
        ("BAAI/bge-m3", "BAAI/bge-m3", "main", None, None, "embedding/bge-m3"),
    ] {
        let found = wanted(store.find(name, None));
        assert_eq!((&*found.repo, &*found.revision), (repo, revision), "{name}");
        assert_eq!((found.file, found.quant), (file, quant), "{name}");
        assert_eq!(found.folder, folder.at(place), "{name}");
    }
    assert_eq!(wanted(store.find("a/b", Some(Kind::Embedding))).folder, folder.at("embedding/b"));
}

#[test]
fn what_is_here_wins() {
    let folder = Folder::new();
    let store = folder.store();
    let model = gguf::tiny_llama(1);
    let q8 = folder.write("llm/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q8_0.gguf", &model);
    for name in [
        "gemma-3-4b-it-GGUF",
        "gemma-3-4b-it-GGUF:q8_0",
        "gemma-3-4b-it-GGUF/gemma-3-4b-it-Q8_0.gguf",
        "gemma-3-4b-it-gguf",
        "ggml-org/gemma-3-4b-it-GGUF",
        "ggml-org/gemma-3-4b-it-GGUF:Q8_0",
        "ggml-org/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q8_0.gguf",
    ] {
        assert_eq!(store.find(name, None), Ok(Found::Here(q8.clone())), "{name}");
    }
    // Another quantisation, and another revision, are not here.
    wanted(store.find("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", None));
    wanted(store.find("ggml-org/gemma-3-4b-it-GGUF@v2", None));
    // The rule takes the better known one once it is here.
    let q4 = folder.write("llm/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q4_K_M.gguf", &model);
    folder.write("llm/gemma-3-4b-it-GGUF/mmproj-model-f16.gguf", "");
    assert_eq!(store.find("gemma-3-4b-it-GGUF", None), Ok(Found::Here(q4)));
    // Folders of owners, and a path as it was given.
    let nested = folder.write("llm/owner/repo/m.gguf", &model);
    assert_eq!(store.find("owner/repo", None), Ok(Found::Here(nested.clone())));
    let given = nested.to_str().expect("UTF-8");
    assert_eq!(store.find(given, None), Ok(Found::Here(given.into())));
    // What Fluid Server fetched.
    let cache = "llm/cache/models--unsloth--Qwen3-0.6B-GGUF";
    folder.write(&format!("{cache}/refs/main"), format!("{COMMIT}\n"));
    let blob = folder.write(&format!("{cache}/blobs/abc"), &model);
    let snapshot = format!("{cache}/snapshots/{COMMIT}/Qwen3-0.6B-Q4_K_M.gguf");
    folder.link(blob.to_str().expect("UTF-8"), &snapshot);
    assert_eq!(store.find("unsloth/Qwen3-0.6B-GGUF", None), Ok(Found::Here(folder.at(&snapshot))));
    let names: Vec<String> = store.list(None, false).into_iter().map(|entry| entry.name).collect();
    let q = "gemma-3-4b-it-GGUF/gemma-3-4b-it";
    let expected = [
        &format!("{q}-Q4_K_M.gguf"),
        &format!("{q}-Q8_0.gguf"),
        "owner/repo",
        "unsloth/Qwen3-0.6B-GGUF",
    ];
    assert_eq!(names, expected);
    for entry in store.list(None, false) {
        assert_eq!(store.find(&entry.name, Some(entry.kind)), Ok(Found::Here(entry.path)));
    }
}

/// Notes in the folder's manifest that these files were fetched from `repo`.
fn record(folder: &Folder, place: &str, repo: &str, files: &[(&str, &[u8])]) {
    let remote = |(path, contents): &(&str, &[u8])| {
        let sha256 = Some(sha256_of(contents));
        let file = RemoteFile {
            path: (*path).to_owned(),
            bytes: contents.len() as u64,
            sha256,
            blob: None,
        };
        (file, PathBuf::from(path))
    };
    let wanted = Wanted {
        repo: repo.to_owned(),
        revision: "main".to_owned(),
        file: None,
        quant: None,
        kind: Kind::Llm,
        folder: folder.at(place),
        lacking: None,
    };
    let snapshot = Snapshot { repo: repo.to_owned(), commit: COMMIT.to_owned(), files: Vec::new() };
    let files: Vec<_> = files.iter().map(remote).collect();
    Manifest::record(&wanted, &snapshot, &files, true).expect("it can be written");
}

fn sha256_of(contents: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_manifest_tells_whole_models_from_others() {
    let folder = Folder::new();
    let (store, engine) = (folder.store(), folder.engine());
    let model = gguf::tiny_llama(1);
    let path = folder.write("llm/repo/m-Q8_0.gguf", &model);
    record(&folder, "llm/repo", "owner/repo", &[("m-Q8_0.gguf", &model)]);
    record(&folder, "llm/repo", "owner/repo", &[("m-Q4_0.gguf", &model)]);
    let whole = entry(&engine, "repo");
    assert_eq!(whole["source"], json!({"repo": "owner/repo", "commit": COMMIT}));
    assert_eq!((&whole["complete"], &whole["owned_by"]), (&json!(true), &json!("owner")));
    assert_eq!(models(&engine, r#"{"verify": true}"#)["data"][0]["complete"], true);
    assert_eq!(store.find("owner/repo", None), Ok(Found::Here(path.clone())));
    // The same name of another owner goes elsewhere, and does not find this one.
    let other = wanted(store.find("other/repo", None));
    assert_eq!(other.folder, folder.at("llm/other/repo"));

    let mut altered = model.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    fs::write(&path, &altered).expect("written");
    assert_eq!(entry(&engine, "repo")["complete"], true, "sizes do not tell");
    let found = &models(&engine, r#"{"verify": true}"#)["data"][0];
    assert!(found["missing"].as_str().is_some_and(|why| why.contains("SHA-256")), "{found}");

    altered.push(0);
    fs::write(&path, &altered).expect("written");
    let found = entry(&engine, "repo");
    assert!(found["missing"].as_str().is_some_and(|why| why.contains("bytes, not")), "{found}");
    let again = wanted(store.find("repo", None));
    assert_eq!((&*again.repo, &*again.revision), ("owner/repo", COMMIT));
    assert_eq!(again.file.as_deref(), Some("m-Q8_0.gguf"));
    assert_eq!(again.folder, folder.at("llm/repo"));
}

#[test]
fn downloads_that_have_not_ended_are_not_whole() {
    let folder = Folder::new();
    let (store, engine) = (folder.store(), folder.engine());
    folder.write("llm/repo/m-Q8_0.gguf.0123456789abcdef.part", "GGUF");
    folder.write("llm/whole/m.gguf", gguf::tiny_llama(1));
    folder.write("llm/whole/n.gguf.0123456789abcdef.part", "GGUF");
    folder.write("whisper/base/openvino_encoder_model.xml", "<net/>");
    folder.write("whisper/base/openvino_encoder_model.bin.part", "x");
    folder.write("whisper/tiny/openvino_encoder_model.xml", "<net/>");
    folder.write("whisper/tiny/openvino_encoder_model.bin", "x");
    folder.write("whisper/tiny/.fluid-lock", "");
    record(&folder, "whisper/small", "owner/small", &[("openvino_encoder_model.xml", b"<net/>")]);
    for (name, why) in [
        ("repo", "the download of m-Q8_0.gguf has not ended"),
        ("whole/n.gguf", "the download of n.gguf has not ended"),
        ("base", "the download of openvino_encoder_model.bin has not ended"),
        ("tiny", "its download has not ended"),
        ("small", "openvino_encoder_model.xml is missing"),
    ] {
        let found = entry(&engine, name);
        assert_eq!((&found["complete"], &found["missing"]), (&json!(false), &json!(why)), "{name}");
    }
    let offline = Engine::new(&json!({"model_dir": folder.at(""), "offline": true}).to_string());
    for (name, why) in [
        ("small", "whisper/small: openvino_encoder_model.xml is missing"),
        ("owner/repo", "m-Q8_0.gguf: the download of m-Q8_0.gguf has not ended"),
    ] {
        for (engine, options) in [(&engine, r#"{"download": false}"#), (&offline, "")] {
            let (status, message) = refused(engine, name, options);
            assert_eq!(status, "FLUID_ERROR_NOT_FOUND", "{message}");
            assert!(message.contains(": is incomplete: ") && message.contains(why), "{message}");
        }
    }
    assert_eq!(entry(&engine, "whole/m.gguf")["complete"], true);
    assert_eq!(wanted(store.find("small", None)).repo, "owner/small");
    assert_eq!(
        store.find("repo", None).map_err(|error| error.kind()),
        Err(ErrorKind::InvalidModel)
    );
    assert_eq!(wanted(store.find("owner/repo", None)).folder, folder.at("llm/repo"));
}

/// A file of the old commit may have the size of the new one's.
#[test]
fn an_update_that_has_not_ended_is_a_mixture() {
    let folder = Folder::new();
    let engine = folder.engine();
    let parts = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    let whole = gguf::tiny_llama(1);
    let fetch = |commit: &str, sums: [&str; 2], done: bool| {
        let remote = |(path, sum): (&str, &str)| {
            let (bytes, sha256) = (whole.len() as u64, Some(sha256_of(sum.as_bytes())));
            let file = RemoteFile { path: path.to_owned(), bytes, sha256, blob: None };
            (file, PathBuf::from(path))
        };
        let files: Vec<_> = parts.into_iter().zip(sums).map(remote).collect();
        let wanted = folder.store().want("owner/m", Some(Kind::Llm)).expect("of a hub");
        let wanted = Wanted { folder: folder.at("llm/m"), ..wanted };
        let (repo, commit) = (wanted.repo.clone(), commit.to_owned());
        let snapshot = Snapshot { repo, commit, files: Vec::new() };
        Manifest::record(&wanted, &snapshot, &files, done).expect("it can be written")
    };
    let done = |manifest: Manifest| manifest.files.into_values().map(|file| file.done);
    assert!(done(fetch("aaaaaaaa", ["1", "2"], false)).eq([false, false]));
    for part in parts {
        folder.write(&format!("llm/m/{part}"), &whole);
    }
    assert_eq!(
        entry(&engine, "m")["missing"],
        format!("the download of {} has not ended", parts[0])
    );
    assert!(done(fetch("aaaaaaaa", ["1", "2"], true)).eq([true, true]));
    assert_eq!(entry(&engine, "m")["missing"], Value::Null);
    // Of the new commit only the second file is another one.
    assert!(done(fetch("bbbbbbbb", ["1", "3"], false)).eq([true, false]));
    assert_eq!(
        entry(&engine, "m")["missing"],
        format!("the download of {} has not ended", parts[1])
    );
    assert!(done(fetch("bbbbbbbb", ["1", "3"], true)).eq([true, true]));
    assert_eq!(entry(&engine, "m")["missing"], Value::Null);
}

/// A folder as no download leaves it: links in circles, pipes, names in no encoding, thousands of
/// files, and somebody who makes and removes models all the time.
#[test]
fn a_hostile_folder_is_listed_without_an_error() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{symlink, PermissionsExt};
    use std::sync::atomic::{AtomicBool, Ordering};

    let folder = Folder::new();
    let model = gguf::tiny_llama(1);
    folder.write("llm/good/m.gguf", &model);
    let llm = folder.at("llm");
    let not_text = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::create_dir(llm.join(not_text)).expect("a folder");
    fs::write(llm.join(not_text).join("m.gguf"), &model).expect("written");
    fs::write(llm.join(std::ffi::OsStr::from_bytes(b"\xff.gguf")), &model).expect("written");
    for (to, link) in [
        ("loop", "loop"),
        (".", "here"),
        ("..", "above"),
        ("/nowhere", "dangling"),
        ("good", "alias"),
    ] {
        symlink(to, llm.join(link)).expect("a link");
    }
    symlink("..", llm.join("good/up")).expect("a link");
    let pipe =
        std::ffi::CString::new(llm.join("pipe.gguf").as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    fs::create_dir(llm.join("folder.gguf")).expect("a folder");
    folder.write("llm/locked/m.gguf", &model);
    fs::set_permissions(folder.at("llm/locked"), fs::Permissions::from_mode(0o000)).expect("set");
    folder.write("llm/what?.gguf", &model);
    folder.write("llm/empty/README.md", "");
    folder.write("whisper", "no folder");
    for number in 0..3_000 {
        folder.write(&format!("llm/many/{number:04}.json"), "");
        folder.write(&format!("embedding/{number:04}.gguf"), "GGUF");
    }
    let engine = folder.engine();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                folder.write("llm/coming/m.gguf", &model);
                fs::remove_dir_all(folder.at("llm/coming")).expect("nobody else removes it");
            }
        });
        for _ in 0..5 {
            let all = listed(&engine);
            let name = |entry: &&Value| entry["type"] == "llm" && entry["name"] != "coming";
            let names: Vec<&Value> = all.iter().filter(name).map(|entry| &entry["name"]).collect();
            assert!(names.contains(&&json!("good")), "{names:?}");
            let whole = all.iter().filter(|entry| entry["complete"] == true).count();
            assert!((2..=4).contains(&whole), "{names:?}");
            assert_eq!(all.iter().filter(|entry| entry["type"] == "embedding").count(), 3_000);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let what = folder.at("llm/what?.gguf");
    let what = what.to_str().expect("UTF-8");
    assert_eq!(entry(&engine, what)["path"], what, "a name that is none is the path");
    fs::set_permissions(folder.at("llm/locked"), fs::Permissions::from_mode(0o700)).expect("set");
}

/// Whatever a manifest says, it is read or ignored, and never leads out of its folder.
#[test]
fn mutated_manifests_are_read_or_ignored() {
    let folder = Folder::new();
    let model = gguf::tiny_llama(1);
    folder.write("llm/repo/m-Q8_0.gguf", &model);
    record(&folder, "llm/repo", "owner/repo", &[("m-Q8_0.gguf", &model)]);
    let path = folder.at("llm/repo").join(MANIFEST);
    let text = fs::read_to_string(&path).expect("it was written");
    let sound = Manifest::parse(&text).expect("it is sound");
    assert_eq!(Manifest::parse(&sound.to_json()), Ok(sound));
    let mut dice = gguf::dice::Dice::new(7);
    let pieces: [&[u8]; 8] =
        [b"\"..\"", b"\"/etc/passwd\"", b"-1", b"null", b"[]", b"{}", b"1e999", b"\"\\u0000\""];
    let mut parsed = 0;
    for _ in 0..20_000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(bytes.len() - 1);
            match dice.below(4) {
                0 => bytes[at] = dice.below(256) as u8,
                1 => bytes.truncate(at.max(2)),
                2 => drop(bytes.splice(at..at + 1, dice.pick(&pieces).iter().copied())),
                _ => drop(bytes.splice(at..at + 1, *b" ")),
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let Ok(manifest) = Manifest::parse(&text) else { continue };
        parsed += 1;
        assert!(manifest.files.keys().all(|path| !path.contains("..") && !path.starts_with('/')));
        if parsed % 16 == 0 {
            fs::write(&path, &text).expect("written");
            assert_eq!(folder.store().list(None, false).len(), 1);
        }
    }
    assert!(parsed > 100, "only {parsed} could be read");
    for damage in [&b"\xff\xfe"[..], b"", b"{", b"[1]"] {
        fs::write(&path, damage).expect("written");
        assert_eq!(folder.store().list(None, false)[0].source, None);
    }
}
