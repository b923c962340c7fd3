//! Downloads as jobs: each on a thread of its own, which the engine stops and joins.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use super::errands::Errands;
use super::event::{Body, Ending, Event};
use super::job::{Job, Outcome, Place, StopCause};
use super::signal::Signal;
use crate::error::{Error, ErrorKind, Result};
use crate::log;
use crate::request::{DownloadOptions, EngineOptions};
use crate::store::hub::{Hub, Progress};
use crate::store::{self, Downloaded, Found, Manifest, Store, Wanted};

/// Downloads that run at once; each has some threads and connections.
const MOST: usize = 16;
/// Between two reports of one download.
const REPORT: Duration = Duration::from_millis(100);

/// An engine's downloads.
#[derive(Default)]
pub(super) struct Downloads {
    errands: Errands,
    jobs: Mutex<Vec<Weak<Job>>>,
    running: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Downloads {
    /// Starts to fetch what `name` stands for. The job stays loose: a stop ends it at once, and its thread
    /// notices within some 20 ms.
    pub(super) fn start(
        &self,
        store: &Store,
        (name, options): (&str, &DownloadOptions),
        engine: &EngineOptions,
    ) -> Result<Arc<Job>> {
        let job = Job::new(engine.event_queue, Signal::new().0, None, Outcome::Nothing);
        let wanted = match find(store, name, options)? {
            Found::Wanted(wanted) => wanted,
            Found::Here(path) => {
                let outcome = Outcome::Download(Box::new(Downloaded::here(path)));
                job.finish(Ending::Done, Some(outcome));
                return Ok(job);
            }
        };
        let hub = Hub::new(&engine.hub)?;
        let place = Place::take(&self.running, MOST).ok_or_else(|| {
            let message = format!("{MOST} downloads run; try again when one has ended");
            Error::new(ErrorKind::QueueFull, message)
        })?;
        {
            let mut jobs = self.jobs.lock();
            jobs.retain(|job| job.strong_count() > 0);
            jobs.push(Arc::downgrade(&job));
        }
        let stopped = Arc::clone(&self.stopped);
        let running = Running { job: Arc::clone(&job), stopped, _place: place };
        self.errands.run(move || running.carry_out(&wanted, &hub))?;
        Ok(job)
    }

    /// Cancels all and waits for their threads, which end within moments.
    pub(super) fn stop(&self) {
        // Seen by those, too, that are being started now.
        self.stopped.store(true, Ordering::Release);
        let jobs = std::mem::take(&mut *self.jobs.lock());
        for job in jobs.iter().filter_map(Weak::upgrade) {
            job.request_stop(StopCause::Cancel);
        }
        // In the log callback nothing waits.
        if !log::is_writing() {
            self.errands.join();
        }
    }
}

/// A download on its thread. Dropped, it ends its job.
struct Running {
    job: Arc<Job>,
    stopped: Arc<AtomicBool>,
    _place: Place,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.job.abandon();
    }
}

impl Running {
    fn carry_out(&self, wanted: &Wanted, hub: &Hub) {
        let mut reports = Reports::new(&self.job, 1.0);
        let mut watch = |progress: &Progress<'_>| {
            reports.tell(progress) && !self.stopped.load(Ordering::Acquire)
        };
        let (ending, outcome) = match store::download(wanted, hub, false, &mut watch) {
            Ok(Some(files)) => (Ending::Done, Some(Outcome::Download(Box::new(files)))),
            Ok(None) => (self.job.wanted_end().unwrap_or(Ending::Cancelled), None),
            Err(error) => (Ending::Failed(error), None),
        };
        self.job.finish(ending, outcome);
    }
}

/// Tells a job's reader how far a download is, some ten times a second.
pub(super) struct Reports<'a> {
    job: &'a Job,
    share: f32,
    last: Option<Instant>,
    waits_for: String,
}

impl<'a> Reports<'a> {
    /// The download is `share` of what the job does.
    pub(super) fn new(job: &'a Job, share: f32) -> Self {
        Self { job, share, last: None, waits_for: String::new() }
    }

    /// Whether the download should go on.
    pub(super) fn tell(&mut self, progress: &Progress<'_>) -> bool {
        match *progress {
            Progress::Listing => {}
            Progress::Waiting(holder) if !holder.is_empty() && self.waits_for != holder => {
                holder.clone_into(&mut self.waits_for);
                let text = format!("waits for {holder}, which fetches the same model");
                self.job.push(Event::now(Body::Notice(text)));
            }
            Progress::Waiting(_) => {}
            Progress::Fetching { file, bytes, total_bytes, bytes_per_second } => {
                if self.last.is_none_or(|last| last.elapsed() >= REPORT) {
                    self.last = Some(Instant::now());
                    let json = json!({
                        "phase": "download",
                        "file": file,
                        "bytes": bytes,
                        "total_bytes": total_bytes,
                        "bytes_per_second": bytes_per_second,
                    });
                    let progress = (bytes as f64 / total_bytes.max(1) as f64).min(1.0) as f32;
                    let progress = progress * self.share;
                    self.job.push_report(Body::Download { progress, json: json.to_string() });
                }
            }
        }
        self.job.wanted_end().is_none()
    }
}

/// What `name` and `options` ask for: what is here is not asked for again, unless they say more than
/// a name.
fn find(store: &Store, name: &str, options: &DownloadOptions) -> Result<Found> {
    let DownloadOptions { revision, file, kind, local_name, .. } = options;
    if revision.is_none() && file.is_none() && local_name.is_none() {
        return match store.find(name, *kind)? {
            Found::Here(path) if !path.exists() => {
                let message =
                    format!("\"{name}\" is a path, where no model is; a hub has owner/name");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            found => Ok(found),
        };
    }
    let mut wanted = store.want(name, *kind)?;
    if let Some(revision) = revision.as_ref().filter(|revision| **revision != wanted.revision) {
        wanted.revision.clone_from(revision);
        // As a name with a revision has it: what is here of another one stays whole.
        let repo = wanted.repo.rsplit('/').next().unwrap_or_default();
        wanted.folder.set_file_name(part("revision", &format!("{repo}@{revision}"))?);
    }
    if let Some(file) = file {
        (wanted.file, wanted.quant) = (Some(file.clone()), None);
    }
    if let (Some(local), Some(models)) = (local_name, store.model_dir()) {
        wanted.folder = models.join(wanted.kind.name()).join(part("local_name", local)?);
    }
    if Manifest::read(&wanted.folder).is_some_and(|there| there.repo != wanted.repo) {
        let message = "is the name of a model that is from another repository";
        return Err(Error::invalid_request("local_name", message));
    }
    Ok(Found::Wanted(wanted))
}

/// `name` as one part of a path.
fn part<'a>(field: &str, name: &'a str) -> Result<&'a str> {
    let checked = match name.contains('/') {
        true => Err("it has a \"/\" in it".to_owned()),
        false => store::names::check_path(name),
    };
    checked.map_err(|why| {
        Error::invalid_request(field, format!("\"{name}\" cannot be a folder: {why}"))
    })?;
    Ok(name)
}
