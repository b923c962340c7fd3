//! Transcripts.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::errors::Errors;

#[derive(Serialize, ToSchema)]
struct SpeechRequest {
    /// WAV, MP3, FLAC, Ogg Vorbis, M4A or AAC
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// A speech model of `/v1/models`; "whisper-1" or nothing for the server's own
    model: Option<String>,
    /// The language spoken, such as "en"; detected where it is not given
    language: Option<String>,
    /// The text before, or one in the style wanted
    prompt: Option<String>,
    /// "json", "text", "srt", "verbose_json" or "vtt"
    response_format: Option<String>,
    #[schema(minimum = 0.0, maximum = 1.0)]
    temperature: Option<f64>,
    /// "segment", "word"; for "verbose_json"
    #[serde(rename = "timestamp_granularities[]")]
    timestamp_granularities: Option<Vec<String>>,
    /// Answer in events (SSE), a segment in each
    stream: Option<bool>,
}

/// "json" has text, usage, language (its code), duration and segments of text, start and end; "verbose_json" all.
#[derive(Serialize, ToSchema)]
struct Transcript {
    text: String,
    /// "transcribe" or "translate"
    task: Option<String>,
    language: Option<String>,
    /// Seconds
    duration: Option<f64>,
    segments: Option<Vec<Segment>>,
    words: Option<Vec<Value>>,
    usage: Option<Value>,
}

#[derive(Serialize, ToSchema)]
struct Segment {
    id: u32,
    /// Seconds
    start: f64,
    /// Seconds
    end: f64,
    text: String,
    avg_logprob: Option<f64>,
    compression_ratio: Option<f64>,
    no_speech_prob: Option<f64>,
}

/// An event of a stream.
#[derive(Serialize, ToSchema)]
struct TranscriptEvent {
    /// "transcript.text.delta"; with "verbose_json" also "transcript.text.segment"; at last "transcript.text.done"
    r#type: String,
    /// What is new
    delta: Option<String>,
    /// At the end, all of it
    text: Option<String>,
}

/// Speech to text
#[utoipa::path(post, path = "/v1/audio/transcriptions", tag = "Speech",
    request_body(content = SpeechRequest, content_type = "multipart/form-data"), responses(
    (status = 200, description = "The transcript in the form asked for; with `stream` events", content(
        (Transcript = "application/json"), (String = "text/plain"), (TranscriptEvent = "text/event-stream"))),
    Errors,
))]
pub(super) fn transcribe() {}

/// Speech to English text
#[utoipa::path(post, path = "/v1/audio/translations", tag = "Speech",
    request_body(content = SpeechRequest, content_type = "multipart/form-data"), responses(
    (status = 200, description = "The translation in the form asked for; with `stream` events", content(
        (Transcript = "application/json"), (String = "text/plain"), (TranscriptEvent = "text/event-stream"))),
    Errors,
))]
pub(super) fn translate() {}
