//! The engine on a scripted backend: one end per job, cancel, deadlines, back-pressure, shutdown.

#[path = "support/read.rs"]
mod read;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fluid::engine::event::{Body, Ending};
use fluid::engine::job::{Job, Next, StopCause};
use fluid::engine::model::Model;
use fluid::engine::Engine;
use fluid::error::ErrorKind;
use fluid::request::{EngineOptions, GenerateRequest, LoadOptions};
use read::{next, read, BOUND};

fn engine() -> Engine {
    Engine::new(EngineOptions::default())
}

fn start_load(engine: &Engine, script: &str, options: &str) -> Arc<Job> {
    let options = LoadOptions::parse(options).expect("valid options");
    engine.load(&format!("fake:{script}"), options).expect("the load starts")
}

fn load(engine: &Engine, script: &str, options: &str) -> Arc<Model> {
    let job = start_load(engine, script, options);
    assert_eq!(read(&job).1, Ending::Done);
    job.take_model().expect("a loaded model")
}

fn start(model: &Model, request: &str) -> Arc<Job> {
    let request = GenerateRequest::parse(request).expect("a valid request");
    model.generate(request).expect("the generation starts")
}

/// A script that never ends by itself within a test's context.
fn endless(token_us: u32) -> String {
    format!(r#"{{"reply": "{}", "token_us": {token_us}}}"#, "x".repeat(3_000))
}

const GO: &str = r#"{"prompt": "go", "temperature": 0}"#;

#[test]
fn says_the_scripted_text_and_ends_once() {
    let engine = engine();
    let model = load(&engine, r#"{"reply": "Grüße, 世界! 🎉"}"#, "");
    let job = start(&model, GO);
    assert_eq!(read(&job), ("Grüße, 世界! 🎉".to_owned(), Ending::Done));
    let json: serde_json::Value =
        serde_json::from_str(&job.json().expect("a result")).expect("JSON");
    assert_eq!(json["choices"][0]["text"], "Grüße, 世界! 🎉");
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    assert_eq!(json["usage"]["prompt_tokens"], 2);
    assert_eq!(json["usage"]["completion_tokens"], "Grüße, 世界! 🎉".len());
}

#[test]
fn stop_strings_and_max_tokens_end_an_answer() {
    let engine = engine();
    let model = load(&engine, r#"{"reply": "one two three"}"#, "");
    for (extra, text, reason) in [
        (r#""stop": "three""#, "one two ", "stop"),
        (r#""stop": ["xyz", "two"]"#, "one ", "stop"),
        (r#""max_tokens": 5"#, "one t", "length"),
        (r#""max_tokens": 0"#, "", "length"),
        (r#""stop": "threee""#, "one two three", "stop"),
    ] {
        let job = start(&model, &format!(r#"{{"prompt": "say", "temperature": 0, {extra}}}"#));
        assert_eq!(read(&job), (text.to_owned(), Ending::Done), "{extra}");
        assert!(
            job.json().expect("a result").contains(&format!(r#""finish_reason":"{reason}""#)),
            "{extra}"
        );
    }
}

#[test]
fn two_jobs_run_together() {
    let engine = engine();
    let model = load(&engine, &endless(500), r#"{"n_parallel": 2}"#);
    let jobs = [start(&model, GO), start(&model, GO)];
    for job in &jobs {
        assert!(matches!(next(job), Body::Token { .. }));
    }
    // Both have spoken; now either has its end still to come.
    for job in &jobs {
        job.request_stop(StopCause::Cancel);
        assert_eq!(read(job).1, Ending::Cancelled);
    }
}

#[test]
fn cancel_comes_in_time_in_every_phase() {
    let engine = engine();
    let slow_prompt = format!(r#"{{"prompt": "{}"}}"#, "p".repeat(1_000));
    let model = load(&engine, &endless(300), r#"{"n_parallel": 1}"#);
    for cause in [StopCause::Cancel, StopCause::Deadline] {
        for _ in 0..5 {
            let running = start(&model, GO);
            assert!(matches!(next(&running), Body::Token { .. }));
            let waiting = start(&model, GO);
            stopped_in_time(&waiting, cause);
            stopped_in_time(&running, cause);
            let prefilling = start(&model, &slow_prompt);
            std::thread::sleep(Duration::from_millis(30));
            stopped_in_time(&prefilling, cause);
        }
    }
    // A load that does not notice goes on unseen.
    let loading = start_load(&engine, r#"{"load_ms": 500, "deaf": true}"#, "");
    stopped_in_time(&loading, StopCause::Cancel);
    assert!(loading.take_model().is_err());
}

fn stopped_in_time(job: &Job, cause: StopCause) {
    let asked = Instant::now();
    job.request_stop(cause);
    let (_, ending) = read(job);
    let took = asked.elapsed();
    assert_eq!(ending, cause.ending());
    assert!(took < BOUND, "{cause:?} took {took:?}");
}

#[test]
fn a_deadline_ends_jobs_in_every_phase() {
    let engine = engine();
    let model = load(&engine, &endless(1_000), r#"{"n_parallel": 1}"#);
    let request = r#"{"prompt": "go", "deadline_ms": 60}"#;
    let started = Instant::now();
    let jobs = [start(&model, request), start(&model, request)];
    for job in &jobs {
        assert_eq!(read(job).1, Ending::Deadline);
    }
    let late = started.elapsed() - Duration::from_millis(60);
    assert!(late < BOUND, "{late:?} late");
    let loading =
        start_load(&engine, r#"{"load_ms": 2000, "deaf": true}"#, r#"{"deadline_ms": 50}"#);
    assert_eq!(read(&loading).1, Ending::Deadline);
}

#[test]
fn a_slow_reader_pauses_its_own_job_only() {
    let engine = Engine::new(EngineOptions::parse(r#"{"event_queue": 3}"#).expect("options"));
    let model =
        load(&engine, &format!(r#"{{"reply": "{}"}}"#, "y".repeat(500)), r#"{"n_parallel": 2}"#);
    let stalled = start(&model, GO);
    let quick = start(&model, GO);
    assert_eq!(read(&quick).0.len(), 500);
    let third = start(&model, GO);
    assert_eq!(read(&third).0.len(), 500);
    assert!(!stalled.is_ended(), "its reader has read nothing");
    assert_eq!(read(&stalled), ("y".repeat(500), Ending::Done));
}

#[test]
fn a_stalled_job_still_meets_its_deadline() {
    let engine = Engine::new(EngineOptions::parse(r#"{"event_queue": 1}"#).expect("options"));
    let model = load(&engine, &endless(0), "");
    let job = start(&model, r#"{"prompt": "go", "deadline_ms": 50}"#);
    std::thread::sleep(Duration::from_millis(150));
    assert!(job.is_ended());
    assert_eq!(read(&job).1, Ending::Deadline);
}

#[test]
fn the_queue_of_a_model_is_bounded_and_gives_places_back() {
    let engine = Engine::new(EngineOptions::parse(r#"{"max_queue": 2}"#).expect("options"));
    let model = load(&engine, &endless(1_000), r#"{"n_parallel": 1}"#);
    let running = start(&model, GO);
    assert!(matches!(next(&running), Body::Token { .. }));
    let waiting = [start(&model, GO), start(&model, GO)];
    let refused = model.generate(GenerateRequest::parse(GO).expect("a request"));
    assert_eq!(refused.expect_err("the queue is full").kind(), ErrorKind::QueueFull);
    waiting[0].request_stop(StopCause::Cancel);
    let again = start(&model, GO);
    running.request_stop(StopCause::Cancel);
    assert!(matches!(next(&waiting[1]), Body::Token { .. }), "the first in line gets the slot");
    drop((again, waiting));
}

#[test]
fn errors_and_panics_of_a_backend_end_the_job() {
    let engine = engine();
    let model = load(&engine, r#"{"reply": "abcdef", "error_at": 3}"#, "");
    let (text, ending) = read(&start(&model, GO));
    assert_eq!(text, "abc");
    assert!(matches!(ending, Ending::Failed(error) if error.kind() == ErrorKind::Backend));

    let model = load(&engine, r#"{"nan": true}"#, "");
    let (_, ending) = read(&start(&model, GO));
    assert!(matches!(ending, Ending::Failed(error) if error.kind() == ErrorKind::Backend));

    let model = load(&engine, r#"{"reply": "abcdef", "panic_at": 2}"#, "");
    let (text, ending) = read(&start(&model, GO));
    assert_eq!(text, "ab");
    assert!(matches!(ending, Ending::Failed(error) if error.kind() == ErrorKind::Internal));
    // The worker is gone; later calls say so.
    let later = model.generate(GenerateRequest::parse(GO).expect("a request"));
    match later {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Backend),
        Ok(job) => assert!(matches!(read(&job).1, Ending::Failed(_) | Ending::Cancelled)),
    }

    for script in [r#"{"load_panic": true}"#, r#"{"load_error": "no"}"#, "{"] {
        let job = start_load(&engine, script, "");
        assert!(matches!(read(&job).1, Ending::Failed(_)), "{script}");
    }
    // Others are not touched.
    let model = load(&engine, "{}", "");
    assert_eq!(read(&start(&model, GO)).0, "Hello!");
}

#[test]
fn interrupts_cost_others_no_text_even_where_only_whole_sequences_can_be_dropped() {
    let engine = engine();
    for recurrent in [false, true] {
        let reply = "The quick brown fox jumps over the lazy dog.";
        let script =
            format!(r#"{{"reply": "{reply}", "token_us": 200, "recurrent": {recurrent}}}"#);
        let model = load(&engine, &script, r#"{"n_parallel": 4}"#);
        let steady = start(&model, GO);
        for _ in 0..20 {
            let brief = start(&model, GO);
            assert!(matches!(next(&brief), Body::Token { .. }));
            brief.request_stop(StopCause::Cancel);
            assert_eq!(read(&brief).1, Ending::Cancelled);
        }
        assert_eq!(read(&steady), (reply.to_owned(), Ending::Done), "recurrent: {recurrent}");
    }
}

#[test]
fn freeing_a_model_or_an_engine_ends_its_jobs_and_joins() {
    let engine = engine();
    let model = load(&engine, &endless(500), r#"{"n_parallel": 1}"#);
    let jobs = [start(&model, GO), start(&model, GO)];
    assert!(matches!(next(&jobs[0]), Body::Token { .. }));
    drop(model);
    for job in &jobs {
        assert_eq!(read(job).1, Ending::Cancelled);
    }
    let model = load(&engine, &endless(500), "");
    let job = start(&model, GO);
    let loading = start_load(&engine, r#"{"load_ms": 5000}"#, "");
    engine.shut_down();
    assert_eq!(read(&job).1, Ending::Cancelled);
    assert_eq!(read(&loading).1, Ending::Cancelled);
    let late = model.generate(GenerateRequest::parse(GO).expect("a request"));
    assert_eq!(late.expect_err("freed").kind(), ErrorKind::InvalidHandle);
    let options = LoadOptions::default();
    assert_eq!(
        engine.load("fake:{}", options).expect_err("freed").kind(),
        ErrorKind::InvalidHandle
    );
}

#[test]
fn what_was_said_before_a_free_is_kept() {
    let engine = engine();
    let model = load(&engine, &endless(500), "");
    let job = start(&model, GO);
    for _ in 0..5 {
        assert!(matches!(next(&job), Body::Token { .. }));
    }
    model.stop();
    let (rest, ending) = read(&job);
    assert_eq!(ending, Ending::Cancelled);
    let json: serde_json::Value =
        serde_json::from_str(&job.json().expect("a result")).expect("JSON");
    assert_eq!(json["choices"][0]["text"], format!("xxxxx{rest}"));
    assert_eq!(json["choices"][0]["finish_reason"], "cancelled");
    assert_eq!(json["usage"]["completion_tokens"], 5 + rest.len());
}

#[test]
fn jobs_that_nobody_reads_do_not_hold_all_slots() {
    let engine = Engine::new(EngineOptions::parse(r#"{"event_queue": 2}"#).expect("options"));
    let model = load(&engine, r#"{"reply": "a longer answer"}"#, r#"{"n_parallel": 2}"#);
    let unread = [start(&model, GO), start(&model, GO)];
    let last = start(&model, GO);
    assert_eq!(read(&last), ("a longer answer".to_owned(), Ending::Done));
    for job in &unread {
        assert_eq!(read(job), ("a longer answer".to_owned(), Ending::Done));
    }
}

#[test]
fn a_word_without_end_is_refused_before_a_tokeniser_sees_it() {
    let engine = engine();
    let model = load(&engine, "{}", r#"{"n_ctx": 1000000}"#);
    for (text, fits) in [("a ".repeat(100_000), true), ("a".repeat(100_000), false)] {
        let (_, ending) = read(&start(&model, &format!(r#"{{"prompt": "{text}"}}"#)));
        let refused =
            matches!(&ending, Ending::Failed(error) if error.kind() == ErrorKind::InvalidRequest);
        assert_eq!(refused, !fits, "{ending:?}");
    }
}

#[test]
fn a_closed_job_wakes_its_reader() {
    let engine = engine();
    let model = load(&engine, &endless(50_000), "");
    let job = start(&model, GO);
    let reader = {
        let job = Arc::clone(&job);
        std::thread::spawn(move || loop {
            match job.next(None) {
                Next::Event(_) => {}
                other => return format!("{other:?}"),
            }
        })
    };
    std::thread::sleep(Duration::from_millis(20));
    job.close();
    assert_eq!(reader.join().expect("the reader returns"), "Closed");
}

#[test]
fn prompts_that_do_not_fit_are_refused() {
    let engine = engine();
    let model = load(&engine, "{}", r#"{"n_ctx": 16}"#);
    let (_, ending) = read(&start(&model, &format!(r#"{{"prompt": "{}"}}"#, "p".repeat(16))));
    assert!(matches!(ending, Ending::Failed(error) if error.kind() == ErrorKind::ContextOverflow));
    let (text, ending) =
        read(&start(&model, &format!(r#"{{"prompt": "{}", "temperature": 0}}"#, "p".repeat(15))));
    assert_eq!((text.as_str(), ending), ("H", Ending::Done), "one token fits");
    let (_, ending) = read(&start(&model, r#"{"prompt": ""}"#));
    assert!(matches!(ending, Ending::Failed(error) if error.kind() == ErrorKind::InvalidRequest));
    for (request, path) in [
        (r#"{"prompt": [1, 257]}"#, "prompt[1]"),
        (r#"{"prompt": "a", "logit_bias": {"999": 1}}"#, "logit_bias.999"),
    ] {
        let refused = model.generate(GenerateRequest::parse(request).expect("a request"));
        let error = refused.expect_err("outside the vocabulary");
        assert!(error.message().starts_with(path), "{error}");
    }
}

/// A prompt of `count` letters; the answers of these tests do not begin with one.
fn long(count: usize, more: &str) -> String {
    format!(r#"{{"prompt": "{}", "temperature": 0, "max_tokens": 20{more}}}"#, "p".repeat(count))
}

const ONE_JOBS_CELLS: &str = r#"{"n_ctx": 128, "kv_cache_tokens": 128, "n_parallel": 4}"#;

#[test]
fn a_slow_reader_gives_up_its_cells_too() {
    let engine = Engine::new(EngineOptions::parse(r#"{"event_queue": 2}"#).expect("options"));
    let reply = "a longer answer";
    let model = load(&engine, &format!(r#"{{"reply": "{reply}"}}"#), ONE_JOBS_CELLS);
    let stalled = start(&model, &long(100, ""));
    let quick = start(&model, &long(60, r#", "cache_prompt": false"#));
    assert_eq!(read(&quick), (reply.to_owned(), Ending::Done));
    assert!(!stalled.is_ended(), "nobody has read it");
    assert_eq!(read(&stalled), (reply.to_owned(), Ending::Done));
}

#[test]
fn a_job_of_lower_priority_gives_up_its_cells_too() {
    let engine = engine();
    let model = load(&engine, r#"{"reply": "a longer answer", "token_us": 2000}"#, ONE_JOBS_CELLS);
    let low = start(&model, &long(100, ""));
    while !matches!(next(&low), Body::Token { .. }) {}
    let high = start(&model, &long(60, r#", "cache_prompt": false, "priority": 1"#));
    assert_eq!(read(&high).0, "a longer answer");
    assert!(!low.is_ended(), "the other went first");
    assert_eq!(read(&low), (" longer answer".to_owned(), Ending::Done));
}
