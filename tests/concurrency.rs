//! More jobs than slots, of any length, stopped at any time: each says what it says alone.
#![cfg(feature = "llama")]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

#[path = "support/dice.rs"]
mod dice;
mod support;

use std::time::Duration;

use dice::Dice;
use fluid::ffi::{fluid_status, FLUID_CANCELLED, FLUID_OK};
use serde_json::{json, Value};
use support::greedy::{alone_answer, greedy, smollm2_subject, tiny_subjects, Judge, Subject};
use support::{alone, status_name, text_of, Answer, Engine, Event, Job, Model, PROMPTS};

const EIGHT_SLOTS: &str =
    r#"{"n_parallel": 8, "n_ctx": 512, "n_threads": 1, "kv_unified": true, "n_ubatch": 128}"#;
const JOBS: usize = 32;

/// What half of the prompts begin with.
const SHARED: &str = "You are a helpful assistant. You answer in one or two sentences, you never \
    invent facts, and you always stay polite, whatever the question may be.\n\n";

/// When a job is stopped.
#[derive(Clone, Copy)]
enum Stop {
    Never,
    /// After so many milliseconds.
    After(u64),
    /// After so many of its events.
    Events(usize),
}

struct Plan {
    prompt: String,
    request: Value,
    stop: Stop,
}

fn plans(dice: &mut Dice) -> Vec<Plan> {
    let plan = |index: usize| {
        let beginning = if dice.one_in(2) { SHARED } else { "" };
        let prompt = format!("{beginning}{}", PROMPTS[index % PROMPTS.len()]);
        let mut request = greedy(&prompt, 4 + dice.below(32));
        if dice.one_in(3) {
            request["stop"] = json!([dice.pick(&[".", "\n", " the", " and"]), "\u{1}"]);
        }
        let stop = match dice.below(8) {
            0 => Stop::After(dice.below(300) as u64),
            1 => Stop::Events(1 + dice.below(6)),
            _ => Stop::Never,
        };
        Plan { prompt, request, stop }
    };
    (0..JOBS).map(plan).collect()
}

/// Reads `job` to its end, stopping it where `stop` says so.
fn read(job: &Job, stop: Stop) -> Vec<Event> {
    let mut events = Vec::new();
    match stop {
        Stop::Never => {}
        Stop::After(time) => {
            std::thread::sleep(Duration::from_millis(time));
            job.cancel();
        }
        Stop::Events(count) => {
            while events.len() < count && !events.last().is_some_and(Event::is_end) {
                events.push(job.next());
            }
            job.cancel();
        }
    }
    if !events.last().is_some_and(Event::is_end) {
        // It checks that nothing comes behind the end.
        events.extend(job.read());
    }
    events
}

fn ended_as(events: &[Event]) -> fluid_status {
    events.last().expect("a final event").status
}

/// Starts all of `plans` at once, each read by a thread of its own.
fn run(model: &Model, plans: &[Plan]) -> Vec<Vec<Event>> {
    std::thread::scope(|scope| {
        let start = |plan: &Plan| {
            let (job, stop) = (model.start(&plan.request), plan.stop);
            scope.spawn(move || read(&job, stop))
        };
        let readers: Vec<_> = plans.iter().map(start).collect();
        readers.into_iter().map(|reader| reader.join().expect("it reads")).collect()
    })
}

fn check(judge: &mut Judge, plan: &Plan, alone: &Answer, events: &[Event]) {
    let cancelled = !matches!(plan.stop, Stop::Never) && ended_as(events) == FLUID_CANCELLED;
    assert!(
        cancelled || ended_as(events) == FLUID_OK,
        "{}: {}",
        plan.request,
        status_name(ended_as(events))
    );
    if text_of(events) != alone.text() {
        // A stop string cuts as a cancel does: another text may have it earlier.
        let cut = cancelled || plan.request["stop"].is_array();
        judge.same_events(&plan.prompt, alone, events, cut);
    }
    for stop in plan.request["stop"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(!text_of(events).contains(stop), "{stop:?} shows");
    }
}

fn thirty_two_jobs(subject: &Subject, seed: u64) {
    let engine = Engine::new("");
    let model = engine.load(&subject.path, EIGHT_SLOTS);
    let plans = plans(&mut Dice::new(seed));
    let alone: Vec<Answer> = plans.iter().map(|plan| alone_answer(&model, &plan.request)).collect();
    let mut judge = subject.judge();
    let answers = run(&model, &plans);
    for ((plan, alone), events) in plans.iter().zip(&alone).zip(&answers) {
        check(&mut judge, plan, alone, events);
    }
    // All slots are free again: as many jobs as there are slots speak before any ends.
    let endless = json!({"prompt": "Count: 1, 2, 3,", "temperature": 0, "logit_bias": {"0": -100, "2": -100}});
    let jobs: Vec<Job> = (0..8).map(|_| model.start(&endless)).collect();
    for job in &jobs {
        job.next_token();
    }
    for job in &jobs {
        job.cancel();
        assert_eq!(ended_as(&job.read()), FLUID_CANCELLED);
    }
    assert!(judge.parted < JOBS / 2, "{}: {} of {JOBS} part", subject.name, judge.parted);
    eprintln!("{}: {} of {JOBS} part, worst gap {}", subject.name, judge.parted, judge.worst);
}

#[test]
fn thirty_two_jobs_on_eight_slots_say_what_each_says_alone() {
    let _turn = alone();
    thirty_two_jobs(&smollm2_subject(), 4);
}

#[test]
fn thirty_two_jobs_of_each_other_kind_say_what_each_says_alone() {
    let _turn = alone();
    for (seed, subject) in tiny_subjects().iter().enumerate() {
        thirty_two_jobs(subject, seed as u64);
    }
}

/// Two slots, four jobs whose readers read nothing, and four that are read.
#[test]
fn readers_that_stall_block_nobody_and_get_their_whole_text_later() {
    let _turn = alone();
    let subjects = tiny_subjects();
    for subject in subjects.iter().chain([&smollm2_subject()]) {
        let engine = Engine::new(r#"{"event_queue": 3}"#);
        let options = r#"{"n_parallel": 2, "n_ctx": 256, "n_threads": 1}"#;
        let model = engine.load(&subject.path, options);
        let requests = PROMPTS.map(|prompt| greedy(prompt, 12));
        let alone = requests.each_ref().map(|request| alone_answer(&model, request));
        let mut judge = subject.judge();
        let stalled: Vec<Job> = requests[..4].iter().map(|request| model.start(request)).collect();
        // Each has a slot for a while, and then waits for its reader.
        let first: Vec<Event> = stalled.iter().map(Job::next_token).collect();
        for index in 4..8 {
            let answer = model.answer(&requests[index]);
            judge.same_answer(PROMPTS[index], &alone[index], &answer);
        }
        for (index, (job, first)) in stalled.iter().zip(first).enumerate() {
            let events = [vec![first], job.read()].concat();
            assert_eq!(ended_as(&events), FLUID_OK);
            judge.same_events(PROMPTS[index], &alone[index], &events, false);
        }
    }
}
