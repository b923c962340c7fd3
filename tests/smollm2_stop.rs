//! From a cancel or a deadline to the final event of a job on SmolLM2, at any moment of its life.
#![cfg(feature = "llama")]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

mod support;

use std::time::{Duration, Instant};

use fluid::ffi::{FLUID_CANCELLED, FLUID_DEADLINE, FLUID_EVENT_TOKEN};
use serde_json::{json, Value};
use support::{alone, smollm2_path, status_name, tries, Engine, Event, Job, Model};

/// What the contract promises from a cancel or a deadline to the final event.
const BOUND: Duration = Duration::from_millis(100);

/// Stops of each kind; the worst of them counts.
fn stops() -> u32 {
    tries(10, 20)
}

/// A model as a program loads it: all cores, the default batch.
fn with_model(test: impl FnOnce(&Model)) {
    let _turn = alone();
    let engine = Engine::new("");
    test(&engine.load(&smollm2_path(), r#"{"n_ctx": 2048}"#));
}

/// Some 1,500 tokens to prefill.
fn long_prompt() -> Value {
    json!({"prompt": vec![1000; 1_500], "temperature": 0})
}

/// What has no end of its own for a while.
fn endless() -> Value {
    json!({"prompt": "Count: 1, 2, 3,", "temperature": 0, "logit_bias": {"0": -100, "2": -100}})
}

/// Reads a job on a thread of its own while `stop` does its work; when each was done.
fn read_beside(job: &Job, stop: impl FnOnce() -> Instant) -> (Instant, Vec<Event>) {
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| job.read());
        let asked = stop();
        (asked, reader.join().expect("a final event"))
    })
}

/// From `asked` to the arrival of the final event.
fn lateness(asked: Instant, events: &[Event]) -> Duration {
    let end = events.last().expect("a final event");
    end.arrived.saturating_duration_since(asked)
}

fn cancel_after(job: &Job, pause: Duration) -> (Duration, Vec<Event>) {
    let (asked, events) = read_beside(job, || {
        std::thread::sleep(pause);
        let asked = Instant::now();
        job.cancel();
        asked
    });
    (lateness(asked, &events), events)
}

fn report(what: &str, worst: Duration) {
    eprintln!("{what}: at worst {:.1} ms", worst.as_secs_f64() * 1e3);
    assert!(worst < BOUND, "{what}: {worst:?}");
}

/// Numbers from 0 to 1 that fill the range evenly, in no order.
fn scattered(index: u32) -> f64 {
    (f64::from(index) * 0.618_033_988_75).fract()
}

#[test]
fn a_cancel_inside_a_long_prompt_comes_in_time() {
    with_model(|model| {
        // A quarter of it first, to know how long the whole takes here.
        let quarter = json!({"prompt": vec![1000; 375], "max_tokens": 1});
        let whole =
            4.0 * model.answer(&quarter).json["timings"]["prompt_ms"].as_f64().expect("a number");
        let (mut worst, mut inside) = (Duration::ZERO, 0);
        for index in 0..stops() {
            // All over the prompt, but most within its first batch, or this would take minutes.
            let share = if index % 5 == 0 { 1.0 } else { 0.2 };
            let job = model.start(&long_prompt());
            let (late, events) =
                cancel_after(&job, Duration::from_secs_f64(whole * share * scattered(index) / 1e3));
            let end = events.last().expect("a final event");
            assert_eq!(status_name(end.status), "FLUID_CANCELLED");
            assert_eq!(job.json()["choices"][0]["finish_reason"], "cancelled");
            inside += u32::from(!events.iter().any(|event| event.kind == FLUID_EVENT_TOKEN));
            worst = worst.max(late);
        }
        assert!(
            inside >= stops() / 2,
            "{inside} of {} were stopped before the first token",
            stops()
        );
        report("cancel in prefill", worst);
    });
}

#[test]
fn a_cancel_between_tokens_comes_in_time() {
    with_model(|model| {
        let mut worst = Duration::ZERO;
        for index in 0..stops() {
            let job = model.start(&endless());
            job.next_token();
            let (late, events) =
                cancel_after(&job, Duration::from_secs_f64(0.1 * scattered(index)));
            assert_eq!(events.last().map(|end| end.status), Some(FLUID_CANCELLED));
            worst = worst.max(late);
        }
        report("cancel in decode", worst);
    });
}

#[test]
fn a_deadline_comes_in_time() {
    with_model(|model| {
        for (what, request) in
            [("deadline in prefill", long_prompt()), ("deadline in decode", endless())]
        {
            let mut worst = Duration::ZERO;
            for index in 0..stops() {
                let limit = 20 + (300.0 * scattered(index)) as u64;
                let mut request = request.clone();
                request["deadline_ms"] = json!(limit);
                let asked = Instant::now() + Duration::from_millis(limit);
                let job = model.start(&request);
                let events = job.read();
                assert_eq!(events.last().map(|end| end.status), Some(FLUID_DEADLINE));
                worst = worst.max(lateness(asked, &events));
            }
            report(what, worst);
        }
    });
}

/// Tokenising cannot be interrupted, so a text that fills the context many times over must not
/// come to it: other jobs' cancels would wait.
#[test]
fn a_text_that_cannot_fit_is_refused_before_it_is_tokenised() {
    let book = "It was a dark and stormy night; the rain fell in torrents. ".repeat(100_000);
    let book = json!({"prompt": book});
    with_model(|model| {
        let whole = model.generate(&book);
        assert_eq!(status_name(whole.status), "FLUID_ERROR_CONTEXT_OVERFLOW");
        let end = whole.events.last().expect("a final event");
        assert!(end.text.contains("5900000 bytes"), "{}", end.text);
        report("refusal of 5.9 MB", Duration::from_secs_f64(end.elapsed));
    });
}
