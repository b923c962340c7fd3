//! Embedding, ranking and tokenising as the tests call them.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this")]

use std::ffi::CString;
use std::ptr::{null, null_mut};

use fluid::ffi::*;
use serde_json::Value;

use super::{last_error, ok, take_json, Job, Model};

/// What an embedding came to.
#[derive(Debug)]
pub struct Vectors {
    pub status: fluid_status,
    pub all: Vec<Vec<f32>>,
    pub json: Value,
    /// The message of a call that failed.
    pub error: String,
}

impl Model {
    /// `fluid_embed`.
    pub fn try_embed(&self, request: &Value) -> Vectors {
        let request = c_string(request);
        let (mut data, mut count, mut width, mut json) = (null_mut(), 0, 0, null_mut());
        // SAFETY: a C string and places for the outputs.
        let status = unsafe {
            fluid_embed(
                self.raw(),
                request.as_ptr(),
                None,
                null_mut(),
                &mut data,
                &mut count,
                &mut width,
                &mut json,
            )
        };
        let error = last_error();
        if status < FLUID_OK {
            assert!(data.is_null() && json.is_null());
            return Vectors { status, all: Vec::new(), json: Value::Null, error };
        }
        let json = take_json(json);
        assert_eq!(
            (json["count"].as_u64(), json["dimensions"].as_u64()),
            (Some(count as u64), Some(width as u64))
        );
        // SAFETY: the library says that so many floats are there.
        let all = unsafe { copied(data, count, width) };
        // SAFETY: the library's own, not freed yet.
        unsafe { fluid_floats_free(data) };
        Vectors { status, all, json, error }
    }

    /// The vectors of a request that must succeed.
    pub fn embed(&self, request: &Value) -> Vec<Vec<f32>> {
        let vectors = self.try_embed(request);
        assert_eq!(vectors.status, FLUID_OK, "{}", vectors.error);
        vectors.all
    }

    pub fn try_start_embed(&self, request: &Value) -> Result<Job, fluid_status> {
        let (request, mut job) = (c_string(request), null_mut());
        // SAFETY: a C string and a place for the handle.
        match unsafe { fluid_embed_start(self.raw(), request.as_ptr(), &mut job) } {
            FLUID_OK => Ok(Job::from_raw(job)),
            status => Err(status),
        }
    }

    pub fn start_embed(&self, request: &Value) -> Job {
        self.try_start_embed(request).unwrap_or_else(|_| panic!("{}", last_error()))
    }

    /// `fluid_rerank`: the result, or the status and its message.
    pub fn rerank(&self, request: &Value) -> Result<Value, (fluid_status, String)> {
        let (request, mut json) = (c_string(request), null_mut());
        // SAFETY: a C string and a place for the string.
        let status =
            unsafe { fluid_rerank(self.raw(), request.as_ptr(), None, null_mut(), &mut json) };
        match status {
            FLUID_OK => Ok(take_json(json)),
            status => Err((status, last_error())),
        }
    }

    /// `fluid_tokenize`: the result, or the status and its message.
    pub fn try_tokenize(&self, request: &Value) -> Result<Value, (fluid_status, String)> {
        let (request, mut json) = (c_string(request), null_mut());
        // SAFETY: a C string and a place for the string.
        match unsafe { fluid_tokenize(self.raw(), request.as_ptr(), &mut json) } {
            FLUID_OK => Ok(take_json(json)),
            status => Err((status, last_error())),
        }
    }

    /// `fluid_detokenize`: the result, or the status and its message.
    pub fn try_detokenize(&self, request: &Value) -> Result<Value, (fluid_status, String)> {
        let (request, mut json) = (c_string(request), null_mut());
        // SAFETY: a C string and a place for the string.
        match unsafe { fluid_detokenize(self.raw(), request.as_ptr(), &mut json) } {
            FLUID_OK => Ok(take_json(json)),
            status => Err((status, last_error())),
        }
    }
}

impl Job {
    /// The vectors of an embedding that has ended.
    pub fn floats(&self) -> Vec<Vec<f32>> {
        let (mut data, mut count, mut width) = (null(), 0, 0);
        // SAFETY: places for the outputs.
        ok(unsafe { fluid_job_floats(self.raw(), &mut data, &mut count, &mut width) });
        // SAFETY: the library says that so many floats are there until the job is freed.
        unsafe { copied(data, count, width) }
    }
}

/// # Safety
/// `data` points to `count` times `width` floats, or is null where that is 0.
unsafe fn copied(data: *const f32, count: usize, width: usize) -> Vec<Vec<f32>> {
    if count == 0 {
        assert!(data.is_null());
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    let values = unsafe { std::slice::from_raw_parts(data, count * width) };
    values.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

/// The cosine of the angle between two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn c_string(request: &Value) -> CString {
    CString::new(request.to_string()).expect("no NUL")
}
