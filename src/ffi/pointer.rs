//! From C's pointers to Rust's references and back.

use std::ffi::{c_char, CStr};

use crate::error::{Error, ErrorKind, Result};

/// `text` as UTF-8.
///
/// # Safety
/// `text` is null, or a NUL-terminated string that stays unchanged for `'a`.
pub(super) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: not null; the rest is the caller's promise.
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes.to_str().map_err(|error| {
        let message = format!("{name} is not UTF-8 from byte {} on", error.valid_up_to());
        Error::new(ErrorKind::InvalidUtf8, message)
    })
}

/// `text` as UTF-8; null is the empty text.
///
/// # Safety
/// As of [`text`].
pub(super) unsafe fn optional_text<'a>(given: *const c_char, name: &str) -> Result<&'a str> {
    if given.is_null() {
        return Ok("");
    }
    // SAFETY: the caller's promise.
    unsafe { text(given, name) }
}

/// A place for an output.
///
/// # Safety
/// `out` is null, or points to memory for a `T` that nothing else uses during the call.
pub(super) unsafe fn output<'a, T>(out: *mut T, name: &str) -> Result<Output<'a, T>> {
    if out.is_null() {
        return Err(null(name));
    }
    Ok(Output { place: out, _borrow: std::marker::PhantomData })
}

/// A place that is written once, on success.
pub(super) struct Output<'a, T> {
    place: *mut T,
    _borrow: std::marker::PhantomData<&'a mut T>,
}

impl<T> Output<'_, T> {
    pub(super) fn set(self, value: T) {
        // SAFETY: not null, and memory for a `T`, by the promise made to `output`. `write`
        // because the memory need not hold a value before.
        unsafe { self.place.write(value) };
    }
}

pub(super) fn null(name: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{name} is NULL"))
}

/// The key inside a handle.
pub(super) fn key<T>(handle: *const T) -> u64 {
    handle as usize as u64
}

/// A handle with `key` inside.
pub(super) fn handle<T>(key: u64) -> *mut T {
    std::ptr::without_provenance_mut(key as usize)
}
