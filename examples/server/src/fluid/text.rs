//! Texts to C and from C.

use std::ffi::{c_char, CStr, CString};

use fluid::ffi::*;

use super::{Failure, Result};

/// What `text` points to; empty for null.
///
/// # Safety
/// `text` is null or a C string that is valid during the call.
pub(super) unsafe fn read(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// A string that the library gave away.
///
/// # Safety
/// `text` comes from the library and was not freed.
pub(super) unsafe fn take(text: *mut c_char) -> String {
    // SAFETY: the caller's promise.
    let copy = unsafe { read(text) };
    // SAFETY: the caller's promise; nobody uses it after.
    unsafe { fluid_string_free(text) };
    copy
}

/// A text without a NUL, which JSON and names of models never have.
pub(super) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Failure {
        status: FLUID_ERROR_INVALID_REQUEST,
        message: "a NUL character in the text".into(),
    })
}

/// Of a call that has just returned on this thread.
pub(super) fn check(status: fluid_status) -> Result<()> {
    if status == FLUID_OK {
        return Ok(());
    }
    // SAFETY: never null, and valid until this thread's next call.
    let message = unsafe { read(fluid_last_error()) };
    Err(Failure { status, message })
}

/// The library's version, which is also the host's.
pub(crate) fn version() -> String {
    // SAFETY: a static string.
    unsafe { read(fluid_version()) }
}
