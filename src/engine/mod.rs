//! Time, threads and queues: engines, models, jobs. Knows backends only by their trait.
#![forbid(unsafe_code)]

mod adapters;
mod answers;
mod assembly;
mod bans;
mod budget;
pub mod completion;
mod conversation;
pub mod devices;
mod downloads;
mod drafter;
mod embedder;
mod errands;
mod estimate;
pub mod event;
mod generator;
mod grammars;
mod intake;
pub mod job;
mod kv;
mod line;
mod logprobs;
pub mod model;
mod models;
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
pub mod survey;
mod task;
mod texts;
mod timer;
mod tokens;
mod warm_up;
mod worker;
mod writer;

use std::path::PathBuf;
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
use self::worker::{Load, Source, Worker};
use crate::backend;
use crate::error::{Error, ErrorKind, Result};
use crate::request::{DownloadOptions, EngineOptions, LoadOptions};
use crate::store::hub::Hub;
use crate::store::{Found, Kind, Store, Wanted};
use crate::{log, own_thread};

/// How long a trim waits for one model's memory.
const TRIM_PATIENCE: Duration = Duration::from_secs(2);

/// Waits until no model is computed with or loaded any more, of engines neither that other threads are freeing
/// or that were freed where that does not wait: their native libraries are about to go. In the log callback it does not wait.
pub fn stop_workers() {
    worker::stop_all();
}

/// The owner of models and jobs. Dropping it is [`shut_down`](Self::shut_down).
pub struct Engine {
    options: EngineOptions,
    store: Store,
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
        let store = Store::new(options.model_dir.as_deref(), options.cache_dir.as_deref());
        let (timer, news, workers) = (Arc::default(), Arc::default(), Mutex::default());
        let downloads = Downloads::default();
        Self { options, store, timer, budget, news, workers, downloads }
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The folder for compiled models.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        self.store.cache_dir().map(Into::into)
    }

    /// Starts to load the model that `name` stands for, see [`Store::find`]; the job then holds it.
    pub fn load(&self, name: &str, mut options: LoadOptions) -> Result<Arc<Job>> {
        // A name that stands for nothing is told by the job, as a file that cannot be read is.
        let source = self.locate(name, &mut options);
        options.openvino.clone_from(&self.options.openvino);
        let (signal, woken) = Signal::new();
        let deadline = options.deadline;
        let job = Job::new(self.options.event_queue, signal.clone(), None, Outcome::Nothing);
        let rules = Rules {
            pinned: options.pinned,
            idle_timeout: options.idle_timeout.unwrap_or(self.options.idle_timeout),
            check_interval: self.options.idle_check_interval,
        };
        let residence = Residence::new(name, signal.clone(), rules, Arc::clone(&self.news));
        self.budget.join(&residence);
        let load = Load {
            source,
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

    /// What `name` stands for, and in `options` what the store adds to them.
    fn locate(&self, name: &str, options: &mut LoadOptions) -> Source {
        if backend::is_script(name) {
            return Source::Path(name.to_owned());
        }
        if let Some(draft) = &mut options.draft {
            // What else it may be, its own load tells.
            if let Ok(Found::Here(path)) = self.store.find(&draft.path, Some(Kind::Llm)) {
                draft.path = path.to_string_lossy().into_owned();
            }
        }
        let found = match self.store.find(name, options.model_type) {
            Ok(found) => found,
            Err(error) => return Source::Refused(error),
        };
        // GGUF models are not compiled.
        let is_compiled = match &found {
            Found::Here(path) => path.is_dir(),
            Found::Wanted(wanted) => wanted.kind == Kind::Whisper,
        };
        if options.cache_dir.is_none() && is_compiled {
            options.cache_dir = self.store.usable_cache_dir();
        }
        match found {
            // From UTF-8 names in folders that UTF-8 options name.
            Found::Here(path) => Source::Path(path.to_string_lossy().into_owned()),
            Found::Wanted(wanted) if options.download => match Hub::new(&self.options.hub) {
                Ok(hub) => Source::Hub(Box::new((wanted, hub))),
                Err(error) => Source::Refused(error),
            },
            Found::Wanted(wanted) => {
                Source::Refused(fetch_first(name, &wanted, ", and \"download\" is false"))
            }
        }
    }

    /// Starts to fetch the model that `name` stands for from the hub.
    pub fn download(&self, name: &str, options: &DownloadOptions) -> Result<Arc<Job>> {
        let job = self.downloads.start(&self.store, (name, options), &self.options)?;
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
        let asked = self.budget.tenants().into_iter().map(|model| (model.tenancy().bytes, model));
        let mut asked: Vec<_> = asked.filter(|(_, model)| model.ask(Reason::Trim)).collect();
        let waits = !log::is_writing() && !own_thread::is_ours();
        asked.retain(|(_, model)| waits && model.wait_gone(TRIM_PATIENCE));
        backend::give_memory_back();
        let names: Vec<&str> = asked.iter().map(|(_, model)| model.name()).collect();
        let bytes: u64 = asked.iter().map(|(bytes, _)| bytes).sum();
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

/// The error of `name`, which stands for `wanted`, where nothing is fetched, because of what `besides` says.
fn fetch_first(name: &str, wanted: &Wanted, besides: &str) -> Error {
    let missing = wanted.missing(name);
    let message = format!("{missing}{besides}; fetch {name} with fluid_download");
    Error::new(ErrorKind::NotFound, message)
}
