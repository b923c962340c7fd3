//! The one place where a call of the C interface begins and ends: panics, forks, last errors.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

use super::process;
use super::status::{self, fluid_status, FLUID_ERROR_FORKED};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::own_thread;

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `body` as a call of the C interface: a panic becomes `FLUID_ERROR_INTERNAL`, an error
/// its status, and the message of either the thread's last error.
pub(super) fn guard(body: impl FnOnce() -> Result<fluid_status>) -> fluid_status {
    if process::is_forked() {
        // Nothing is allocated: a thread that is not here any more may hold the allocator's lock.
        return FLUID_ERROR_FORKED;
    }
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(body));
    DEPTH.set(DEPTH.get() - 1);
    match result.unwrap_or_else(|panic| Err(panicked(&*panic))) {
        Ok(status) => {
            set_last_error("");
            status
        }
        Err(error) => {
            set_last_error(error.message());
            status::of_error(error.kind())
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    log!(Error, "a call panicked: {text}");
    Error::new(ErrorKind::Internal, format!("a bug of libfluid, please report: {text}"))
}

/// Whether this thread is inside a call, or is one of ours: then a panic is told by a status.
pub(super) fn is_ours() -> bool {
    DEPTH.get() > 0 || own_thread::is_ours()
}

fn set_last_error(message: &str) {
    let text = CString::new(message).unwrap_or_default();
    // Gone while the thread ends; then nobody can ask any more.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = text);
}

/// One line on why the last call on this thread that returns a `fluid_status` failed; empty after
/// one that did not. Read it before you free things: frees return a status too. Never `NULL`. The
/// string is borrowed until this thread's next call that returns a `fluid_status`.
#[no_mangle]
pub extern "C" fn fluid_last_error() -> *const c_char {
    if process::is_forked() {
        return process::FORKED_MESSAGE.as_ptr();
    }
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
