//! `fluid_job`: events, cancel, result.

use std::ffi::{c_char, CString};
use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use super::callback::about_to_wait;
use super::event::{fluid_event, EventBox};
use super::guard::guard;
use super::handle::{fluid_job, fluid_model, fluid_queue, Table};
use super::model::MODELS;
use super::pointer;
use super::queue::QUEUES;
use super::status::{fluid_status, FLUID_CANCELLED, FLUID_END, FLUID_OK, FLUID_TIMEOUT};
use crate::engine::job::{Job, Next, StopCause};
use crate::error::{Error, ErrorKind, Result};

/// A job with what its handle hands out as borrowed.
pub(super) struct JobHandle {
    pub(super) job: Arc<Job>,
    /// The event that was handed out last; locked while a call waits for the next.
    event: Mutex<EventBox>,
    json: OnceCell<CString>,
    floats: OnceCell<Floats>,
}

/// The numbers of a job's vectors, and how many each has.
type Floats = (Arc<Vec<f32>>, usize);

pub(super) static JOBS: Table<JobHandle> = Table::new(0xf1d3, "job");

/// A handle for `job`.
fn hand_out(job: Arc<Job>) -> Result<*mut fluid_job> {
    let handle = JobHandle {
        job: Arc::clone(&job),
        event: Mutex::new(EventBox::new()),
        json: OnceCell::new(),
        floats: OnceCell::new(),
    };
    let key = JOBS.insert(Arc::new(handle)).inspect_err(|_| job.close())?;
    job.set_tag(key);
    Ok(pointer::handle(key))
}

/// Starts a job and sets `out_job` to a handle for it.
///
/// # Safety
/// `out_job` is null, or can be written to.
pub(super) unsafe fn hand_out_to(
    out_job: *mut *mut fluid_job,
    start: impl FnOnce() -> Result<Arc<Job>>,
) -> Result<fluid_status> {
    // SAFETY: the caller's promise.
    let out = unsafe { pointer::output(out_job, "out_job") }?;
    out.set(hand_out(start()?)?);
    Ok(FLUID_OK)
}

fn get(job: *mut fluid_job) -> Result<Arc<JobHandle>> {
    JOBS.get(pointer::key(job))
}

impl JobHandle {
    fn check_detached(&self) -> Result<()> {
        if self.job.is_attached() {
            return Err(Error::new(ErrorKind::Busy, "the job's events come through its queue"));
        }
        Ok(())
    }

    /// The place for the next event; while it is locked nobody else can read the job.
    fn reader(&self) -> Result<parking_lot::MutexGuard<'_, EventBox>> {
        self.event.try_lock().ok_or_else(|| {
            Error::new(ErrorKind::Busy, "another thread is reading this job's events")
        })
    }
}

/// `timeout_ms` as an instant: 0 is now, below 0 never.
pub(super) fn wait_until(timeout_ms: i32) -> Option<std::time::Instant> {
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).ok()?);
    Job::deadline_in(timeout)
}

/// Waits for the job's next event: `timeout_ms` 0 only looks, below 0 waits for as long as it
/// takes. On `FLUID_OK` `*out_event` is borrowed until the next call of this function for the
/// job, or until the job is freed.
///
/// Outcomes: `FLUID_TIMEOUT`; `FLUID_END` after the final event; `FLUID_CANCELLED` when the job
/// was freed while this call waited. Errors: `FLUID_ERROR_BUSY` while another thread is in this
/// call, or when a queue delivers the job's events.
///
/// # Safety
/// `out_event` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_job_next(
    job: *mut fluid_job,
    timeout_ms: i32,
    out_event: *mut *const fluid_event,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_event, "out_event") }?;
        let handle = get(job)?;
        handle.check_detached()?;
        let mut event = handle.reader()?;
        // Asked again, for an attach may have come in between; now none can.
        handle.check_detached()?;
        if timeout_ms != 0 {
            about_to_wait()?;
        }
        Ok(match handle.job.next(wait_until(timeout_ms)) {
            Next::Event(next) => {
                event.fill(&handle.job, next);
                out.set(event.as_ptr());
                FLUID_OK
            }
            Next::Timeout => FLUID_TIMEOUT,
            Next::End => FLUID_END,
            Next::Closed => FLUID_CANCELLED,
        })
    })
}

/// The next event of a job that its queue lists as ready.
pub(super) fn read_listed(handle: &JobHandle) -> Option<*const fluid_event> {
    let mut event = loop {
        match handle.event.try_lock() {
            Some(event) => break event,
            // An attach that is about to be refused holds it for a moment.
            None if handle.job.is_attached() => std::thread::yield_now(),
            // The queue was freed meanwhile, and the job has another reader.
            None => return None,
        }
    };
    match handle.job.next_listed() {
        Next::Event(next) => {
            event.fill(&handle.job, next);
            Some(event.as_ptr())
        }
        Next::Timeout | Next::End | Next::Closed => None,
    }
}

/// Cancels a job. Its final event comes with `FLUID_CANCELLED`, unless the job ended before: at
/// once for a load, a download or a job that waits, else after the current node of the model's graph. Any thread may
/// call this at any time.
#[no_mangle]
pub extern "C" fn fluid_job_cancel(job: *mut fluid_job) -> fluid_status {
    guard(|| {
        get(job)?.job.request_stop(StopCause::Cancel);
        Ok(FLUID_OK)
    })
}

/// The result of a job that has ended: of a generation, OpenAI's object as `fluid_generate`
/// describes it, also when it was cancelled or failed; of a transcription, what `fluid_transcribe`
/// describes, which is JSON only in the formats "json" and "verbose_json"; of an embedding or a
/// ranking, what `fluid_embed` and `fluid_rerank` describe; of a saved or restored
/// state, what `fluid_model_save_state` describes; of a download, what `fluid_download` describes; of a
/// load, `{}`.
/// `*out_json` is borrowed until the job is freed.
///
/// Errors: `FLUID_ERROR_BUSY` while the job runs.
///
/// # Safety
/// `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_job_json(
    job: *mut fluid_job,
    out_json: *mut *const c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_json, "out_json") }?;
        let handle = get(job)?;
        let json = handle.json.get_or_try_init(|| {
            let json = handle.job.json()?;
            CString::new(json)
                .map_err(|_| Error::new(ErrorKind::Internal, "a result contains a NUL"))
        })?;
        out.set(json.as_ptr());
        Ok(FLUID_OK)
    })
}

/// The vectors of a job of `fluid_embed_start` that has ended: `*out_count` vectors of
/// `*out_dimensions` floats, one after the other, in the order of the texts. All of them after
/// `FLUID_OK`; else those of the first texts, or `NULL` where there are none. `*out_data` is
/// borrowed until the job is freed.
///
/// Errors: `FLUID_ERROR_BUSY` while the job runs; `FLUID_ERROR_INVALID_ARGUMENT` for other jobs.
///
/// # Safety
/// The outputs can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_job_floats(
    job: *mut fluid_job,
    out_data: *mut *const f32,
    out_count: *mut usize,
    out_dimensions: *mut usize,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { pointer::output(out_data, "out_data") }?;
        // SAFETY: as above.
        let count = unsafe { pointer::output(out_count, "out_count") }?;
        // SAFETY: as above.
        let dimensions = unsafe { pointer::output(out_dimensions, "out_dimensions") }?;
        let handle = get(job)?;
        let (values, width) = handle.floats.get_or_try_init(|| handle.job.floats())?;
        data.set(if values.is_empty() { std::ptr::null() } else { values.as_ptr() });
        count.set(values.len() / (*width).max(1));
        dimensions.set(*width);
        Ok(FLUID_OK)
    })
}

/// Takes the model out of a load that ended with `FLUID_OK`, once. A load that is freed before
/// frees its model. `*out_model` is owned by the caller, free with `fluid_model_free`.
///
/// Errors: `FLUID_ERROR_BUSY` while the load runs; `FLUID_ERROR_INVALID_ARGUMENT` when there is no
/// model to take.
///
/// # Safety
/// `out_model` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_job_take_model(
    job: *mut fluid_job,
    out_model: *mut *mut fluid_model,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { pointer::output(out_model, "out_model") }?;
        let model = get(job)?.job.take_model()?;
        out.set(pointer::handle(MODELS.insert(model)?));
        Ok(FLUID_OK)
    })
}

/// Has `queue` deliver the job's events, those that wait included. A job stays with its queue
/// until either is freed.
///
/// Errors: `FLUID_ERROR_BUSY` when the job is attached already, or a thread waits in
/// `fluid_job_next` for it.
#[no_mangle]
pub extern "C" fn fluid_job_attach(job: *mut fluid_job, queue: *mut fluid_queue) -> fluid_status {
    guard(|| {
        let handle = get(job)?;
        let queue = QUEUES.get(pointer::key(queue))?;
        let _not_read = handle.reader()?;
        handle.job.attach(&queue.queue)?;
        Ok(FLUID_OK)
    })
}

/// Frees a job: cancels it if it runs; a thread that waits in `fluid_job_next` for it returns
/// `FLUID_CANCELLED`. Its events and its `fluid_job_json` text are gone. It waits for nothing: a loaded
/// model that nobody took gives its memory back by itself. `NULL` does nothing.
///
/// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
#[no_mangle]
pub extern "C" fn fluid_job_free(job: *mut fluid_job) -> fluid_status {
    guard(|| {
        if !job.is_null() {
            JOBS.remove(pointer::key(job))?.job.close();
        }
        Ok(FLUID_OK)
    })
}
