//! What happens to models without anybody having asked, for those who want to read it.
#![forbid(unsafe_code)]

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde_json::Value;

use super::event::{Body, Ending, Event};
use super::job::{Job, Outcome};
use super::signal::Signal;
use crate::error::{Error, ErrorKind, Result};

/// An engine's readers: each is a job without work.
#[derive(Default)]
pub(super) struct News(Mutex<Readers>);

#[derive(Default)]
struct Readers {
    jobs: Vec<Weak<Job>>,
    closed: bool,
}

impl News {
    /// A job that gets all that happens from now on, until it is freed or the engine is. Of what its
    /// reader does not fetch, the oldest beyond `capacity` events is dropped.
    pub(super) fn subscribe(&self, capacity: usize) -> Result<Arc<Job>> {
        let (signal, _) = Signal::new();
        let job = Job::new(capacity, signal, None, Outcome::Nothing);
        let mut readers = self.0.lock();
        if readers.closed {
            return Err(Error::new(ErrorKind::InvalidHandle, "the engine was freed"));
        }
        readers.jobs.retain(|job| job.strong_count() > 0);
        readers.jobs.push(Arc::downgrade(&job));
        Ok(job)
    }

    /// Tells all readers.
    pub(super) fn tell(&self, text: &str, what: &Value) {
        let json = what.to_string();
        for job in self.readers() {
            let (text, json) = (text.to_owned(), json.clone());
            job.push_newest(Event::now(Body::Model { text, json }));
        }
    }

    /// Ends the readers' jobs; there will be no more.
    pub(super) fn close(&self) {
        self.0.lock().closed = true;
        for job in self.readers() {
            job.finish(Ending::Cancelled, None);
        }
    }

    /// Without the lock, for a job's last reference may go.
    fn readers(&self) -> Vec<Arc<Job>> {
        self.0.lock().jobs.iter().filter_map(Weak::upgrade).collect()
    }
}
