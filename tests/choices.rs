//! What a request can ask of an answer beside its text: several choices, log-probabilities, the
//! prompt before it, a text behind it, what it may not say, and how long it must be.
#![cfg(all(feature = "llama", feature = "fake"))]

mod support;

use std::collections::BTreeSet;

use fluid::ffi::{FLUID_CANCELLED, FLUID_EVENT_TOKEN};
use serde_json::{json, Value};
use support::greedy::{cached, smollm2_subject};
use support::llama::{sequence, Plain};
use support::vocabulary::Vocabulary;
use support::{
    alone, model_path, smollm2, smollm2_path, text_of, tries, Answer, Engine, Event, Job, PROMPTS,
};

/// Log-probabilities of llama.cpp's logits, and ours of the same, differ by less.
const CLOSE: f64 = 1e-3;

fn plain() -> Plain {
    // The library has to start llama.cpp first.
    let _model = smollm2();
    Plain::load(&smollm2_path(), 2_048, 1, 1)
}

/// The text and the tokens of choice `index`, of which the result and the events must agree.
fn choice(answer: &Answer, index: usize) -> (String, Vec<u32>) {
    let events: Vec<Event> =
        answer.events.iter().filter(|event| event.choice == index as i32).cloned().collect();
    let result = &answer.json["choices"][index];
    assert_eq!(result["index"], index);
    let text = text_of(&events);
    assert_eq!(result["text"], json!(text), "stream and result differ");
    (text, support::tokens_of(&events))
}

// --- several choices ---

#[test]
fn choices_are_the_answers_to_the_following_seeds() {
    let _turn = alone();
    let engine = Engine::new("");
    // One slot: batches of the same shapes, so the same logits, and choices that wait for it.
    let model = engine.load(&smollm2_path(), r#"{"n_parallel": 1, "n_ctx": 512, "n_threads": 1}"#);
    let request = |seed: u64, n: usize| {
        json!({"prompt": "The old man and the little girl looked at the sea and", "max_tokens": 16,
            "temperature": 1.2, "seed": seed, "n": n})
    };
    let _warm = model.answer(&request(0, 1));
    let together = model.answer(&request(11, 4));
    let mut texts = BTreeSet::new();
    for index in 0..4 {
        let single = model.answer(&request(11 + index as u64, 1));
        let (text, tokens) = choice(&together, index);
        assert_eq!((text.clone(), tokens), choice(&single, 0), "choice {index}");
        texts.insert(text);
    }
    assert!(texts.len() > 2, "{texts:?}");
    let usage = &together.json["usage"];
    assert_eq!(usage["prompt_tokens"], model.answer(&request(0, 1)).json["usage"]["prompt_tokens"]);
    assert_eq!(usage["completion_tokens"], 64);
    assert_eq!(together.json["seed"], 11);
}

#[test]
fn greedy_choices_are_alike_and_share_the_prompt() {
    let _turn = alone();
    let prompt = "One day, a fox who lived in the forest by the river met a bear, and the fox said";
    let mut judge = smollm2_subject().judge();
    for cache_prompt in [false, true] {
        let request = json!({"prompt": prompt, "max_tokens": 12, "temperature": 0, "n": 4,
            "cache_prompt": cache_prompt});
        let answer = smollm2().answer(&request);
        let prompt = judge.plain.tokenize(prompt, true);
        let expected = judge.plain.greedy(&prompt, 12);
        for index in 0..4 {
            let (_, tokens) = choice(&answer, index);
            judge.same(&prompt, &expected, &tokens, false);
        }
        assert_eq!(answer.json["usage"]["prompt_tokens"], prompt.len());
        assert!(cached(&answer.json) < prompt.len());
    }
}

#[test]
fn choices_wait_for_slots_and_the_job_has_one_end() {
    let engine = Engine::new(r#"{"event_queue": 2}"#);
    for script in [r#"fake:{"hashed": true}"#, r#"fake:{"hashed": true, "recurrent": true}"#] {
        let model = engine.load(script, r#"{"n_parallel": 2, "n_ctx": 256}"#);
        let prompt = "a prompt of some length, worth keeping";
        let single = model.answer(&json!({"prompt": prompt, "max_tokens": 20}));
        for (n, options) in [(1, json!({})), (5, json!({})), (5, json!({"cache_prompt": false}))] {
            let mut request = json!({"prompt": prompt, "max_tokens": 20, "n": n});
            request
                .as_object_mut()
                .expect("an object")
                .extend(options.as_object().expect("an object").clone());
            let answer = model.answer(&request);
            for index in 0..n {
                assert_eq!(choice(&answer, index), choice(&single, 0), "{script}, {n}");
                assert_eq!(answer.json["choices"][index]["finish_reason"], "length");
            }
            assert_eq!(answer.json["usage"]["prompt_tokens"], prompt.len());
            assert_eq!(answer.json["usage"]["completion_tokens"], 20 * n);
        }
        let empty = model.answer(&json!({"prompt": prompt, "max_tokens": 0, "n": 3}));
        assert_eq!(empty.json["choices"].as_array().map(Vec::len), Some(3));
    }
}

#[test]
fn a_cancel_ends_all_choices_at_once() {
    let engine = Engine::new(r#"{"event_queue": 4}"#);
    let model = engine.load(r#"fake:{"hashed": true, "token_us": 200}"#, r#"{"n_parallel": 3}"#);
    for read in [0, 1, 7, 30] {
        let job = model.start(&json!({"prompt": "abc", "max_tokens": 100, "n": 7}));
        (0..read).for_each(|_| drop(job.next_token()));
        job.cancel();
        check_cut(&job, 7);
    }
    // Others go on, whether or not anybody reads the choices.
    let slow = model.start(&json!({"prompt": "abc", "max_tokens": 100, "n": 7}));
    let other = model.answer(&json!({"prompt": "other", "max_tokens": 5}));
    assert_eq!(other.tokens().len(), 5);
    slow.cancel();
    check_cut(&slow, 7);
    let failing =
        engine.load(r#"fake:{"reply": "abcdefgh", "error_at": 4}"#, r#"{"n_parallel": 2}"#);
    let failed = failing.generate(&json!({"prompt": "x", "n": 5}));
    assert!(failed.error.contains("the fake script asks for an error"), "{}", failed.error);
}

/// The job ends once, as cancelled, with all its choices in the result.
fn check_cut(job: &Job, n: usize) {
    let events = job.read();
    assert_eq!(events.last().map(|event| event.status), Some(FLUID_CANCELLED));
    let json = job.json();
    let choices = json["choices"].as_array().expect("choices");
    assert_eq!(choices.len(), n);
    assert!(choices.iter().all(|choice| choice["finish_reason"].is_string()), "{json}");
    assert!(choices.iter().any(|choice| choice["finish_reason"] == "cancelled"), "{json}");
}

// --- log-probabilities ---

/// Log-probabilities of all tokens.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit - max) - sum.ln()).collect()
}

fn assert_close(value: &Value, expected: f64, what: &str) {
    let value = value.as_f64().unwrap_or(f64::NAN);
    assert!((value - expected).abs() < CLOSE, "{what}: {value}, llama.cpp has {expected}");
}

#[test]
fn log_probabilities_of_a_chat_are_those_of_the_raw_logits() {
    let _turn = alone();
    let mut plain = plain();
    let vocabulary = Vocabulary::read(&smollm2_path());
    let answer = smollm2().answer(&json!({
        "messages": [{"role": "user", "content": "Schreibe „Grüße“ an 東京!"}],
        "max_tokens": 24, "seed": 5, "temperature": 1.3, "repeat_penalty": 1.3,
        "logit_bias": {"e": 3}, "logprobs": true, "top_logprobs": 4, "cache_prompt": false,
    }));
    let prompt = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nSchreibe „Grüße“ an 東京!<|im_end|>\n<|im_start|>assistant\n";
    let prompt = plain.tokenize(prompt, false);
    assert_eq!(answer.json["usage"]["prompt_tokens"], prompt.len());
    let entries = answer.json["choices"][0]["logprobs"]["content"].as_array().expect("entries");
    let events: Vec<&Event> = answer.events.iter().filter(|event| event.token.is_some()).collect();
    assert_eq!((entries.len(), events.len()), (answer.tokens().len(), entries.len()));
    plain.decode(&sequence(&prompt, 0, 0));
    for (index, (entry, event)) in entries.iter().zip(events).enumerate() {
        let expected = log_softmax(plain.last_logits());
        let token = event.token.expect("a token");
        assert_close(&entry["logprob"], expected[token as usize], "drawn");
        assert_eq!(entry["bytes"], json!(vocabulary.bytes(&[token])));
        assert_eq!(entry["token"], json!(vocabulary.text(&[token])));
        assert_eq!(event.logprob, entry["logprob"].as_f64().expect("a number") as f32);
        let delta: Value = serde_json::from_str(&event.json).expect("JSON");
        assert_eq!(delta, json!({"content": [entry], "refusal": null}));
        check_top(&entry["top_logprobs"], &expected, &vocabulary);
        plain.decode(&sequence(&[token], 0, prompt.len() + index));
    }
}

/// Whether `top` are the four likeliest tokens.
fn check_top(top: &Value, expected: &[f64], vocabulary: &Vocabulary) {
    let mut order: Vec<usize> = (0..expected.len()).collect();
    order.sort_by(|&a, &b| expected[b].total_cmp(&expected[a]));
    let top = top.as_array().expect("an array");
    assert_eq!(top.len(), 4);
    for (entry, &token) in top.iter().zip(&order) {
        assert_close(&entry["logprob"], expected[token], "one of the likeliest");
        assert_eq!(entry["bytes"], json!(vocabulary.bytes(&[token as u32])));
    }
}

#[test]
fn an_echoed_prompt_is_scored_token_by_token() {
    let _turn = alone();
    let mut plain = plain();
    let text = "The quick brown fox jumps over the lazy dog – naïve, isn't it? Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 1, 2, 3, 4, 5, 6 and so on.";
    let prompt = plain.tokenize(text, true);
    assert!(prompt.len() > 45, "{}", prompt.len());
    let expected = prompt_log_probabilities(&mut plain, &prompt);
    for (max_tokens, n) in [(0, 1), (6, 1), (6, 3), (0, 3)] {
        let answer = smollm2().answer(&json!({"prompt": text, "max_tokens": max_tokens, "n": n,
            "temperature": 0, "echo": true, "logprobs": 2}));
        for index in 0..n {
            let (all, tokens) = choice(&answer, index);
            assert!(all.starts_with(text), "{all:?}");
            assert_eq!(tokens.len(), max_tokens);
            let logprobs = &answer.json["choices"][index]["logprobs"];
            check_echo(logprobs, &all, &prompt, &expected);
            assert_eq!(
                logprobs["tokens"].as_array().map(Vec::len),
                Some(prompt.len() + max_tokens)
            );
        }
    }
    let plainly = smollm2().answer(&json!({"prompt": prompt, "max_tokens": 0, "echo": true}));
    assert_eq!(plainly.json["choices"][0]["text"], json!(text));
    assert_eq!(plainly.json["choices"][0]["logprobs"], Value::Null);
}

/// Of each token but the first, computed in batches of the library's shape.
fn prompt_log_probabilities(plain: &mut Plain, prompt: &[u32]) -> Vec<f64> {
    // Thirty-two outputs beside one for each of four slots.
    const OUTPUTS: usize = 36;
    plain.forget(0);
    let mut all = Vec::new();
    for (index, chunk) in prompt.chunks(OUTPUTS).enumerate() {
        let start = index * OUTPUTS;
        plain.decode_for(&sequence(chunk, 0, start), &vec![1; chunk.len()]);
        for row in 0..chunk.len().min(prompt.len() - 1 - start) {
            let next = prompt[start + row + 1];
            all.push(log_softmax(plain.logits(row as i32))[next as usize]);
        }
    }
    all
}

fn check_echo(logprobs: &Value, text: &str, prompt: &[u32], expected: &[f64]) {
    let values = logprobs["token_logprobs"].as_array().expect("an array");
    assert_eq!(values[0], Value::Null);
    for (value, &expected) in values[1..].iter().zip(expected) {
        assert_close(value, expected, "a token of the prompt");
    }
    let tops = logprobs["top_logprobs"].as_array().expect("an array");
    assert_eq!(tops[0], Value::Null);
    // The token itself beside the two likeliest; parts of characters have one text.
    assert!(tops[1..].iter().all(|top| (1..=3).contains(&top.as_object().map_or(0, |m| m.len()))));
    assert!(prompt.len() <= values.len());
    let tokens = logprobs["tokens"].as_array().expect("an array");
    let offsets = logprobs["text_offset"].as_array().expect("an array");
    let characters: Vec<char> = text.chars().collect();
    for (token, offset) in tokens.iter().zip(offsets) {
        let token = token.as_str().expect("a text");
        if !token.contains('\u{fffd}') {
            let there = &characters[offset.as_u64().expect("a number") as usize..];
            assert!(there.iter().copied().zip(token.chars()).all(|(a, b)| a == b), "{token:?}");
        }
    }
}

// --- what may not be said ---

#[test]
fn banned_strings_never_appear() {
    let _turn = alone();
    let banned = [" the ", "and", "e.", "\n", "ing", " was a"];
    let mut seen = 0;
    for (round, prompt) in PROMPTS.iter().cycle().take(tries(5, 10)).enumerate() {
        let request = |strings: &[&str]| {
            json!({"prompt": prompt, "max_tokens": 8, "temperature": 1.1, "seed": 100 * round,
                "n": 20, "banned_strings": strings})
        };
        let answer = smollm2().answer(&request(&banned));
        for index in 0..20 {
            let (text, _) = choice(&answer, index);
            for string in banned {
                assert!(!text.contains(string), "{string:?} in {text:?}");
            }
        }
        if round == 0 {
            let free = smollm2().answer(&request(&[]));
            seen = (0..20).filter(|&index| choice(&free, index).0.contains(" the ")).count();
        }
    }
    assert!(seen > 0, "the model would not have said it anyway");
}

#[test]
fn ends_wait_for_min_tokens_and_ignore_eos() {
    let _turn = alone();
    let ask = |fields: Value| {
        let mut request = json!({"prompt": "The sea is", "max_tokens": 12, "temperature": 0});
        request
            .as_object_mut()
            .expect("an object")
            .extend(fields.as_object().expect("one").clone());
        let answer = smollm2().answer(&request);
        (answer.tokens().len(), answer.finish_reason().to_owned(), answer.text())
    };
    let end = json!({"<|im_end|>": 100});
    let ended = |count, reason: &str| (count, reason.to_owned());
    let both = |(count, reason, _): (usize, String, String)| (count, reason);
    assert_eq!(both(ask(json!({"logit_bias": end}))), ended(0, "stop"));
    assert_eq!(both(ask(json!({"logit_bias": end, "min_tokens": 5}))), ended(5, "stop"));
    assert_eq!(both(ask(json!({"logit_bias": end, "ignore_eos": true}))), ended(12, "length"));
    let (count, reason, text) = ask(json!({"stop": [" "], "min_tokens": 5}));
    assert!(count > 5 && text.trim_start().contains(' ') && reason == "stop", "{count}: {text:?}");
    assert_eq!(ask(json!({"stop": [" "]})).0, 1);
}

#[test]
fn texts_are_biased_token_by_token() {
    let _turn = alone();
    let ask = |bias: Value| {
        let request =
            json!({"prompt": "Once", "max_tokens": 4, "temperature": 0, "logit_bias": bias});
        smollm2().answer(&request)
    };
    let token = plain().tokenize(" Paris", false);
    assert_eq!(token.len(), 1);
    let by_id = json!({token[0].to_string(): 100});
    for bias in [by_id, json!({" Paris": 100}), json!([[" Paris", 100]]), json!([[token[0], 100]])]
    {
        assert_eq!(ask(bias).text(), " Paris Paris Paris Paris");
    }
    let free = ask(json!({})).tokens();
    let without = ask(json!([[free[0], false]])).tokens();
    assert!(!without.contains(&free[0]));
}

// --- a text between two others ---

#[test]
fn a_suffix_stands_behind_the_tokens_for_it() {
    let _turn = alone();
    let engine = Engine::new("");
    let model = engine.load(&model_path("tiny-random-gguf/infill.gguf"), r#"{"n_threads": 1}"#);
    let plain = plain();
    let (before, after) = ("def add(a, b):\n", "\nprint(add(1, 2))\n");
    let request = |prompt: Value| json!({"prompt": prompt, "max_tokens": 8, "temperature": 0});
    let mut infill = request(json!(before));
    infill["suffix"] = json!(after);
    let (front, behind) = (plain.tokenize(before, false), plain.tokenize(after, false));
    // As tools/tiny_gguf.py has them.
    let tokens = [&[8][..], &front, &[9], &behind, &[10]].concat();
    let answer = model.answer(&infill);
    assert_eq!(answer.json["usage"]["prompt_tokens"], tokens.len());
    assert_eq!(answer.tokens(), model.answer(&request(json!(tokens))).tokens());
    let refused = smollm2().generate(&infill);
    assert!(refused.error.starts_with("suffix: "), "{}", refused.error);
    assert_eq!(support::status_name(refused.status), "FLUID_ERROR_UNSUPPORTED");
}

#[test]
fn events_say_which_choice_they_are_of() {
    let engine = Engine::new("");
    let model = engine.load(r#"fake:{"reply": "abcdef"}"#, r#"{"n_parallel": 3}"#);
    let answer = model.answer(&json!({"prompt": "x", "n": 3, "logprobs": 1}));
    for index in 0..3 {
        let of_choice = |event: &&Event| event.choice == index && event.kind == FLUID_EVENT_TOKEN;
        let events: Vec<&Event> = answer.events.iter().filter(of_choice).collect();
        assert_eq!(events.iter().filter(|event| event.token.is_some()).count(), 6);
        // One token has the logit 50 above all others.
        assert!(events.iter().all(|event| event.token.is_none() || event.logprob.abs() < 1e-6));
    }
}
