//! Several files at once, largest first, and the one who watches.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, RecvTimeoutError, Sender};

use super::fault::Fault;
use super::http::Http;
use super::transfer::Item;
use super::{checksum, names, part, Fetched, Pauses, Progress, RemoteFile};
use crate::error::{Error, ErrorKind, Result};
use crate::own_thread::OwnThread;

/// Files that are fetched at once.
const CONNECTIONS: usize = 4;
/// Between two looks of the one who watches.
const TICK: Duration = Duration::from_millis(20);
/// Over which the rate is told.
const RATE: Duration = Duration::from_millis(500);

/// Runs `work` on a thread of its own; this one asks `go_on`, and has `http` stopped when it says no. Then
/// `None`.
pub(super) fn attend<T: Send>(
    http: &Http,
    go_on: &mut dyn FnMut() -> bool,
    work: impl FnOnce() -> std::result::Result<T, Fault> + Send,
) -> Result<Option<T>> {
    let (send, done) = crossbeam_channel::bounded(1);
    let mut stopped = false;
    let outcome = std::thread::scope(|scope| {
        let work = move || {
            OwnThread::default().enter();
            // Received below, or the scope would have ended.
            let _ = send.send(work());
        };
        let thread = std::thread::Builder::new().name("fluid-hub".into());
        let worker = thread.spawn_scoped(scope, work).map_err(no_thread)?;
        let outcome = loop {
            match done.recv_timeout(TICK) {
                Ok(outcome) => break Some(outcome),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) if !stopped && !go_on() => {
                    stopped = true;
                    http.stop();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        // A panic is told by the missing outcome.
        let _ = worker.join();
        Ok(outcome)
    })?;
    match outcome {
        None => Err(panicked()),
        Some(_) if stopped => Ok(None),
        Some(outcome) => end(outcome.map(Some)),
    }
}

/// `None` for what was stopped.
fn end<T>(outcome: std::result::Result<Option<T>, Fault>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(value),
        Err(Fault::Stopped) => Ok(None),
        Err(Fault::Failed(error) | Fault::Passing(error, _) | Fault::Wrong(error)) => Err(error),
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {error}"))
}

fn panicked() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a bug of libfluid, please report: a download's thread panicked",
    )
}

/// The files of one act.
pub(super) struct Batch {
    /// Largest first: at the end no connection waits for one that began late.
    items: Vec<Item>,
    next: AtomicUsize,
}

impl Batch {
    /// Checks names, checksums and free space. `address` gives a file's address and how messages name it.
    pub(super) fn new(
        files: &[(RemoteFile, PathBuf)],
        folder: &Path,
        address: impl Fn(&RemoteFile) -> (String, String),
    ) -> Result<Self> {
        let mut places = HashSet::new();
        let mut items = Vec::with_capacity(files.len());
        for (remote, place) in files {
            names::check(&remote.path)?;
            names::check_place(place)?;
            checksum::check_known(remote)?;
            if !places.insert(place) {
                let message = format!("{}: two files for one place", place.display());
                return Err(Error::new(ErrorKind::InvalidModel, message));
            }
            let (address, subject) = address(remote);
            items.push(Item {
                remote: remote.clone(),
                place: place.clone(),
                target: folder.join(place),
                address,
                subject,
                held: AtomicU64::new(0),
                received: AtomicU64::new(0),
                runs: AtomicBool::new(false),
            });
        }
        items.sort_by_key(|item| std::cmp::Reverse(item.remote.bytes));
        for item in &items {
            end(names::make_parents(folder, &item.place).map(Some))?;
        }
        let batch = Self { items, next: AtomicUsize::new(0) };
        batch.check_space(folder)?;
        Ok(batch)
    }

    /// Whether the disk has room for what is still missing.
    fn check_space(&self, folder: &Path) -> Result<()> {
        let missing = |item: &Item| {
            let entry = std::fs::symlink_metadata(&item.target);
            if entry.is_ok_and(|entry| entry.len() == item.remote.bytes) {
                return 0;
            }
            item.remote.bytes - part::length_of(&item.target, &item.remote)
        };
        let needed = self.items.iter().map(missing).fold(0, u64::saturating_add);
        let Ok(disk) = fs4::statvfs(folder) else { return Ok(()) };
        let free = disk.available_space();
        // Some file systems do not know their size.
        if needed <= free || disk.total_space() == 0 {
            return Ok(());
        }
        let message = format!(
            "{}: {needed} bytes are to be fetched, {free} are free on this disk; make room for {} more",
            folder.display(),
            needed - free
        );
        Err(Error::new(ErrorKind::DiskFull, message))
    }

    /// Fetches all files; `None` when `watch` said stop. What is here of unfinished ones stays.
    pub(super) fn run(
        &self,
        http: &Http,
        pauses: &Pauses,
        watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<Option<Vec<Fetched>>> {
        let (send, results) = unbounded();
        let mut end_of = Outcomes { fetched: Vec::new(), fault: None, stopped: false };
        let mut meter = Meter::new();
        std::thread::scope(|scope| {
            let mut workers = Vec::new();
            for _ in 0..CONNECTIONS.min(self.items.len()) {
                let send = send.clone();
                let thread = std::thread::Builder::new().name("fluid-download".into());
                match thread.spawn_scoped(scope, move || self.work(http, pauses, &send)) {
                    Ok(worker) => workers.push(worker),
                    Err(error) => {
                        end_of.fault = Some(Fault::Failed(no_thread(error)));
                        http.stop();
                    }
                }
            }
            drop(send);
            loop {
                match results.recv_timeout(TICK) {
                    Ok(Ok(fetched)) => end_of.fetched.push(fetched),
                    Ok(Err(fault)) => {
                        // Later ones come of the stop.
                        end_of.fault.get_or_insert(fault);
                        http.stop();
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                let ended = end_of.stopped || end_of.fault.is_some();
                if !ended && !watch(&meter.progress(&self.items)) {
                    end_of.stopped = true;
                    http.stop();
                }
            }
            for worker in workers {
                if worker.join().is_err() {
                    end_of.fault.get_or_insert(Fault::Failed(panicked()));
                }
            }
        });
        if end_of.stopped {
            return Ok(None);
        }
        end_of.fetched.sort_by(|a, b| a.place.cmp(&b.place));
        end(end_of.fault.map_or(Ok(Some(end_of.fetched)), Err))
    }

    fn work(
        &self,
        http: &Http,
        pauses: &Pauses,
        results: &Sender<std::result::Result<Fetched, Fault>>,
    ) {
        OwnThread::default().enter();
        while let Some(item) = self.items.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            item.runs.store(true, Ordering::Relaxed);
            let outcome = item.fetch(http, pauses);
            item.runs.store(false, Ordering::Relaxed);
            let failed = outcome.is_err();
            // The receiver waits until the last sender is gone.
            let _ = results.send(outcome);
            if failed {
                return;
            }
        }
    }
}

struct Outcomes {
    fetched: Vec<Fetched>,
    fault: Option<Fault>,
    stopped: bool,
}

/// How fast bytes come.
struct Meter {
    since: Instant,
    received: u64,
    rate: f64,
}

impl Meter {
    fn new() -> Self {
        Self { since: Instant::now(), received: 0, rate: 0.0 }
    }

    fn progress<'a>(&mut self, items: &'a [Item]) -> Progress<'a> {
        let sum = |count: fn(&Item) -> u64| items.iter().map(count).fold(0, u64::saturating_add);
        let received = sum(|item| item.received.load(Ordering::Relaxed));
        let elapsed = self.since.elapsed();
        if elapsed >= RATE {
            let fresh = received.saturating_sub(self.received) as f64 / elapsed.as_secs_f64();
            self.rate = if self.received == 0 { fresh } else { 0.5 * self.rate + 0.5 * fresh };
            (self.since, self.received) = (Instant::now(), received);
        }
        let current = items.iter().find(|item| item.runs.load(Ordering::Relaxed));
        Progress::Fetching {
            file: current.or(items.first()).map_or("", |item| &item.remote.path),
            bytes: sum(|item| item.held.load(Ordering::Relaxed)),
            total_bytes: sum(|item| item.remote.bytes),
            bytes_per_second: self.rate as u64,
        }
    }
}
