//! Jobs of the Rust engine, read to their ends.
#![allow(unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::time::{Duration, Instant};

use fluid::engine::event::{Body, Ending};
use fluid::engine::job::{Job, Next};

/// What the contract promises from a cancel or a deadline to the final event.
pub const BOUND: Duration = Duration::from_millis(100);
/// Far beyond what any of these jobs takes: a job without an end fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn next(job: &Job) -> Body {
    match job.next(Job::deadline_in(PATIENCE)) {
        Next::Event(event) => event.body,
        other => panic!("expected an event, got {other:?}"),
    }
}

/// Reads `job` to its end: its text, and how it ended. Checks that the end is the only one.
pub fn read(job: &Job) -> (String, Ending) {
    let mut text = String::new();
    loop {
        match next(job) {
            Body::Token(token) => text.push_str(&token.text),
            Body::Notice(notice) => assert!(!notice.is_empty()),
            Body::Progress(progress) => assert!((0.0..=1.0).contains(&progress)),
            Body::End(ending) => {
                assert!(matches!(job.next(Some(Instant::now())), Next::End));
                return (text, ending);
            }
            other => panic!("neither a load nor a generation tells {other:?}"),
        }
    }
}
