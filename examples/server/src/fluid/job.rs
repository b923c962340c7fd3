//! A job that is awaited.

use std::sync::Arc;

use fluid::ffi::*;

use super::event::{End, Event, Said};
use super::model::Model;
use super::task::Saying;

/// A running job. Dropped before its end it is cancelled, which frees its slot within 100 ms.
pub(crate) struct Job {
    handle: *mut fluid_job,
    said: Saying,
    end: Option<Box<End>>,
    /// What it works with: freed before, it would be cancelled.
    _model: Option<Arc<Model>>,
}

// SAFETY: handles may be used on any thread.
unsafe impl Send for Job {}

impl Job {
    pub(super) fn new(handle: *mut fluid_job, said: Saying) -> Self {
        Self { handle, said, end: None, _model: None }
    }

    /// A job of `model`.
    pub(super) fn holding(mut self, model: &Arc<Model>) -> Self {
        self._model = Some(Arc::clone(model));
        self
    }

    /// The next event, or `None` when the job has ended: then [`end`](Self::end) tells how.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        if self.end.is_some() {
            return None;
        }
        match self.said.next().await {
            Some(Said::Event(event)) => Some(event),
            Some(Said::End(end)) => {
                self.end = Some(end);
                None
            }
            None => None,
        }
    }

    /// Waits for the end, and skips the events before it.
    pub(crate) async fn end(mut self) -> End {
        while self.next().await.is_some() {}
        let lost = || End {
            status: FLUID_ERROR_INTERNAL,
            message: "the job's events stopped without an end".into(),
            result: String::new(),
            floats: Vec::new(),
            dimensions: 0,
            model: None,
        };
        self.end.take().map_or_else(lost, |end| *end)
    }

    /// Asks the job to stop; its end comes as ever.
    pub(crate) fn cancel(&self) {
        // The handle is stale where the job has ended meanwhile, which does no harm.
        fluid_job_cancel(self.handle);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.end.is_none() {
            self.cancel();
        }
    }
}
