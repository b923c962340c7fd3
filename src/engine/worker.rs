//! A model's worker thread: loads the model, runs its jobs, frees it.
#![forbid(unsafe_code)]

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::assembly;
use super::budget::{Claim, Patience};
use super::downloads::Reports;
use super::errands::Errands;
use super::event::{Body, Ending, Event};
use super::job::{Job, Outcome};
use super::model::{Model, Setup};
use super::reload::Recipe;
use super::residence::{Reason, Residence};
use super::service::{Leave, Service};
use super::signal::Signal;
use crate::backend::{self, Listener};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{self, log};
use crate::own_thread::OwnThread;
use crate::request::LoadOptions;
use crate::store::hub::{Hub, Progress};
use crate::store::{self, Wanted};

/// How long a worker waits before it tries again to load a model that did not come back.
const PAUSE: Duration = Duration::from_millis(50);

/// Address space for a worker's stack. Some models' tokenisers recurse once or more for each
/// character of a word; see `prompt::LONGEST_WORD`.
const STACK: usize = 512 << 20;

/// The workers of all engines, of those that are gone or just being freed, too.
static RUNNING: Mutex<Vec<Arc<Worker>>> = Mutex::new(Vec::new());

/// Stops all workers, whoever else does already, and waits until their threads have ended.
pub(super) fn stop_all() {
    let running = RUNNING.lock().clone();
    for worker in &running {
        worker.ask();
    }
    for worker in &running {
        worker.stop();
    }
}

/// A worker thread, seen from outside.
pub(super) struct Worker {
    signal: Signal,
    failed: AtomicBool,
    own: OwnThread,
    thread: Mutex<Option<JoinHandle<()>>>,
    errands: Arc<Errands>,
}

/// Where the model is.
pub(super) enum Source {
    /// Here.
    Path(String),
    /// On a hub, which is asked for it.
    Hub(Box<(Wanted, Hub)>),
    /// Nowhere.
    Refused(Error),
}

/// The share of a load's progress that a download has which comes before.
const DOWNLOADED: f32 = 0.9;

/// What a worker starts with.
pub(super) struct Load {
    pub(super) source: Source,
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
        let mut running = RUNNING.lock();
        running.retain(|worker| !worker.is_finished());
        // Held while the thread is made, so that it is known before anybody can join it.
        let mut slot = worker.thread.lock();
        let handle = thread.spawn(move || own.run(load, &woken)).map_err(|error| {
            Error::new(ErrorKind::OutOfMemory, format!("cannot start a worker thread: {error}"))
        })?;
        *slot = Some(handle);
        drop(slot);
        running.push(Arc::clone(&worker));
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
        let residence = Arc::clone(&load.setup.residence);
        if catch_unwind(AssertUnwindSafe(|| self.work(load, woken))).is_err() {
            let message =
                format!("{}: the worker thread panicked; please report this", residence.path());
            log!(Error, "{message}");
            if let Some(job) = job.upgrade() {
                job.finish(Ending::Failed(Error::new(ErrorKind::Internal, message)), None);
            }
        }
    }

    fn work(self: Arc<Self>, load: Load, woken: &Receiver<()>) {
        let Load { source, options, job, setup } = load;
        let _closed = CloseOnDrop(&setup.residence);
        let begun = Instant::now();
        let made = match self.first_load(source, options, &job, &setup) {
            Ok(Some(made)) => made,
            Ok(None) => {
                job.finish(Ending::Cancelled, None);
                return;
            }
            Err(error) => {
                log!(Error, "{}: load failed: {error}", setup.residence.path());
                job.finish(Ending::Failed(error), None);
                return;
            }
        };
        let (claim, recipe, model, service) = made;
        setup.residence.arrived(begun.elapsed());
        if recipe.warms_up() {
            model.warm_up();
        }
        // Refused when the load was cancelled meanwhile: the model's drop then ends this thread.
        job.finish(Ending::Done, Some(Outcome::Model(model)));
        drop(job);
        // Dropped after the native state.
        let mut claim = Some(claim);
        let mut service = ClearOnDrop { service, worker: &self };
        while let Leave::Rest(reason) = service.service.run(woken) {
            self.rest(&mut *service.service, &setup, reason, &mut claim);
            claim = self.wait_to_return(&mut *service.service, &setup, &recipe, woken);
            if claim.is_none() {
                break;
            }
        }
        drop(service);
        log!(Info, "{}: freed", setup.residence.path());
    }

    /// Loads the model for its one job; `None` when that was stopped.
    #[allow(clippy::type_complexity, reason = "taken apart by its one caller")]
    fn first_load(
        self: &Arc<Self>,
        source: Source,
        options: LoadOptions,
        job: &Arc<Job>,
        setup: &Setup,
    ) -> Result<Option<(Claim, Recipe, Arc<Model>, Box<dyn Service>)>> {
        let fetched = if matches!(source, Source::Hub(_)) { DOWNLOADED } else { 0.0 };
        let Some(path) = self.fetch(source, job)? else { return Ok(None) };
        setup.residence.lies_at(&path);
        let mut goes_on = || job.stop_cause().is_none() && !self.signal.is_shut_down();
        let mut notice = |text: String| {
            setup.residence.notice(&text);
            job.push(Event::now(Body::Notice(text)));
        };
        let (residence, budget) = (&setup.residence, &setup.budget);
        let mut recipe = Recipe::new(&path, options, budget.most(residence))?;
        let bytes = recipe.bytes();
        let Some(mut claim) = budget.claim(residence, bytes, Patience::None, &mut goes_on)? else {
            return Ok(None);
        };
        let mut progress = |done: f32| {
            job.push_progress(fetched + (1.0 - fetched) * done);
            goes_on()
        };
        let listener = Listener { progress: &mut progress, notice: &mut notice };
        let flag = self.signal.interrupt_flag();
        let Some(loaded) = backend::load(&path, recipe.options(), flag, listener)? else {
            return Ok(None);
        };
        recipe.settle(&loaded);
        claim.correct(residence, recipe.bytes());
        let errands = Arc::clone(&self.errands);
        let parts = assembly::assemble(loaded, recipe.options(), setup, errands, &mut notice)?;
        let model =
            Model::new(parts.info, parts.skill, parts.words, setup.clone(), Arc::clone(self));
        Ok(Some((claim, recipe, model, parts.service)))
    }

    /// The path of the model, which is fetched if it is not here. `None`: the job was stopped.
    fn fetch(&self, source: Source, job: &Job) -> Result<Option<String>> {
        let (wanted, hub) = match source {
            Source::Path(path) => return Ok(Some(path)),
            Source::Refused(error) => return Err(error),
            Source::Hub(wanted) => *wanted,
        };
        let mut reports = Reports::new(job, DOWNLOADED);
        let mut watch =
            |progress: &Progress<'_>| reports.tell(progress) && !self.signal.is_shut_down();
        let fetched = store::download(&wanted, &hub, true, &mut watch)?;
        Ok(fetched.map(|model| model.path.to_string_lossy().into_owned()))
    }

    /// Gives the native state up.
    fn rest(
        &self,
        service: &mut dyn Service,
        setup: &Setup,
        reason: Reason,
        claim: &mut Option<Claim>,
    ) {
        setup.residence.leaves();
        service.rest();
        backend::give_memory_back();
        *claim = None;
        setup.residence.left(reason);
    }

    /// Waits until somebody wants the native state, and loads it again. `None`: the worker should end.
    fn wait_to_return(
        &self,
        service: &mut dyn Service,
        setup: &Setup,
        recipe: &Recipe,
        woken: &Receiver<()>,
    ) -> Option<Claim> {
        let residence = &setup.residence;
        loop {
            self.signal.interrupt_flag().clear();
            if self.signal.is_shut_down() {
                return None;
            }
            if !service.is_wanted() && !residence.is_called() {
                // An error would be a signal that nobody can give any more; this worker can.
                let _ = woken.recv();
                continue;
            }
            match self.load_again(service, setup, recipe) {
                Ok(Some(claim)) => return Some(claim),
                Ok(None) => residence.stays_away(None),
                Err(error) => {
                    service.clear(Some(&error));
                    residence.stays_away(Some(&error));
                    // Somebody whose task is still on its way may want it at once.
                    let _ = woken.recv_timeout(PAUSE);
                }
            }
        }
    }

    /// Loads the native state again; `None` when nobody wants it any more.
    fn load_again(
        &self,
        service: &mut dyn Service,
        setup: &Setup,
        recipe: &Recipe,
    ) -> Result<Option<Claim>> {
        let residence = &setup.residence;
        let mut is_wanted = || {
            let is_wanted = service.is_wanted() || residence.is_called();
            is_wanted && !self.signal.is_shut_down()
        };
        recipe.check()?;
        let bytes = recipe.bytes();
        let claim = setup.budget.claim(residence, bytes, Patience::Waits, &mut is_wanted)?;
        let Some(claim) = claim else { return Ok(None) };
        residence.comes_back();
        let begun = Instant::now();
        let mut progress = |_: f32| is_wanted();
        let mut notice = |text: String| residence.notice(&text);
        let listener = Listener { progress: &mut progress, notice: &mut notice };
        let flag = self.signal.interrupt_flag();
        let Some(loaded) = backend::load(residence.path(), recipe.options(), flag, listener)?
        else {
            return Ok(None);
        };
        service.revive(loaded)?;
        residence.arrived(begun.elapsed());
        Ok(Some(claim))
    }
}

/// Lets go of callers who wait for the model, when its worker ends.
struct CloseOnDrop<'a>(&'a Residence);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Ends the jobs that are left, also when the worker panics. A task sent later finds the signal shut
/// down (see `Intake::send`).
struct ClearOnDrop<'a> {
    service: Box<dyn Service>,
    worker: &'a Worker,
}

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        self.worker.failed.fetch_or(std::thread::panicking(), Ordering::AcqRel);
        self.worker.signal.shut_down();
        self.service.clear(None);
    }
}
