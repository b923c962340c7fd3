//! llama.cpp's log lines: into our log, and its errors kept to explain a failed load.
#![forbid(unsafe_code)]

use std::cell::RefCell;

use llama_cpp_sys_2 as sys;

use crate::log::{self, Level};

thread_local! {
    static ERRORS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Lines kept of one load; what follows the first errors only repeats them.
const KEPT: usize = 8;

/// Takes one line of llama.cpp.
pub(super) fn line(level: sys::ggml_log_level, text: &str) {
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    if level == sys::GGML_LOG_LEVEL_ERROR {
        ERRORS.with_borrow_mut(|errors| {
            if let Some(errors) = errors.as_mut().filter(|errors| errors.len() < KEPT) {
                errors.push(text.to_owned());
            }
        });
    }
    let level = match level {
        // A cancelled job is no error.
        _ if is_interrupt(text) => Level::Debug,
        sys::GGML_LOG_LEVEL_ERROR => Level::Error,
        sys::GGML_LOG_LEVEL_WARN => Level::Warn,
        // What llama.cpp calls information is several hundred lines for each load.
        _ => Level::Debug,
    };
    log::write(level, text);
}

/// What llama.cpp says when its abort callback asked it to stop.
fn is_interrupt(text: &str) -> bool {
    text.ends_with("failed to decode, ret = 2")
        || text.ends_with("failed with error 1")
        || text.contains("process_ubatch: failed to compute graph")
        || text.contains("removing memory module")
}

/// Runs `body` and returns what llama.cpp logged as errors on this thread meanwhile.
pub(super) fn collect<T>(body: impl FnOnce() -> T) -> (T, Vec<String>) {
    ERRORS.set(Some(Vec::new()));
    let value = body();
    (value, ERRORS.take().unwrap_or_default())
}

/// The most telling of `lines`: the first, without the name of the function that logged it.
pub(super) fn cause(lines: &[String]) -> String {
    let first = lines.first().map_or("llama.cpp gave no reason", String::as_str);
    match first.split_once(": ") {
        Some((function, rest)) if !function.contains(' ') => rest.to_owned(),
        _ => first.to_owned(),
    }
}
