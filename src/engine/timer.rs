//! Stops jobs whose deadline has passed: one thread per engine, started by the first deadline.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::job::{Job, StopCause};
use crate::error::{Error, ErrorKind, Result};
use crate::log;
use crate::own_thread::OwnThread;

/// An entry; the earliest is the greatest, for the heap.
struct Due {
    at: Reverse<Instant>,
    job: Weak<Job>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[derive(Default)]
struct State {
    due: BinaryHeap<Due>,
    thread: Option<JoinHandle<()>>,
    stopped: bool,
    // Where the heap is next searched for jobs that are gone.
    purge_at: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    own: OwnThread,
}

/// The deadlines of an engine's jobs.
#[derive(Default)]
pub(super) struct Timer(Arc<Shared>);

const PURGE_MIN: usize = 64;

impl Timer {
    /// Stops `job` once `limit` has passed since it was started.
    pub(super) fn watch(&self, job: &Arc<Job>, limit: Duration) -> Result<()> {
        // Beyond the clock's range there is nothing to wait for.
        let Some(at) = job.started().checked_add(limit) else {
            return Ok(());
        };
        let mut state = self.0.state.lock();
        if state.thread.is_none() && !state.stopped {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("fluid-timer".into());
            let handle = thread.spawn(move || shared.enter()).map_err(|error| {
                Error::new(
                    ErrorKind::OutOfMemory,
                    format!("cannot start the deadline thread: {error}"),
                )
            })?;
            state.thread = Some(handle);
        }
        state.purge();
        state.due.push(Due { at: Reverse(at), job: Arc::downgrade(job) });
        self.0.changed.notify_all();
        Ok(())
    }

    /// Ends the thread. Deadlines no longer count; the engine's jobs are being cancelled.
    pub(super) fn stop(&self) {
        let thread = {
            let mut state = self.0.state.lock();
            state.stopped = true;
            self.0.changed.notify_all();
            state.thread.take()
        };
        // A job's drop on the timer thread can bring the last reference to the engine there; in
        // the log callback nothing waits.
        let waits = !self.0.own.is_current() && !log::is_writing();
        if let Some(thread) = thread.filter(|_| waits) {
            // An error would be a panic, which the thread's own log line has told.
            let _ = thread.join();
        }
    }
}

impl State {
    /// Forgets jobs that are gone, each time the heap has doubled.
    fn purge(&mut self) {
        if self.due.len() < self.purge_at.max(PURGE_MIN) {
            return;
        }
        // Counted, not upgraded: dropping a last reference here could join a worker.
        self.due.retain(|due| due.job.strong_count() > 0);
        self.purge_at = self.due.len() * 2;
    }
}

impl Shared {
    fn enter(&self) {
        self.own.enter();
        self.run();
    }

    fn run(&self) {
        let mut state = self.state.lock();
        while !state.stopped {
            match state.due.peek().map(|due| due.at.0) {
                None => self.changed.wait(&mut state),
                Some(at) if at > Instant::now() => {
                    self.changed.wait_until(&mut state, at);
                }
                Some(_) => {
                    let job = state.due.pop().and_then(|due| due.job.upgrade());
                    // A job's locks are taken without the timer's.
                    parking_lot::MutexGuard::unlocked(&mut state, || {
                        if let Some(job) = job {
                            job.request_stop(StopCause::Deadline);
                        }
                    });
                }
            }
        }
    }
}
