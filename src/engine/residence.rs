//! Whether a model's native state is in memory: who uses it, when it goes, when it comes back.
//!
//! A model's worker outlives its native state. What callers hold (vocabulary, templates, the way to the
//! worker) stays, so that requests are checked and queued as ever, and the first of them has the worker
//! load the rest again.
#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::{json, Value};

use super::news::News;
use super::signal::Signal;
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;

/// How long a worker without work waits before it looks around unasked.
const LONG: Duration = Duration::from_secs(3_600);

/// How soon it looks when it was asked for something that is due.
const SOON: Duration = Duration::from_millis(1);

/// How long a model that has just come back works at least, while others wait for its memory: as
/// long as its load took, and this.
const STAY: Duration = Duration::from_millis(100);

/// Why native state is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Nobody used it for `idle_timeout`.
    Idle,
    /// Another model needs the memory.
    Memory,
    /// The host wants memory back.
    Trim,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Memory => "memory",
            Self::Trim => "trim",
        }
    }
}

/// Where the native state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// On its way into memory.
    Loading,
    /// In memory.
    Loaded,
    /// On its way out.
    Leaving,
    /// Given up until somebody asks for it.
    Unloaded,
}

/// What options say of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// It is given up with the model only.
    pub(super) pinned: bool,
    /// It is given up when nobody has used it for this time.
    pub(super) idle_timeout: Option<Duration>,
    /// How often that is looked at.
    pub(super) check_interval: Duration,
}

struct State {
    phase: Phase,
    /// Jobs that have not ended, and calls that need the native state.
    users: usize,
    /// Those of them that wait for it without a job.
    callers: usize,
    last_used: Instant,
    asked: Option<Reason>,
    /// Until when it need not give way to others.
    stays_until: Instant,
    /// How much memory it takes, as estimated.
    bytes: u64,
    /// Loads that ended, well or not, and how the last one failed.
    attempts: u64,
    failure: Option<Error>,
    closed: bool,
}

/// The native state of one model, as its worker, its callers and the memory budget see it.
pub(super) struct Residence {
    name: String,
    /// Where the model is, once that is known.
    path: OnceLock<String>,
    signal: Signal,
    rules: Rules,
    news: Arc<News>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Somebody who uses a model; dropped when done.
pub(super) struct Use(Arc<Residence>);

impl Drop for Use {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.users -= 1;
        state.last_used = Instant::now();
        if state.users == 0 && state.asked.is_some() {
            self.0.signal.wake();
        }
    }
}

/// A model as the memory budget sees it.
pub(super) struct Tenancy {
    /// What it takes; 0 without native state.
    pub(super) bytes: u64,
    /// It has jobs, or is being loaded.
    pub(super) busy: bool,
    /// It was asked to give its memory back or to end, and will.
    pub(super) leaving: bool,
    /// It can be asked to.
    pub(super) movable: bool,
    pub(super) last_used: Instant,
}

impl Residence {
    /// That of the model called `name`, which is about to be loaded.
    pub(super) fn new(name: &str, signal: Signal, rules: Rules, news: Arc<News>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            name: name.to_owned(),
            path: OnceLock::new(),
            signal,
            rules,
            news,
            state: Mutex::new(State {
                phase: Phase::Loading,
                users: 0,
                callers: 0,
                last_used: now,
                asked: None,
                stays_until: now,
                bytes: 0,
                attempts: 0,
                failure: None,
                closed: false,
            }),
            changed: Condvar::new(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the model is, or until that is known, its name.
    pub(super) fn path(&self) -> &str {
        self.path.get().unwrap_or(&self.name)
    }

    /// The model is at `path`.
    pub(super) fn lies_at(&self, path: &str) {
        self.path.get_or_init(|| path.to_owned());
    }

    /// Whether the native state is in memory.
    pub(super) fn is_loaded(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Loaded && !state.closed
    }

    /// Whether its memory stays taken whoever wants it.
    pub(super) fn is_pinned(&self) -> bool {
        self.rules.pinned && !self.signal.is_shut_down()
    }

    // --- callers ---

    /// Counts a user until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Use {
        self.state.lock().users += 1;
        Use(Arc::clone(self))
    }

    /// Waits until the native state is there, for a caller who has no job. Has the worker load it
    /// again where it was given up; that load's failure is this call's.
    pub(super) fn recall(&self) -> Result<()> {
        let mut state = self.state.lock();
        let before = state.attempts;
        state.callers += 1;
        self.signal.wake();
        let result = loop {
            if state.closed {
                let message = "the model or its engine was freed";
                break Err(Error::new(ErrorKind::InvalidHandle, message));
            }
            if state.phase == Phase::Loaded {
                break Ok(());
            }
            if let Some(failure) = state.failure.clone().filter(|_| state.attempts > before) {
                break Err(failure);
            }
            self.changed.wait(&mut state);
        };
        state.callers -= 1;
        result
    }

    /// The same with the model's name and path; `None` for one that was freed, or never loaded.
    pub(super) fn describe_whole(&self) -> Option<Value> {
        if self.state.lock().closed {
            return None;
        }
        let mut whole = self.describe();
        whole["model"] = json!(self.name);
        whole["path"] = json!(self.path());
        Some(whole)
    }

    /// What `fluid_model_info` says of it.
    pub(super) fn describe(&self) -> Value {
        let state = self.state.lock();
        let phase = match state.phase {
            Phase::Loading => "loading",
            Phase::Loaded | Phase::Leaving => "loaded",
            Phase::Unloaded => "unloaded",
        };
        let idle = if state.users > 0 { 0.0 } else { state.last_used.elapsed().as_secs_f64() };
        json!({
            "state": phase,
            "pinned": self.rules.pinned,
            "jobs": state.users,
            "idle_seconds": idle,
            "memory_bytes": if state.phase == Phase::Unloaded { 0 } else { state.bytes },
        })
    }

    // --- the budget ---

    /// How it stands now.
    pub(super) fn tenancy(&self) -> Tenancy {
        let state = self.state.lock();
        Tenancy {
            bytes: if state.phase == Phase::Unloaded { 0 } else { state.bytes },
            busy: state.users > 0 || state.phase == Phase::Loading,
            leaving: state.asked.is_some()
                || state.phase == Phase::Leaving
                || self.signal.is_shut_down(),
            movable: state.phase == Phase::Loaded && !self.rules.pinned,
            last_used: state.last_used,
        }
    }

    /// Asks the worker to give the native state up: with [`Reason::Memory`] when the jobs that run
    /// have ended, else only if there are none. False: there are, or it is not there.
    pub(super) fn ask(&self, reason: Reason) -> bool {
        let mut state = self.state.lock();
        let is_free = reason == Reason::Memory || state.users == 0;
        if self.rules.pinned || state.phase != Phase::Loaded || !is_free {
            return false;
        }
        state.asked.get_or_insert(reason);
        self.signal.wake();
        true
    }

    /// Waits until the native state is gone, as asked, at most for `patience`. Says whether it is.
    pub(super) fn wait_gone(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        let goes = |state: &State| match state.phase {
            Phase::Loaded => state.asked.is_some(),
            phase => phase == Phase::Leaving,
        };
        while goes(&state) && !state.closed {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.phase == Phase::Unloaded
    }

    // --- the worker ---

    /// Why the worker should give the native state up, once it should. It then begins nothing new.
    pub(super) fn due(&self) -> Option<Reason> {
        let mut state = self.state.lock();
        if self.rules.pinned || state.callers > 0 {
            return None;
        }
        let now = Instant::now();
        match state.asked {
            Some(Reason::Trim | Reason::Idle) if state.users > 0 => {
                state.asked = None;
                self.changed.notify_all();
                None
            }
            Some(Reason::Memory) if state.users > 0 && now < state.stays_until => None,
            Some(reason) => Some(reason),
            None => {
                let limit = self.rules.idle_timeout?;
                let is_idle = state.users == 0 && now.duration_since(state.last_used) >= limit;
                is_idle.then(|| {
                    state.asked = Some(Reason::Idle);
                    Reason::Idle
                })
            }
        }
    }

    /// How long a worker without work may wait before it asks again whether it is [`due`](Self::due).
    pub(super) fn until_look(&self) -> Duration {
        let state = self.state.lock();
        match self.rules.idle_timeout {
            _ if state.asked.is_some() => {
                state.stays_until.saturating_duration_since(Instant::now()).max(SOON)
            }
            Some(_) if !self.rules.pinned => self.rules.check_interval,
            _ => LONG,
        }
    }

    /// Whether others wait for its memory.
    pub(super) fn is_asked(&self) -> bool {
        self.state.lock().asked == Some(Reason::Memory)
    }

    /// Whether callers wait for the native state without a job.
    pub(super) fn is_called(&self) -> bool {
        self.state.lock().callers > 0
    }

    /// It takes so many bytes, as estimated.
    pub(super) fn takes(&self, bytes: u64) {
        self.state.lock().bytes = bytes;
    }

    /// The native state is about to go.
    pub(super) fn leaves(&self) {
        self.state.lock().phase = Phase::Leaving;
    }

    /// The native state is gone.
    pub(super) fn left(&self, reason: Reason) {
        let mut state = self.state.lock();
        state.phase = Phase::Unloaded;
        state.asked = None;
        let bytes = state.bytes;
        self.changed.notify_all();
        drop(state);
        log!(Info, "{}: unloaded ({})", self.path(), reason.name());
        let why = match reason {
            Reason::Idle => "nobody used it",
            Reason::Memory => "another model needs the memory",
            Reason::Trim => "the host wants memory back",
        };
        self.tell(
            &format!("{} was unloaded: {why}", self.name),
            json!({"event": "unloaded", "reason": reason.name(), "bytes": bytes}),
        );
    }

    /// The native state is on its way back.
    pub(super) fn comes_back(&self) {
        self.state.lock().phase = Phase::Loading;
        self.tell(&format!("{} is being loaded again", self.name), json!({"event": "loading"}));
    }

    /// The native state is there, after a load that took `time`.
    pub(super) fn arrived(&self, time: Duration) {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.phase = Phase::Loaded;
        (state.asked, state.failure) = (None, None);
        (state.last_used, state.stays_until) = (now, now + time.max(STAY));
        state.attempts += 1;
        let bytes = state.bytes;
        self.changed.notify_all();
        drop(state);
        log!(Info, "{}: loaded", self.path());
        let seconds = time.as_secs_f64();
        self.tell(
            &format!("{} is loaded", self.name),
            json!({"event": "loaded", "seconds": seconds, "bytes": bytes}),
        );
    }

    /// The native state did not come back: for `error`, or because nobody wants it any more.
    pub(super) fn stays_away(&self, error: Option<&Error>) {
        let mut state = self.state.lock();
        let was_loading = state.phase == Phase::Loading;
        state.phase = Phase::Unloaded;
        state.attempts += 1;
        state.failure = error.cloned();
        self.changed.notify_all();
        drop(state);
        if error.is_none() && was_loading {
            let text = format!("{} was not loaded: nobody wants it any more", self.name);
            self.tell(&text, json!({"event": "unloaded", "reason": "unwanted", "bytes": 0}));
        }
        if let Some(error) = error {
            log!(Error, "{}: load failed: {error}", self.path());
            let text = format!("{} could not be loaded: {error}", self.name);
            self.tell(&text, json!({"event": "load_failed", "message": error.message()}));
        }
    }

    /// The worker ends; nobody should wait for it.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.phase = Phase::Unloaded;
        self.changed.notify_all();
    }

    /// A load does not go as asked.
    pub(super) fn notice(&self, text: &str) {
        log!(Warn, "{}: {text}", self.path());
        let what = json!({"event": "notice", "message": text});
        self.tell(&format!("{}: {text}", self.name), what);
    }

    /// Tells the engine's readers of the model.
    fn tell(&self, text: &str, mut what: Value) {
        what["model"] = json!(self.name);
        what["path"] = json!(self.path());
        self.news.tell(text, &what);
    }
}
