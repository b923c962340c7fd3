//! Strings that the caller owns.

use std::ffi::{c_char, CString};

use crate::error::{Error, ErrorKind, Result};

/// `text` as a string for the caller to free.
pub(super) fn owned(text: String) -> Result<*mut c_char> {
    let text = CString::new(text)
        .map_err(|_| Error::new(ErrorKind::Internal, "a result contains a NUL"))?;
    Ok(text.into_raw())
}

/// Frees a string that a function of this library gave you to own. `NULL` does nothing.
///
/// # Safety
/// `text` is `NULL`, or such a string that was not freed yet.
#[no_mangle]
pub unsafe extern "C" fn fluid_string_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: made by `owned` and not freed before, by the caller's promise.
        drop(unsafe { CString::from_raw(text) });
    }
}
