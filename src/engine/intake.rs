//! The way of a model's tasks to whoever carries them out: counted, bounded, with deadlines.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};
use parking_lot::Mutex;

use super::job::{Job, Outcome, Place, StopCause};
use super::model::Setup;
use crate::error::{Error, ErrorKind, Result};

/// How long a start waits for the workers to take over what is in the channel.
const PATIENCE: Duration = Duration::from_secs(1);

/// A job's work on its way to a worker.
pub(super) trait Work {
    fn job(&self) -> &Arc<Job>;
}

/// The callers' end.
pub(super) struct Intake<T> {
    setup: Setup,
    waiting: Arc<AtomicUsize>,
    tasks: Mutex<Sender<T>>,
    /// To throw out tasks whose jobs have ended while nobody had time for them.
    taken: Receiver<T>,
}

impl<T: Work> Intake<T> {
    /// An intake, and what its workers receive from.
    pub(super) fn new(setup: Setup) -> (Self, Receiver<T>) {
        // The places of the queue are counted (see `Place`); the channel also holds, for a
        // while, jobs that ended while they waited.
        let (tasks, taken) = bounded(2 * setup.options.max_queue);
        let tasks = Mutex::new(tasks);
        (Self { setup, waiting: Arc::default(), tasks, taken: taken.clone() }, taken)
    }

    /// A job that waits for a worker, its result `outcome` until it has a better one.
    pub(super) fn job(&self, outcome: Outcome) -> Result<Arc<Job>> {
        let place = Place::take(&self.waiting, self.setup.options.max_queue);
        let place = place.ok_or_else(|| self.full())?;
        let signal = self.setup.signal.clone();
        let job = Job::new(self.setup.options.event_queue, signal, Some(place), outcome);
        job.uses(self.setup.residence.enter());
        Ok(job)
    }

    /// Has `job` stopped after `deadline`, from now on.
    pub(super) fn watch(&self, job: &Arc<Job>, deadline: Option<Duration>) -> Result<()> {
        match deadline {
            Some(limit) => self.setup.timer.watch(job, limit).inspect_err(|_| job.close()),
            None => Ok(()),
        }
    }

    /// Sends `task`; its job then is stopped after `deadline`.
    pub(super) fn send(&self, task: T, deadline: Option<Duration>) -> Result<Arc<Job>> {
        let job = Arc::clone(task.job());
        let tasks = self.tasks.lock();
        // Jobs that ended while they waited; their audio may be large.
        if self.taken.len() > self.waiting.load(Ordering::Acquire) {
            self.throw_out_ended(&tasks);
        }
        if let Err(TrySendError::Full(task)) = tasks.try_send(task) {
            self.throw_out_ended(&tasks);
            // The task has its place; the channel is full only until a worker has looked around.
            tasks.send_timeout(task, PATIENCE).map_err(|_| self.full())?;
        }
        drop(tasks);
        // Without native state a worker waits for this alone.
        self.setup.signal.wake();
        // The workers may have emptied the channel for the last time before this task came.
        if self.setup.signal.is_shut_down() {
            job.request_stop(StopCause::Cancel);
        }
        self.watch(&job, deadline)?;
        Ok(job)
    }

    /// Once around the channel; nobody else sends meanwhile, so there is room for what stays.
    fn throw_out_ended(&self, tasks: &Sender<T>) {
        for _ in 0..self.taken.len() {
            match self.taken.try_recv() {
                Ok(task) if !task.job().is_ended() => drop(tasks.try_send(task)),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn full(&self) -> Error {
        let limit = self.setup.options.max_queue;
        let message =
            format!("{limit} jobs wait for this model already; try again when some have ended");
        Error::new(ErrorKind::QueueFull, message)
    }
}
