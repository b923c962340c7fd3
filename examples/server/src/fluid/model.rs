//! A loaded model: what can be asked of it.

use std::ffi::c_char;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use fluid::ffi::*;
use serde_json::Value;

use super::engine::parsed;
use super::job::Job;
use super::reader::Reader;
use super::text::{c_string, check, take};
use super::{Failure, Result};

/// A loaded model, which its jobs hold. Dropped, its memory is given back.
pub(crate) struct Model {
    handle: *mut fluid_model,
    reader: Arc<Reader>,
    /// Its worker has failed, or it was freed.
    is_broken: AtomicBool,
}

// SAFETY: handles may be used on any thread.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        self.free();
    }
}

type Start =
    unsafe extern "C" fn(*mut fluid_model, *const c_char, *mut *mut fluid_job) -> fluid_status;
type Question =
    unsafe extern "C" fn(*mut fluid_model, *const c_char, *mut *mut c_char) -> fluid_status;

impl Model {
    pub(super) fn new(handle: *mut fluid_model, reader: Arc<Reader>) -> Self {
        Self { handle, reader, is_broken: AtomicBool::new(false) }
    }

    /// Cancels the model's jobs and gives its memory back, soon: whoever still has it finds it gone.
    pub(crate) fn free(&self) {
        // It waits for what the model computes, which tasks and the reader of events must not.
        let handle = self.handle as usize;
        let freed = std::thread::Builder::new().name("free model".into());
        let freed = freed.spawn(move || fluid_model_free(handle as *mut fluid_model));
        if freed.is_err() {
            fluid_model_free(self.handle);
        }
    }

    /// Whether nothing can be asked of it any more: it has to be loaded again.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Remembers it where no job can be started any more.
    fn noted(&self, started: Result<()>) -> Result<()> {
        let is_gone = |failure: &Failure| {
            [FLUID_ERROR_BACKEND, FLUID_ERROR_INVALID_HANDLE].contains(&failure.status)
        };
        if started.as_ref().is_err_and(is_gone) {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        started
    }

    /// `fluid_generate_start`; `request` is JSON.
    pub(crate) fn generate(self: &Arc<Self>, request: &str) -> Result<Job> {
        self.start(fluid_generate_start, request)
    }

    /// `fluid_embed_start`.
    pub(crate) fn embed(self: &Arc<Self>, request: &str) -> Result<Job> {
        self.start(fluid_embed_start, request)
    }

    /// `fluid_rerank_start`.
    pub(crate) fn rerank(self: &Arc<Self>, request: &str) -> Result<Job> {
        self.start(fluid_rerank_start, request)
    }

    fn start(self: &Arc<Self>, start: Start, request: &str) -> Result<Job> {
        let request = c_string(request)?;
        let mut job = null_mut();
        // SAFETY: a C string and a place for the handle.
        self.noted(check(unsafe { start(self.handle, request.as_ptr(), &mut job) }))?;
        Ok(self.reader.adopt(job)?.holding(self))
    }

    /// `fluid_transcribe_start` with the bytes of an audio file, which are copied.
    pub(crate) fn transcribe(self: &Arc<Self>, audio: &[u8], request: &str) -> Result<Job> {
        let request = c_string(request)?;
        let audio = fluid_audio {
            struct_size: size_of::<fluid_audio>() as u32,
            kind: FLUID_AUDIO_ENCODED,
            data: audio.as_ptr().cast(),
            bytes: audio.len(),
            rate: 0,
            channels: 0,
        };
        let mut job = null_mut();
        // SAFETY: the bytes outlive the call; a C string and a place for the handle.
        self.noted(check(unsafe {
            fluid_transcribe_start(self.handle, &audio, request.as_ptr(), &mut job)
        }))?;
        Ok(self.reader.adopt(job)?.holding(self))
    }

    /// `fluid_tokenize`: waits where the model has to be loaded again.
    pub(crate) fn tokenize(&self, request: &str) -> Result<Value> {
        self.question(fluid_tokenize, request)
    }

    /// `fluid_detokenize`: waits as [`tokenize`](Self::tokenize).
    pub(crate) fn detokenize(&self, request: &str) -> Result<Value> {
        self.question(fluid_detokenize, request)
    }

    fn question(&self, question: Question, request: &str) -> Result<Value> {
        let request = c_string(request)?;
        let mut json = null_mut();
        // SAFETY: a C string and a place for the answer.
        check(unsafe { question(self.handle, request.as_ptr(), &mut json) })?;
        // SAFETY: the library's string.
        Ok(parsed(&unsafe { take(json) }))
    }

    /// `fluid_model_info`: at once.
    pub(crate) fn info(&self) -> Result<Value> {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        check(unsafe { fluid_model_info(self.handle, &mut json) })?;
        // SAFETY: the library's string.
        Ok(parsed(&unsafe { take(json) }))
    }
}
