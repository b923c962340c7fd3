//! The bodies that OpenAI's transcription endpoint returns
//! (<https://platform.openai.com/docs/api-reference/audio>).
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::prompt::Task;
use super::subtitles;
use super::vocabulary::Language;
use super::{Segment, Word};

/// What `response_format` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The text in a JSON object.
    #[default]
    Json,
    /// Text, language, duration and segments.
    VerboseJson,
    /// The text alone.
    Text,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
}

impl Format {
    /// The format that a request names.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "verbose_json" => Some(Self::VerboseJson),
            "text" => Some(Self::Text),
            "srt" => Some(Self::Srt),
            "vtt" => Some(Self::Vtt),
            _ => None,
        }
    }
}

/// A finished transcription.
#[derive(Debug, Clone, Copy)]
pub struct Transcript<'a> {
    /// The segments, in order.
    pub segments: &'a [Segment],
    /// Length of the audio in seconds.
    pub duration: f64,
    /// What was done.
    pub task: Task,
    /// The language spoken; `None` when it was never found out.
    pub language: Option<&'a Language>,
    /// How sure the model was of the language, when it was asked.
    pub language_probability: Option<f32>,
    /// Whether words were asked for (`timestamp_granularities`).
    pub words: bool,
    /// Whether segments were asked for; they are where words alone are not.
    pub with_segments: bool,
}

impl Transcript<'_> {
    /// The body in `format`: JSON text for the first two, text for the others.
    pub fn body(&self, format: Format) -> String {
        match format {
            Format::Json => self.json().to_string(),
            Format::VerboseJson => self.verbose_json().to_string(),
            Format::Text => self.text() + "\n",
            Format::Srt => subtitles::srt(self.segments),
            Format::Vtt => subtitles::vtt(self.segments),
        }
    }

    /// The whole text, without space around it.
    pub fn text(&self) -> String {
        let text: String = self.segments.iter().map(|segment| &*segment.text).collect();
        text.trim().to_owned()
    }

    /// `{"text", "usage": {"type": "duration", "seconds"}}`; seconds are whole and rounded up,
    /// as they are billed.
    pub fn json(&self) -> Value {
        json!({ "text": self.text(), "usage": self.usage() })
    }

    /// OpenAI's `TranscriptionVerbose`. Beyond it: `language_code` and `language_probability`,
    /// and in each segment, when words were asked for, `words` with their probability.
    pub fn verbose_json(&self) -> Value {
        let mut body = Map::new();
        body.insert("task".into(), self.task.name().into());
        body.insert("language".into(), self.language.map_or("unknown", Language::name).into());
        if let Some(language) = self.language {
            body.insert("language_code".into(), (*language.code).into());
        }
        if let Some(probability) = self.language_probability {
            body.insert("language_probability".into(), rounded(probability.into(), 4));
        }
        body.insert("duration".into(), rounded(self.duration, 3));
        body.insert("text".into(), self.text().into());
        if self.with_segments {
            let segments = self.segments.iter().map(|segment| self.segment(segment));
            body.insert("segments".into(), segments.collect());
        }
        if self.words {
            let words = self.segments.iter().flat_map(|segment| &segment.words);
            body.insert("words".into(), words.map(|word| word_json(word, false)).collect());
        }
        body.insert("usage".into(), self.usage());
        Value::Object(body)
    }

    fn usage(&self) -> Value {
        let seconds = self.duration.max(0.0).ceil() as u64;
        json!({ "type": "duration", "seconds": seconds })
    }

    fn segment(&self, segment: &Segment) -> Value {
        let mut value = segment_json(segment);
        if let (false, Some(fields)) = (self.words, value.as_object_mut()) {
            fields.remove("words");
        }
        value
    }
}

/// A segment as OpenAI's `TranscriptionSegment`, with its words where it has any.
pub fn segment_json(segment: &Segment) -> Value {
    let mut value = json!({
        "id": segment.id,
        "seek": segment.seek,
        "start": rounded(segment.start, 3),
        "end": rounded(segment.end, 3),
        "text": segment.text,
        "tokens": segment.tokens,
        "temperature": rounded(segment.temperature.into(), 2),
        "avg_logprob": rounded(segment.avg_logprob.into(), 4),
        "compression_ratio": rounded(segment.compression_ratio.into(), 4),
        "no_speech_prob": rounded(segment.no_speech_prob.into(), 4),
    });
    if let (false, Some(fields)) = (segment.words.is_empty(), value.as_object_mut()) {
        let words = segment.words.iter().map(|word| word_json(word, true));
        fields.insert("words".into(), words.collect());
    }
    value
}

/// A word as OpenAI's `TranscriptionWord`, without the space in front; in segments with its
/// space and probability, as Whisper gives it.
fn word_json(word: &Word, within_segment: bool) -> Value {
    let (start, end) = (rounded(word.start, 3), rounded(word.end, 3));
    match within_segment {
        false => json!({ "word": word.word.trim(), "start": start, "end": end }),
        true => {
            let probability = rounded(word.probability.into(), 4);
            json!({ "word": word.word, "start": start, "end": end, "probability": probability })
        }
    }
}

/// A number with so many digits after the point; NaN and infinity, which JSON lacks, as 0.
fn rounded(number: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    let rounded = (number * scale).round() / scale;
    // Not -0.0.
    json!(if rounded.is_finite() { rounded + 0.0 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::testing::{self, segment};

    fn segments() -> Vec<Segment> {
        let mut list = vec![segment(0.0, 1.04, " Hello"), segment(1.04, 2.0, " you. ")];
        list[0].words =
            vec![Word { word: " Hello".into(), start: 0.1, end: 0.30000001, probability: 0.87654 }];
        list[0].avg_logprob = -0.123456;
        list[0].temperature = 0.2;
        list
    }

    fn transcript<'a>(segments: &'a [Segment], language: &'a Language) -> Transcript<'a> {
        Transcript {
            segments,
            duration: 11.0000625,
            task: Task::Transcribe,
            language: Some(language),
            language_probability: Some(0.98766),
            words: true,
            with_segments: true,
        }
    }

    #[test]
    fn golden_bodies() {
        let vocabulary = testing::small();
        let (segments, english) = (segments(), vocabulary.language("en").unwrap());
        let transcript = transcript(&segments, english);
        assert_eq!(
            transcript.body(Format::Json),
            r#"{"text":"Hello you.","usage":{"type":"duration","seconds":12}}"#
        );
        assert_eq!(transcript.body(Format::Text), "Hello you.\n");
        assert!(transcript.body(Format::Srt).starts_with("1\n00:00:00,000"));
        assert!(transcript.body(Format::Vtt).starts_with("WEBVTT\n"));
        let verbose = transcript.body(Format::VerboseJson);
        let expected = concat!(
            r#"{"task":"transcribe","language":"english","language_code":"en","#,
            r#""language_probability":0.9877,"duration":11.0,"text":"Hello you.","segments":["#,
            r#"{"id":0,"seek":0,"start":0.0,"end":1.04,"text":" Hello","tokens":[],"#,
            r#""temperature":0.2,"avg_logprob":-0.1235,"compression_ratio":0.0,"#,
            r#""no_speech_prob":0.0,"words":[{"word":" Hello","start":0.1,"end":0.3,"#,
            r#""probability":0.8765}]},"#,
        );
        assert!(verbose.starts_with(expected), "{verbose}");
        let end = concat!(
            r#""words":[{"word":"Hello","start":0.1,"end":0.3}],"#,
            r#""usage":{"type":"duration","seconds":12}}"#,
        );
        assert!(verbose.ends_with(end), "{verbose}");
    }

    #[test]
    fn what_was_not_asked_for_is_not_there() {
        let vocabulary = testing::small();
        let segments = segments();
        let plain = Transcript {
            words: false,
            language: None,
            language_probability: None,
            ..transcript(&segments, vocabulary.language("en").unwrap())
        };
        let body = plain.verbose_json();
        assert_eq!(body["language"], "unknown");
        assert!(body.get("words").is_none() && body["segments"][0].get("words").is_none());
        let words = Transcript { words: true, with_segments: false, ..plain };
        let body = words.verbose_json();
        assert!(body.get("segments").is_none() && body["words"].is_array());
    }

    #[test]
    fn numbers_are_json() {
        assert_eq!(rounded(f64::NAN, 3), json!(0.0));
        assert_eq!(rounded(-0.00001, 3).to_string(), "0.0");
        assert_eq!(rounded(f64::MAX, 3), json!(0.0));
        assert_eq!(rounded(7.6000000001, 3).to_string(), "7.6");
        assert_eq!(Format::from_name("srt"), Some(Format::Srt));
        assert_eq!(Format::from_name("SRT"), None);
    }
}
