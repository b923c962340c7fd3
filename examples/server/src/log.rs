//! The log: lines on stderr, as of the level that the command line names.
#![forbid(unsafe_code)]

use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use fluid::ffi::*;

use crate::fluid::{log_to, Result};

static LEVEL: AtomicI32 = AtomicI32::new(FLUID_LOG_INFO);

/// Writes from `level` on, of the library too.
pub(crate) fn start(level: fluid_log_level) -> Result<()> {
    LEVEL.store(level, Ordering::Relaxed);
    log_to(level)
}

/// One line, unless nobody asked for its level.
pub(crate) fn write(level: fluid_log_level, line: &str) {
    if level > LEVEL.load(Ordering::Relaxed) {
        return;
    }
    let name = match level {
        FLUID_LOG_ERROR => "ERROR",
        FLUID_LOG_WARN => "WARNING",
        FLUID_LOG_INFO => "INFO",
        _ => "DEBUG",
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (day, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hour, minute, second) = (day / 3_600, day / 60 % 60, day % 60);
    let time = format!("{hour:02}:{minute:02}:{second:02}.{millis:03}");
    // At once, so that lines of two threads do not mix; where stderr is closed there is nobody to tell.
    let _ = std::io::stderr().write_all(format!("{time} {name} {line}\n").as_bytes());
}

/// Writes at a level as `format!` does.
macro_rules! info {
    ($($part:tt)*) => { $crate::log::write(::fluid::ffi::FLUID_LOG_INFO, &format!($($part)*)) };
}
macro_rules! warning {
    ($($part:tt)*) => { $crate::log::write(::fluid::ffi::FLUID_LOG_WARN, &format!($($part)*)) };
}
pub(crate) use {info, warning};
