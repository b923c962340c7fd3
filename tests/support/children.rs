//! Runs a test's cases in child processes, so that a case that ends its process is found and named.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]
#![allow(clippy::print_stdout, reason = "the seeds and figures are the output")]

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Mutex};
use std::time::Duration;

const RANGE: &str = "FLUID_CHILD_RANGE";
const CHILDREN: usize = 2;
/// Failures that a message names.
const MOST_SHOWN: usize = 50;
/// Far beyond what a case takes, on a machine under load too.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often each outcome came, and the cases that failed or ended their process.
#[derive(Debug, Default)]
struct Tally {
    outcomes: BTreeMap<String, u64>,
    failures: Vec<String>,
}

/// In the parent: the seeds that `FLUID_MUTATIONS_FIRST` and `FLUID_MUTATIONS` choose, else the
/// first `count`.
pub fn seeds(count: u64) -> Range<u64> {
    let number =
        |name: &str, usual| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let first = number("FLUID_MUTATIONS_FIRST", 0);
    first..first + number("FLUID_MUTATIONS", count)
}

/// In the parent: [`run_parent`], and prints how often each outcome came. Fails where a seed failed,
/// and where one of `expected` never came.
pub fn run_all(
    name: &str,
    seeds: Range<u64>,
    batch: u64,
    expected: &[&str],
    describe: impl Fn(u64) -> String + Sync,
) {
    let Tally { outcomes, failures } = run_parent(name, seeds.clone(), batch, describe);
    println!("seeds {seeds:?}: {outcomes:?}");
    let some = failures.iter().take(MOST_SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} seeds failed, among them:\n{some}", failures.len());
    assert_eq!(outcomes.values().sum::<u64>(), seeds.end - seeds.start, "a seed came to nothing");
    for outcome in expected {
        assert!(outcomes.contains_key(*outcome), "nothing came to {outcome}: {outcomes:?}");
    }
}

/// In a child: an allocation that a file alone can drive above `bytes` fails instead of taking the
/// machine along.
pub fn limit_memory(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: `limit` is a valid struct, read during the call only.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
}

/// In a child: the seeds it was given. `None` in the parent.
pub fn range() -> Option<Range<u64>> {
    let text = env::var(RANGE).ok()?;
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

/// In a child: runs `case` for each seed. It returns the outcome's name, or what was wrong.
pub fn run_child(seeds: Range<u64>, mut case: impl FnMut(u64) -> Result<String, String>) {
    for seed in seeds {
        say(&format!("seed {seed}"));
        match case(seed) {
            Ok(outcome) => say(&format!("done {outcome}")),
            Err(cause) => say(&format!("wrong {cause}")),
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").and_then(|()| out.flush()).expect("the parent reads");
}

/// In the parent: shares `seeds` among children of `batch` seeds each that run the test `name` of
/// this binary. A seed that ends its child is noted, and the next child goes on behind it.
fn run_parent(
    name: &str,
    seeds: Range<u64>,
    batch: u64,
    describe: impl Fn(u64) -> String + Sync,
) -> Tally {
    let starts = seeds.clone().step_by(batch as usize);
    let batches: Vec<Range<u64>> =
        starts.map(|start| start..(start + batch).min(seeds.end)).collect();
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..CHILDREN {
            scope.spawn(|| {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut rest = batch.clone();
                    while let Some(resume) = run_batch(name, rest.clone(), &tally, &describe) {
                        rest.start = resume;
                    }
                }
            });
        }
    });
    tally.into_inner().expect("no thread panicked")
}

/// Runs one child; returns where to go on when it died.
fn run_batch(
    name: &str,
    seeds: Range<u64>,
    tally: &Mutex<Tally>,
    describe: &impl Fn(u64) -> String,
) -> Option<u64> {
    if seeds.is_empty() {
        return None;
    }
    let mut child = spawn(name, &seeds);
    let lines = read_lines(&mut child);
    let mut reached = seeds.start;
    let end = loop {
        let line = match lines.recv_timeout(TIMEOUT) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => break "did not end in time",
            Err(mpsc::RecvTimeoutError::Disconnected) => break "ended its process",
        };
        match line.split_once(' ') {
            Some(("seed", seed)) => reached = seed.parse().expect("a seed"),
            Some(("done", outcome)) => {
                let mut tally = tally.lock().expect("no thread panicked");
                *tally.outcomes.entry(outcome.to_owned()).or_default() += 1;
                reached += 1;
            }
            Some(("wrong", cause)) => {
                fail(tally, reached, cause, describe);
                reached += 1;
            }
            _ => {}
        }
    };
    child.kill().ok();
    let status = child.wait().expect("the child was started");
    if reached >= seeds.end && status.success() {
        return None;
    }
    fail(tally, reached, &format!("{end} ({status})"), describe);
    Some(reached + 1)
}

fn fail(tally: &Mutex<Tally>, seed: u64, cause: &str, describe: &impl Fn(u64) -> String) {
    let failure = format!("seed {seed}: {cause}: {}", describe(seed));
    tally.lock().expect("no thread panicked").failures.push(failure);
}

fn spawn(name: &str, seeds: &Range<u64>) -> Child {
    Command::new(env::current_exe().expect("this test has a file"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(RANGE, format!("{}..{}", seeds.start, seeds.end))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test can run itself")
}

fn read_lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take().expect("stdout is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
