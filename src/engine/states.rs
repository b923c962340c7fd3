//! Saving sequences to files and bringing them back: on threads of their own, so that no other job
//! of the model waits for a disk.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crossbeam_channel::{unbounded, Receiver, Sender};
use parking_lot::Mutex;
use serde_json::json;

use super::adapters::{AdapterSet, Adapters};
use super::completion::entropy;
use super::errands::Errands;
use super::event::Ending;
use super::job::{Job, Outcome};
use super::signal::Signal;
use super::state_file::{self, Fault, Fit, Progress, Saved};
use super::task::Task;
use crate::backend::{Limits, StateCheck};
use crate::error::{Error, ErrorKind, Result};

/// The share of a save's progress that computing has; writing has the rest.
pub(super) const COMPUTED: f32 = 0.9;

/// What a save or a restore came to.
#[derive(Debug)]
pub struct StateResult {
    tokens: usize,
    bytes: u64,
    path: String,
}

impl StateResult {
    /// A JSON object.
    pub(super) fn to_json(&self) -> String {
        json!({"tokens": self.tokens, "bytes": self.bytes, "path": self.path}).to_string()
    }
}

/// A state on its way from the worker to its file.
pub(super) struct Save {
    pub(super) task: Task,
    pub(super) path: String,
    pub(super) saved: Saved,
}

/// A state on its way from its file to the worker. Dropped before, it ends its job.
pub(super) struct Arrival {
    job: Arc<Job>,
    path: String,
    bytes: u64,
    saved: Option<(AdapterSet, Saved)>,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.job.abandon();
    }
}

impl Arrival {
    /// Hands its content to `keep`, unless its job has ended, and ends the job.
    pub(super) fn arrive(mut self, keep: impl FnOnce(&AdapterSet, Saved)) {
        let saved = self.saved.take().filter(|_| self.job.admit());
        let Some((adapters, saved)) = saved else { return };
        let (tokens, path) = (saved.tokens.len(), std::mem::take(&mut self.path));
        keep(&adapters, saved);
        let result = StateResult { tokens, bytes: self.bytes, path };
        self.job.finish(Ending::Done, Some(Outcome::State(result)));
    }

    /// Ends the job by `error`: the model did not come back for it.
    pub(super) fn fail(self, error: &Error) {
        self.job.finish(Ending::Failed(error.clone()), None);
    }
}

/// Which sequences a model can save and take back, and who does it.
pub(super) struct States {
    fingerprint: String,
    check: StateCheck,
    adapters: Arc<Adapters>,
    limits: Limits,
    n_vocab: usize,
    signal: Signal,
    errands: Arc<Errands>,
    writing: AtomicUsize,
    /// Held by the one that reads: a state may be as large as all that is kept.
    reading: Mutex<()>,
    arrivals: Sender<Arrival>,
}

/// One of those who write; wakes the worker at its end, for the next may wait.
struct Writing(Arc<States>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.writing.fetch_sub(1, Ordering::AcqRel);
        self.0.signal.wake();
    }
}

impl States {
    /// And where the worker receives what comes out of files. `fingerprint`, `check` and `adapters`
    /// are the loaded model's, as is `n_vocab`, the tokens it has.
    pub(super) fn new(
        (fingerprint, check, adapters): (String, StateCheck, Arc<Adapters>),
        limits: Limits,
        n_vocab: usize,
        signal: Signal,
        errands: Arc<Errands>,
    ) -> (Arc<Self>, Receiver<Arrival>) {
        let (arrivals, arrived) = unbounded();
        let writing = AtomicUsize::new(0);
        let states = Self {
            fingerprint,
            check,
            adapters,
            limits,
            n_vocab,
            signal,
            errands,
            writing,
            reading: Mutex::new(()),
            arrivals,
        };
        (Arc::new(states), arrived)
    }

    // --- saving ---

    /// What a saved state says of the adapters that it was computed with.
    pub(super) fn label(&self, adapters: &AdapterSet) -> String {
        self.adapters.label(adapters)
    }

    /// Whether another state may be written now: each is in memory until it is.
    pub(super) fn can_write(&self) -> bool {
        self.writing.load(Ordering::Acquire) < self.limits.n_parallel as usize
    }

    /// Has `save` written by a thread of its own, which ends the job.
    pub(super) fn write(self: &Arc<Self>, save: Save) {
        let job = Arc::clone(&save.task.job);
        self.writing.fetch_add(1, Ordering::AcqRel);
        let writing = Writing(Arc::clone(self));
        // Shared, so that it is still there when no thread can be had.
        let parcel = Arc::new(Mutex::new(Some(save)));
        let sent = Arc::clone(&parcel);
        let started = self.errands.run(move || {
            let save = sent.lock().take();
            if let Some(save) = save {
                writing.0.carry_out(&save);
            }
        });
        if let Err(error) = started {
            job.finish(Ending::Failed(error), None);
        }
    }

    fn carry_out(&self, save: &Save) {
        let job = &save.task.job;
        let (ending, result) = match self.write_file(save) {
            Ok(bytes) => {
                let tokens = save.saved.tokens.len();
                let result = StateResult { tokens, bytes, path: save.path.clone() };
                (Ending::Done, Some(Outcome::State(result)))
            }
            Err(Fault::Failed(error)) => (Ending::Failed(at(&save.path, &error)), None),
            Err(Fault::Stopped) => {
                (job.stop_cause().map_or(Ending::Cancelled, |cause| cause.ending()), None)
            }
        };
        job.finish(ending, result);
    }

    fn write_file(&self, save: &Save) -> std::result::Result<u64, Fault> {
        let Save { task, path, saved } = save;
        // What could not be brought back is not written.
        (self.check)(&saved.state, saved.tokens.len()).map_err(|error| {
            let message = format!("this model's states cannot be saved: {}", error.message());
            Error::new(ErrorKind::Unsupported, message)
        })?;
        let mut progress = |done: f32| {
            task.job.push_progress(COMPUTED + (1.0 - COMPUTED) * done);
            task.job.stop_cause().is_none() && !self.signal.is_shut_down()
        };
        let part = Part::create(path)?;
        let bytes = state_file::write(&part.file, &self.fingerprint, saved, &mut progress)?;
        // Not forced to the disk, which can take longer than a cancel may: what a power cut leaves
        // of the file, its checksum tells.
        if !progress(1.0) {
            return Err(Fault::Stopped);
        }
        part.keep(Path::new(path))?;
        Ok(bytes)
    }

    // --- restoring ---

    /// Has the file at `path` read and checked by a thread of its own; the worker ends `job`.
    pub(super) fn read(self: &Arc<Self>, path: String, job: &Arc<Job>) -> Result<()> {
        let states = Arc::clone(self);
        let job = Arc::clone(job);
        let mut arrival = Arrival { job, path, bytes: 0, saved: None };
        self.errands.run(move || match states.read_file(&mut arrival) {
            Ok(()) => {
                // Without a worker the job has ended as cancelled.
                let _ = states.arrivals.send(arrival);
                states.signal.wake();
            }
            Err(Fault::Stopped) => drop(arrival),
            Err(Fault::Failed(error)) => {
                arrival.job.finish(Ending::Failed(at(&arrival.path, &error)), None);
            }
        })
    }

    fn read_file(&self, arrival: &mut Arrival) -> std::result::Result<(), Fault> {
        let job = &arrival.job;
        let mut progress = |done: f32| {
            job.push_progress(done);
            !job.is_ended() && !self.signal.is_shut_down()
        };
        let _turn = self.reading.lock();
        let saved = self.open(&arrival.path, &mut arrival.bytes, &mut progress)?;
        (self.check)(&saved.state, saved.tokens.len())?;
        arrival.saved = Some((self.adapters.find_label(&saved.adapters)?, saved));
        Ok(())
    }

    fn open(
        &self,
        path: &str,
        bytes: &mut u64,
        progress: Progress<'_>,
    ) -> std::result::Result<Saved, Fault> {
        // Opening a FIFO would block, and a device may never end.
        if !fs::metadata(path)?.is_file() {
            let message = "is not a file; name one that fluid_model_save_state wrote";
            return Err(Error::new(ErrorKind::InvalidState, message).into());
        }
        let file = File::open(path)?;
        *bytes = file.metadata()?.len();
        let fit = Fit {
            fingerprint: &self.fingerprint,
            n_ctx: self.limits.n_ctx,
            n_vocab: self.n_vocab,
            most_bytes: self.limits.kept_bytes,
        };
        state_file::read(file, *bytes, &fit, progress)
    }
}

/// Refuses what cannot become a file, before anything is computed for it.
pub(super) fn check_target(path: &str) -> Result<()> {
    let target = Path::new(path);
    if path.is_empty() || target.is_dir() {
        let message = format!("path: \"{path}\" names no file; name one to write");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let message = format!("{path}: its folder is not there; make it before");
            Err(Error::new(ErrorKind::NotFound, message))
        }
        _ => Ok(()),
    }
}

fn at(path: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{path}: {}", error.message()))
}

/// A file that is written under another name beside its own; dropped before it is whole, it goes.
struct Part {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Part {
    fn create(path: &str) -> std::result::Result<Self, Fault> {
        let path = PathBuf::from(format!("{path}.{:016x}.part", entropy()));
        let file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| {
                Error::new(ErrorKind::Io, format!("cannot be written: {error}"))
            })?;
        Ok(Self { file, path, kept: false })
    }

    fn keep(mut self, path: &Path) -> std::result::Result<(), Fault> {
        fs::rename(&self.path, path)
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot be written: {error}")))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
