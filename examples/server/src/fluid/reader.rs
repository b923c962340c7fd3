//! One thread that reads the events of all jobs, and hands each to the task that awaits it.

use std::collections::HashMap;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fluid::ffi::*;

use super::event::{copy, End, Event, Said};
use super::job::Job;
use super::model::Model;
use super::task::{Task, ENDING};
use super::text::check;
use super::Result;
use crate::metrics::Histogram;

/// A queue of the library, and who awaits which of its jobs.
pub(super) struct Reader {
    queue: *mut fluid_queue,
    tasks: Mutex<Tasks>,
    /// Seconds from a job's start to the first it says.
    pub(super) first_token: Histogram,
}

#[derive(Default)]
struct Tasks {
    /// By the jobs' handles.
    of: HashMap<usize, Task>,
    /// No job is wanted any more.
    ending: bool,
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
        let first_token = Histogram::default();
        let reader = Arc::new(Self { queue, tasks: Mutex::default(), first_token });
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
        let (task, said) = Task::new();
        let ending = {
            let mut tasks = self.tasks();
            tasks.of.insert(job as usize, task);
            tasks.ending
        };
        if let Err(failure) = check(fluid_job_attach(job, self.queue)) {
            self.tasks().of.remove(&(job as usize));
            fluid_job_free(job);
            return Err(failure);
        }
        if ending {
            self.end();
        }
        Ok(Job::new(job, said))
    }

    /// Stops all jobs, and those that are still to come. Those who await them are told why.
    pub(super) fn end(&self) {
        let mut tasks = self.tasks();
        tasks.ending = true;
        for (&job, task) in &mut tasks.of {
            task.stop(ENDING);
            fluid_job_cancel(job as *mut fluid_job);
        }
    }

    /// Until the process ends. Jobs are freed here alone, behind their last event: an event is lent for as long
    /// as its job is not freed.
    fn read(self: &Arc<Self>) {
        loop {
            let (mut job, mut event) = (null_mut(), std::ptr::null());
            // SAFETY: places for both.
            if unsafe { fluid_queue_next(self.queue, -1, &mut job, &mut event) } != FLUID_OK {
                // Whoever still waits learns that no more will come.
                self.tasks().of.clear();
                return;
            }
            // SAFETY: the event is lent until the next turn.
            match unsafe { copy(event) } {
                Said::Event(event) => self.pass(job, event),
                Said::End(end) => self.finish(job, end),
            }
        }
    }

    fn pass(&self, job: *mut fluid_job, event: Event) {
        let mut tasks = self.tasks();
        let Some(task) = tasks.of.get_mut(&(job as usize)) else { return };
        if let Some(waited) = task.first_words(&event) {
            self.first_token.record(waited);
        }
        if !task.pass(event) {
            fluid_job_cancel(job);
        }
    }

    fn finish(self: &Arc<Self>, job: *mut fluid_job, mut end: Box<End>) {
        self.collect(job, &mut end);
        let task = self.tasks().of.remove(&(job as usize));
        fluid_job_free(job);
        if let Some(task) = task {
            task.finish(end);
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
