//! Memory budget and idle unload on a scripted backend: who gives way, who comes back, who waits.

#[path = "support/read.rs"]
mod read;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluid::engine::event::{Body, Ending};
use fluid::engine::job::{Job, Next, StopCause};
use fluid::engine::model::Model;
use fluid::engine::Engine;
use fluid::error::{Error, ErrorKind};
use fluid::request::{EngineOptions, GenerateRequest, LoadOptions, TokenizeRequest};
use read::{read, BOUND, PATIENCE};
use serde_json::{json, Value};

const MIB: u64 = 1 << 20;

fn engine(options: &str) -> Engine {
    Engine::new(EngineOptions::parse(options).expect("valid options"))
}

/// One gibibyte for all.
fn tight() -> Engine {
    engine(r#"{"max_memory": 1.0}"#)
}

/// Loads a model of so many MiB that answers `reply`; `more` are words of its script.
fn try_load(
    engine: &Engine,
    reply: &str,
    mib: u64,
    more: Value,
    options: &str,
) -> Result<Arc<Model>, Error> {
    let mut script = json!({"reply": reply, "memory": mib * MIB});
    for (key, value) in more.as_object().into_iter().flatten() {
        script[key] = value.clone();
    }
    let options = LoadOptions::parse(options).expect("valid options");
    let job = engine.load(&format!("fake:{script}"), options).expect("the load starts");
    match read(&job).1 {
        Ending::Done => Ok(job.take_model().expect("a loaded model")),
        Ending::Failed(error) => Err(error),
        ending => panic!("the load ended as {ending:?}"),
    }
}

fn load(engine: &Engine, reply: &str, mib: u64) -> Arc<Model> {
    try_load(engine, reply, mib, json!({}), "").expect("room for it")
}

/// One that takes `ms` milliseconds for each token.
fn load_slow(engine: &Engine, reply: &str, mib: u64, ms: u64) -> Arc<Model> {
    try_load(engine, reply, mib, json!({"token_us": ms * 1000}), "").expect("room for it")
}

fn start(model: &Model, request: &str) -> Arc<Job> {
    let request = GenerateRequest::parse(request).expect("a valid request");
    model.generate(request).expect("the generation starts")
}

const ASK: &str = r#"{"prompt": "?", "temperature": 0}"#;

fn ask(model: &Model) -> String {
    let (text, ending) = read(&start(model, ASK));
    assert_eq!(ending, Ending::Done);
    text
}

fn state(model: &Model) -> String {
    let info: Value = serde_json::from_str(&model.info_json().expect("alive")).expect("JSON");
    info["residence"]["state"].as_str().expect("a state").to_owned()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The `event` and `reason` of what an engine told so far.
fn told(job: &Job) -> Vec<String> {
    let mut told = Vec::new();
    while let Next::Event(event) = job.next(Some(Instant::now())) {
        if let Body::Model { text, json } = event.body {
            assert!(!text.is_empty());
            let json: Value = serde_json::from_str(&json).expect("JSON");
            let reason = json["reason"].as_str().map_or(String::new(), |name| format!(" {name}"));
            told.push(format!("{}{reason}", json["event"].as_str().expect("an event")));
        }
    }
    told
}

#[test]
fn a_model_nobody_uses_goes_and_comes_back() {
    let engine = engine(r#"{"idle_timeout": 0.1, "idle_check_interval": 0.02}"#);
    let events = engine.events().expect("a reader");
    let model = load(&engine, "here", 10);
    assert_eq!(ask(&model), "here");
    for _ in 0..2 {
        wait_for("the unload", || state(&model) == "unloaded");
        assert_eq!(ask(&model), "here");
        assert_eq!(state(&model), "loaded");
    }
    let cycle = ["unloaded idle", "loading", "loaded"];
    let expected = ["loaded"].iter().chain(&cycle).chain(&cycle);
    assert!(told(&events).iter().take(7).eq(expected));
}

#[test]
fn a_model_in_use_stays() {
    let engine = engine(r#"{"idle_timeout": 0.05, "idle_check_interval": 0.01}"#);
    let events = engine.events().expect("a reader");
    let model = load_slow(&engine, "a text that takes a while", 10, 10);
    assert_eq!(ask(&model), "a text that takes a while");
    let pinned = try_load(&engine, "pinned", 10, json!({}), r#"{"pinned": true}"#).expect("room");
    let own = try_load(&engine, "own", 10, json!({}), r#"{"idle_timeout": 0}"#).expect("room");
    wait_for("the unload", || state(&model) == "unloaded");
    assert_eq!((state(&pinned), state(&own)), ("loaded".into(), "loaded".into()));
    let unloads = told(&events).iter().filter(|event| event.starts_with("unloaded")).count();
    assert_eq!(unloads, 1, "it went while it was in use");
}

#[test]
fn who_was_not_used_for_longest_gives_way() {
    let engine = tight();
    let models = ["a", "b", "c"].map(|reply| load(&engine, reply, 300));
    assert_eq!(ask(&models[0]), "a");
    let fourth = load(&engine, "d", 300);
    let states = [0, 1, 2].map(|index| state(&models[index]));
    assert_eq!(states, ["loaded", "unloaded", "loaded"]);
    // Two at once for a large one.
    let large = load(&engine, "large", 600);
    let states = [&models[0], &models[2], &fourth, &large].map(|model| state(model));
    assert_eq!(states, ["unloaded", "unloaded", "loaded", "loaded"]);
    for (model, reply) in models.iter().zip(["a", "b", "c"]) {
        assert_eq!(ask(model), reply);
    }
    let info: Value = serde_json::from_str(&engine.info_json()).expect("JSON");
    assert!(info["memory_bytes"].as_u64() <= info["max_memory_bytes"].as_u64(), "{info}");
    assert_eq!(info["models"].as_array().map(Vec::len), Some(5));
}

#[test]
fn what_does_not_fit_is_refused_with_the_sums() {
    let engine = tight();
    let error = try_load(&engine, "x", 1025, json!({}), "").expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.message().contains("needs 1025 MiB"), "{error}");
    let pinned = r#"{"pinned": true}"#;
    let first = try_load(&engine, "p", 600, json!({}), pinned).expect("room");
    let error = try_load(&engine, "x", 500, json!({}), "").expect_err("no room beside it");
    assert!(error.message().contains("600 MiB by"), "{error}");
    assert!(error.message().contains("(pinned)"), "{error}");
    drop(first);
    let busy = load_slow(&engine, "a text that takes a while", 600, 20);
    let job = start(&busy, ASK);
    let error = try_load(&engine, "x", 500, json!({}), "").expect_err("no room beside it");
    assert!(error.message().contains("(busy)"), "{error}");
    assert_eq!(read(&job).0, "a text that takes a while");
    assert_eq!(ask(&try_load(&engine, "x", 500, json!({}), "").expect("room now")), "x");
}

/// Nobody waits for the thread that gives its memory back, but for the memory.
#[test]
fn an_untaken_model_makes_room_even_if_it_was_pinned() {
    let engine = tight();
    let name = format!("fake:{}", json!({"reply": "p", "memory": 600 * MIB}));
    for _ in 0..20 {
        let options = LoadOptions::parse(r#"{"pinned": true}"#).expect("valid options");
        let job = engine.load(&name, options).expect("the load starts");
        assert_eq!(read(&job).1, Ending::Done);
        job.close();
        drop(try_load(&engine, "x", 500, json!({}), "").expect("room now"));
    }
}

#[test]
fn who_waits_for_memory_is_let_in_when_others_have_ended() {
    let engine = tight();
    let first = load(&engine, "first", 600);
    let second = load_slow(&engine, "second, and takes a while", 600, 10);
    assert_eq!(state(&first), "unloaded");
    let busy = start(&second, ASK);
    let waits = start(&first, ASK);
    let later = start(&second, ASK);
    assert_eq!(read(&waits), ("first".into(), Ending::Done));
    assert!(matches!(read(&busy), (text, Ending::Done) if text == "second, and takes a while"));
    assert!(matches!(read(&later), (text, Ending::Done) if text == "second, and takes a while"));
}

#[test]
fn a_job_that_waits_for_memory_stops_in_time() {
    let engine = tight();
    let first = load(&engine, "first", 600);
    let second = load_slow(&engine, &"long ".repeat(400), 600, 5);
    let busy = start(&second, ASK);
    let mut worst = Duration::ZERO;
    for _ in 0..5 {
        let waits = start(&first, ASK);
        std::thread::sleep(Duration::from_millis(30));
        let asked = Instant::now();
        waits.request_stop(StopCause::Cancel);
        assert_eq!(read(&waits).1, Ending::Cancelled);
        worst = worst.max(asked.elapsed());
    }
    let asked = Instant::now();
    let limited = start(&first, r#"{"prompt": "?", "deadline_ms": 50}"#);
    assert_eq!(read(&limited).1, Ending::Deadline);
    worst = worst.max(asked.elapsed().saturating_sub(Duration::from_millis(50)));
    assert!(worst <= BOUND, "the final event came after {worst:?}");
    // Nobody wants the first one any more, so the second one stays.
    busy.request_stop(StopCause::Cancel);
    assert_eq!(read(&busy).1, Ending::Cancelled);
}

/// A model that has its memory from a second one, whose job nobody reads and has more to say than two events.
fn unread_while_another_answers(engine: &Engine) -> (Arc<Model>, Arc<Model>, Arc<Job>) {
    let first = load(engine, "first", 600);
    let second = load(engine, "more than two events", 600);
    let unread = start(&second, ASK);
    wait_for("a full queue", || !unread.has_room());
    assert_eq!(ask(&first), "first");
    (first, second, unread)
}

#[test]
fn a_slow_reader_does_not_keep_memory_from_others() {
    let engine = engine(r#"{"max_memory": 1.0, "event_queue": 2}"#);
    let (_first, _second, unread) = unread_while_another_answers(&engine);
    // Nothing of it is lost.
    assert_eq!(read(&unread), ("more than two events".into(), Ending::Done));
}

#[test]
fn a_free_while_unloaded_keeps_what_was_said() {
    let engine = engine(r#"{"max_memory": 1.0, "event_queue": 2}"#);
    let (_first, second, unread) = unread_while_another_answers(&engine);
    assert_eq!(state(&second), "unloaded");
    second.stop();
    let (text, ending) = read(&unread);
    assert_eq!(ending, Ending::Cancelled);
    assert!(!text.is_empty() && "more than two events".starts_with(&text), "{text}");
    let result: Value = serde_json::from_str(&unread.json().expect("a result")).expect("JSON");
    let said = result["choices"][0]["text"].as_str().expect("a text");
    assert!(said.starts_with(&text) && "more than two events".starts_with(said), "{result}");
}

#[test]
fn models_that_do_not_fit_together_answer_everybody() {
    let engine = tight();
    let slow = json!({"load_ms": 3, "token_us": 200});
    let models = ["one", "two", "three"].map(|reply| {
        try_load(&engine, reply, 450, slow.clone(), r#"{"n_parallel": 2}"#).expect("room for it")
    });
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (models, answered) = (&models, &answered);
            scope.spawn(move || {
                for round in 0..25 {
                    let which = (thread * 7 + round * 5) % 3;
                    let job = start(&models[which], ASK);
                    if round % 8 == 7 {
                        job.request_stop(StopCause::Cancel);
                        read(&job);
                    } else {
                        let expected = ["one", "two", "three"][which];
                        assert_eq!(read(&job), (expected.to_owned(), Ending::Done));
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(answered.load(Ordering::Relaxed), 200);
    let info: Value = serde_json::from_str(&engine.info_json()).expect("JSON");
    let jobs: u64 =
        info["models"].as_array().expect("models").iter().filter_map(|m| m["jobs"].as_u64()).sum();
    assert_eq!(jobs, 0, "{info}");
}

#[test]
fn a_load_that_fails_later_ends_those_who_wait() {
    let folder = std::env::temp_dir().join(format!("fluid-residence-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("model.gguf");
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny-random-gguf/llama.gguf");
    std::fs::copy(tiny, &path).expect("the tiny model: run `make models`");
    let engine = engine("");
    let options = LoadOptions::parse(r#"{"n_ctx": 64}"#).expect("valid options");
    let job = engine.load(path.to_str().expect("UTF-8"), options).expect("the load starts");
    assert_eq!(read(&job).1, Ending::Done);
    let model = job.take_model().expect("a model");
    let events = engine.events().expect("a reader");
    engine.trim();
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes.push(0);
    std::fs::write(&path, &bytes).expect("the file is changed");
    for _ in 0..2 {
        let (_, ending) = read(&start(&model, r#"{"prompt": "a", "max_tokens": 2}"#));
        let Ending::Failed(error) = ending else { panic!("ended as {ending:?}") };
        assert_eq!(error.kind(), ErrorKind::InvalidModel);
        assert!(error.message().contains("changed"), "{error}");
    }
    let request = TokenizeRequest::parse(r#"{"content": "a"}"#).expect("valid");
    let error = model.tokenize(&request).expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::InvalidModel);
    assert_eq!(state(&model), "unloaded");
    assert!(told(&events).contains(&"load_failed".to_owned()));
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

#[test]
fn what_a_load_does_otherwise_is_told_each_time() {
    let engine = engine("");
    let events = engine.events().expect("a reader");
    let moved = json!({"notice": "on another device"});
    let model = try_load(&engine, "x", 10, moved, "").expect("loaded");
    assert_eq!(told(&events), ["notice", "loaded"]);
    engine.trim();
    assert_eq!(ask(&model), "x");
    assert_eq!(told(&events), ["unloaded trim", "loading", "notice", "loaded"]);
}

#[test]
fn a_trim_takes_what_nobody_uses() {
    let engine = engine("");
    let idle = load(&engine, "idle", 10);
    let pinned = try_load(&engine, "pinned", 10, json!({}), r#"{"pinned": true}"#).expect("room");
    let busy = load_slow(&engine, "a text that takes a while", 10, 10);
    let job = start(&busy, ASK);
    let done: Value = serde_json::from_str(&engine.trim()).expect("JSON");
    assert_eq!(done["unloaded"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(done["bytes"], 10 * MIB);
    let states = [&idle, &pinned, &busy].map(|model| state(model));
    assert_eq!(states, ["unloaded", "loaded", "loaded"]);
    assert_eq!(read(&job).0, "a text that takes a while");
    assert_eq!(ask(&idle), "idle");
}

#[test]
fn tokens_are_told_by_a_model_that_was_unloaded() {
    let engine = engine("");
    let model = load(&engine, "x", 10);
    engine.trim();
    assert_eq!(state(&model), "unloaded");
    let request = TokenizeRequest::parse(r#"{"content": "ab"}"#).expect("valid");
    assert!(model.tokenize(&request).expect("tokens").contains("[97,98]"));
    assert_eq!(state(&model), "loaded");
}

#[test]
fn freeing_reaches_those_who_wait() {
    let engine = tight();
    let first = load(&engine, "first", 600);
    let second = load_slow(&engine, &"long ".repeat(400), 600, 5);
    let busy = start(&second, ASK);
    let waits = start(&first, ASK);
    let asks = {
        let first = Arc::clone(&first);
        std::thread::spawn(move || {
            let request = TokenizeRequest::parse(r#"{"content": "ab"}"#).expect("valid");
            first.tokenize(&request)
        })
    };
    std::thread::sleep(Duration::from_millis(50));
    let asked = Instant::now();
    first.stop();
    assert_eq!(read(&waits).1, Ending::Cancelled);
    assert!(asks.join().expect("no panic").is_err());
    assert!(asked.elapsed() <= BOUND, "the free took {:?}", asked.elapsed());
    engine.shut_down();
    assert_eq!(read(&busy).1, Ending::Cancelled);
}

#[test]
fn who_falls_behind_reads_the_newest_events() {
    let engine = engine(r#"{"event_queue": 3}"#);
    let events = engine.events().expect("a reader");
    let model = load(&engine, "x", 10);
    for _ in 0..3 {
        engine.trim();
        assert_eq!(ask(&model), "x");
    }
    assert_eq!(told(&events), ["unloaded trim", "loading", "loaded"]);
    engine.shut_down();
    assert_eq!(read(&events).1, Ending::Cancelled);
    assert!(engine.events().is_err());
}

#[test]
fn a_warm_up_can_be_watched() {
    let engine = engine("");
    let warm_up = |model: &Model| {
        let info: Value = serde_json::from_str(&model.info_json().expect("alive")).expect("JSON");
        info["warm_up"]["status"].as_str().expect("a status").to_owned()
    };
    let model = load(&engine, "x", 10);
    assert_eq!(warm_up(&model), "off");
    let slow = json!({"token_us": 20_000});
    let model = try_load(&engine, "x", 10, slow, r#"{"warm_up": true}"#).expect("loaded");
    assert_eq!(warm_up(&model), "running");
    wait_for("the end of the warm-up", || warm_up(&model) == "done");
    let narrow = self::engine(r#"{"event_queue": 1}"#);
    let model = try_load(&narrow, "x", 10, json!({}), r#"{"warm_up": true}"#).expect("loaded");
    wait_for("the end of a warm-up that nobody reads", || warm_up(&model) == "done");
    let broken = json!({"error_at": 0});
    let model = try_load(&engine, "x", 10, broken, r#"{"warm_up": true}"#).expect("loaded");
    wait_for("the end of the warm-up", || warm_up(&model) == "failed");
}
