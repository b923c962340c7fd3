//! A model's worker thread: loads the model, runs its jobs, frees it.
#![forbid(unsafe_code)]

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::adapters::Adapters;
use super::conversation::Conversation;
use super::drafter::Drafter;
use super::embedder::{Batcher, EmbedTask, Embedder};
use super::errands::Errands;
use super::event::{Body, Ending, Event};
use super::generator::{Generator, Parts};
use super::grammars::Grammars;
use super::job::{Job, Outcome};
use super::model::{Model, Setup, Skill};
use super::own_thread::OwnThread;
use super::scheduler::Scheduler;
use super::signal::Signal;
use super::speculation::Drafts;
use super::speech::{self, SpeechTask, Transcriber};
use super::states::States;
use super::task::Task;
use super::tokens::Words;
use crate::backend::{self, Listener, Loaded, LoadedEmbedding, LoadedSpeech, LoadedText};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{self, log};
use crate::request::LoadOptions;

/// Address space for a worker's stack. Some models' tokenisers recurse once or more for each
/// character of a word; see `prompt::LONGEST_WORD`.
const STACK: usize = 512 << 20;

/// A worker thread, seen from outside.
pub(super) struct Worker {
    signal: Signal,
    failed: AtomicBool,
    own: OwnThread,
    thread: Mutex<Option<JoinHandle<()>>>,
    errands: Arc<Errands>,
}

/// What a worker starts with.
pub(super) struct Load {
    pub(super) path: String,
    pub(super) options: LoadOptions,
    pub(super) job: Arc<Job>,
    pub(super) setup: Setup,
}

impl Worker {
    /// Starts a thread that carries out `load`.
    pub(super) fn start(load: Load, signal: Signal, woken: Receiver<()>) -> Result<Arc<Self>> {
        let worker = Arc::new(Self {
            signal,
            failed: AtomicBool::new(false),
            own: OwnThread::default(),
            thread: Mutex::new(None),
            errands: Arc::default(),
        });
        let thread = std::thread::Builder::new().name("fluid-model".into()).stack_size(STACK);
        let own = Arc::clone(&worker);
        // Held while the thread is made, so that it is known before anybody can join it.
        let mut slot = worker.thread.lock();
        let handle = thread.spawn(move || own.run(load, &woken)).map_err(|error| {
            Error::new(ErrorKind::OutOfMemory, format!("cannot start a worker thread: {error}"))
        })?;
        *slot = Some(handle);
        drop(slot);
        Ok(worker)
    }

    /// Asks the worker to end, without waiting for it.
    pub(super) fn ask(&self) {
        self.signal.shut_down();
    }

    /// Stops the worker's jobs and waits until its threads have ended, native state freed.
    /// On the worker's own thread, and inside the log callback, only asks.
    pub(super) fn stop(&self) {
        self.signal.shut_down();
        // Asked before the lock: whoever joins this thread holds it. In the log callback, which
        // may run on another worker, two of them could wait for each other.
        if self.own.is_current() || log::is_writing() {
            return;
        }
        let mut slot = self.thread.lock();
        if let Some(thread) = slot.take() {
            // Joined under the lock: a second caller also returns only when the thread is gone.
            // A panic has been turned into the jobs' endings.
            let _ = thread.join();
        }
        self.errands.join();
    }

    /// Whether the thread ended by a panic.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether its threads are gone.
    pub(super) fn is_finished(&self) -> bool {
        match self.thread.try_lock() {
            Some(slot) => {
                slot.as_ref().is_none_or(JoinHandle::is_finished) && self.errands.is_idle()
            }
            None => false,
        }
    }

    fn run(self: Arc<Self>, load: Load, woken: &Receiver<()>) {
        self.own.enter();
        // Weak, or the job would live, and its model with it, for as long as the thread.
        let job = Arc::downgrade(&load.job);
        let path = load.path.clone();
        if catch_unwind(AssertUnwindSafe(|| self.work(load, woken))).is_err() {
            let message = format!("{path}: the worker thread panicked; please report this");
            log!(Error, "{message}");
            if let Some(job) = job.upgrade() {
                job.finish(Ending::Failed(Error::new(ErrorKind::Internal, message)), None);
            }
        }
    }

    fn work(self: Arc<Self>, load: Load, woken: &Receiver<()>) {
        let Load { path, options, job, setup } = load;
        let mut progress = |done: f32| {
            job.push_progress(done);
            job.stop_cause().is_none() && !self.signal.is_shut_down()
        };
        let mut notice = |text: String| {
            log!(Warn, "{path}: {text}");
            job.push(Event::now(Body::Notice(text)));
        };
        let listener = Listener { progress: &mut progress, notice: &mut notice };
        let served = backend::load(&path, &options, self.signal.interrupt_flag(), listener)
            .and_then(|loaded| match loaded {
                None => Ok(None),
                Some(Loaded::Text(loaded)) => {
                    self.serve_text(*loaded, options, setup, &mut notice).map(Some)
                }
                Some(Loaded::Speech(loaded)) => Ok(Some(self.serve_speech(*loaded, setup))),
                Some(Loaded::Embedding(loaded)) => self.serve_embedding(*loaded, setup).map(Some),
            });
        let (model, service) = match served {
            Ok(Some(served)) => served,
            Ok(None) => {
                job.finish(Ending::Cancelled, None);
                return;
            }
            Err(error) => {
                log!(Error, "{path}: load failed: {error}");
                job.finish(Ending::Failed(error), None);
                return;
            }
        };
        log!(Info, "{path}: loaded");
        // Refused when the load was cancelled meanwhile: the model's drop then ends this thread.
        job.finish(Ending::Done, Some(Outcome::Model(model)));
        drop(job);
        match service {
            Service::Text(mut scheduler, tasks) => {
                let _emptied = self.emptied(&tasks);
                scheduler.run(&tasks, woken);
            }
            Service::Speech(loaded, tasks) => {
                let _emptied = self.emptied(&tasks);
                speech::run(&loaded, &tasks, woken, &self.signal);
            }
            Service::Embedding(mut batcher, tasks) => {
                let _emptied = self.emptied(&tasks);
                batcher.run(&tasks, woken);
            }
        }
        log!(Info, "{path}: freed");
    }

    fn serve_text(
        self: &Arc<Self>,
        loaded: LoadedText,
        options: LoadOptions,
        setup: Setup,
        notice: &mut dyn FnMut(String),
    ) -> Result<(Arc<Model>, Service)> {
        let LoadedText {
            mut backend,
            limits,
            vocab,
            tokenizer,
            info,
            fingerprint,
            check_state,
            adapters,
            draft,
        } = loaded;
        let drafts = Drafts {
            usual: options.speculative,
            has_model: draft.is_some(),
            possible: limits.n_drafted() > 0,
        };
        if !drafts.possible && (drafts.has_model || drafts.choose(None)?.is_some()) {
            notice(Drafts::NOTICE.to_owned());
        }
        let tokenize = |text: &str| backend.tokenize(text, false);
        let conversation = Conversation::new(&info, options.chat_template, &vocab, tokenize)?;
        let backend = (backend, draft.map(Drafter::new));
        let (vocab, adapters) = (Arc::new(vocab), Arc::new(Adapters::new(adapters)));
        let (signal, errands) = (self.signal.clone(), Arc::clone(&self.errands));
        let format = (fingerprint, check_state, Arc::clone(&adapters));
        let (states, arrivals) = States::new(format, limits, vocab.len(), signal, errands);
        let (signal, arrivals) = (self.signal.clone(), (Arc::clone(&states), arrivals));
        let scheduler = Scheduler::new(backend, limits, Arc::clone(&vocab), signal, arrivals);
        let grammars =
            Grammars::new(Arc::clone(&vocab), self.signal.clone(), Arc::clone(&self.errands));
        let words = Words(tokenizer);
        let parts = Parts {
            limits,
            vocab,
            adapters,
            drafts,
            conversation,
            states,
            grammars,
            words: words.clone(),
        };
        let (generator, tasks) = Generator::new(&info, parts, setup.clone());
        let skill = Skill::Text(Box::new(generator));
        let model = Model::new(info, skill, Some(words), setup, Arc::clone(self));
        Ok((model, Service::Text(Box::new(scheduler), tasks)))
    }

    fn serve_speech(
        self: &Arc<Self>,
        mut loaded: LoadedSpeech,
        setup: Setup,
    ) -> (Arc<Model>, Service) {
        let info = std::mem::take(&mut loaded.info);
        let (transcriber, tasks) = Transcriber::new(&loaded, setup.clone());
        let skill = Skill::Speech(Box::new(transcriber));
        let model = Model::new(info, skill, None, setup, Arc::clone(self));
        (model, Service::Speech(Box::new(loaded), tasks))
    }

    fn serve_embedding(
        self: &Arc<Self>,
        mut loaded: LoadedEmbedding,
        setup: Setup,
    ) -> Result<(Arc<Model>, Service)> {
        let words = Words(loaded.tokenizer.clone());
        let (embedder, tasks) = Embedder::new(&loaded, words.count()?, setup.clone());
        let info = std::mem::take(&mut loaded.info);
        let batcher = Batcher::new(loaded, self.signal.clone())?;
        let skill = Skill::Embedding(Box::new(embedder));
        let model = Model::new(info, skill, Some(words), setup, Arc::clone(self));
        Ok((model, Service::Embedding(Box::new(batcher), tasks)))
    }

    fn emptied<'a, T>(&'a self, tasks: &'a Receiver<T>) -> EmptyOnDrop<'a, T> {
        EmptyOnDrop { tasks, worker: self }
    }
}

/// What a worker does once its model is loaded.
enum Service {
    Text(Box<Scheduler>, Receiver<Task>),
    Speech(Box<LoadedSpeech>, Receiver<SpeechTask>),
    Embedding(Box<Batcher>, Receiver<EmbedTask>),
}

/// Ends the tasks that are left in the channel, also when the worker panics. A task sent later
/// finds the signal shut down (see `Intake::send`).
struct EmptyOnDrop<'a, T> {
    tasks: &'a Receiver<T>,
    worker: &'a Worker,
}

impl<T> Drop for EmptyOnDrop<'_, T> {
    fn drop(&mut self) {
        self.worker.failed.fetch_or(std::thread::panicking(), Ordering::AcqRel);
        self.worker.signal.shut_down();
        while let Ok(task) = self.tasks.try_recv() {
            drop(task);
        }
    }
}
