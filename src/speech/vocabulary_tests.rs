//! The vocabulary of real models, of a small one, and of folders that are wrong.
#![forbid(unsafe_code)]

use std::time::Instant;

use serde_json::json;

use super::testing::{self, Files};
use super::vocabulary::Vocabulary;
use crate::error::{Error, ErrorKind};

fn read(files: &Files) -> Result<Vocabulary, Error> {
    Vocabulary::read(&files.write().0)
}

fn real() -> Vec<Vocabulary> {
    testing::real().iter().map(|folder| Vocabulary::read(folder).unwrap()).collect()
}

#[test]
fn real_models_have_whispers_ids() {
    for vocabulary in real() {
        let special = vocabulary.special();
        let english = u32::from(!vocabulary.is_multilingual());
        assert_eq!(special.eot, 50_257 - english);
        assert_eq!(special.sot, 50_258 - english);
        assert_eq!(special.translate, 50_358 - english);
        assert_eq!(special.transcribe, 50_359 - english);
        assert_eq!(special.start_of_prev, 50_361 - english);
        assert_eq!(special.no_speech, 50_362 - english);
        assert_eq!(special.timestamp_begin, 50_364 - english);
        assert_eq!(special.timestamp_count, 1501);
        assert_eq!(vocabulary.sizes().vocabulary, 51_865 - english);
        assert_eq!(vocabulary.prompt_limit(), 223);
        assert_eq!(vocabulary.languages().len(), if english == 1 { 1 } else { 99 });
        assert_eq!(vocabulary.language("English").unwrap().token, 50_259 - english);
        assert_eq!(vocabulary.language("de-AT").is_ok(), english == 0);
        assert_eq!(vocabulary.begin_suppressed(), [220, special.eot]);
        assert_eq!(vocabulary.alignment_heads().map(<[_]>::len), Some(8));
    }
}

// Ids as `transformers.WhisperTokenizer` and OpenAI's `tiktoken` encodings give them.
#[test]
fn real_models_encode_as_the_reference_does() {
    for vocabulary in real().iter().filter(|v| v.is_multilingual()) {
        let text = " And so my fellow Americans, ask not what your country can do for you.";
        let ids =
            [400, 370, 452, 7177, 6280, 11, 1029, 406, 437, 428, 1941, 393, 360, 337, 291, 13];
        assert_eq!(vocabulary.encode(text).unwrap(), ids);
        assert_eq!(vocabulary.decode(&ids), text);
        let timed = [&[50_364], &ids[..], &[50_744, 50_257]].concat();
        assert_eq!(vocabulary.decode(&timed), text);
        for text in ["Grüße, 世界! ♪ <|endoftext|> \u{1f600}\n\n  x", "", "  ", "it's we'll 123"]
        {
            assert_eq!(vocabulary.decode(&vocabulary.encode(text).unwrap()), text);
        }
        let marked = vocabulary.encode("<|en|>").unwrap();
        assert!(marked.iter().all(|&token| vocabulary.is_text(token)));
    }
}

// Without a list in its files, a model gets the list that its files have.
#[test]
fn derived_symbols_are_those_that_openai_lists() {
    for folder in testing::real() {
        let listed = Vocabulary::read(&folder).unwrap();
        let mut files = Files::small();
        for (name, value) in [
            ("config.json", &mut files.config),
            ("generation_config.json", &mut files.generation),
            ("tokenizer.json", &mut files.tokenizer),
        ] {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            *value = serde_json::from_slice(&bytes).unwrap();
        }
        for key in ["suppress_tokens", "begin_suppress_tokens"] {
            files.generation[key] = json!(null);
            files.config[key] = json!(null);
        }
        let derived = read(&files).unwrap();
        let text = |v: &Vocabulary| -> Vec<u32> {
            v.suppressed().iter().copied().filter(|&token| v.is_text(token)).collect()
        };
        assert_eq!(text(&derived), text(&listed));
        assert!(text(&derived).len() > 80);
        assert_eq!(derived.begin_suppressed(), listed.begin_suppressed());
    }
}

#[test]
fn loading_is_quick() {
    for folder in testing::real() {
        let start = Instant::now();
        Vocabulary::read(&folder).unwrap();
        // 0.1 s on an idle core; other tests run beside this one.
        assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
    }
}

#[test]
fn the_small_vocabulary_reads() {
    let vocabulary = testing::small();
    assert_eq!(vocabulary.decode(&vocabulary.encode(" hello wé").unwrap()), " hello wé");
    assert_eq!(vocabulary.encode(" hello").unwrap().len(), 1);
    let codes: Vec<&str> = vocabulary.languages().iter().map(|l| &*l.code).collect();
    assert_eq!(codes, ["en", "fr", "ja", "yue"]);
    assert_eq!(vocabulary.language("Cantonese").unwrap().code, "yue");
    assert!(vocabulary.language("ja").unwrap().has_no_spaces());
    let error = vocabulary.language("Klingon").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().contains("Klingon") && error.message().contains("en, fr"));
    assert_eq!(vocabulary.alignment_heads(), Some(&[(0, 3), (1, 0)][..]));
    assert_eq!(vocabulary.max_initial_timestamp(), 50);
}

#[test]
fn cut_characters_are_left_out_at_the_end_and_marked_within() {
    let vocabulary = testing::small();
    let euro = vocabulary.encode("€").unwrap();
    assert_eq!(euro.len(), 3);
    let a = vocabulary.encode("a").unwrap();
    assert_eq!(vocabulary.decode(&[&a[..], &euro[..2]].concat()), "a");
    assert_eq!(vocabulary.decode(&[&euro[..2], &a[..]].concat()), "\u{fffd}a");
    assert_eq!(vocabulary.decode(&[&a[..], &euro[1..2]].concat()), "a\u{fffd}");
    assert_eq!(vocabulary.decode(&[u32::MAX, vocabulary.special().timestamp_begin]), "");
}

#[test]
fn missing_and_cut_files_are_named() {
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        let folder = Files::small().write();
        let path = folder.0.join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = Vocabulary::read(&folder.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
        assert!(error.message().contains(name), "{error}");
        std::fs::write(&path, "[1]").unwrap();
        assert_eq!(Vocabulary::read(&folder.0).unwrap_err().kind(), ErrorKind::InvalidModel);
        std::fs::remove_file(&path).unwrap();
        let error = Vocabulary::read(&folder.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn files_at_odds_with_each_other_are_refused() {
    type Change = fn(&mut Files);
    let changes: [(&str, Change); 14] = [
        ("vocab_size", |f| f.config["vocab_size"] = json!(0)),
        ("vocab_size", |f| f.config["vocab_size"] = json!(1u64 << 40)),
        ("added_tokens", |f| f.config["vocab_size"] = json!(270)),
        ("id", |f| f.config["vocab_size"] = json!(200)),
        ("num_mel_bins", |f| f.config["num_mel_bins"] = json!("80")),
        ("max_target_positions", |f| f.config["max_target_positions"] = json!(null)),
        ("suppress_tokens", |f| f.generation["suppress_tokens"] = json!([1, 99999])),
        ("alignment_heads", |f| f.generation["alignment_heads"] = json!([[2, 0]])),
        ("added_tokens", |f| f.tokenizer["added_tokens"] = json!(null)),
        ("<|endoftext|>", |f| {
            f.tokenizer["added_tokens"] = json!([{"id":270,"content":"<|notimestamps|>"}])
        }),
        ("model.vocab", |f| f.tokenizer["model"]["vocab"] = json!([])),
        ("two tokens", |f| f.tokenizer["model"]["vocab"]["new"] = json!(3)),
        ("merges", |f| f.tokenizer["model"]["merges"] = json!(["h h"])),
        ("Unigram", |f| f.tokenizer["model"]["type"] = json!("Unigram")),
    ];
    for (named, change) in changes {
        let mut files = Files::small();
        change(&mut files);
        let error = read(&files).expect_err(named);
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
        assert!(error.message().contains(named), "{named}: {error}");
    }
}

// The `tokenizers` crate panics when a merge's result is longer than every token.
#[test]
fn merges_out_of_the_vocabulary_do_not_panic() {
    let mut files = Files::small();
    let longest = "Ġhello";
    files.tokenizer["model"]["merges"] = json!([[longest, longest]]);
    assert_eq!(read(&files).unwrap_err().kind(), ErrorKind::InvalidModel);
    files.tokenizer["model"]["merges"] = json!([["h"], "h", 3, ["h", "e", "l"]]);
    assert_eq!(read(&files).unwrap_err().kind(), ErrorKind::InvalidModel);
}

#[test]
fn both_spellings_of_merges_are_read() {
    let mut files = Files::small();
    let merges = testing::MERGES.iter().map(|(a, b)| json!(format!("{a} {b}"))).collect();
    files.tokenizer["model"]["merges"] = serde_json::Value::Array(merges);
    assert_eq!(read(&files).unwrap().encode(" hello").unwrap().len(), 1);
}

#[test]
fn long_and_odd_texts_encode_in_bounded_time() {
    let vocabulary = testing::small();
    let start = Instant::now();
    for text in ["a".repeat(300_000), " ".repeat(300_000), "\u{fffd}é".repeat(50_000)] {
        assert_eq!(vocabulary.decode(&vocabulary.encode(&text).unwrap()), text);
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

// A model file that was tampered with is read or refused, never a panic.
#[test]
fn mutated_tokenizers_do_no_harm() {
    let folder = Files::small().write();
    let path = folder.0.join("tokenizer.json");
    let whole = std::fs::read(&path).unwrap();
    let mut rng = crate::sampling::Rng::new(21);
    let mut refused = 0;
    for _ in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..1 + rng.next_u64() % 4 {
            let at = (rng.next_u64() % bytes.len() as u64) as usize;
            match rng.next_u64() % 3 {
                0 => bytes[at] = b"0123456789\"[]{},:x"[(rng.next_u64() % 18) as usize],
                1 => drop(bytes.drain(at..(at + 5).min(bytes.len() - 1))),
                _ => bytes.extend_from_within(at..(at + 20).min(bytes.len())),
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        match Vocabulary::read(&folder.0) {
            Ok(vocabulary) => drop(vocabulary.encode(" hello, w\u{1f600}").unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && refused < 400, "{refused}");
}
