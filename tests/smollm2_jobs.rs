//! Many jobs on SmolLM2: side by side, stopped in time, refused where they do not fit.
#![cfg(feature = "llama")]

mod support;

use std::sync::OnceLock;

use fluid::ffi::*;
use serde_json::{json, Value};
use support::{alone, smollm2, smollm2_path, status_name, text_of, Engine, Job, Model, PROMPTS};

fn greedy(prompt: &str) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": 24})
}

/// The answers to [`PROMPTS`], each computed alone.
fn texts() -> &'static [String] {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        PROMPTS.iter().map(|prompt| smollm2().answer(&greedy(prompt)).text()).collect()
    })
}

/// A request that goes on until it is stopped.
fn endless() -> Value {
    json!({"prompt": "Count: 1, 2, 3,", "temperature": 0, "logit_bias": {"0": -100, "2": -100}})
}

#[test]
fn two_jobs_both_speak_before_either_ends() {
    let _turn = alone();
    let narrow = Engine::new("");
    for options in [
        r#"{"n_parallel": 2, "n_ctx": 256, "n_threads": 1}"#,
        r#"{"n_parallel": 2, "n_ctx": 256, "n_threads": 1, "n_ubatch": 1}"#,
    ] {
        let model = narrow.load(&smollm2_path(), options);
        let jobs = [model.start(&endless()), model.start(&endless())];
        for _ in 0..4 {
            for job in &jobs {
                job.next_token();
            }
        }
        for job in &jobs {
            job.cancel();
        }
        for job in &jobs {
            let end = job.read().pop().expect("a final event");
            assert_eq!(status_name(end.status), "FLUID_CANCELLED", "{options}");
        }
    }
}

#[test]
fn eight_jobs_in_four_slots_say_what_each_says_alone() {
    let _turn = alone();
    let texts = texts();
    let jobs: Vec<Job> = PROMPTS.iter().map(|prompt| smollm2().start(&greedy(prompt))).collect();
    for (job, expected) in jobs.iter().zip(texts) {
        assert_eq!(text_of(&job.read()), *expected);
    }
}

#[test]
fn a_seed_gives_the_same_text_beside_other_jobs() {
    let _turn = alone();
    let request =
        json!({"prompt": "My favourite animal", "temperature": 1, "seed": 7, "max_tokens": 40});
    let alone = smollm2().answer(&request).text();
    let others = [smollm2().start(&endless()), smollm2().start(&endless())];
    for job in &others {
        job.next_token();
    }
    assert_eq!(smollm2().answer(&request).text(), alone);
    for job in &others {
        job.cancel();
        assert_eq!(job.read().pop().expect("a final event").status, FLUID_CANCELLED);
    }
}

#[test]
fn a_reader_that_pauses_stops_nobody_else() {
    let _turn = alone();
    let texts = texts();
    let engine = Engine::new(r#"{"event_queue": 3}"#);
    let model = engine.load(&smollm2_path(), r#"{"n_parallel": 2, "n_ctx": 256, "n_threads": 1}"#);
    let paused = model.start(&greedy(PROMPTS[0]));
    for (prompt, expected) in PROMPTS.iter().zip(texts).skip(1).take(3) {
        assert_eq!(model.answer(&greedy(prompt)).text(), *expected);
    }
    let mut json = std::ptr::null();
    // SAFETY: a place for the pointer.
    let status = unsafe { fluid_job_json(paused.raw(), &mut json) };
    assert_eq!(status_name(status), "FLUID_ERROR_BUSY", "its reader has read nothing");
    assert_eq!(text_of(&paused.read()), texts[0]);
}

#[test]
fn prompts_longer_than_the_context_name_both_numbers() {
    let _turn = alone();
    let answer = smollm2().generate(&json!({"prompt": vec![1000; 3_000]}));
    assert_eq!(status_name(answer.status), "FLUID_ERROR_CONTEXT_OVERFLOW");
    assert!(answer.error.contains("3000") && answer.error.contains("2048"), "{}", answer.error);
    assert_eq!(answer.events.last().map(|end| end.text.as_str()), Some(answer.error.as_str()));
    let answer = smollm2().generate(&json!({"prompt": "word ".repeat(2_500)}));
    assert_eq!(status_name(answer.status), "FLUID_ERROR_CONTEXT_OVERFLOW");
    assert!(answer.error.contains("250") && answer.error.contains("2048"), "{}", answer.error);
    // The last one that fits: one token, and the context is full.
    let answer = smollm2().answer(
        &json!({"prompt": vec![1000; 2_047], "temperature": 0, "logit_bias": {"1000": 100}}),
    );
    assert_eq!((answer.tokens().as_slice(), answer.finish_reason()), ([1000].as_slice(), "length"));
}

#[test]
fn wrong_requests_are_refused_and_the_model_goes_on() {
    let _turn = alone();
    for (field, value, path) in [
        ("max_tokens", json!(-1), "max_tokens: "),
        ("max_completion_tokens", json!(-5), "max_completion_tokens: "),
        ("temperature", json!(-0.5), "temperature: "),
        ("top_p", json!(2), "top_p: "),
        ("top_k", json!(-1), "top_k: "),
        ("logit_bias", json!({"49152": 1}), "logit_bias.49152: "),
        ("prompt", json!([49152]), "prompt[0]: "),
        ("prompt", json!(""), "prompt: "),
        ("deadline_ms", json!(-1), "deadline_ms: "),
    ] {
        let mut request = greedy("Go");
        request[field] = value;
        let answer = smollm2().generate(&request);
        assert_eq!(status_name(answer.status), "FLUID_ERROR_INVALID_REQUEST", "{request}");
        assert!(answer.error.starts_with(path), "{request}: {}", answer.error);
    }
    assert_eq!(smollm2().answer(&greedy(PROMPTS[0])).text(), texts()[0]);
}

#[test]
fn two_engines_hold_the_same_model_at_the_same_time() {
    let _turn = alone();
    let texts = texts();
    let options = r#"{"n_parallel": 1, "n_ctx": 256, "n_threads": 1}"#;
    let engines = [Engine::new(""), Engine::new("")];
    let models: Vec<Model> =
        engines.iter().map(|engine| engine.load(&smollm2_path(), options)).collect();
    let twin = engines[0].load(&smollm2_path(), options);
    let jobs: Vec<Job> =
        models.iter().chain([&twin]).map(|model| model.start(&greedy(PROMPTS[1]))).collect();
    for job in &jobs {
        assert_eq!(text_of(&job.read()), texts[1]);
    }
    let job = models[1].start(&greedy(PROMPTS[2]));
    let [first, _second] = engines;
    // Nothing of the other engine is touched.
    assert_eq!(fluid_engine_free(first.into_raw()), FLUID_OK);
    assert_eq!(text_of(&job.read()), texts[2]);
}

#[test]
fn the_model_describes_itself() {
    let _turn = alone();
    let info = smollm2().info();
    let file = std::fs::metadata(smollm2_path()).expect("a file");
    for (key, value) in [
        ("name", json!("SmolLM2-135M-Instruct.Q4_1")),
        ("path", json!(smollm2_path())),
        ("architecture", json!("llama")),
        ("parameters", json!(134_515_008)),
        ("file_bytes", json!(file.len())),
        ("quantization", json!("Q4_1")),
        ("context_length", json!(2_048)),
        ("context_length_trained", json!(8_192)),
        ("n_parallel", json!(4)),
        ("backend", json!("llama.cpp")),
        ("device", json!("CPU")),
        ("threads", json!(1)),
        ("vocabulary", json!(49_152)),
        ("layers", json!(30)),
        ("embedding_length", json!(576)),
    ] {
        assert_eq!(info[key], value, "{key}");
    }
    let weights = info["weights_bytes"].as_u64().expect("a number");
    assert!(weights < file.len() && weights > file.len() * 9 / 10, "{weights}");
    let template = info["chat_template"].as_str().expect("a template");
    assert!(template.contains("<|im_start|>"), "{template}");
}
