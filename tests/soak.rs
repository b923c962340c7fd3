//! Thousands of jobs with random cancels leave nothing behind: one test, so that the process is
//! its own. With `FLUID_SOAK=full` for longer.
#![cfg(all(target_os = "linux", feature = "fake", feature = "llama"))]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

#[path = "support/dice.rs"]
mod dice;
mod support;

use std::collections::VecDeque;

use dice::Dice;
use fluid::ffi::{FLUID_CANCELLED, FLUID_OK};
use serde_json::{json, Value};
use support::process::{held, settled, use_one_arena};
use support::{smollm2_path, tries, Engine, Event, Job, Model};

/// Jobs at a time, on four slots.
const AT_ONCE: usize = 12;
/// How often memory is looked at.
const LOOKS: usize = 20;
/// What memory may swing by, in KiB.
const SWING: u64 = 4 << 10;

const SHARED: &str = "The following is a conversation with a helpful assistant. ";

fn request(dice: &mut Dice) -> Value {
    let question = dice.pick(&["What is a boat?", "Name a river.", "Who was Ada?", "Why?"]);
    let beginning = if dice.one_in(2) { SHARED } else { "" };
    json!({
        "prompt": format!("{beginning}{question} {}", dice.below(50)),
        "temperature": 0,
        "max_tokens": 1 + dice.below(24),
        "priority": dice.below(3),
        "cache_prompt": !dice.one_in(4),
    })
}

/// Reads `job` to its end; one in three is stopped on the way. True: it was.
fn finish(job: &Job, dice: &mut Dice) -> bool {
    let stop_after = dice.one_in(3).then(|| dice.below(6));
    let mut events = 0;
    let end = loop {
        if stop_after == Some(events) {
            job.cancel();
        }
        let event = job.next();
        events += 1;
        if Event::is_end(&event) {
            break event;
        }
    };
    assert!([FLUID_OK, FLUID_CANCELLED].contains(&end.status), "{}", end.text);
    end.status == FLUID_CANCELLED
}

/// Runs `count` jobs on `model`; returns how many were cancelled.
fn run(model: &Model, count: usize, dice: &mut Dice) -> usize {
    let mut jobs: VecDeque<Job> = VecDeque::new();
    let mut cancelled = 0;
    for _ in 0..count {
        jobs.push_back(model.start(&request(dice)));
        if jobs.len() == AT_ONCE {
            let job = jobs.remove(dice.below(AT_ONCE)).expect("it is there");
            cancelled += usize::from(finish(&job, dice));
        }
    }
    cancelled + jobs.iter().map(|job| usize::from(finish(job, dice))).sum::<usize>()
}

/// `count` jobs, and memory between them, after a quarter as many that fill every cache.
fn soak(name: &str, model: &Model, count: usize) {
    let mut dice = Dice::new(2_000);
    run(model, count / 4, &mut dice);
    let (threads, files, _) = held();
    let mut cancelled = 0;
    let looks = (0..LOOKS).map(|_| {
        cancelled += run(model, count / LOOKS, &mut dice);
        held().2
    });
    let memory: Vec<u64> = looks.collect();
    let (threads_now, files_now, _) = held();
    assert_eq!((threads_now, files_now), (threads, files), "{name}: threads, open files");
    assert!(cancelled > count / 20, "{name}: only {cancelled} of {count} were cancelled");
    // Buffers come and go; the floor is what counts.
    let (first, last) = memory.split_at(LOOKS / 2);
    let (first, last) = (first.iter().min().copied(), last.iter().min().copied());
    eprintln!("{name}, {count} jobs, {cancelled} cancelled: {first:?}, then {last:?} KiB at least");
    assert!(last <= first.map(|first| first + SWING), "{name}: memory grows: {memory:?}");
}

/// Three models of which two fit, each used by its own thread, while idle ones are trimmed.
fn take_turns(count: usize) {
    let engine =
        Engine::new(r#"{"max_memory": 1.0, "idle_timeout": 0.02, "idle_check_interval": 0.01}"#);
    let script = r#"fake:{"hashed": true, "token_us": 20, "load_ms": 1, "memory": 450000000}"#;
    let options = r#"{"n_parallel": 4, "n_ctx": 128, "cache_ram_mb": 2}"#;
    let models = [0, 1, 2].map(|_| engine.load(script, options));
    let turn = |seed: u64| {
        std::thread::scope(|scope| {
            for (index, model) in (0..).zip(&models) {
                scope.spawn(move || run(model, count / LOOKS / 3, &mut Dice::new(seed + index)));
            }
            for _ in 0..5 {
                std::thread::sleep(std::time::Duration::from_millis(3));
                engine.trim();
            }
        });
        held().2
    };
    turn(0);
    // The three that used the models, and what they loaded, are gone or asleep by now.
    let (threads, files, _) = settled(0);
    let memory: Vec<u64> = (1..=LOOKS as u64).map(|seed| turn(10 * seed)).collect();
    let (threads_now, files_now, _) = settled(threads);
    assert_eq!((threads_now, files_now), (threads, files), "taking turns: threads, open files");
    let (first, last) = memory.split_at(LOOKS / 2);
    let (first, last) = (first.iter().min().copied(), last.iter().min().copied());
    eprintln!("taking turns, {count} jobs: {first:?}, then {last:?} KiB at least");
    assert!(last <= first.map(|first| first + SWING), "taking turns: memory grows: {memory:?}");
}

#[test]
fn two_thousand_jobs_with_random_cancels_leave_nothing_behind() {
    use_one_arena();
    let before = Engine::new("");
    let (threads, files, _) = held();
    {
        let engine = Engine::new("");
        let options = r#"{"n_parallel": 4, "n_ctx": 128, "n_threads": 1, "cache_ram_mb": 2}"#;
        for recurrent in [false, true] {
            let script =
                format!(r#"fake:{{"hashed": true, "token_us": 20, "recurrent": {recurrent}}}"#);
            let model = engine.load(&script, options);
            soak(&script, &model, 2_000);
        }
        take_turns(tries(1_200, 20_000));
        // States of 23 kB a token fill two MiB with the first jobs.
        let model = engine.load(&smollm2_path(), options);
        soak("SmolLM2", &model, tries(60, 2_000));
    }
    let (threads_now, files_now, _) = held();
    assert_eq!(threads_now, threads, "threads");
    // llama.cpp keeps the devices it looked for.
    assert!(files_now <= files + 2, "{files_now} open files, {files} before");
    drop(before);
}
