//! Short-lived threads of a model's jobs, for what must not hold up its worker.
#![forbid(unsafe_code)]

use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::own_thread::OwnThread;

/// Address space for a thread's stack where nothing recurses.
const STACK: usize = 2 << 20;

/// The threads that run.
#[derive(Default)]
pub(super) struct Errands(Mutex<State>);

#[derive(Default)]
struct State {
    running: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Errands {
    /// Runs `body` on a thread of its own. It must not hold the model, which joins it.
    pub(super) fn run(&self, body: impl FnOnce() + Send + 'static) -> Result<()> {
        self.run_with_stack(STACK, body)
    }

    /// The same, with `stack` bytes of address space for its stack.
    pub(super) fn run_with_stack(
        &self,
        stack: usize,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::InvalidHandle, "the model or its engine was freed"));
        }
        state.running.retain(|thread| !thread.is_finished());
        let thread = std::thread::Builder::new().name("fluid-errand".into()).stack_size(stack);
        let handle = thread.spawn(move || {
            OwnThread::default().enter();
            body();
        });
        let handle = handle.map_err(|error| {
            Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {error}"))
        })?;
        state.running.push(handle);
        Ok(())
    }

    /// Whether no thread runs.
    pub(super) fn is_idle(&self) -> bool {
        self.0.lock().running.iter().all(JoinHandle::is_finished)
    }

    /// Waits until all threads have ended; no more are started.
    pub(super) fn join(&self) {
        let running = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.running)
        };
        for thread in running {
            // A panic has ended the thread's job.
            let _ = thread.join();
        }
    }
}
