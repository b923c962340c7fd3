//! The log of the whole process: one sink, silent until a host sets one.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, ErrorKind, Result};

/// How much a line matters; a sink set at a level sees that level and the ones above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub(crate) enum Level {
    /// A call or a job failed.
    Error = 1,
    /// Something works, but not as asked.
    Warn = 2,
    /// Loads, frees, choices made.
    Info = 3,
    /// What the model library says, step by step.
    Debug = 4,
}

type Write = Box<dyn Fn(Level, &str) + Send + Sync>;

struct Sink {
    write: Write,
    running: Mutex<usize>,
    idle: Condvar,
}

const OFF: i32 = 0;

static LEVEL: AtomicI32 = AtomicI32::new(OFF);
static SINK: Mutex<Option<Arc<Sink>>> = Mutex::new(None);

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Replaces the sink; `None` makes the log silent. Returns once every running call of the
/// sink before has ended. From inside a sink that would wait for itself: `Busy`.
pub(crate) fn set(level: Level, write: Option<Write>) -> Result<()> {
    if WRITING.get() {
        return Err(Error::new(
            ErrorKind::Busy,
            "the log callback cannot replace itself while it runs",
        ));
    }
    let level = if write.is_some() { level as i32 } else { OFF };
    let fresh =
        write.map(|write| Arc::new(Sink { write, running: Mutex::new(0), idle: Condvar::new() }));
    let before = {
        let mut sink = SINK.lock();
        LEVEL.store(level, Ordering::Relaxed);
        std::mem::replace(&mut *sink, fresh)
    };
    if let Some(before) = before {
        let mut running = before.running.lock();
        while *running > 0 {
            before.idle.wait(&mut running);
        }
    }
    Ok(())
}

/// Whether this thread is inside the sink.
pub(crate) fn is_writing() -> bool {
    WRITING.get()
}

/// Whether a line of `level` would be seen; callers skip formatting where it would not.
pub(crate) fn enabled(level: Level) -> bool {
    level as i32 <= LEVEL.load(Ordering::Relaxed)
}

/// Hands one line to the sink. A line logged from inside the sink is dropped.
pub(crate) fn write(level: Level, line: &str) {
    if !enabled(level) || WRITING.get() {
        return;
    }
    let sink = {
        let slot = SINK.lock();
        let Some(sink) = slot.as_ref() else { return };
        // Counted under the lock that `set` takes, so that `set` sees every call begun before it.
        *sink.running.lock() += 1;
        Arc::clone(sink)
    };
    let _running = Running::new(&sink);
    (sink.write)(level, line);
}

/// Ends a call of the sink, also when the sink panics.
struct Running<'a>(&'a Sink);

impl<'a> Running<'a> {
    fn new(sink: &'a Sink) -> Self {
        WRITING.set(true);
        Self(sink)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        WRITING.set(false);
        let mut running = self.0.running.lock();
        *running -= 1;
        if *running == 0 {
            self.0.idle.notify_all();
        }
    }
}

/// Logs one formatted line, formatted only when somebody listens.
macro_rules! log {
    ($level:ident, $($arg:tt)*) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write($crate::log::Level::$level, &format!($($arg)*));
        }
    };
}
pub(crate) use log;
