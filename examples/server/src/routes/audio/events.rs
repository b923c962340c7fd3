//! OpenAI's events of a transcription: a `transcript.text.delta` for each segment, `transcript.text.done` at the
//! end. With "verbose_json" each segment also comes as `transcript.text.segment`, with its times.
#![forbid(unsafe_code)]

use serde_json::{json, Value};

use super::answer::Format;
use crate::error::ApiError;
use crate::fluid::{Event, Kind};
use crate::routes::stream::{Out, Writer};
use crate::sse;

pub(super) struct Events {
    segments: bool,
    progress: bool,
    has_begun: bool,
}

impl Events {
    /// With `progress`, events of type `transcript.progress`, which are ours, tell how far it is.
    pub(super) fn new(format: Format, progress: bool) -> Self {
        let segments = format == Format::VerboseJson;
        Self { segments, progress, has_begun: false }
    }

    fn delta(&mut self, text: &str) -> Value {
        // Together the pieces are the whole text, which has no space at its start.
        let text = if self.has_begun { text } else { text.trim_start() };
        self.has_begun |= !text.is_empty();
        json!({"type": "transcript.text.delta", "delta": text})
    }
}

/// The segment as in "verbose_json", as an event.
fn segment(event: &Event) -> Value {
    let mut segment: Value = serde_json::from_str(&event.json).unwrap_or_default();
    segment["type"] = json!("transcript.text.segment");
    segment["id"] = json!(format!("seg_{}", segment["id"]));
    // OpenAI's clients count on one; speakers are not told apart here.
    segment["speaker"] = json!("");
    segment
}

impl Writer for Events {
    fn event(&mut self, _job: usize, event: Event, out: &mut Out) {
        let mut tell = |data: Value| out.push_back(sse::data(data.to_string()));
        match event.kind {
            Kind::Segment => {
                tell(self.delta(&event.text));
                if self.segments {
                    tell(segment(&event));
                }
            }
            Kind::Progress if self.progress => {
                tell(json!({"type": "transcript.progress", "progress": event.progress}));
            }
            _ => {}
        }
    }

    fn end(&mut self, _job: usize, whole: &Value, out: &mut Out) {
        let languages: Vec<Value> =
            whole["language_code"].as_str().map(|code| json!({"code": code})).into_iter().collect();
        let done = json!({
            "type": "transcript.text.done",
            "text": whole["text"],
            "languages": languages,
            "language": whole["language_code"],
            "duration": whole["duration"],
        });
        out.push_back(sse::data(done.to_string()));
    }

    fn fail(&mut self, error: ApiError, out: &mut Out) {
        out.push_back(sse::data(error.body().to_string()));
    }

    fn finish(&mut self, out: &mut Out) {
        out.push_back(sse::data("[DONE]".to_owned()));
    }
}
