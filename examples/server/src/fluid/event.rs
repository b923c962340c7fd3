//! Events of jobs as plain data.

use std::ffi::c_char;

use fluid::ffi::*;

use super::{Failure, Model, Result};

/// What an event tells; the library's kinds that the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Progress,
    Token,
    Segment,
    Language,
    Notice,
    Reasoning,
    ToolCall,
    Other,
}

/// One thing that happened in a job; the fields are those of `fluid_event`.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) choice: i32,
    pub(crate) text: String,
    /// JSON, or empty.
    pub(crate) json: String,
    /// Of progress, from 0 to 1.
    pub(crate) progress: f64,
}

/// How a job ended.
pub(crate) struct End {
    pub(crate) status: fluid_status,
    /// Of a job that failed, why.
    pub(crate) message: String,
    /// The result: JSON, or plain text where a request asked for that.
    pub(crate) result: String,
    /// Of an embedding, the vectors one after the other.
    pub(crate) floats: Vec<f32>,
    /// Of an embedding, the length of a vector.
    pub(crate) dimensions: usize,
    /// Of a load that worked.
    pub(crate) model: Option<Model>,
}

impl End {
    /// Itself, unless the job failed: cancelled jobs and those that ran out of time have a result too.
    pub(crate) fn worked(self) -> Result<Self> {
        match self.status {
            FLUID_OK | FLUID_CANCELLED | FLUID_DEADLINE => Ok(self),
            status => Err(Failure { status, message: self.message }),
        }
    }

    /// Itself, where all of the result is there.
    pub(crate) fn whole(self) -> Result<Self> {
        let message = match self.status {
            FLUID_OK => return Ok(self),
            FLUID_DEADLINE => "deadline_ms: it passed before the result was whole".to_owned(),
            FLUID_CANCELLED => "cancelled: the model is unloaded, or the server ends".to_owned(),
            _ => self.message,
        };
        Err(Failure { status: self.status, message })
    }
}

/// What a job says next.
pub(super) enum Said {
    Event(Event),
    End(Box<End>),
}

/// # Safety
/// `event` is one that the library has handed out and still lends.
pub(super) unsafe fn copy(event: *const fluid_event) -> Said {
    // SAFETY: the caller's promise.
    let event = unsafe { &*event };
    // SAFETY: the library's own texts.
    let text = unsafe { owned(event.text, event.text_len) };
    // SAFETY: as above.
    let json = unsafe { owned(event.json, event.json_len) };
    if event.kind == FLUID_EVENT_END {
        return Said::End(Box::new(End {
            status: event.status,
            message: text,
            result: json,
            floats: Vec::new(),
            dimensions: 0,
            model: None,
        }));
    }
    Said::Event(Event {
        kind: kind(event.kind),
        choice: event.choice,
        text,
        json,
        progress: event.progress,
    })
}

fn kind(kind: fluid_event_kind) -> Kind {
    match kind {
        FLUID_EVENT_PROGRESS => Kind::Progress,
        FLUID_EVENT_TOKEN => Kind::Token,
        FLUID_EVENT_SEGMENT => Kind::Segment,
        FLUID_EVENT_LANGUAGE => Kind::Language,
        FLUID_EVENT_NOTICE => Kind::Notice,
        FLUID_EVENT_REASONING => Kind::Reasoning,
        FLUID_EVENT_TOOL_CALL => Kind::ToolCall,
        _ => Kind::Other,
    }
}

/// # Safety
/// `length` bytes of UTF-8 can be read at `start`.
unsafe fn owned(start: *const c_char, length: usize) -> String {
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) };
    String::from_utf8_lossy(bytes).into_owned()
}
