//! A queue: the events of many jobs, read by one thread.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// What a queue's reader gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Ready {
    /// The job of this tag has an event.
    Tag(u64),
    /// None had one in time.
    Timeout,
    /// The queue was freed while this call waited.
    Closed,
}

#[derive(Default)]
struct State {
    // Each job stands here at most once, so the list is as long as there are jobs.
    ready: VecDeque<u64>,
    closed: bool,
}

/// Lists the jobs that have events, in turn: a job that has more goes to the end.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lists the job of `tag` as ready.
    pub fn list(&self, tag: u64) {
        let mut state = self.state.lock();
        if !state.closed {
            state.ready.push_back(tag);
            self.changed.notify_one();
        }
    }

    /// The next job that is ready, waiting until `deadline`; `None` waits for as long as it takes.
    pub fn next(&self, deadline: Option<Instant>) -> Ready {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Ready::Closed;
            }
            if let Some(tag) = state.ready.pop_front() {
                return Ready::Tag(tag);
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    let late = self.changed.wait_until(&mut state, deadline).timed_out();
                    if late && state.ready.is_empty() && !state.closed {
                        return Ready::Timeout;
                    }
                }
            }
        }
    }

    /// The reader leaves; the jobs are detached.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.ready.clear();
        self.changed.notify_all();
    }

    /// Whether the reader has left.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}
