//! From OpenVINO's status and its message to one error.

use std::ffi::{c_char, CStr, CString};
use std::ptr::NonNull;

use openvino_sys::{self as sys, ov_status_e};

use crate::error::{Error, ErrorKind, Result};

/// Bytes of OpenVINO's words that an error keeps; some messages list a whole graph.
const LONGEST: usize = 400;

/// Turns a status other than OK into an error of `kind` that says `what` failed, and why.
pub(super) fn check(
    status: ov_status_e,
    kind: ErrorKind,
    what: impl FnOnce() -> String,
) -> Result<()> {
    match status {
        ov_status_e::OK => Ok(()),
        // Nothing has written a message of its own for these.
        ov_status_e::INVALID_C_PARAM | ov_status_e::RESULT_NOT_READY => {
            Err(Error::new(kind, format!("{}: {status:?}", what())))
        }
        _ => Err(Error::new(kind, format!("{}: {}", what(), cause(&last_message(), status)))),
    }
}

/// The message of the last failure. It is one for the whole process: where two threads fail at
/// the same time, one may get the words of the other.
fn last_message() -> String {
    // SAFETY: no arguments; the result is null or a string that is ours to free.
    let text = unsafe { sys::ov_get_last_err_msg() };
    // SAFETY: as above, and no one else has it.
    unsafe { take_string(text) }
}

/// Copies a string that OpenVINO gave away, and frees it; null is empty.
///
/// # Safety
/// `text` is null, or a NUL-terminated string of OpenVINO's that is not used after.
pub(super) unsafe fn take_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: the caller's promise; the copy is made.
    unsafe { sys::ov_free(text) };
    copy
}

/// The useful part of a message: without the lines that name OpenVINO's source files.
fn cause(message: &str, status: ov_status_e) -> String {
    let is_place = |line: &&str| {
        line.starts_with("Exception from ") || (line.starts_with("Check ") && line.contains(" at "))
    };
    let lines = || message.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut text = lines().filter(|line| !is_place(line)).collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        text = lines().next_back().map_or_else(|| format!("{status:?}"), str::to_owned);
    }
    if let Some((end, _)) = text.char_indices().find(|(at, _)| *at >= LONGEST) {
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

/// The object that a call which succeeded has made.
pub(super) fn own<T>(pointer: *mut T, what: &str) -> Result<NonNull<T>> {
    NonNull::new(pointer).ok_or_else(|| {
        Error::new(ErrorKind::Backend, format!("OpenVINO gave no {what} and no error"))
    })
}

/// `text` for a C call; `what` names it in the error of a text with a NUL inside.
pub(super) fn c_string(text: &str, what: &str) -> Result<CString> {
    CString::new(text).map_err(|_| {
        let message = format!("{what} {text:?} holds a NUL character");
        Error::new(ErrorKind::InvalidArgument, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_the_cause_and_drops_the_source_places() {
        let message = "Exception from src/inference/src/cpp/core.cpp:93:\n\
            Check 'util::file_exists(path)' failed at src/frontends/common/src/frontend.cpp:113:\n\
            FrontEnd API failed with GeneralFailure:\nThe file does not exist\n\n";
        let text = cause(message, ov_status_e::GENERAL_ERROR);
        assert_eq!(text, "FrontEnd API failed with GeneralFailure:; The file does not exist");
    }

    #[test]
    fn a_message_of_places_alone_keeps_the_last_one() {
        let place = "Check 'false' failed at src/a.cpp:1:";
        let text =
            cause(&format!("Exception from src/b.cpp:2:\n{place}\n"), ov_status_e::UNEXPECTED);
        assert_eq!(text, place);
        assert_eq!(cause("", ov_status_e::NOT_FOUND), "NOT_FOUND");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = cause(&"ä".repeat(1_000), ov_status_e::UNEXPECTED);
        assert!(text.len() < LONGEST + 8 && text.ends_with(" ..."), "{}", text.len());
    }

    #[test]
    fn a_nul_in_a_name_is_an_error() {
        assert_eq!(
            c_string("a\0b", "the name").expect_err("refused").kind(),
            ErrorKind::InvalidArgument
        );
    }
}
