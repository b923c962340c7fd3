//! Texts to tokens and back, and what models say of themselves.
#![cfg(feature = "llama")]

#[path = "support/dice.rs"]
mod dice;
mod support;

use dice::Dice;
use fluid::ffi::*;
use serde_json::{json, Value};
use support::{alone, model_path, smollm2, Engine, Model};

fn tokenize(model: &Model, request: Value) -> Value {
    model.try_tokenize(&request).unwrap_or_else(|(_, error)| panic!("{request}: {error}"))
}

fn detokenize(model: &Model, tokens: &Value) -> String {
    let request = json!({"tokens": tokens});
    let text = model.try_detokenize(&request).unwrap_or_else(|(_, error)| panic!("{error}"));
    text["content"].as_str().expect("a text").to_owned()
}

/// Bytes of UTF-8 that SmolLM2's vocabulary lacks; llama.cpp leaves them out of a text.
const WITHOUT_TOKEN: [u8; 8] = [0x04, 0x06, 0x13, 0x14, 0x16, 0x1d, 0xf1, 0xf2];

fn has_tokens(character: &char) -> bool {
    let mut bytes = [0; 4];
    character.encode_utf8(&mut bytes).bytes().all(|byte| !WITHOUT_TOKEN.contains(&byte))
}

/// A text of characters of all scripts and sizes.
fn random_text(dice: &mut Dice) -> String {
    let count = 1 + dice.below(40);
    let character = |dice: &mut Dice| match dice.below(6) {
        0 => char::from_u32(dice.below(128) as u32),
        1 => char::from_u32(0x80 + dice.below(0x780) as u32),
        2 => char::from_u32(0x4e00 + dice.below(0x5000) as u32),
        3 => char::from_u32(0x1f300 + dice.below(0x300) as u32),
        4 => Some(' '),
        _ => char::from_u32(dice.below(0x11_0000) as u32),
    };
    let characters = (0..count).filter_map(|_| character(dice).filter(has_tokens));
    characters.collect()
}

#[test]
fn any_text_comes_back() {
    let _alone = alone();
    let mut dice = Dice::new(11);
    for _ in 0..500 {
        let text = random_text(&mut dice);
        let tokens = tokenize(smollm2(), json!({"content": text, "parse_special": false}));
        let ids = tokens["tokens"].as_array().expect("tokens");
        assert_eq!(tokens["count"], ids.len());
        assert_eq!(detokenize(smollm2(), &tokens["tokens"]), text);
        // Piece by piece, as texts or as bytes.
        let pieces = tokenize(
            smollm2(),
            json!({"content": text, "parse_special": false, "with_pieces": true}),
        );
        let pieces = pieces["tokens"].as_array().expect("tokens").iter();
        let bytes = pieces.flat_map(|token| match &token["piece"] {
            Value::String(text) => text.clone().into_bytes(),
            bytes => serde_json::from_value(bytes.clone()).expect("bytes"),
        });
        assert_eq!(String::from_utf8(bytes.collect()).expect("UTF-8"), text);
    }
}

#[test]
fn special_tokens_are_read_and_spelled_on_request() {
    let _alone = alone();
    let text = "<|im_start|>user";
    let parsed = tokenize(smollm2(), json!({"content": text}));
    assert_eq!(parsed["tokens"][0], 1);
    assert_eq!(detokenize(smollm2(), &parsed["tokens"]), text);
    let hidden = json!({"tokens": parsed["tokens"], "special": false});
    assert_eq!(smollm2().try_detokenize(&hidden).expect("a text")["content"], "user");
    let plain = tokenize(smollm2(), json!({"content": text, "parse_special": false}));
    assert!(plain["count"].as_u64() > parsed["count"].as_u64());
    assert_eq!(detokenize(smollm2(), &plain["tokens"]), text);
    let engine = Engine::new("");
    let bert = engine.load(&model_path("minilm-gguf/q8_0.gguf"), r#"{"n_threads": 1}"#);
    let wrapped = tokenize(&bert, json!({"content": "Hello, World", "add_special": true}));
    assert_eq!(wrapped["tokens"], json!([101, 7592, 1010, 2088, 102]));
    assert_eq!(detokenize(&bert, &wrapped["tokens"]), "[CLS] hello , world[SEP]");
    assert_eq!(tokenize(&bert, json!({"content": ""}))["count"], 0);
}

#[test]
fn a_chat_costs_what_a_generation_says() {
    let _alone = alone();
    let chat = json!({"messages": [{"role": "user", "content": "What is 2 + 2?"}]});
    let tokens = tokenize(smollm2(), chat.clone());
    let prompt = tokens["prompt"].as_str().expect("the rendered chat");
    assert!(prompt.ends_with("<|im_start|>assistant\n"), "{prompt}");
    let mut request = chat;
    request["max_tokens"] = json!(0);
    let answer = smollm2().answer(&request);
    assert_eq!(answer.json["usage"]["prompt_tokens"], tokens["count"]);
    let (status, error) =
        smollm2().try_tokenize(&json!({"messages": [{"role": "king"}]})).expect_err("no role");
    assert_eq!(status, FLUID_ERROR_INVALID_REQUEST);
    assert!(error.contains("messages[0].role"), "{error}");
}

#[test]
fn texts_of_one_endless_word() {
    let _alone = alone();
    // Some tokenisers recurse for each character: such words get a stack of their own.
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let work = || {
        let word = "x".repeat(60_000);
        let tokens = tokenize(smollm2(), json!({"content": word}));
        assert_eq!(detokenize(smollm2(), &tokens["tokens"]), word);
        let longer = json!({"content": "x".repeat(70_000)});
        let (status, error) = smollm2().try_tokenize(&longer).expect_err("too long");
        assert_eq!(status, FLUID_ERROR_INVALID_REQUEST);
        assert!(error.starts_with("content: has a word of 70000 characters"), "{error}");
    };
    small.spawn(work).expect("a thread").join().expect("no panic");
}

#[test]
fn models_say_what_they_are() {
    let _alone = alone();
    let info = smollm2().info();
    assert_eq!(info["capabilities"], json!(["generate", "tokenize"]));
    let sizes = ["vocabulary", "embedding_length", "layers", "heads", "heads_kv"];
    assert_eq!(sizes.map(|name| info[name].as_u64()), [49_152, 576, 30, 9, 3].map(Some));
    assert_eq!(info["special_tokens"]["bos"], info["bos_token"]);
    assert!(info["file_bytes"].as_u64() > Some(90_000_000));
    let engine = Engine::new("");
    let bert = engine.load(&model_path("minilm-gguf/f16.gguf"), r#"{"n_threads": 1}"#);
    let info = bert.info();
    assert_eq!(info["capabilities"], json!(["embed", "tokenize"]));
    let sizes =
        ["vocabulary", "embedding_length", "dimensions", "layers", "heads", "context_length"];
    assert_eq!(sizes.map(|name| info[name].as_u64()), [30_522, 384, 384, 6, 12, 512].map(Some));
    assert_eq!((&info["pooling"], &info["quantization"]), (&json!("mean"), &json!("F16")));
    assert_eq!(info["general"]["license"], "apache-2.0");
    let special = &info["special_tokens"];
    assert_eq!(
        ["cls", "separator", "unknown", "mask"].map(|name| special[name].as_u64()),
        [101, 102, 100, 103].map(Some)
    );
}

#[test]
fn speech_models_have_no_such_words() {
    let _alone = alone();
    let engine = Engine::new("");
    let model = engine.load(&model_path("tiny-random-whisper-128"), "");
    assert_eq!(model.info()["capabilities"], json!(["transcribe"]));
    let (status, error) = model.try_tokenize(&json!({"content": "a"})).expect_err("speech");
    assert_eq!(status, FLUID_ERROR_UNSUPPORTED);
    assert!(error.contains("fluid_transcribe"), "{error}");
    assert_eq!(model.try_embed(&json!({"input": "a"})).status, FLUID_ERROR_UNSUPPORTED);
}
