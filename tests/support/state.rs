//! Saving and restoring states through the C interface, in a folder that goes with the test.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part of this")]

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

use fluid::ffi::*;
use serde_json::Value;

use super::{last_error, status_name, Job, Model};

/// An empty folder, removed with all in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fluid-state-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the folder is there");
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries.map(|entry| name(entry.expect("an entry"))).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}

/// What a call gave: its JSON, or its status and message.
pub type Outcome = Result<Value, (&'static str, String)>;

fn outcome(status: fluid_status, json: *mut std::ffi::c_char) -> Outcome {
    if status != FLUID_OK {
        return Err((status_name(status), last_error()));
    }
    // SAFETY: the library's own string, not freed yet.
    let text = unsafe { CStr::from_ptr(json) }.to_str().expect("UTF-8").to_owned();
    // SAFETY: as above; it is not used after.
    unsafe { fluid_string_free(json) };
    Ok(serde_json::from_str(&text).expect("JSON"))
}

pub fn save(model: &Model, request: &Value, path: &str) -> Outcome {
    let (request, path) = (CString::new(request.to_string()), CString::new(path));
    let (request, path) = (request.expect("no NUL"), path.expect("no NUL"));
    let mut json = null_mut();
    // SAFETY: C strings, no callback, a place for the string.
    let status = unsafe {
        let (request, path) = (request.as_ptr(), path.as_ptr());
        fluid_model_save_state(model.raw(), request, path, None, null_mut(), &mut json)
    };
    outcome(status, json)
}

pub fn restore(model: &Model, path: &str) -> Outcome {
    let path = CString::new(path).expect("no NUL");
    let mut json = null_mut();
    // SAFETY: a C string, no callback, a place for the string.
    let status = unsafe {
        fluid_model_restore_state(model.raw(), path.as_ptr(), None, null_mut(), &mut json)
    };
    outcome(status, json)
}

pub fn start_save(model: &Model, request: &Value, path: &str) -> Job {
    let (request, path) = (CString::new(request.to_string()), CString::new(path));
    let (request, path) = (request.expect("no NUL"), path.expect("no NUL"));
    let mut job = null_mut();
    // SAFETY: C strings and a place for the handle.
    let status = unsafe {
        fluid_model_save_state_start(model.raw(), request.as_ptr(), path.as_ptr(), &mut job)
    };
    assert_eq!(status, FLUID_OK, "{}", last_error());
    Job::from_raw(job)
}

pub fn start_restore(model: &Model, path: &str) -> Job {
    let path = CString::new(path).expect("no NUL");
    let mut job = null_mut();
    // SAFETY: a C string and a place for the handle.
    let status = unsafe { fluid_model_restore_state_start(model.raw(), path.as_ptr(), &mut job) };
    assert_eq!(status, FLUID_OK, "{}", last_error());
    Job::from_raw(job)
}
