//! The engine: models are loaded, listed, fetched and looked at.

use std::ptr::{null, null_mut};
use std::sync::Arc;

use fluid::ffi::*;
use serde_json::Value;

use super::job::Job;
use super::reader::Reader;
use super::text::{c_string, check, take};
use super::Result;
use crate::metrics::Histogram;

struct Handle(*mut fluid_engine);

// SAFETY: handles may be used on any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        fluid_engine_free(self.0);
    }
}

/// An engine, and the thread that reads its jobs. Clones are the same one. Calls that answer with JSON read
/// files or ask drivers, which tasks do by [`ask`](Self::ask).
#[derive(Clone)]
pub(crate) struct Engine {
    handle: Arc<Handle>,
    reader: Arc<Reader>,
}

impl Engine {
    /// `options` as of `fluid_engine_new`.
    pub(crate) fn new(options: &Value) -> Result<Self> {
        let options = c_string(&options.to_string())?;
        let mut handle = null_mut();
        // SAFETY: a C string and a place for the handle.
        check(unsafe { fluid_engine_new(options.as_ptr(), &mut handle) })?;
        Ok(Self { handle: Arc::new(Handle(handle)), reader: Reader::start()? })
    }

    /// Stops all jobs; whoever awaits one is told that the server is ending.
    pub(crate) fn stop_jobs(&self) {
        self.reader.end();
    }

    /// Frees the engine with its models, and waits until that is done. All calls fail from then on.
    pub(crate) fn free(&self) {
        // The handle's own end does it again, which does no harm.
        fluid_engine_free(self.handle.0);
    }

    /// Seconds from a job's start to its first words.
    pub(crate) fn first_token(&self) -> &Histogram {
        &self.reader.first_token
    }

    /// Starts to load a model; `options` as of `fluid_load_model`. The end has the model.
    pub(crate) fn load(&self, name: &str, options: &Value) -> Result<Job> {
        let (name, options) = (c_string(name)?, c_string(&options.to_string())?);
        let mut job = null_mut();
        // SAFETY: C strings and a place for the handle.
        check(unsafe {
            fluid_load_model_start(self.handle.0, name.as_ptr(), options.as_ptr(), &mut job)
        })?;
        self.reader.adopt(job)
    }

    /// Starts a download of `name`; `options` as of `fluid_download`.
    pub(crate) fn download(&self, name: &str, options: &Value) -> Result<Job> {
        let (name, options) = (c_string(name)?, c_string(&options.to_string())?);
        let mut job = null_mut();
        // SAFETY: C strings and a place for the handle.
        check(unsafe {
            fluid_download_start(self.handle.0, name.as_ptr(), options.as_ptr(), &mut job)
        })?;
        self.reader.adopt(job)
    }

    /// `fluid_engine_info`: at once.
    pub(crate) fn info(&self) -> Result<Value> {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        check(unsafe { fluid_engine_info(self.handle.0, &mut json) })?;
        // SAFETY: the library's string.
        Ok(parsed(&unsafe { take(json) }))
    }

    /// The models in the model folder, as of `fluid_models`. Reads headers of files.
    pub(crate) fn models(&self) -> Result<Value> {
        let mut json = null_mut();
        // SAFETY: no options, and a place for the string.
        check(unsafe { fluid_models(self.handle.0, null(), &mut json) })?;
        // SAFETY: the library's string.
        Ok(parsed(&unsafe { take(json) }))
    }

    /// As of `fluid_devices`. Asks drivers.
    pub(crate) fn devices(&self) -> Result<Value> {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        check(unsafe { fluid_devices(self.handle.0, &mut json) })?;
        // SAFETY: the library's string.
        Ok(parsed(&unsafe { take(json) }))
    }

    /// Asks something that takes time, on a thread for that.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = self.clone();
        let asked = tokio::task::spawn_blocking(move || question(&engine));
        asked.await.unwrap_or_else(|error| {
            Err(super::Failure { status: FLUID_ERROR_INTERNAL, message: error.to_string() })
        })
    }
}

/// JSON of the library's own.
pub(super) fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}
