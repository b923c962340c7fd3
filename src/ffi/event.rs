//! Events as C sees them.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use serde_json::json;

use super::status::{self, fluid_status, FLUID_OK};
use crate::engine::event::{Body, Event, Part};
use crate::engine::job::Job;

/// What an event tells. Skip kinds you do not know.
pub type fluid_event_kind = i32;

/// `progress` tells how far a load, a long prompt, a request of many texts, a save or a restore is,
/// from 0 to 1; or a transcription: reading the audio counts as a twentieth, the rest goes by the
/// share of it that is done. Of a download, `json` is `{"phase":"download","file":"model.gguf",
/// "bytes":1048576,"total_bytes":98765432,"bytes_per_second":5242880}`, with a file among those that come now.
pub const FLUID_EVENT_PROGRESS: fluid_event_kind = 1;
/// A token was drawn: `choice`, `token` and `text`. The text may be empty while a character or a stop
/// string is undecided; `token` is -1 for text that was held back until the end. Where they were
/// asked for, `logprob` and `json` hold its log-probabilities, the latter as `logprobs` in OpenAI's
/// streams; with `echo` the first event's text begins with the prompt.
pub const FLUID_EVENT_TOKEN: fluid_event_kind = 2;
/// A segment of speech was decided: `text`, `start`, `end`; `logprob` is the average
/// log-probability of its tokens, and `json` the segment as in OpenAI's "verbose_json", with its
/// words where they were asked for.
pub const FLUID_EVENT_SEGMENT: fluid_event_kind = 3;
/// The language spoken was detected: `text` is its code, such as "en", and `json` is
/// `{"language":"en","probability":0.98}`.
pub const FLUID_EVENT_LANGUAGE: fluid_event_kind = 4;
/// Something is not as asked, such as the device that is used; `text` says what and why, in one
/// line. The job goes on.
pub const FLUID_EVENT_NOTICE: fluid_event_kind = 5;
/// Like `FLUID_EVENT_TOKEN`, but `text` is the model's reasoning, which stands before its answer.
pub const FLUID_EVENT_REASONING: fluid_event_kind = 6;
/// A call of a tool begins or goes on: `json` is OpenAI's delta, at first
/// `{"index":0,"id":"call_...","type":"function","function":{"name":"...","arguments":""}}`, then
/// `{"index":0,"function":{"arguments":"..."}}` with the next piece. `text` is empty. `token` is the
/// token's id; of a token that decides several things only the first event has it, others have -1.
pub const FLUID_EVENT_TOOL_CALL: fluid_event_kind = 7;
/// Something happened to a model of the engine: see `fluid_engine_events`. `text` tells it in one line,
/// `json` for programs.
pub const FLUID_EVENT_MODEL: fluid_event_kind = 8;
/// The job's one end: `status` tells how, and `json` holds what `fluid_job_json` gives, which is
/// plain text where the format asked for is one.
pub const FLUID_EVENT_END: fluid_event_kind = 100;

/// One thing that happened in a job. Read no field beyond `struct_size`: the struct grows at
/// its end. The event and all it points to belong to the library.
#[repr(C)]
#[derive(Debug)]
pub struct fluid_event {
    /// Bytes of the struct as the library knows it.
    pub struct_size: u32,
    /// What happened: one of `FLUID_EVENT_...`.
    pub kind: fluid_event_kind,
    /// How the job ended, in a final event; else `FLUID_OK`.
    pub status: fluid_status,
    /// Index of the choice, where a request asks for several; else 0.
    pub choice: i32,
    /// Id of the token, or -1.
    pub token: i32,
    /// Log-probability of the token, or NaN where it was not asked for; of a segment, the average
    /// of its tokens.
    pub logprob: f32,
    /// Whole, valid UTF-8 with a NUL after it; never `NULL`. In a final event of a failed job,
    /// the error's message.
    pub text: *const c_char,
    /// Bytes of `text`, the NUL not counted; a text may hold a NUL itself.
    pub text_len: usize,
    /// JSON with a NUL after it, in a final event, of a download's progress, of a call of a tool, of a
    /// segment, a language and a model, and of other tokens with log-probabilities, which for those of
    /// calls are in the result only; empty in others, never `NULL`.
    pub json: *const c_char,
    /// Bytes of `json`, the NUL not counted.
    pub json_len: usize,
    /// Where a segment of speech starts, in seconds; 0 for text.
    pub start: f64,
    /// Where a segment of speech ends, in seconds; 0 for text.
    pub end: f64,
    /// How far the job is, from 0 to 1, in a progress event; 1 in a final event with `FLUID_OK`;
    /// else 0.
    pub progress: f64,
    /// Seconds from the start of the job to what the event tells.
    pub elapsed: f64,
    /// Seconds from what the event tells to now: how far its reader is behind.
    pub age: f64,
}

/// Called with each event of a job, on the thread that made the blocking call, and never after
/// that call has returned. The event is borrowed until the callback returns. Return 0 to go on,
/// anything else to cancel the job; then it is not called again.
pub type fluid_event_fn =
    Option<unsafe extern "C" fn(event: *const fluid_event, user_data: *mut c_void) -> i32>;

/// An event with the memory it points to, at one address for as long as it lives.
pub(super) struct EventBox {
    raw: Box<fluid_event>,
    text: Vec<u8>,
    json: Vec<u8>,
}

// SAFETY: the raw pointers point into `text` and `json`, which move along with the box, as
// memory on the heap, and are only changed through `&mut self`.
unsafe impl Send for EventBox {}

impl EventBox {
    pub(super) fn new() -> Self {
        let nothing = c"".as_ptr();
        Self {
            raw: Box::new(fluid_event {
                struct_size: size_of::<fluid_event>() as u32,
                kind: 0,
                status: FLUID_OK,
                choice: 0,
                token: -1,
                logprob: f32::NAN,
                text: nothing,
                text_len: 0,
                json: nothing,
                json_len: 0,
                start: 0.0,
                end: 0.0,
                progress: 0.0,
                elapsed: 0.0,
                age: 0.0,
            }),
            text: Vec::new(),
            json: Vec::new(),
        }
    }

    pub(super) fn as_ptr(&self) -> *const fluid_event {
        &*self.raw
    }

    /// Makes this `event`; what the box held before is gone.
    pub(super) fn fill(&mut self, job: &Arc<Job>, event: Event) {
        self.text.clear();
        self.json.clear();
        let raw = &mut *self.raw;
        (raw.status, raw.choice, raw.token, raw.progress) = (FLUID_OK, 0, -1, 0.0);
        (raw.logprob, raw.start, raw.end) = (f32::NAN, 0.0, 0.0);
        match event.body {
            Body::Progress(progress) => {
                raw.kind = FLUID_EVENT_PROGRESS;
                raw.progress = f64::from(progress);
            }
            Body::Download { progress, json } => {
                raw.kind = FLUID_EVENT_PROGRESS;
                raw.progress = f64::from(progress);
                self.json = json.into_bytes();
            }
            Body::Token(token) => {
                raw.kind = match token.part {
                    Part::Content => FLUID_EVENT_TOKEN,
                    Part::Reasoning => FLUID_EVENT_REASONING,
                    Part::ToolCall => FLUID_EVENT_TOOL_CALL,
                };
                raw.choice = token.choice as i32;
                raw.token = token.id.map_or(-1, |id| id as i32);
                raw.logprob = token.logprob;
                self.text = token.text.into_bytes();
                self.json = token.json.into_bytes();
            }
            Body::Segment(segment) => {
                raw.kind = FLUID_EVENT_SEGMENT;
                (raw.start, raw.end) = (segment.start, segment.end);
                raw.logprob = segment.avg_logprob;
                self.text = segment.text.into_bytes();
                self.json = segment.json.into_bytes();
            }
            Body::Language { code, probability } => {
                raw.kind = FLUID_EVENT_LANGUAGE;
                // Four digits: a float written in full would show more than there is.
                let probability = (f64::from(probability) * 1e4).round() / 1e4;
                let json = json!({"language": code, "probability": probability});
                self.json = json.to_string().into_bytes();
                self.text = code.into_bytes();
            }
            Body::Notice(text) => {
                raw.kind = FLUID_EVENT_NOTICE;
                self.text = text.into_bytes();
            }
            Body::Model { text, json } => {
                raw.kind = FLUID_EVENT_MODEL;
                (self.text, self.json) = (text.into_bytes(), json.into_bytes());
            }
            Body::End(ending) => {
                raw.kind = FLUID_EVENT_END;
                raw.status = status::of_ending(&ending);
                raw.progress = f64::from(u8::from(raw.status == FLUID_OK));
                if let crate::engine::event::Ending::Failed(error) = &ending {
                    self.text.extend_from_slice(error.message().as_bytes());
                }
                self.json = job.json().unwrap_or_default().into_bytes();
            }
        }
        (raw.text, raw.text_len) = terminated(&mut self.text);
        (raw.json, raw.json_len) = terminated(&mut self.json);
        raw.elapsed = event.at.saturating_duration_since(job.started()).as_secs_f64();
        raw.age = event.at.elapsed().as_secs_f64();
    }
}

/// Adds a NUL; returns where the text starts, and its length without.
fn terminated(bytes: &mut Vec<u8>) -> (*const c_char, usize) {
    let length = bytes.len();
    bytes.push(0);
    (bytes.as_ptr().cast(), length)
}
