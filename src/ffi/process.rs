//! What concerns the whole process: forks, its exit, panics of ours.

use std::ffi::CStr;
use std::panic::{catch_unwind, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use super::{engine, guard};
use crate::at_exit;
use crate::engine::survey;
use crate::error::{Error, ErrorKind};
use crate::log::log;

/// How long the end of the process waits for native libraries that are asked about devices.
const SURVEY_PATIENCE: Duration = Duration::from_secs(2);

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

/// Done once, by the first engine, and for the main thread.
pub(super) fn prepare() {
    PREPARED.call_once(|| {
        quiet_panics();
        #[cfg(unix)]
        // SAFETY: the handlers are plain functions of a library that is never unloaded. Failing
        // for want of memory leaves only the default behaviour.
        unsafe {
            libc::pthread_atfork(None, None, Some(after_fork));
        }
        at_exit::set(before_exit);
    });
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    before_statics();
}

/// The child has none of the threads that the locks and queues count on.
#[cfg(unix)]
unsafe extern "C" fn after_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Has [`end`] run as soon as the main thread, if this is it, returns from `main` or calls `exit`,
/// which begins with its caller's thread-locals. What OpenVINO has made since [`at_exit::set_anew`] goes
/// before [`before_exit`]'s handler runs, while OpenVINO still works.
/// A main thread that ends by `pthread_exit` leaves its thread-locals alone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn before_statics() {
    struct Main;
    impl Drop for Main {
        fn drop(&mut self) {
            end();
        }
    }
    thread_local! {
        static MAIN: Main = const { Main };
    }
    // SAFETY: it takes nothing, and never fails. glibc has a function for it since 2.30 only.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    if thread == libc::c_long::from(std::process::id() as libc::pid_t) {
        // It is gone in exit handlers that come here; then this has been done.
        let _ = MAIN.try_with(|_| ());
    }
}

/// Where the main thread loads the library, as it does for programs that are linked with it, it is waited for whoever
/// makes the first engine.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[used]
#[link_section = ".init_array"]
static AT_LOAD: extern "C" fn() = {
    extern "C" fn at_load() {
        before_statics();
    }
    at_load
};

/// Has [`end`] run when the process ends, whichever thread ends it. glibc's `atexit` is linked into the library and calls
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
        end();
    }
    // SAFETY: a plain function of a library that is never unloaded.
    unsafe { on_exit(run, std::ptr::null_mut()) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn before_exit() {
    // SAFETY: a plain function of a library that is never unloaded.
    unsafe { libc::atexit(end) };
}

/// Jobs may run when `main` returns: they end here. Native code may use its static objects up to
/// then, which is why shim.cpp sees to it that llama.cpp's are not destroyed. It comes here as often
/// as it was registered.
extern "C" fn end() {
    static SURVEYS_END: OnceLock<Instant> = OnceLock::new();
    if !is_forked() && !are_threads_gone() {
        // Nothing is left to tell a panic to.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            engine::shut_down_all();
            survey::close(*SURVEYS_END.get_or_init(|| Instant::now() + SURVEY_PATIENCE));
        }));
    }
}

/// Whether the process has no other threads any more: on Windows, a library's exit handlers run when they have been killed.
/// To join them would panic, and nothing is left to stop.
#[cfg(windows)]
fn are_threads_gone() -> bool {
    #[link(name = "ntdll")]
    extern "system" {
        fn RtlDllShutdownInProgress() -> u8;
    }
    // SAFETY: it takes nothing, and only looks.
    unsafe { RtlDllShutdownInProgress() != 0 }
}

#[cfg(not(windows))]
fn are_threads_gone() -> bool {
    false
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
