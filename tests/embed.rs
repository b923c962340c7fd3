//! Vectors and scores of real models: against an independent computation, batched with others,
//! stopped, and asked for what cannot be.
#![cfg(feature = "llama")]

#[path = "support/gguf.rs"]
mod gguf;
mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fluid::ffi::*;
use serde_json::{json, Value};
use support::embed::cosine;
use support::{alone, model_path, smollm2_path, status_name, Engine, Event, Model};

/// On a busy machine one thread is faster than several that wait for each other.
const LOAD: &str = r#"{"n_threads": 1}"#;
/// Sums in another order, as other batches bring.
const ROUNDING: f64 = 1e-4;

fn minilm() -> &'static Model {
    static SHARED: OnceLock<(Engine, Model)> = OnceLock::new();
    let make = || {
        let engine = Engine::new("");
        let model = engine.load(&model_path("minilm-gguf/f16.gguf"), LOAD);
        (engine, model)
    };
    &SHARED.get_or_init(make).1
}

/// Vectors and scores by tools/reference_minilm.py.
fn reference() -> Value {
    serde_json::from_str(include_str!("data/minilm.json")).expect("JSON")
}

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().expect("an array");
    values.iter().map(|value| value.as_f64().expect("a number") as f32).collect()
}

/// Sentences of some thirty tokens, no two alike.
fn sentences(count: usize) -> Vec<String> {
    let sentence = |number: usize| {
        format!("Entry {number}: the {} ship sails past {} harbours and brings {} crates of salt, said the old captain.", number * 7, number % 13, number * number)
    };
    (0..count).map(sentence).collect()
}

fn assert_alike(a: &[Vec<f32>], b: &[Vec<f32>]) {
    assert_eq!(a.len(), b.len());
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let cosine = cosine(a, b);
        assert!(cosine > 1.0 - ROUNDING, "text {index}: cosine {cosine}");
    }
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let _alone = alone();
    let reference = reference();
    let entries = reference["texts"].as_array().expect("texts");
    let texts: Vec<&Value> = entries.iter().map(|entry| &entry["text"]).collect();
    let engine = Engine::new("");
    for (file, least) in [("f16", 0.9999), ("q8_0", 0.999)] {
        let model = engine.load(&model_path(&format!("minilm-gguf/{file}.gguf")), LOAD);
        let vectors = model.embed(&json!({"input": texts}));
        for (entry, vector) in entries.iter().zip(&vectors) {
            let tokens =
                model.try_tokenize(&json!({"content": entry["text"], "add_special": true}));
            assert_eq!(tokens.expect("tokens")["tokens"], entry["tokens"], "{}", entry["text"]);
            let cosine = cosine(vector, &floats(&entry["vector"]));
            assert!(cosine > least, "{file}, {}: cosine {cosine}", entry["text"]);
            let length: f32 = vector.iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-5, "length {length}");
        }
        // What means the same is closer than what does not.
        let alike = |a: usize, b: usize| cosine(&vectors[a], &vectors[b]);
        assert!(alike(0, 1) > 0.5 && alike(0, 1) > alike(0, 2) + 0.3);
        assert!(alike(3, 4) > 0.4 && alike(3, 4) > alike(3, 2) + 0.3);
    }
}

#[test]
fn a_batch_says_what_each_text_says_alone() {
    let _alone = alone();
    let mut texts = sentences(70);
    texts[3] = "a".to_owned();
    texts[5] = "A long one. ".repeat(100);
    texts[6] = " ".to_owned();
    let one_by_one: Vec<Vec<f32>> =
        texts.iter().flat_map(|text| minilm().embed(&json!({"input": text}))).collect();
    assert_alike(&minilm().embed(&json!({"input": texts})), &one_by_one);
    // The same by several jobs at once, and by token ids.
    let chunks: Vec<&[String]> = texts.chunks(30).collect();
    let started: Vec<_> =
        chunks.iter().map(|texts| minilm().start_embed(&json!({"input": texts}))).collect();
    for job in &started {
        assert_eq!(job.read().last().map(|end| end.status), Some(FLUID_OK));
    }
    let joined: Vec<Vec<f32>> = started.iter().flat_map(|job| job.floats()).collect();
    assert_alike(&joined, &one_by_one);
    let ids = |text: &String| {
        let tokens = minilm().try_tokenize(&json!({"content": text, "add_special": true}));
        tokens.expect("tokens")["tokens"].clone()
    };
    let ids: Vec<Value> = texts.iter().take(3).map(ids).collect();
    assert_alike(&minilm().embed(&json!({"input": ids})), &one_by_one[..3]);
    assert_alike(&minilm().embed(&json!({"input": ids[0]})), &one_by_one[..1]);
}

#[test]
fn a_request_shapes_its_vectors() {
    let _alone = alone();
    let embed = |more: Value| {
        let mut request = json!({"input": "The cat sits on the mat."});
        request
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        minilm().embed(&request).remove(0)
    };
    let whole = embed(json!({}));
    assert_alike(
        &[embed(json!({"pooling": "mean", "normalize": true, "user": "me"}))],
        std::slice::from_ref(&whole),
    );
    let cut = embed(json!({"dimensions": 64}));
    assert_eq!(cut.len(), 64);
    assert_alike(std::slice::from_ref(&cut), &[whole[..64].to_vec()]);
    let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((length(&cut) - 1.0).abs() < 1e-5);
    let raw = embed(json!({"normalize": false}));
    assert!((length(&raw) - 1.0).abs() > 0.1);
    assert_alike(&[raw], std::slice::from_ref(&whole));
    for pooling in ["cls", "last"] {
        assert!(cosine(&embed(json!({"pooling": pooling})), &whole) < 0.99, "{pooling}");
    }
}

#[test]
fn texts_that_are_too_long_are_errors_or_cut() {
    let _alone = alone();
    let long = "word ".repeat(600);
    let huge = "word ".repeat(20_000);
    let embed = |texts: [&str; 2], truncate: bool| {
        minilm().try_embed(&json!({"input": texts, "truncate": truncate}))
    };
    for (text, words) in [
        (&long, "input[1]: has 602 tokens, the model takes 512"),
        (&huge, "input[1]: has 100000 bytes"),
    ] {
        let failed = embed(["fine", text], false);
        assert_eq!(failed.status, FLUID_ERROR_INVALID_REQUEST);
        assert!(failed.error.starts_with(words), "{}", failed.error);
    }
    let cut = embed(["fine", &long], true);
    assert_eq!((cut.status, &cut.json["truncated"]), (FLUID_OK, &json!([1])));
    assert_eq!(cut.json["usage"]["prompt_tokens"], 3 + 512);
    let fits = minilm().embed(&json!({"input": "word ".repeat(510)}));
    assert_alike(&cut.all[1..], &fits);
    assert_alike(&embed([&huge, "fine"], true).all[..1], &fits);
}

#[test]
fn bad_requests_are_named() {
    let _alone = alone();
    let cases = [
        (json!({"input": ""}), FLUID_ERROR_INVALID_REQUEST, "input: is empty"),
        (json!({"input": ["a", "b", 7]}), FLUID_ERROR_INVALID_REQUEST, "input[2]: expected"),
        (
            json!({"input": [[1], [30_522]]}),
            FLUID_ERROR_INVALID_REQUEST,
            "input[1][0]: 30522 is not one of the model's 30522",
        ),
        (json!({"input": [1, 99_999]}), FLUID_ERROR_INVALID_REQUEST, "input[1]: 99999"),
        (
            json!({"input": "a", "dimensions": 385}),
            FLUID_ERROR_INVALID_REQUEST,
            "dimensions: 385 is more than the model's 384",
        ),
        (
            json!({"input": "x".repeat(70_000), "truncate": false}),
            FLUID_ERROR_INVALID_REQUEST,
            "input: has 70000 bytes",
        ),
        (json!([]), FLUID_ERROR_INVALID_REQUEST, "expected a JSON object"),
    ];
    for (request, status, words) in cases {
        let failed = minilm().try_embed(&request);
        assert_eq!(failed.status, status, "{request}: {}", failed.error);
        assert!(failed.error.contains(words), "{}", failed.error);
    }
    // What the model is not for.
    let failed = minilm().generate(&json!({"prompt": "a"}));
    assert_eq!(failed.status, FLUID_ERROR_UNSUPPORTED);
    assert!(failed.error.contains("use fluid_embed"), "{}", failed.error);
    let failed =
        minilm().rerank(&json!({"query": "a", "documents": ["b"]})).expect_err("no reranker");
    assert_eq!(failed.0, FLUID_ERROR_UNSUPPORTED);
    assert!(failed.1.contains("rank with a reranker"), "{}", failed.1);
    let failed = support::smollm2().try_embed(&json!({"input": "a"}));
    assert_eq!(failed.status, FLUID_ERROR_UNSUPPORTED);
    assert!(failed.error.contains(r#"load it with {"embedding": true}"#), "{}", failed.error);
    let engine = Engine::new("");
    let refused = engine.try_load(&model_path("minilm-gguf/f16.gguf"), r#"{"embedding": false}"#).0;
    let (status, error) = refused.err().expect("refused");
    assert_eq!(status, FLUID_ERROR_UNSUPPORTED, "{error}");
}

/// Work for seconds, of texts that take a computation each.
fn endless() -> Value {
    let long = "word ".repeat(500);
    json!({"input": vec![long; 400]})
}

#[test]
fn a_stop_ends_a_job_within_a_tenth_of_a_second() {
    let _alone = alone();
    let expected = minilm().embed(&json!({"input": "beside it"}));
    for pause in [0, 3, 30, 200] {
        let job = minilm().start_embed(&endless());
        std::thread::sleep(Duration::from_millis(pause));
        let beside = minilm().start_embed(&json!({"input": "beside it"}));
        let begun = Instant::now();
        job.cancel();
        let events = job.read();
        let end = events.last().expect("an end");
        assert_eq!(status_name(end.status), "FLUID_CANCELLED");
        let took = end.arrived - begun;
        assert!(took < Duration::from_millis(100), "{took:?} after a pause of {pause} ms");
        assert!(job.floats().len() < 400);
        assert_eq!(beside.read().last().map(|end| end.status), Some(FLUID_OK));
        assert_alike(&beside.floats(), &expected);
    }
    let mut request = endless();
    request["deadline_ms"] = json!(150);
    let job = minilm().start_embed(&request);
    let events = job.read();
    let end = events.last().expect("an end");
    assert_eq!(status_name(end.status), "FLUID_DEADLINE");
    assert!((0.14..0.3).contains(&end.elapsed), "{}", end.elapsed);
    let done = job.json()["count"].as_u64().expect("a count");
    assert_eq!(job.floats().len() as u64, done);
    assert!(events.iter().filter(|event| event.kind == FLUID_EVENT_PROGRESS).all(is_progress));
}

fn is_progress(event: &Event) -> bool {
    event.progress > 0.0 && event.progress < 1.0
}

#[test]
fn a_small_job_does_not_wait_for_large_ones() {
    let _alone = alone();
    let large: Vec<_> = (0..3).map(|_| minilm().start_embed(&endless())).collect();
    minilm().embed(&json!({"input": "a small one"}));
    let done = |job: &support::Job| {
        job.cancel();
        job.read();
        job.floats().len()
    };
    // It goes along with the next long text.
    let done: usize = large.iter().map(done).sum();
    assert!(done <= 8, "{done} long texts were computed before");
}

#[test]
fn a_full_queue_says_so() {
    let _alone = alone();
    let engine = Engine::new(r#"{"max_queue": 2}"#);
    let model = engine.load(&model_path("minilm-gguf/q8_0.gguf"), LOAD);
    let mut jobs = Vec::new();
    // Taken over by the worker as they come, at most 64 of them; so many that some must wait.
    let full = (0..1_000).find_map(|_| match model.try_start_embed(&endless()) {
        Ok(job) => {
            jobs.push(job);
            None
        }
        Err(status) => Some(status),
    });
    assert_eq!(full.map(status_name), Some("FLUID_ERROR_QUEUE_FULL"));
    // One that waits ends at once, and then there is room again.
    let waiting = jobs.pop().expect("jobs");
    waiting.cancel();
    assert_eq!(waiting.read().last().map(|end| end.status), Some(FLUID_CANCELLED));
    let last = model.start_embed(&json!({"input": "a"}));
    drop(jobs);
    assert_eq!(last.read().last().map(|end| end.status), Some(FLUID_OK));
}

#[test]
fn a_model_can_be_freed_while_it_computes() {
    let _alone = alone();
    let engine = Engine::new("");
    let model = engine.load(&model_path("minilm-gguf/q8_0.gguf"), LOAD);
    let jobs: Vec<_> = (0..3).map(|_| model.start_embed(&endless())).collect();
    std::thread::sleep(Duration::from_millis(20));
    drop(model);
    for job in &jobs {
        assert_eq!(job.read().last().map(|end| end.status), Some(FLUID_CANCELLED));
    }
}

#[test]
fn a_reranker_scores_as_an_independent_computation() {
    let _alone = alone();
    let reference = reference();
    let (query, documents) = (&reference["rerank"]["query"], &reference["rerank"]["documents"]);
    let expected = floats(&reference["rerank"]["scores"]);
    let engine = Engine::new("");
    let model = engine.load(&model_path("minilm-gguf/tiny-reranker.gguf"), LOAD);
    let info = model.info();
    assert_eq!(info["capabilities"], json!(["rerank", "tokenize"]));
    let request = json!({"query": query, "documents": documents, "return_documents": true});
    let ranking = model.rerank(&request).expect("a ranking");
    let results = ranking["results"].as_array().expect("results");
    assert_eq!(results.len(), expected.len());
    let mut last = f64::INFINITY;
    for result in results {
        let index = result["index"].as_u64().expect("an index") as usize;
        let score = result["relevance_score"].as_f64().expect("a score");
        assert!((score - f64::from(expected[index])).abs() < 2e-3, "{index}: {score}");
        assert_eq!(result["document"]["text"], documents[index]);
        assert!(score <= last);
        last = score;
    }
    // The best alone; documents as objects; many of them at once say the same.
    let best = model.rerank(
        &json!({"query": query, "documents": [{"text": "bread"}, documents[1]], "top_n": 1}),
    );
    let best = &best.expect("a ranking")["results"];
    assert_eq!((best.as_array().map(Vec::len), &best[0]["index"]), (Some(1), &json!(0)));
    let many: Vec<&Value> = (0..200).map(|number| &documents[number % 5]).collect();
    let ranking = model.rerank(&json!({"query": query, "documents": many})).expect("a ranking");
    for result in ranking["results"].as_array().expect("results") {
        let index = result["index"].as_u64().expect("an index") as usize;
        let score = result["relevance_score"].as_f64().expect("a score");
        assert!((score - f64::from(expected[index % 5])).abs() < 2e-3, "{index}: {score}");
    }
    let long = json!({"query": "q", "documents": ["a", "word ".repeat(200)]});
    let (status, error) = model.rerank(&long).expect_err("too long");
    assert_eq!(status, FLUID_ERROR_INVALID_REQUEST);
    assert!(error.starts_with("documents[1]: has 204 tokens, the model takes 128"), "{error}");
    let failed = model.try_embed(&json!({"input": "a"}));
    assert_eq!(failed.status, FLUID_ERROR_UNSUPPORTED);
    assert!(failed.error.contains("fluid_rerank"), "{}", failed.error);
}

/// The other families of encoders, with random weights: what stands in a batch changes no vector.
#[test]
fn encoders_of_all_kinds() {
    let _alone = alone();
    let engine = Engine::new("");
    let texts =
        ["a", "b c d e f g", "hello", "z y x w v u t s r q p o n m l k j i h g f e d c b a"];
    let makes = [gguf::bert, gguf::nomic_bert, gguf::jina_bert];
    for (index, make) in makes.into_iter().enumerate() {
        let name = format!("fluid-encoder-{}-{index}.gguf", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, make(2).to_bytes()).expect("a file");
        let model = engine.load(path.to_str().expect("UTF-8"), LOAD);
        std::fs::remove_file(&path).expect("it is there");
        let vectors = model.embed(&json!({"input": texts}));
        let alone: Vec<Vec<f32>> =
            texts.iter().flat_map(|text| model.embed(&json!({"input": text}))).collect();
        assert_alike(&vectors, &alone);
        assert!(cosine(&vectors[0], &vectors[3]) < 0.999, "encoder {index}");
    }
}

/// Models that generate can be asked for states instead: with sliding windows, and recurrent ones.
#[test]
fn decoders_embed_on_request() {
    let _alone = alone();
    let engine = Engine::new("");
    let texts = sentences(6);
    let tiny =
        ["mamba", "hybrid", "swa"].map(|name| model_path(&format!("tiny-random-gguf/{name}.gguf")));
    for path in tiny.iter().chain([&smollm2_path()]) {
        let model = engine.load(path, r#"{"embedding": true, "n_threads": 1, "n_ctx": 256}"#);
        let info = model.info();
        assert_eq!((&info["capabilities"][0], &info["pooling"]), (&json!("embed"), &json!("last")));
        for pooling in ["last", "mean"] {
            let embed = |input: Value| model.embed(&json!({"input": input, "pooling": pooling}));
            let alone: Vec<Vec<f32>> = texts.iter().flat_map(|text| embed(json!(text))).collect();
            for (index, vector) in embed(json!(texts)).iter().enumerate() {
                let alike: Vec<f64> = alone.iter().map(|other| cosine(other, vector)).collect();
                // Kernels for many rows and for few round otherwise, and so do caches in f16.
                assert!(alike[index] > 0.999, "{path}, {pooling}, text {index}: {alike:?}");
                let is_nearest = alike.iter().all(|other| *other <= alike[index]);
                assert!(is_nearest, "{path}, {pooling}, text {index}: {alike:?}");
            }
        }
        let failed = model.generate(&json!({"prompt": "a"}));
        assert_eq!(failed.status, FLUID_ERROR_UNSUPPORTED, "{path}");
    }
}
