//! What concerns the whole process: forks, its exit, panics of ours.

use std::ffi::CStr;
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

/// What a call in a forked process failed of.
pub(super) const FORKED_MESSAGE: &CStr =
    c"this process was forked from one that uses libfluid; call exec, or load the library only in the child";

pub(super) fn forked() -> Error {
    Error::new(ErrorKind::Forked, FORKED_MESSAGE.to_string_lossy())
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
        before_exit();
    });
}

/// The child has none of the threads that the locks and queues count on.
#[cfg(unix)]
unsafe extern "C" fn after_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Has [`at_exit`] run when the process ends. glibc's `atexit` is linked into the library and calls
/// `__cxa_atexit`, which shim.cpp makes do nothing; `on_exit` does not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn before_exit() {
    extern "C" {
        fn on_exit(
            function: extern "C" fn(libc::c_int, *mut libc::c_void),
            argument: *mut libc::c_void,
        ) -> libc::c_int;
    }
    extern "C" fn run(_status: libc::c_int, _argument: *mut libc::c_void) {
        at_exit();
    }
    // SAFETY: a plain function of a library that is never unloaded.
    unsafe { on_exit(run, std::ptr::null_mut()) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn before_exit() {
    // SAFETY: a plain function of a library that is never unloaded.
    unsafe { libc::atexit(at_exit) };
}

/// Jobs may run when `main` returns: they end here. Native code may use its static objects up to
/// then, which is why shim.cpp sees to it that these are not destroyed.
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
