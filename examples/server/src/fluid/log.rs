//! The library's log, and the host's own, on stderr.

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

use fluid::ffi::*;

use super::text::{check, read};
use super::Result;

/// Has the library's log written by `write`, from `level` on.
pub(crate) fn log_to(level: fluid_log_level) -> Result<()> {
    // SAFETY: the callback needs no user data, and is there for as long as the process.
    check(unsafe { fluid_log_set(Some(on_line), null_mut(), level) })
}

unsafe extern "C" fn on_line(level: fluid_log_level, line: *const c_char, _: *mut c_void) {
    // SAFETY: the library lends a C string during the call.
    crate::log::write(level, &unsafe { read(line) });
}
