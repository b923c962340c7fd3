//! Time, threads and queues: engines, models, jobs. Knows backends only by their trait.
#![forbid(unsafe_code)]

mod adapters;
mod answers;
mod assembly;
mod bans;
mod budget;
pub mod completion;
mod conversation;
mod downloads;
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
mod news;
mod pace;
mod picker;
mod prompt;
pub mod queue;
mod reload;
mod residence;
mod scheduler;
mod scoring;
mod service;
mod signal;
mod slot;
mod speculation;
mod speech;
mod state_file;
mod states;
mod task;
mod texts;
mod timer;
mod tokens;
mod warm_up;
mod worker;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{json, Value};

use self::budget::Budget;
use self::downloads::Downloads;
use self::job::{Job, Outcome};
use self::model::{Model, Setup};
use self::news::News;
use self::residence::{Reason, Residence, Rules};
use self::signal::Signal;
use self::timer::Timer;
use self::worker::{Load, Worker};
use crate::backend;
use crate::error::{Error, ErrorKind, Result};
use crate::request::{DownloadOptions, EngineOptions, LoadOptions};
use crate::{log, own_thread};

/// How long a trim waits for one model's memory.
const TRIM_PATIENCE: Duration = Duration::from_secs(2);

/// The owner of models and jobs. Dropping it is [`shut_down`](Self::shut_down).
pub struct Engine {
    options: EngineOptions,
    timer: Arc<Timer>,
    budget: Arc<Budget>,
    news: Arc<News>,
    workers: Mutex<Workers>,
    downloads: Downloads,
}

#[derive(Default)]
struct Workers {
    running: Vec<Arc<Worker>>,
    closed: bool,
}

impl Engine {
    /// An engine without models; it starts no thread before the first load.
    pub fn new(options: EngineOptions) -> Self {
        let budget = Budget::new(options.max_memory);
        let (timer, news, workers) = (Arc::default(), Arc::default(), Mutex::default());
        Self { options, timer, budget, news, workers, downloads: Downloads::default() }
    }

    /// Starts to load the model at `path`; the job then holds it.
    pub fn load(&self, path: &str, mut options: LoadOptions) -> Result<Arc<Job>> {
        options.openvino.clone_from(&self.options.openvino);
        let (signal, woken) = Signal::new();
        let deadline = options.deadline;
        let job = Job::new(self.options.event_queue, signal.clone(), None, Outcome::Nothing);
        let rules = Rules {
            pinned: options.pinned,
            idle_timeout: options.idle_timeout.unwrap_or(self.options.idle_timeout),
            check_interval: self.options.idle_check_interval,
        };
        let residence = Residence::new(path, signal.clone(), rules, Arc::clone(&self.news));
        self.budget.join(&residence);
        let load = Load {
            path: path.to_owned(),
            options,
            job: Arc::clone(&job),
            setup: Setup {
                options: self.options.clone(),
                timer: Arc::clone(&self.timer),
                signal: signal.clone(),
                residence,
                budget: Arc::clone(&self.budget),
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

    /// Starts to fetch the model that `name` stands for from the hub.
    pub fn download(&self, name: &str, options: &DownloadOptions) -> Result<Arc<Job>> {
        let job = self.downloads.start(name, options, &self.options)?;
        if let Some(limit) = options.deadline {
            self.timer.watch(&job, limit).inspect_err(|_| job.close())?;
        }
        Ok(job)
    }

    /// Whether `model` was loaded by this engine.
    pub fn owns(&self, model: &Model) -> bool {
        model.has_timer(&self.timer)
    }

    /// A job that tells of what happens to models unasked, until it is freed or the engine is.
    pub fn events(&self) -> Result<Arc<Job>> {
        self.news.subscribe(self.options.event_queue)
    }

    /// What `fluid_engine_info` says, as JSON.
    pub fn info_json(&self) -> String {
        let models = self.budget.tenants();
        let models: Vec<Value> = models.iter().filter_map(|model| model.describe_whole()).collect();
        let seconds = |time: Duration| time.as_secs_f64();
        json!({
            "max_memory_bytes": self.budget.limit(),
            "memory_bytes": self.budget.taken(),
            "idle_timeout": self.options.idle_timeout.map(seconds),
            "idle_check_interval": seconds(self.options.idle_check_interval),
            "models": models,
        })
        .to_string()
    }

    /// Has all models that nobody uses give their memory back, those that are pinned excepted, and
    /// waits for it, in the log callback not. Returns what `fluid_engine_trim` says, as JSON.
    pub fn trim(&self) -> String {
        let mut asked = self.budget.tenants();
        asked.retain(|model| model.ask(Reason::Trim));
        let before: Vec<u64> = asked.iter().map(|model| model.tenancy().bytes).collect();
        let waits = !log::is_writing() && !own_thread::is_ours();
        let gone = |model: &Residence| waits && model.wait_gone(TRIM_PATIENCE);
        let gone: Vec<bool> = asked.iter().map(|model| gone(model)).collect();
        backend::give_memory_back();
        let names =
            asked.iter().zip(&gone).filter(|(_, &gone)| gone).map(|(model, _)| model.name());
        let names: Vec<&str> = names.collect();
        let bytes: u64 = before.iter().zip(&gone).filter(|(_, &gone)| gone).map(|(b, _)| b).sum();
        json!({"unloaded": names, "bytes": bytes}).to_string()
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
        self.downloads.stop();
        for worker in &running {
            worker.stop();
        }
        self.timer.stop();
        self.news.close();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down();
    }
}
