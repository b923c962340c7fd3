//! What is chosen of repositories as they are on the hub, and of hostile ones.
#![forbid(unsafe_code)]

use super::*;

fn snapshot(paths: &[&str]) -> Snapshot {
    let file =
        |path: &&str| RemoteFile { path: (*path).to_owned(), bytes: 1, sha256: None, blob: None };
    Snapshot {
        repo: "owner/repo".to_owned(),
        commit: "0123456789".to_owned(),
        files: paths.iter().map(file).collect(),
    }
}

fn wanted(kind: Kind, file: Option<&str>, quant: Option<&str>) -> Wanted {
    Wanted {
        repo: "owner/repo".to_owned(),
        revision: "main".to_owned(),
        file: file.map(str::to_owned),
        quant: quant.map(str::to_owned),
        kind,
        folder: PathBuf::from("/models/llm/repo"),
        lacking: None,
    }
}

fn chosen(wanted: &Wanted, paths: &[&str]) -> Result<Vec<String>> {
    let files = choose(wanted, &snapshot(paths))?;
    Ok(files.iter().map(|(_, place)| place.to_string_lossy().into_owned()).collect())
}

const GEMMA: [&str; 6] = [
    ".gitattributes",
    "README.md",
    "gemma-3-4b-it-Q4_K_M.gguf",
    "gemma-3-4b-it-Q8_0.gguf",
    "gemma-3-4b-it-f16.gguf",
    "mmproj-model-f16.gguf",
];

#[test]
fn a_gguf_is_chosen_by_name_quantisation_or_rule() {
    for (file, quant, expected) in [
        (None, None, "gemma-3-4b-it-Q4_K_M.gguf"),
        (None, Some("q8_0"), "gemma-3-4b-it-Q8_0.gguf"),
        (None, Some("F16"), "gemma-3-4b-it-f16.gguf"),
        (Some("mmproj-model-f16.gguf"), None, "mmproj-model-f16.gguf"),
    ] {
        let wanted = wanted(Kind::Llm, file, quant);
        assert_eq!(chosen(&wanted, &GEMMA).expect("chosen"), [expected], "{file:?} {quant:?}");
    }
    let error =
        chosen(&wanted(Kind::Llm, None, Some("Q2_K")), &GEMMA).expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("gemma-3-4b-it-Q8_0.gguf"), "{error}");
    let error =
        chosen(&wanted(Kind::Llm, Some("a.gguf"), None), &GEMMA).expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn split_models_come_whole_or_not_at_all() {
    let paths = ["Q8_0/m-00001-of-00002.gguf", "Q8_0/m-00002-of-00002.gguf", "m-Q2_K.gguf"];
    for file in [None, Some("Q8_0/m-00002-of-00002.gguf")] {
        assert_eq!(chosen(&wanted(Kind::Llm, file, None), &paths).expect("chosen"), paths[..2]);
    }
    let error = chosen(&wanted(Kind::Llm, None, None), &paths[1..]).expect_err("a part is missing");
    assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
}

#[test]
fn of_openvino_only_what_is_read() {
    let paths = [
        ".gitattributes",
        "README.md",
        "added_tokens.json",
        "config.json",
        "flax_model.msgpack",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "model.safetensors.index.json",
        "onnx/model.onnx",
        "openvino_decoder_model.bin",
        "openvino_decoder_model.xml",
        "openvino_encoder_model.bin",
        "openvino_encoder_model.xml",
        "openvino_tokenizer.bin",
        "openvino_tokenizer.xml",
        "preprocessor_config.json",
        "pytorch_model.bin",
        "requirements.txt",
        "tokenizer.json",
        "vocab.json",
    ];
    let expected = [
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "openvino_decoder_model.bin",
        "openvino_decoder_model.xml",
        "openvino_encoder_model.bin",
        "openvino_encoder_model.xml",
        "openvino_tokenizer.bin",
        "openvino_tokenizer.xml",
        "preprocessor_config.json",
        "tokenizer.json",
        "vocab.json",
    ];
    assert_eq!(chosen(&wanted(Kind::Whisper, None, None), &paths).expect("chosen"), expected);
    let error = chosen(&wanted(Kind::Llm, None, None), &paths).expect_err("it is Whisper");
    assert!(error.message().contains("model_type"), "{error}");
    let llm = ["config.json", "openvino_model.bin", "openvino_model.xml", "tokenizer.model"];
    assert_eq!(chosen(&wanted(Kind::Llm, None, None), &llm).expect("chosen"), llm);
}

#[test]
fn what_nothing_runs_is_told_before_it_is_fetched() {
    let llm = snapshot(&["config.json", "openvino_model.bin", "openvino_model.xml"]);
    let wanted = |kind| wanted(kind, None, None);
    for (kind, words) in [(Kind::Llm, "an OpenVINO LLM"), (Kind::Embedding, "embedding model")] {
        let files = choose(&wanted(kind), &llm).expect("chosen");
        assert_eq!(path_of(&wanted(kind), &files), PathBuf::from("/models/llm/repo"));
        let error = check_runnable(&wanted(kind), &files).expect_err("nothing runs it");
        assert_eq!(error.kind(), ErrorKind::UnsupportedModel);
        assert!(error.message().contains(words), "{error}");
    }
    let split = snapshot(&["a/m-00001-of-00002.gguf", "a/m-00002-of-00002.gguf"]);
    let files = choose(&wanted(Kind::Llm), &split).expect("chosen");
    check_runnable(&wanted(Kind::Llm), &files).expect("it runs");
    let first = PathBuf::from("/models/llm/repo/a/m-00001-of-00002.gguf");
    assert_eq!(path_of(&wanted(Kind::Llm), &files), first);
}

#[test]
fn a_repository_without_a_model_says_what_it_has() {
    for kind in Kind::ALL {
        for paths in [&["model.safetensors", "config.json"][..], &[], &["mmproj-a.gguf"]] {
            let error = chosen(&wanted(kind, None, None), paths).expect_err("no model");
            assert_eq!(error.kind(), ErrorKind::UnsupportedModel, "{error}");
            assert!(paths.iter().all(|path| error.message().contains(path)), "{error}");
        }
    }
}

#[test]
fn a_hostile_repository_names_no_place_outside() {
    for path in
        ["../m.gguf", "/m.gguf", "a/../../m.gguf", "a\\m.gguf", "C:m.gguf", "a//m.gguf", "\0.gguf"]
    {
        for file in [None, Some(path)] {
            let error = chosen(&wanted(Kind::Llm, file, None), &[path]).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::InvalidModel, "{path}: {error}");
        }
    }
}
