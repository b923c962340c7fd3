//! What concerns the whole process: forks, its exit, panics of ours.

use std::panic::{catch_unwind, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Once;

use super::{engine, guard};
use crate::error::{Error, ErrorKind};
use crate::log::log;

static FORKED: AtomicBool = AtomicBool::new(false);
static PREPARED: Once = Once::new();

/// Whether this process was forked from one that had prepared the library.
pub(super) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

pub(super) fn forked() -> Error {
    let message = "this process was forked from one that uses libfluid; call exec, or load the library only in the child";
    Error::new(ErrorKind::Forked, message)
}

/// Done once, by the first engine.
pub(super) fn prepare() {
    PREPARED.call_once(|| {
        quiet_panics();
        #[cfg(unix)]
        // SAFETY: the handlers are plain functions of a library that is never unloaded. Failing
        // for want of memory leaves only the default behaviour.
        unsafe {
            libc::pthread_atfork(None, None, Some(after_fork));
        }
        // SAFETY: as above.
        unsafe {
            libc::atexit(at_exit);
        }
    });
}

/// The child has none of the threads that the locks and queues count on.
#[cfg(unix)]
unsafe extern "C" fn after_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Jobs may run when `main` returns: they end here, before the destructors that their native
/// code relies on.
extern "C" fn at_exit() {
    if !is_forked() {
        // Nothing is left to tell a panic to.
        let _ = catch_unwind(AssertUnwindSafe(engine::shut_down_all));
    }
}

/// Our panics go to the log and into a status; those of a host in the same Rust runtime (tests,
/// or a program that links the crate) go where they went before.
fn quiet_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if guard::is_ours() {
            log!(Error, "panic: {info}");
        } else {
            before(info);
        }
    }));
}
