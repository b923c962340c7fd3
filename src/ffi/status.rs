//! Status numbers: set by hand, with gaps, never used twice.

use std::ffi::{c_char, CStr};

use crate::engine::event::Ending;
use crate::error::ErrorKind;

/// What a call or a job came to: 0 success, above 0 an outcome, below 0 an error.
pub type fluid_status = i32;

/// Done.
pub const FLUID_OK: fluid_status = 0;
/// Nothing came within the time given; call again.
pub const FLUID_TIMEOUT: fluid_status = 1;
/// The job's final event was read before; there are no more.
pub const FLUID_END: fluid_status = 2;
/// The job was cancelled, or what it belongs to was freed. The result holds what came so far.
pub const FLUID_CANCELLED: fluid_status = 10;
/// The job's deadline passed. The result holds what came so far.
pub const FLUID_DEADLINE: fluid_status = 11;

/// A pointer that is no handle is `NULL`, or a value is out of range; mend the call.
pub const FLUID_ERROR_INVALID_ARGUMENT: fluid_status = -10;
/// A handle is `NULL`, was freed (by itself or with its engine), is of another kind, or never was
/// one; mend the call.
pub const FLUID_ERROR_INVALID_HANDLE: fluid_status = -11;
/// A string is not UTF-8; convert it.
pub const FLUID_ERROR_INVALID_UTF8: fluid_status = -12;
/// A text is not JSON; mend it at the line and column named.
pub const FLUID_ERROR_INVALID_JSON: fluid_status = -20;
/// A field has a wrong type or range; mend it at the path named.
pub const FLUID_ERROR_INVALID_REQUEST: fluid_status = -21;
/// A field or device is known, but this build lacks it; leave it out.
pub const FLUID_ERROR_UNSUPPORTED: fluid_status = -22;
/// The prompt does not fit into the context; shorten it, or load with a larger `n_ctx`.
pub const FLUID_ERROR_CONTEXT_OVERFLOW: fluid_status = -23;
/// A file is not there; check the path.
pub const FLUID_ERROR_NOT_FOUND: fluid_status = -30;
/// A file cannot be read; check permissions and the disk.
pub const FLUID_ERROR_IO: fluid_status = -31;
/// A file is not a whole, valid model; fetch it again.
pub const FLUID_ERROR_INVALID_MODEL: fluid_status = -32;
/// The model is of an architecture or format version that this build cannot run.
pub const FLUID_ERROR_UNSUPPORTED_MODEL: fluid_status = -33;
/// This processor lacks instructions that the build needs; use a build for older processors.
pub const FLUID_ERROR_UNSUPPORTED_CPU: fluid_status = -34;
/// The audio is of no format this build knows, or broken; convert it.
pub const FLUID_ERROR_INVALID_AUDIO: fluid_status = -35;
/// The file is no whole saved state, or one of another model, or of other options; save it again.
pub const FLUID_ERROR_INVALID_STATE: fluid_status = -36;
/// The hub cannot be reached, answers with an error of its own or asks for patience; try again later.
pub const FLUID_ERROR_NETWORK: fluid_status = -37;
/// The hub wants a token, refuses the one it got, or the repository's conditions were not accepted.
pub const FLUID_ERROR_ACCESS_DENIED: fluid_status = -38;
/// The disk has no room for what is to be written; make room and try again.
pub const FLUID_ERROR_DISK_FULL: fluid_status = -39;
/// The call would wait for itself, or another thread is inside the same call.
pub const FLUID_ERROR_BUSY: fluid_status = -40;
/// Too many jobs wait for the model; try again when some have ended.
pub const FLUID_ERROR_QUEUE_FULL: fluid_status = -41;
/// Memory or threads could not be had; use a smaller model or context.
pub const FLUID_ERROR_OUT_OF_MEMORY: fluid_status = -50;
/// The model library failed; the message holds its words.
pub const FLUID_ERROR_BACKEND: fluid_status = -51;
/// Your callback threw a C++ exception; the job was cancelled.
pub const FLUID_ERROR_CALLBACK: fluid_status = -52;
/// A runtime library that the model needs is not there, or does not open; install it, or name its
/// path. The message lists every place looked at.
pub const FLUID_ERROR_BACKEND_MISSING: fluid_status = -53;
/// This process is a fork of the one that used the library; only `exec` helps.
pub const FLUID_ERROR_FORKED: fluid_status = -60;
/// A bug of this library; please report the message.
pub const FLUID_ERROR_INTERNAL: fluid_status = -70;

pub(super) fn of_error(kind: ErrorKind) -> fluid_status {
    match kind {
        ErrorKind::InvalidArgument => FLUID_ERROR_INVALID_ARGUMENT,
        ErrorKind::InvalidHandle => FLUID_ERROR_INVALID_HANDLE,
        ErrorKind::InvalidUtf8 => FLUID_ERROR_INVALID_UTF8,
        ErrorKind::InvalidJson => FLUID_ERROR_INVALID_JSON,
        ErrorKind::InvalidRequest => FLUID_ERROR_INVALID_REQUEST,
        ErrorKind::Unsupported => FLUID_ERROR_UNSUPPORTED,
        ErrorKind::ContextOverflow => FLUID_ERROR_CONTEXT_OVERFLOW,
        ErrorKind::NotFound => FLUID_ERROR_NOT_FOUND,
        ErrorKind::Io => FLUID_ERROR_IO,
        ErrorKind::InvalidModel => FLUID_ERROR_INVALID_MODEL,
        ErrorKind::UnsupportedModel => FLUID_ERROR_UNSUPPORTED_MODEL,
        ErrorKind::UnsupportedCpu => FLUID_ERROR_UNSUPPORTED_CPU,
        ErrorKind::InvalidAudio => FLUID_ERROR_INVALID_AUDIO,
        ErrorKind::InvalidState => FLUID_ERROR_INVALID_STATE,
        ErrorKind::Network => FLUID_ERROR_NETWORK,
        ErrorKind::AccessDenied => FLUID_ERROR_ACCESS_DENIED,
        ErrorKind::DiskFull => FLUID_ERROR_DISK_FULL,
        ErrorKind::Busy => FLUID_ERROR_BUSY,
        ErrorKind::QueueFull => FLUID_ERROR_QUEUE_FULL,
        ErrorKind::OutOfMemory => FLUID_ERROR_OUT_OF_MEMORY,
        ErrorKind::Backend => FLUID_ERROR_BACKEND,
        ErrorKind::BackendMissing => FLUID_ERROR_BACKEND_MISSING,
        ErrorKind::Callback => FLUID_ERROR_CALLBACK,
        ErrorKind::Forked => FLUID_ERROR_FORKED,
        ErrorKind::Internal => FLUID_ERROR_INTERNAL,
    }
}

pub(super) fn of_ending(ending: &Ending) -> fluid_status {
    match ending {
        Ending::Done => FLUID_OK,
        Ending::Cancelled => FLUID_CANCELLED,
        Ending::Deadline => FLUID_DEADLINE,
        Ending::Failed(error) => of_error(error.kind()),
    }
}

fn name(status: fluid_status) -> &'static CStr {
    match status {
        FLUID_OK => c"FLUID_OK",
        FLUID_TIMEOUT => c"FLUID_TIMEOUT",
        FLUID_END => c"FLUID_END",
        FLUID_CANCELLED => c"FLUID_CANCELLED",
        FLUID_DEADLINE => c"FLUID_DEADLINE",
        FLUID_ERROR_INVALID_ARGUMENT => c"FLUID_ERROR_INVALID_ARGUMENT",
        FLUID_ERROR_INVALID_HANDLE => c"FLUID_ERROR_INVALID_HANDLE",
        FLUID_ERROR_INVALID_UTF8 => c"FLUID_ERROR_INVALID_UTF8",
        FLUID_ERROR_INVALID_JSON => c"FLUID_ERROR_INVALID_JSON",
        FLUID_ERROR_INVALID_REQUEST => c"FLUID_ERROR_INVALID_REQUEST",
        FLUID_ERROR_UNSUPPORTED => c"FLUID_ERROR_UNSUPPORTED",
        FLUID_ERROR_CONTEXT_OVERFLOW => c"FLUID_ERROR_CONTEXT_OVERFLOW",
        FLUID_ERROR_NOT_FOUND => c"FLUID_ERROR_NOT_FOUND",
        FLUID_ERROR_IO => c"FLUID_ERROR_IO",
        FLUID_ERROR_INVALID_MODEL => c"FLUID_ERROR_INVALID_MODEL",
        FLUID_ERROR_UNSUPPORTED_MODEL => c"FLUID_ERROR_UNSUPPORTED_MODEL",
        FLUID_ERROR_UNSUPPORTED_CPU => c"FLUID_ERROR_UNSUPPORTED_CPU",
        FLUID_ERROR_INVALID_AUDIO => c"FLUID_ERROR_INVALID_AUDIO",
        FLUID_ERROR_INVALID_STATE => c"FLUID_ERROR_INVALID_STATE",
        FLUID_ERROR_NETWORK => c"FLUID_ERROR_NETWORK",
        FLUID_ERROR_ACCESS_DENIED => c"FLUID_ERROR_ACCESS_DENIED",
        FLUID_ERROR_DISK_FULL => c"FLUID_ERROR_DISK_FULL",
        FLUID_ERROR_BUSY => c"FLUID_ERROR_BUSY",
        FLUID_ERROR_QUEUE_FULL => c"FLUID_ERROR_QUEUE_FULL",
        FLUID_ERROR_OUT_OF_MEMORY => c"FLUID_ERROR_OUT_OF_MEMORY",
        FLUID_ERROR_BACKEND => c"FLUID_ERROR_BACKEND",
        FLUID_ERROR_BACKEND_MISSING => c"FLUID_ERROR_BACKEND_MISSING",
        FLUID_ERROR_CALLBACK => c"FLUID_ERROR_CALLBACK",
        FLUID_ERROR_FORKED => c"FLUID_ERROR_FORKED",
        FLUID_ERROR_INTERNAL => c"FLUID_ERROR_INTERNAL",
        _ => c"unknown status",
    }
}

/// The name of `status`, such as `FLUID_ERROR_NOT_FOUND`; "unknown status" for a number that is
/// none. Works on any thread, in a forked child too. The string is static.
#[no_mangle]
pub extern "C" fn fluid_status_name(status: fluid_status) -> *const c_char {
    name(status).as_ptr()
}
