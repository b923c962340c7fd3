//! The log callback.

use std::ffi::{c_char, c_void, CString};

use super::guard::guard;
use super::status::{fluid_status, FLUID_OK};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{self, Level};

/// How much a log line matters.
pub type fluid_log_level = i32;

/// A call or a job failed.
pub const FLUID_LOG_ERROR: fluid_log_level = 1;
/// Something works, but not as asked.
pub const FLUID_LOG_WARN: fluid_log_level = 2;
/// Loads, frees, choices made.
pub const FLUID_LOG_INFO: fluid_log_level = 3;
/// What the model libraries say, step by step.
pub const FLUID_LOG_DEBUG: fluid_log_level = 4;

/// Called with each log line, on any thread, also on several at once. `line` has no line break
/// at its end and is borrowed until the callback returns. Log lines of calls made inside the
/// callback are dropped.
pub type fluid_log_fn = Option<
    unsafe extern "C" fn(level: fluid_log_level, line: *const c_char, user_data: *mut c_void),
>;

extern "C" {
    fn fluid_call_log(
        callback: unsafe extern "C" fn(fluid_log_level, *const c_char, *mut c_void),
        level: fluid_log_level,
        line: *const c_char,
        user_data: *mut c_void,
    );
}

struct Sink {
    callback: unsafe extern "C" fn(fluid_log_level, *const c_char, *mut c_void),
    user_data: *mut c_void,
}

// SAFETY: the host promises that callback and user_data can be used on any thread.
unsafe impl Send for Sink {}
// SAFETY: as above, on several at once.
unsafe impl Sync for Sink {}

impl Sink {
    fn write(&self, level: Level, line: &str) {
        let line = CString::new(line.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the host promised a callback that can be called on any thread until it is
        // replaced, and `log::set` waits for the calls that run then.
        unsafe { fluid_call_log(self.callback, level as i32, line.as_ptr(), self.user_data) };
    }
}

fn level_of(number: fluid_log_level) -> Result<Level> {
    Ok(match number {
        FLUID_LOG_ERROR => Level::Error,
        FLUID_LOG_WARN => Level::Warn,
        FLUID_LOG_INFO => Level::Info,
        FLUID_LOG_DEBUG => Level::Debug,
        other => {
            let message =
                format!("level {other} is not one of FLUID_LOG_ERROR (1) to FLUID_LOG_DEBUG (4)");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    })
}

/// Sets the one log callback of the process; `level` and what matters more is passed to it.
/// `NULL` makes the log silent again, as it is at first. Returns once all running calls of the
/// callback before have ended.
///
/// Errors: `FLUID_ERROR_INVALID_ARGUMENT` for an unknown level; `FLUID_ERROR_BUSY` from inside the
/// callback.
///
/// # Safety
/// `callback` can be called with `user_data` on any thread until it is replaced.
#[no_mangle]
pub unsafe extern "C" fn fluid_log_set(
    callback: fluid_log_fn,
    user_data: *mut c_void,
    level: fluid_log_level,
) -> fluid_status {
    guard(|| {
        let Some(callback) = callback else {
            log::set(Level::Error, None)?;
            return Ok(FLUID_OK);
        };
        let level = level_of(level)?;
        let sink = Sink { callback, user_data };
        log::set(level, Some(Box::new(move |level, line| sink.write(level, line))))?;
        Ok(FLUID_OK)
    })
}
