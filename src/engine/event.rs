//! What a job tells its reader, as plain data.
#![forbid(unsafe_code)]

use std::time::Instant;

use crate::error::Error;

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It did what was asked.
    Done,
    /// Somebody cancelled it, or freed what it ran on.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// It failed.
    Failed(Error),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A load or a long prompt is this far, 0 to 1.
    Progress(f32),
    /// A token was drawn; its text may be empty while a character or a stop string is undecided.
    /// `None` with the text that was held back when the answer ended.
    Token {
        /// The token's id.
        id: Option<u32>,
        /// Whole, valid UTF-8.
        text: String,
    },
    /// The job's one end.
    End(Ending),
}

/// One thing that happened in a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub body: Body,
    /// When it happened: for a token, when the model had computed its logits.
    pub at: Instant,
}

impl Event {
    /// `body`, now.
    pub fn now(body: Body) -> Self {
        Self { body, at: Instant::now() }
    }
}
