//! A first use of a model that nobody has to wait for: what is made lazily is made, weights are read in.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{json, Value};

use super::event::Ending;
use super::job::Job;
use crate::error::Result;

/// How far it is.
#[derive(Default)]
pub(super) struct WarmUp(Mutex<State>);

#[derive(Default)]
enum State {
    /// Nobody asked for it.
    #[default]
    Off,
    /// It runs as a job that nobody reads, or has ended.
    Started(Arc<Job>),
    /// It could not be started.
    Failed(String),
}

impl WarmUp {
    /// Notes what came of starting it.
    pub(super) fn set(&self, started: Result<Arc<Job>>) {
        *self.0.lock() = match started {
            Ok(job) => State::Started(job),
            Err(error) => State::Failed(error.message().to_owned()),
        };
    }

    /// `{"status": "off" | "running" | "done" | "failed", "elapsed_seconds", "message"}`.
    pub(super) fn describe(&self) -> Value {
        let job = match &*self.0.lock() {
            State::Off => return json!({"status": "off"}),
            State::Failed(message) => return json!({"status": "failed", "message": message}),
            State::Started(job) => Arc::clone(job),
        };
        let seconds = |until: Instant| until.duration_since(job.started()).as_secs_f64();
        match job.unread_end() {
            None => json!({"status": "running", "elapsed_seconds": seconds(Instant::now())}),
            Some((Ending::Done, at)) => json!({"status": "done", "elapsed_seconds": seconds(at)}),
            Some((ending, at)) => {
                let message = match ending {
                    Ending::Failed(error) => error.message().to_owned(),
                    _ => "it was stopped".to_owned(),
                };
                json!({"status": "failed", "elapsed_seconds": seconds(at), "message": message})
            }
        }
    }
}
