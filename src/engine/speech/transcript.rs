//! A transcription's result, whole or as far as it came.
#![forbid(unsafe_code)]

use super::spoken_task;
use crate::request::{ResponseFormat, TranscribeRequest};
use crate::speech::format::{self, Format};
use crate::speech::prompt::Task;
use crate::speech::{Language, Segment};

/// A result in the format that was asked for.
#[derive(Debug, Clone)]
pub struct Transcript {
    format: Format,
    task: Task,
    words: bool,
    with_segments: bool,
    duration: f64,
    language: Option<Language>,
    language_probability: Option<f32>,
    pub(super) segments: Vec<Segment>,
}

impl Transcript {
    /// An empty result of `request`.
    pub(super) fn new(request: &TranscribeRequest) -> Self {
        let format = match request.format {
            ResponseFormat::Json => Format::Json,
            ResponseFormat::VerboseJson => Format::VerboseJson,
            ResponseFormat::Text => Format::Text,
            ResponseFormat::Srt => Format::Srt,
            ResponseFormat::Vtt => Format::Vtt,
        };
        Self {
            format,
            task: spoken_task(request.task),
            words: request.words,
            with_segments: true,
            duration: 0.0,
            language: None,
            language_probability: None,
            segments: Vec::new(),
        }
    }

    /// The language spoken, and how sure the model was if it was asked.
    pub(super) fn set_language(&mut self, language: Option<&Language>, probability: Option<f32>) {
        self.language = language.cloned();
        self.language_probability = probability;
    }

    /// Seconds of audio.
    pub(super) fn set_duration(&mut self, duration: f64) {
        self.duration = duration;
    }

    /// The body that OpenAI's endpoint returns.
    pub(in crate::engine) fn body(&self) -> String {
        let transcript = format::Transcript {
            segments: &self.segments,
            duration: self.duration,
            task: self.task,
            language: self.language.as_ref(),
            language_probability: self.language_probability,
            words: self.words,
            with_segments: self.with_segments,
        };
        // A C string ends at a NUL, which byte tokens can spell.
        transcript.body(self.format).replace('\0', "")
    }
}
