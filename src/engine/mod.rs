//! Time, threads and queues: engines, models, jobs. Knows backends only by their trait.
#![forbid(unsafe_code)]

mod adapters;
mod answers;
mod bans;
pub mod completion;
mod conversation;
pub mod devices;
mod drafter;
mod embedder;
mod errands;
pub mod event;
mod generator;
mod grammars;
mod intake;
pub mod job;
mod kv;
mod line;
mod logprobs;
pub mod model;
pub mod own_thread;
mod pace;
mod picker;
mod prompt;
pub mod queue;
mod scheduler;
mod scoring;
mod signal;
mod slot;
mod speculation;
mod speech;
mod state_file;
mod states;
pub mod survey;
mod task;
mod texts;
mod timer;
mod tokens;
mod worker;
mod writer;

use std::sync::Arc;

use parking_lot::Mutex;

use self::job::{Job, Outcome};
use self::model::{Model, Setup};
use self::signal::Signal;
use self::timer::Timer;
use self::worker::{Load, Worker};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{EngineOptions, LoadOptions};

/// The owner of models and jobs. Dropping it is [`shut_down`](Self::shut_down).
pub struct Engine {
    options: EngineOptions,
    timer: Arc<Timer>,
    workers: Mutex<Workers>,
}

#[derive(Default)]
struct Workers {
    running: Vec<Arc<Worker>>,
    closed: bool,
}

impl Engine {
    /// An engine without models; it starts no thread before the first load.
    pub fn new(options: EngineOptions) -> Self {
        Self { options, timer: Arc::default(), workers: Mutex::default() }
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Starts to load the model at `path`; the job then holds it.
    pub fn load(&self, path: &str, mut options: LoadOptions) -> Result<Arc<Job>> {
        options.openvino.clone_from(&self.options.openvino);
        let (signal, woken) = Signal::new();
        let deadline = options.deadline;
        let job = Job::new(self.options.event_queue, signal.clone(), None, Outcome::Nothing);
        let load = Load {
            path: path.to_owned(),
            options,
            job: Arc::clone(&job),
            setup: Setup {
                options: self.options.clone(),
                timer: Arc::clone(&self.timer),
                signal: signal.clone(),
            },
        };
        let mut workers = self.workers.lock();
        if workers.closed {
            return Err(Error::new(ErrorKind::InvalidHandle, "the engine was freed"));
        }
        workers.running.retain(|worker| !worker.is_finished());
        let worker = Worker::start(load, signal, woken)?;
        workers.running.push(worker);
        drop(workers);
        if let Some(limit) = deadline {
            self.timer.watch(&job, limit).inspect_err(|_| job.close())?;
        }
        Ok(job)
    }

    /// Whether `model` was loaded by this engine.
    pub fn owns(&self, model: &Model) -> bool {
        model.has_timer(&self.timer)
    }

    /// Cancels all jobs, frees all models and joins all threads. Native work that cannot be
    /// stopped is waited for.
    pub fn shut_down(&self) {
        let running = {
            let mut workers = self.workers.lock();
            workers.closed = true;
            std::mem::take(&mut workers.running)
        };
        // Asked together first, so that they end side by side.
        for worker in &running {
            worker.ask();
        }
        for worker in &running {
            worker.stop();
        }
        self.timer.stop();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down();
    }
}
