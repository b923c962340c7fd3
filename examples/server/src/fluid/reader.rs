//! One thread that reads the events of all jobs, and hands each to the task that awaits it.

use std::collections::HashMap;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fluid::ffi::*;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

use super::event::{copy, End, Said};
use super::job::Job;
use super::model::Model;
use super::text::check;
use super::Result;

type Tasks = HashMap<usize, UnboundedSender<Said>>;

/// A queue of the library, and who awaits which of its jobs.
pub(super) struct Reader {
    queue: *mut fluid_queue,
    /// By the jobs' handles.
    tasks: Mutex<Tasks>,
}

// SAFETY: handles may be used on any thread.
unsafe impl Send for Reader {}
// SAFETY: as above.
unsafe impl Sync for Reader {}

impl Reader {
    pub(super) fn start() -> Result<Arc<Self>> {
        let mut queue = null_mut();
        // SAFETY: a place for the handle.
        check(unsafe { fluid_queue_new(&mut queue) })?;
        let reader = Arc::new(Self { queue, tasks: Mutex::default() });
        let of_thread = Arc::clone(&reader);
        let thread = std::thread::Builder::new().name("events".into());
        // Without a thread there is no host; it has just begun.
        thread.spawn(move || of_thread.read()).expect("a thread at the start");
        Ok(reader)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a job of the host's of a handle that was just handed out.
    pub(super) fn adopt(self: &Arc<Self>, job: *mut fluid_job) -> Result<Job> {
        let (sender, receiver) = unbounded_channel();
        self.tasks().insert(job as usize, sender);
        let attached = check(fluid_job_attach(job, self.queue));
        if attached.is_err() {
            self.tasks().remove(&(job as usize));
            fluid_job_free(job);
        }
        attached.map(|()| Job::new(job, receiver))
    }

    /// Until the process ends. Jobs are freed here alone, behind their last event: an event is lent for as long
    /// as its job is not freed.
    fn read(self: &Arc<Self>) {
        loop {
            let (mut job, mut event) = (null_mut(), std::ptr::null());
            // SAFETY: places for both.
            if unsafe { fluid_queue_next(self.queue, -1, &mut job, &mut event) } != FLUID_OK {
                return;
            }
            // SAFETY: the event is lent until the next turn.
            let said = unsafe { copy(event) };
            let key = job as usize;
            match said {
                Said::Event(_) => {
                    if let Some(task) = self.tasks().get(&key) {
                        // Nobody awaits it any more: it is being cancelled.
                        let _ = task.send(said);
                    }
                }
                Said::End(mut end) => {
                    self.collect(job, &mut end);
                    let task = self.tasks().remove(&key);
                    fluid_job_free(job);
                    if let Some(task) = task {
                        let _ = task.send(Said::End(end));
                    }
                }
            }
        }
    }

    /// What a job that has ended holds beside its text.
    fn collect(self: &Arc<Self>, job: *mut fluid_job, end: &mut End) {
        let mut model = null_mut();
        // SAFETY: a place for the handle.
        if unsafe { fluid_job_take_model(job, &mut model) } == FLUID_OK {
            end.model = Some(Model::new(model, Arc::clone(self)));
        }
        let (mut data, mut count, mut dimensions) = (std::ptr::null(), 0, 0);
        // SAFETY: places for all three.
        let status = unsafe { fluid_job_floats(job, &mut data, &mut count, &mut dimensions) };
        if status == FLUID_OK && !data.is_null() {
            // SAFETY: so many floats are lent until the job is freed.
            end.floats = unsafe { std::slice::from_raw_parts(data, count * dimensions) }.to_vec();
            end.dimensions = dimensions;
        }
    }
}
