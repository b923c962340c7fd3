//! The handler for the end of the process, set anew behind the destructors of native libraries: `exit`
//! calls first what was registered last.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;

/// How often it is set anew at most, for some thousand loads: the C library keeps each for good, in 32 bytes.
const MOST: usize = 1 << 14;

static SET: OnceLock<fn()> = OnceLock::new();

/// Has `set` register the handler, now and at each [`set_anew`]. The first one stays.
pub(crate) fn set(set: fn()) {
    SET.get_or_init(|| set)();
}

/// To be called when a native library has been opened, or has done something for the first time: it
/// makes static objects then. Does nothing before [`set`].
pub(crate) fn set_anew() {
    static TIMES: AtomicUsize = AtomicUsize::new(0);
    let Some(set) = SET.get() else { return };
    let more = |times| (times < MOST).then_some(times + 1);
    if TIMES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
        set();
    }
}
