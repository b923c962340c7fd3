//! Calls of the host's callbacks, and the blocking calls made of them.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::event::{fluid_event, fluid_event_fn, EventBox};
use super::status::{self, fluid_status};
use super::{pointer, process, string};
use crate::engine::event::{Body, Ending};
use crate::engine::job::{Job, Next, StopCause};
use crate::error::{Error, ErrorKind, Result};

extern "C" {
    fn fluid_call_event(
        callback: unsafe extern "C" fn(*const fluid_event, *mut c_void) -> i32,
        event: *const fluid_event,
        user_data: *mut c_void,
    ) -> i32;
}

const GO_ON: i32 = 0;
const THREW: i32 = 2;

thread_local! {
    /// The jobs whose callback runs on this thread, outermost first.
    static CALLING: RefCell<Vec<Arc<Job>>> = const { RefCell::new(Vec::new()) };
}

/// Said before this thread waits for a job or a queue. A callback that waits does not read its
/// own job's events meanwhile, and what it waits for may need that job's slot: those jobs run
/// on with the bound of their event queue lifted.
///
/// A log callback may run on the very thread that it would wait for: there it is `Busy`.
pub(super) fn about_to_wait() -> Result<()> {
    if crate::log::is_writing() {
        let message =
            "the log callback cannot wait: it may run on the very thread that is waited for";
        return Err(Error::new(ErrorKind::Busy, message));
    }
    // Gone in a host's exit handlers, as the thread's other values are; no callback runs then.
    let _ = CALLING.try_with(|jobs| jobs.borrow().iter().for_each(|job| job.lift_bound()));
    Ok(())
}

struct Calling;

impl Calling {
    fn enter(job: &Arc<Job>) -> Self {
        let _ = CALLING.try_with(|jobs| jobs.borrow_mut().push(Arc::clone(job)));
        Self
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let _ = CALLING.try_with(|jobs| jobs.borrow_mut().pop());
    }
}

/// A host's event callback; without a function it lets everything pass.
pub(super) struct Callback {
    pub(super) function: fluid_event_fn,
    pub(super) user_data: *mut c_void,
}

enum Answer {
    GoOn,
    Stop,
    Threw,
}

impl Callback {
    fn call(&self, job: &Arc<Job>, event: &EventBox) -> Answer {
        let Some(function) = self.function else {
            return Answer::GoOn;
        };
        let _calling = Calling::enter(job);
        // SAFETY: the host promised a callback that can be called with an event and this
        // user_data while its call of ours lasts, which is now.
        match unsafe { fluid_call_event(function, event.as_ptr(), self.user_data) } {
            GO_ON => Answer::GoOn,
            THREW => Answer::Threw,
            _ => Answer::Stop,
        }
    }
}

/// Reads `job` up to its end on this thread, each event to `callback`. Returns the job's status;
/// a job's failure is this call's.
pub(super) fn run(job: &Arc<Job>, callback: &Callback) -> Result<fluid_status> {
    // Whatever way this ends, a panic included: nobody reads the job after.
    let _closed = CloseOnDrop(job);
    let mut event = EventBox::new();
    let mut answer = Answer::GoOn;
    about_to_wait().inspect_err(|_| job.close())?;
    loop {
        let next = match job.next(None) {
            Next::Event(next) => next,
            Next::Timeout | Next::End | Next::Closed => {
                return Err(Error::new(ErrorKind::Internal, "a job's event queue ended early"));
            }
        };
        let ending = match &next.body {
            Body::End(ending) => Some(ending.clone()),
            _ => None,
        };
        if matches!(answer, Answer::GoOn) {
            event.fill(job, next);
            answer = callback.call(job, &event);
            if process::is_forked() {
                // The callback forked, and this is the child: nobody will wake this thread.
                return Err(process::forked());
            }
            if !matches!(answer, Answer::GoOn) {
                job.request_stop(StopCause::Cancel);
            }
        }
        if let Some(ending) = ending {
            // Closed where it failed: a loaded model must not stay with a job that nobody has.
            return outcome(ending, &answer).inspect_err(|_| job.close());
        }
    }
}

/// Reads `job` as [`run`] does; its result goes to `out_text`, unless that is null.
///
/// # Safety
/// `out_text` is null, or can be written to.
pub(super) unsafe fn run_for_text(
    job: &Arc<Job>,
    callback: &Callback,
    out_text: *mut *mut c_char,
) -> Result<fluid_status> {
    let status = run(job, callback)?;
    // SAFETY: the caller's promise.
    unsafe { hand_out_text(job, out_text) }?;
    Ok(status)
}

/// The result of `job`, which has ended, goes to `out_text`, unless that is null.
///
/// # Safety
/// `out_text` is null, or can be written to.
pub(super) unsafe fn hand_out_text(job: &Job, out_text: *mut *mut c_char) -> Result<()> {
    if !out_text.is_null() {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_text, "out_text") }?;
        out.set(string::owned(job.json()?)?);
    }
    Ok(())
}

fn outcome(ending: Ending, answer: &Answer) -> Result<fluid_status> {
    match ending {
        _ if matches!(answer, Answer::Threw) => Err(Error::new(
            ErrorKind::Callback,
            "the callback threw a C++ exception; the job was cancelled",
        )),
        Ending::Failed(error) => Err(error),
        ending => Ok(status::of_ending(&ending)),
    }
}

struct CloseOnDrop<'a>(&'a Job);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}
