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

/// A stretch of speech that was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentEvent {
    /// Whole, valid UTF-8.
    pub text: String,
    /// Where it starts, in seconds from the start of the audio.
    pub start: f64,
    /// Where it ends, likewise.
    pub end: f64,
    /// Average log-probability of its tokens.
    pub avg_logprob: f32,
    /// The segment as OpenAI's `verbose_json` has it.
    pub json: String,
}

/// What a step of an answer belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// What the answer is.
    #[default]
    Content,
    /// The reasoning before it.
    Reasoning,
    /// A call of a tool; the event's `json` is OpenAI's delta of it.
    ToolCall,
}

/// A step of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEvent {
    /// Which of the answers it belongs to, from 0.
    pub choice: u32,
    /// What the text belongs to.
    pub part: Part,
    /// The token's id; `None` with what else a token decided, and with text that was held back
    /// until the answer ended.
    pub id: Option<u32>,
    /// Whole, valid UTF-8; empty while a character or a stop string is undecided.
    pub text: String,
    /// The token's log-probability, NaN where it was not asked for.
    pub logprob: f32,
    /// What else is to be told of it, as JSON; often empty.
    pub json: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A load or a long prompt is this far, or this share of the audio is done, 0 to 1.
    Progress(f32),
    /// A download is this far.
    Download {
        /// The share of its bytes that is here, 0 to 1.
        progress: f32,
        /// File, bytes and rate, as JSON.
        json: String,
    },
    /// A token was drawn, or text that was held back comes at the end.
    Token(TokenEvent),
    /// A segment of speech was decided; it changes no more.
    Segment(Box<SegmentEvent>),
    /// The language spoken was detected.
    Language {
        /// Whisper's code for it, such as "en".
        code: String,
        /// Its probability among all languages, 0 to 1.
        probability: f32,
    },
    /// Something is not as asked, such as the device; one line.
    Notice(String),
    /// Something happened to a model that nobody asked for just then.
    Model {
        /// One line.
        text: String,
        /// The same as JSON.
        json: String,
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
