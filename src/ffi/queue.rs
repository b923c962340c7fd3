//! `fluid_queue`: the events of many jobs, read by one thread.

use std::sync::Arc;

use parking_lot::Mutex;

use super::callback::about_to_wait;
use super::event::fluid_event;
use super::guard::guard;
use super::handle::{fluid_job, fluid_queue, Table};
use super::job::{read_listed, wait_until, JobHandle, JOBS};
use super::pointer;
use super::status::{fluid_status, FLUID_CANCELLED, FLUID_OK, FLUID_TIMEOUT};
use crate::engine::queue::{Queue, Ready};
use crate::error::{Error, ErrorKind};

/// A queue with the job whose event it handed out last, which stays alive with the event.
pub(super) struct QueueHandle {
    pub(super) queue: Arc<Queue>,
    last: Mutex<Option<Arc<JobHandle>>>,
}

pub(super) static QUEUES: Table<QueueHandle> = Table::new(0xf1d4, "queue");

/// Makes a queue. Attach jobs to it with `fluid_job_attach`. On success `*out_queue` is owned by
/// the caller, free with `fluid_queue_free`.
///
/// # Safety
/// `out_queue` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_queue_new(out_queue: *mut *mut fluid_queue) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_queue, "out_queue") }?;
        let handle = QueueHandle { queue: Queue::new(), last: Mutex::new(None) };
        out.set(pointer::handle(QUEUES.insert(Arc::new(handle))?));
        Ok(FLUID_OK)
    })
}

/// Waits for the next event of any attached job, in turn among the jobs that have one:
/// `timeout_ms` 0 only looks, below 0 waits for as long as it takes. On `FLUID_OK` `*out_job` is
/// the job's handle, which you own as before, and `*out_event` is borrowed until the next call
/// of this function for the queue, or until the queue or that job is freed.
///
/// There is no `FLUID_END` for a queue, since jobs may still be attached: count the jobs'
/// `FLUID_EVENT_END`. Without any job a `timeout_ms` below 0 waits until one is attached.
///
/// Outcomes: `FLUID_TIMEOUT`; `FLUID_CANCELLED` when the queue was freed while this call waited.
/// Errors: `FLUID_ERROR_BUSY` while another thread is in this call.
///
/// # Safety
/// `out_job` and `out_event` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_queue_next(
    queue: *mut fluid_queue,
    timeout_ms: i32,
    out_job: *mut *mut fluid_job,
    out_event: *mut *const fluid_event,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { pointer::output(out_job, "out_job") }?;
        // SAFETY: the caller's promise.
        let event = unsafe { pointer::output(out_event, "out_event") }?;
        let handle = QUEUES.get(pointer::key(queue))?;
        let mut last = handle
            .last
            .try_lock()
            .ok_or_else(|| Error::new(ErrorKind::Busy, "another thread is reading this queue"))?;
        if timeout_ms != 0 {
            about_to_wait()?;
        }
        let deadline = wait_until(timeout_ms);
        loop {
            let tag = match handle.queue.next(deadline) {
                Ready::Tag(tag) => tag,
                Ready::Timeout => return Ok(FLUID_TIMEOUT),
                Ready::Closed => return Ok(FLUID_CANCELLED),
            };
            // Freed meanwhile, or read through another queue: nothing to hand out.
            let Ok(ready) = JOBS.get(tag) else { continue };
            if let Some(next) = read_listed(&ready) {
                *last = Some(ready);
                job.set(pointer::handle(tag));
                event.set(next);
                return Ok(FLUID_OK);
            }
        }
    })
}

/// Frees a queue. Its jobs go on; their events can be read with `fluid_job_next` again. A thread
/// that waits in `fluid_queue_next` returns `FLUID_CANCELLED`. `NULL` does nothing.
///
/// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
#[no_mangle]
pub extern "C" fn fluid_queue_free(queue: *mut fluid_queue) -> fluid_status {
    guard(|| {
        if !queue.is_null() {
            QUEUES.remove(pointer::key(queue))?.queue.close();
        }
        Ok(FLUID_OK)
    })
}
