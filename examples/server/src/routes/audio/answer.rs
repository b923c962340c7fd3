//! What a transcription looks like.
#![forbid(unsafe_code)]

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{json, Map, Value};

use crate::error::ApiResult;
use crate::routes::body::{given, unexpected};

/// `response_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    VerboseJson,
    Text,
    Srt,
    Vtt,
    /// One that the library refuses.
    Other,
}

impl Format {
    pub(super) fn of(fields: &Map<String, Value>) -> ApiResult<Self> {
        let Some(given) = given(fields, "response_format") else { return Ok(Self::Json) };
        match given.as_str() {
            Some("json") => Ok(Self::Json),
            Some("verbose_json") => Ok(Self::VerboseJson),
            Some("text") => Ok(Self::Text),
            Some("srt") => Ok(Self::Srt),
            Some("vtt") => Ok(Self::Vtt),
            Some(_) => Ok(Self::Other),
            None => Err(unexpected("response_format", "a string", given)),
        }
    }

    pub(super) fn streams(self) -> bool {
        !matches!(self, Self::Srt | Self::Vtt)
    }

    /// What the library is asked for in its place: "json" has more here than OpenAI's, and events tell all.
    pub(super) fn asked(self, streamed: bool) -> Option<&'static str> {
        let is_more = self == Self::Json || (streamed && self != Self::Other);
        is_more.then_some("verbose_json")
    }

    /// The answer that has the library's result in it.
    pub(super) fn response(self, result: String) -> Response {
        let (content_type, body) = match self {
            Self::Json => ("application/json", brief(&result).to_string()),
            Self::VerboseJson => ("application/json", result),
            Self::Srt => ("application/x-subrip; charset=utf-8", result),
            Self::Vtt => ("text/vtt; charset=utf-8", result),
            Self::Text | Self::Other => ("text/plain; charset=utf-8", result),
        };
        ([(header::CONTENT_TYPE, content_type)], body).into_response()
    }
}

/// OpenAI's `text` and `usage`, and Fluid Server's `language` (its code), `duration` and `segments`.
fn brief(result: &str) -> Value {
    let whole: Value = serde_json::from_str(result).unwrap_or_default();
    let segments = whole["segments"].as_array().map_or(&[][..], Vec::as_slice);
    let segment = |segment: &Value| {
        let text = segment["text"].as_str().unwrap_or_default().trim();
        json!({"text": text, "start": segment["start"], "end": segment["end"]})
    };
    json!({
        "text": whole["text"],
        "usage": whole["usage"],
        "language": whole["language_code"],
        "duration": whole["duration"],
        "segments": segments.iter().map(segment).collect::<Vec<_>>(),
    })
}
