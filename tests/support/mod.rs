//! The C interface as the tests call it: handles that free themselves, events as owned data.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this")]

pub mod embed;
#[cfg(feature = "llama")]
pub mod greedy;
pub mod installation;
#[cfg(feature = "llama")]
pub mod llama;
pub mod process;
pub mod speech;
pub mod state;
pub mod usual;
pub mod vocabulary;

use std::ffi::{c_char, c_void, CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fluid::ffi::*;
use serde_json::Value;

/// Far beyond what any job of these tests takes: one without an end fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is tried: `few` times, or `full` with `FLUID_SOAK=full` (`make soak`).
pub fn tries<T>(few: T, full: T) -> T {
    let is_full = std::env::var("FLUID_SOAK").is_ok_and(|length| length == "full");
    if is_full {
        full
    } else {
        few
    }
}

/// Beginnings that models go on from in different ways.
pub const PROMPTS: [&str; 8] = [
    "The sea is",
    "In the beginning there was",
    "A recipe for bread: take",
    "The three largest cities of Italy are",
    "fn main() {",
    "Q: Why is the sky blue?\nA:",
    "My dear friend,",
    "Die Hauptstadt von Deutschland",
];

/// A file or folder of `models/`, or a failure that says how to get it.
pub fn model_path(name: &str) -> String {
    let given = std::env::var_os("FLUID_MODELS").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"));
    let path = folder.join(name);
    assert!(path.exists(), "{} is not there: run `make models`", path.display());
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// SmolLM2's file.
pub fn smollm2_path() -> String {
    model_path("SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// One model for all tests of a binary: four slots of 2,048 tokens, and one thread, which on a
/// busy machine is faster than several that wait for each other.
pub fn smollm2() -> &'static Model {
    static SHARED: OnceLock<(Engine, Model)> = OnceLock::new();
    let make = || {
        let engine = Engine::new("");
        let model =
            engine.load(&smollm2_path(), r#"{"n_parallel": 4, "n_ctx": 2048, "n_threads": 1}"#);
        (engine, model)
    };
    &SHARED.get_or_init(make).1
}

/// The tests that compute run one after the other: threads and times are theirs alone.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has not spoilt anything for the next one.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the last call on this thread failed of.
pub fn last_error() -> String {
    // SAFETY: never null, and valid until this thread's next call.
    let text = unsafe { CStr::from_ptr(fluid_last_error()) };
    text.to_str().expect("UTF-8").to_owned()
}

/// The name of a status; "unknown status" for a number that the header does not have.
pub fn status_name(status: fluid_status) -> &'static str {
    // SAFETY: a static string.
    let name = unsafe { CStr::from_ptr(fluid_status_name(status)) };
    name.to_str().expect("ASCII")
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

/// An empty text becomes `NULL`.
fn pointer_or_null(text: &CStr) -> *const c_char {
    match text.is_empty() {
        true => null(),
        false => text.as_ptr(),
    }
}

/// Checks that a call worked.
fn ok(status: fluid_status) {
    assert_eq!(status, FLUID_OK, "{}: {}", status_name(status), last_error());
}

/// A string the library gave away, as a value; freed.
pub fn take_json(text: *mut c_char) -> Value {
    assert!(!text.is_null(), "no JSON came with a success");
    // SAFETY: the library's own string, not freed yet.
    let json = unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8").to_owned();
    // SAFETY: as above; it is not used after.
    unsafe { fluid_string_free(text) };
    serde_json::from_str(&json).expect("JSON")
}

/// An event, and when it arrived here.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: fluid_event_kind,
    pub status: fluid_status,
    pub choice: i32,
    pub token: Option<u32>,
    pub logprob: f32,
    pub text: String,
    pub json: String,
    /// Of a segment, in seconds.
    pub start: f64,
    pub end: f64,
    pub progress: f64,
    pub elapsed: f64,
    pub arrived: Instant,
}

impl Event {
    pub fn is_end(&self) -> bool {
        self.kind == FLUID_EVENT_END
    }

    /// # Safety
    /// `event` is one that the library just handed out.
    unsafe fn copy(event: *const fluid_event) -> Self {
        let arrived = Instant::now();
        // SAFETY: the caller's promise.
        let event = unsafe { &*event };
        assert_eq!(event.struct_size as usize, size_of::<fluid_event>());
        let text = |start: *const c_char, length: usize| {
            assert!(!start.is_null());
            // SAFETY: the library says that `length` bytes and a NUL are there.
            let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length + 1) };
            assert_eq!(bytes[length], 0, "no NUL behind a text");
            std::str::from_utf8(&bytes[..length]).expect("an event in UTF-8").to_owned()
        };
        Self {
            kind: event.kind,
            status: event.status,
            choice: event.choice,
            token: u32::try_from(event.token).ok(),
            logprob: event.logprob,
            text: text(event.text, event.text_len),
            json: text(event.json, event.json_len),
            start: event.start,
            end: event.end,
            progress: event.progress,
            elapsed: event.elapsed,
            arrived,
        }
    }
}

/// The text that events carry, joined, without reasoning. The final event's is an error's message
/// and not part of it.
pub fn text_of(events: &[Event]) -> String {
    let is_text = |event: &&Event| !event.is_end() && event.kind != FLUID_EVENT_REASONING;
    events.iter().filter(is_text).map(|event| event.text.as_str()).collect()
}

/// The ids of the tokens that were drawn.
pub fn tokens_of(events: &[Event]) -> Vec<u32> {
    events.iter().filter_map(|event| event.token).collect()
}

/// A `fluid_engine`.
pub struct Engine(*mut fluid_engine);

// SAFETY: every function may be called on any thread, any number at once.
unsafe impl Send for Engine {}
// SAFETY: as above.
unsafe impl Sync for Engine {}

impl Engine {
    pub fn new(options: &str) -> Self {
        let mut engine = null_mut();
        let options = c_string(options);
        // SAFETY: a C string and a place for the handle.
        ok(unsafe { fluid_engine_new(pointer_or_null(&options), &mut engine) });
        Self(engine)
    }

    /// The handle, for calls that this wrapper has no word for.
    pub fn raw(&self) -> *mut fluid_engine {
        self.0
    }

    /// Gives the handle away: whoever has it frees it.
    pub fn into_raw(self) -> *mut fluid_engine {
        std::mem::ManuallyDrop::new(self).0
    }

    pub fn load(&self, path: &str, options: &str) -> Model {
        let (loaded, _) = self.try_load(path, options);
        loaded.unwrap_or_else(|(status, error)| panic!("{}: {error}", status_name(status)))
    }

    /// A load's model, or its status and message; and its events.
    pub fn try_load(
        &self,
        path: &str,
        options: &str,
    ) -> (Result<Model, (fluid_status, String)>, Vec<Event>) {
        let mut model = null_mut();
        let (path, options) = (c_string(path), c_string(options));
        let mut events: Vec<Event> = Vec::new();
        let user_data = (&raw mut events).cast();
        // SAFETY: C strings, a callback that fits its user data, and a place for the handle.
        let status = unsafe {
            fluid_load_model(
                self.0,
                path.as_ptr(),
                pointer_or_null(&options),
                Some(on_event),
                user_data,
                &mut model,
            )
        };
        let loaded = match status {
            FLUID_OK => Ok(Model(model)),
            status => Err((status, last_error())),
        };
        (loaded, events)
    }
}

impl Engine {
    /// `fluid_engine_info`.
    pub fn info(&self) -> Value {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        ok(unsafe { fluid_engine_info(self.0, &mut json) });
        take_json(json)
    }

    /// `fluid_engine_trim`.
    pub fn trim(&self) -> Value {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        ok(unsafe { fluid_engine_trim(self.0, &mut json) });
        take_json(json)
    }

    /// `fluid_engine_events`.
    pub fn events(&self) -> Job {
        let mut job = null_mut();
        // SAFETY: a place for the handle.
        ok(unsafe { fluid_engine_events(self.0, &mut job) });
        Job::from_raw(job)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let status = fluid_engine_free(self.0);
        assert!(status == FLUID_OK || std::thread::panicking());
    }
}

/// A `fluid_model`.
pub struct Model(*mut fluid_model);

// SAFETY: every function may be called on any thread, any number at once.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        let status = fluid_model_free(self.0);
        // Invalid when its engine was freed before.
        assert!(
            [FLUID_OK, FLUID_ERROR_INVALID_HANDLE].contains(&status) || std::thread::panicking()
        );
    }
}

/// What a generation came to.
#[derive(Debug)]
pub struct Answer {
    pub status: fluid_status,
    /// OpenAI's object; null where the call failed.
    pub json: Value,
    pub events: Vec<Event>,
    /// The message of a call that failed.
    pub error: String,
}

impl Answer {
    /// The text, which the stream and the result must agree on.
    pub fn text(&self) -> String {
        let choice = &self.json["choices"][0];
        let content = choice["text"].as_str().or_else(|| choice["message"]["content"].as_str());
        let streamed = text_of(&self.events);
        assert_eq!(content, Some(streamed.as_str()), "stream and result differ");
        streamed
    }

    pub fn tokens(&self) -> Vec<u32> {
        tokens_of(&self.events)
    }

    pub fn finish_reason(&self) -> &str {
        self.json["choices"][0]["finish_reason"].as_str().unwrap_or_default()
    }
}

unsafe extern "C" fn on_event(event: *const fluid_event, user_data: *mut c_void) -> i32 {
    // SAFETY: `generate` passes a vector that nothing else touches until the call returns.
    let events = unsafe { &mut *user_data.cast::<Vec<Event>>() };
    // SAFETY: the library's own event.
    events.push(unsafe { Event::copy(event) });
    0
}

impl Model {
    pub fn raw(&self) -> *mut fluid_model {
        self.0
    }

    /// Whether its native state is in memory: "loading", "loaded" or "unloaded".
    pub fn state(&self) -> String {
        self.info()["residence"]["state"].as_str().expect("a state").to_owned()
    }

    pub fn info(&self) -> Value {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        ok(unsafe { fluid_model_info(self.0, &mut json) });
        take_json(json)
    }

    /// `fluid_generate` with a callback; checks that the final event is the last one and agrees.
    pub fn generate(&self, request: &Value) -> Answer {
        let request = c_string(&request.to_string());
        let mut events: Vec<Event> = Vec::new();
        let user_data = (&raw mut events).cast();
        let mut json = null_mut();
        // SAFETY: a C string, a callback that fits its user data, and a place for the string.
        let status = unsafe {
            fluid_generate(self.0, request.as_ptr(), Some(on_event), user_data, &mut json)
        };
        let error = last_error();
        let json = match status >= FLUID_OK {
            true => take_json(json),
            false => Value::Null,
        };
        if let Some((last, before)) = events.split_last() {
            assert!(last.is_end() && last.status == status);
            assert!(!before.iter().any(Event::is_end));
        }
        Answer { status, json, events, error }
    }

    /// [`generate`](Self::generate) for a request that must succeed.
    pub fn answer(&self, request: &Value) -> Answer {
        let answer = self.generate(request);
        assert_eq!(answer.status, FLUID_OK, "{}: {}", status_name(answer.status), answer.error);
        answer
    }

    pub fn start(&self, request: &Value) -> Job {
        let request = c_string(&request.to_string());
        self.try_start(&request)
            .unwrap_or_else(|status| panic!("{}: {}", status_name(status), last_error()))
    }

    pub fn try_start(&self, request: &CStr) -> Result<Job, fluid_status> {
        let mut job = null_mut();
        // SAFETY: a C string and a place for the handle.
        match unsafe { fluid_generate_start(self.0, request.as_ptr(), &mut job) } {
            FLUID_OK => Ok(Job(job)),
            status => Err(status),
        }
    }
}

/// A `fluid_job`.
pub struct Job(*mut fluid_job);

// SAFETY: every function may be called on any thread; two readers get a status.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl Job {
    /// A job from its handle, which it owns from now on.
    pub fn from_raw(job: *mut fluid_job) -> Self {
        Self(job)
    }

    pub fn raw(&self) -> *mut fluid_job {
        self.0
    }

    /// The next event within `timeout`; the status of the call where there is none.
    pub fn poll(&self, timeout: Duration) -> Result<Event, fluid_status> {
        let mut event = null();
        // SAFETY: a place for the pointer.
        match unsafe { fluid_job_next(self.0, timeout.as_millis() as i32, &mut event) } {
            // SAFETY: the library's own event, valid until the next call for this job.
            FLUID_OK => Ok(unsafe { Event::copy(event) }),
            status => Err(status),
        }
    }

    pub fn next(&self) -> Event {
        self.poll(PATIENCE).unwrap_or_else(|status| panic!("no event: {}", status_name(status)))
    }

    /// The next event that is a token's; panics at the end.
    pub fn next_token(&self) -> Event {
        loop {
            let event = self.next();
            assert!(
                !event.is_end(),
                "the job ended as {}: {}",
                status_name(event.status),
                event.text
            );
            if event.kind == FLUID_EVENT_TOKEN {
                return event;
            }
        }
    }

    /// All events up to the final one, which is the only one of its kind.
    pub fn read(&self) -> Vec<Event> {
        let mut events = vec![self.next()];
        while !events.last().is_some_and(Event::is_end) {
            events.push(self.next());
        }
        assert_eq!(
            self.poll(Duration::ZERO).err(),
            Some(FLUID_END),
            "something came after the end"
        );
        events
    }

    pub fn cancel(&self) {
        ok(fluid_job_cancel(self.0));
    }

    /// The result of a job that has ended.
    pub fn json(&self) -> Value {
        let mut json = null();
        // SAFETY: a place for the pointer.
        ok(unsafe { fluid_job_json(self.0, &mut json) });
        // SAFETY: valid until the job is freed.
        let json = unsafe { CStr::from_ptr(json) };
        serde_json::from_slice(json.to_bytes()).expect("JSON")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let status = fluid_job_free(self.0);
        assert!(status == FLUID_OK || std::thread::panicking());
    }
}
