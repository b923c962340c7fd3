//! A transcription: OpenAI's fields for speech, and faster-whisper's for what OpenAI leaves out.
#![forbid(unsafe_code)]

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::fields::Fields;
use super::vad::VadOptions;
use super::{options, parse_object, sampling};
use crate::error::{Error, Result};

/// What the result looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    /// `{"text": ...}`.
    #[default]
    Json,
    /// The text, the language, and the segments with their times and probabilities.
    VerboseJson,
    /// The text alone.
    Text,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
}

/// What to do with the speech.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpeechTask {
    /// Write it down in its own language.
    #[default]
    Transcribe,
    /// Write it down in English.
    Translate,
}

/// A checked request for the text of a recording. Its `Default` is a request that says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscribeRequest {
    /// `model` as the request names it.
    pub model: Option<String>,
    /// The language spoken, as the request writes it, such as "en"; `None`: detect it.
    pub language: Option<String>,
    /// What to do with the speech.
    pub task: SpeechTask,
    /// What was said before, or a text in the style wanted; the model goes on from it.
    pub prompt: Option<String>,
    /// Words to expect, given to the model before each window.
    pub hotwords: Option<String>,
    /// What the result looks like.
    pub format: ResponseFormat,
    /// Whether each word gets its times.
    pub words: bool,
    /// Tried in this order until a window's text passes the thresholds; 1 to 16 values, 0 to 1.
    pub temperatures: Vec<f32>,
    /// Texts drawn at a temperature above 0, of which the likeliest counts, 1 to 16.
    pub best_of: u32,
    /// A text that compresses better repeats itself: try the next temperature. `None` is off.
    pub compression_ratio_threshold: Option<f32>,
    /// A text whose average log-probability is lower is a failure, -100 to 0. `None` is off.
    pub log_prob_threshold: Option<f32>,
    /// A failed text whose probability of no speech is higher is silence, 0 to 1. `None` is off.
    pub no_speech_threshold: Option<f32>,
    /// Whether a window's text is the prompt of the next one.
    pub condition_on_previous_text: bool,
    /// Whether the model marks the times of segments.
    pub timestamps: bool,
    /// The first segment of a window starts at most this late, seconds, 0 to 30.
    pub max_initial_timestamp: f32,
    /// Token ids never drawn, -1 for the model's own list; `None` is that list alone.
    pub suppress_tokens: Option<Vec<i64>>,
    /// Whether a text may not start with a space or be empty.
    pub suppress_blank: bool,
    /// Divides the logits of tokens that were drawn before; 1 is off.
    pub repetition_penalty: f32,
    /// Runs of this many tokens come only once; 0 is off.
    pub no_repeat_ngram_size: u32,
    /// Skip silence by voice activity; `None`: as the engine sees fit.
    pub vad_filter: Option<bool>,
    /// What counts as speech.
    pub vad: VadOptions,
    /// Windows decoded together, 1 to 32; `None`: as the engine sees fit.
    pub batch_size: Option<u32>,
    /// The same seed, request, audio and model give the same text.
    pub seed: Option<u64>,
    /// The job ends with `FLUID_DEADLINE` after this time, waiting included.
    pub deadline: Option<Duration>,
}

/// The ladder of temperatures of OpenAI's whisper.
const FALLBACK: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];

/// Fields that change nothing here: delivery and accounting.
const ACCEPTED: [&str; 3] = ["stream", "user", "log_progress"];

/// Fields of OpenAI and faster-whisper that would change the answer and that this build lacks.
const LACKING: [&str; 18] = [
    "include",
    "include[]",
    "known_speaker_names",
    "known_speaker_names[]",
    "known_speaker_references",
    "known_speaker_references[]",
    "append_punctuations",
    "chunk_length",
    "clip_timestamps",
    "hallucination_silence_threshold",
    "language_detection_segments",
    "language_detection_threshold",
    "length_penalty",
    "max_new_tokens",
    "patience",
    "prefix",
    "prepend_punctuations",
    "prompt_reset_on_temperature",
];

impl Default for TranscribeRequest {
    fn default() -> Self {
        Self {
            model: None,
            language: None,
            task: SpeechTask::default(),
            prompt: None,
            hotwords: None,
            format: ResponseFormat::default(),
            words: false,
            temperatures: FALLBACK.to_vec(),
            best_of: 5,
            compression_ratio_threshold: Some(2.4),
            log_prob_threshold: Some(-1.0),
            no_speech_threshold: Some(0.6),
            condition_on_previous_text: true,
            timestamps: true,
            max_initial_timestamp: 1.0,
            suppress_tokens: None,
            suppress_blank: true,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            vad_filter: None,
            vad: VadOptions::default(),
            batch_size: None,
            seed: None,
            deadline: None,
        }
    }
}

impl TranscribeRequest {
    /// Reads `text`, a JSON object; an empty text means the defaults.
    pub fn parse(text: &str) -> Result<Self> {
        let mut request = Self::default();
        if text.is_empty() {
            return Ok(request);
        }
        let map = parse_object(text, "request")?;
        let mut fields = Fields::new("", &map);
        refuse_lacking(&mut fields)?;
        request.read_task(&mut fields)?;
        request.read_decoding(&mut fields)?;
        request.read_limits(&mut fields)?;
        fields.ignore_unknown();
        Ok(request)
    }

    /// What is wanted: language, prompt, format.
    fn read_task(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        self.model = fields.string("model")?.map(str::to_owned);
        // Forms send an empty field for what was not chosen; whisper.cpp's clients send "auto".
        let language = fields.string("language")?.filter(|code| !matches!(*code, "" | "auto"));
        self.language = language.map(str::to_owned);
        self.task = match fields.string("task")? {
            None | Some("transcribe") => SpeechTask::Transcribe,
            Some("translate") => SpeechTask::Translate,
            Some(other) => {
                let message = format!("\"{other}\" is not one of: transcribe, translate");
                return Err(Error::invalid_request("task", message));
            }
        };
        self.prompt = prompt(fields)?;
        self.hotwords = fields.string("hotwords")?.map(str::to_owned);
        self.format = response_format(fields)?;
        self.words = words(fields)?;
        Ok(())
    }

    /// How a window becomes text.
    fn read_decoding(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        self.temperatures = temperatures(fields)?;
        set(&mut self.best_of, fields.integer("best_of", 1..=16)?.map(|n| n as u32));
        threshold(
            fields,
            "compression_ratio_threshold",
            0.0..=1000.0,
            &mut self.compression_ratio_threshold,
        )?;
        threshold(fields, "log_prob_threshold", -100.0..=0.0, &mut self.log_prob_threshold)?;
        threshold(fields, "no_speech_threshold", 0.0..=1.0, &mut self.no_speech_threshold)?;
        set(&mut self.condition_on_previous_text, fields.boolean("condition_on_previous_text")?);
        set(&mut self.timestamps, fields.boolean("without_timestamps")?.map(|without| !without));
        set(&mut self.max_initial_timestamp, fields.float("max_initial_timestamp", 0.0..=30.0)?);
        self.suppress_tokens = suppress_tokens(fields)?;
        set(&mut self.suppress_blank, fields.boolean("suppress_blank")?);
        set(&mut self.repetition_penalty, fields.float("repetition_penalty", 0.01..=100.0)?);
        let ngram = fields.integer("no_repeat_ngram_size", 0..=448)?;
        set(&mut self.no_repeat_ngram_size, ngram.map(|n| n as u32));
        self.seed = sampling::seed(fields)?;
        Ok(())
    }

    /// What is computed, and for how long.
    fn read_limits(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        (self.vad_filter, self.vad) = VadOptions::read(fields)?;
        self.batch_size = fields.integer("batch_size", 1..=32)?.map(|n| n as u32);
        self.deadline = options::deadline(fields)?;
        Ok(())
    }
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *place = value;
    }
}

fn refuse_lacking(fields: &mut Fields<'_>) -> Result<()> {
    for name in ACCEPTED {
        fields.value(name);
    }
    let message = "is not supported by this build; leave it out";
    // Some clients send empty lists of what they do not use.
    let asked = |value: &Value| value.as_array().is_none_or(|items| !items.is_empty());
    for name in LACKING {
        if fields.value(name).is_some_and(asked) {
            return Err(Error::unsupported(name, message));
        }
    }
    if fields.value("file").is_some() {
        let message = "the audio is an argument of the call; leave the field out";
        return Err(Error::unsupported("file", message));
    }
    if fields.integer("beam_size", 1..=1024)?.is_some_and(|size| size > 1) {
        let message = "only 1 is supported by this build, with fallback to higher temperatures";
        return Err(Error::unsupported("beam_size", message));
    }
    if fields.boolean("multilingual")? == Some(true) {
        return Err(Error::unsupported("multilingual", message));
    }
    Ok(())
}

fn prompt(fields: &mut Fields<'_>) -> Result<Option<String>> {
    let (prompt, initial) = (fields.string("prompt")?, fields.string("initial_prompt")?);
    if prompt.is_some() && initial.is_some() {
        let message = "is another name of prompt; give one of the two";
        return Err(Error::invalid_request("initial_prompt", message));
    }
    Ok(prompt.or(initial).map(str::to_owned))
}

fn response_format(fields: &mut Fields<'_>) -> Result<ResponseFormat> {
    match fields.string("response_format")? {
        None | Some("json") => Ok(ResponseFormat::Json),
        Some("verbose_json") => Ok(ResponseFormat::VerboseJson),
        Some("text") => Ok(ResponseFormat::Text),
        Some("srt") => Ok(ResponseFormat::Srt),
        Some("vtt") => Ok(ResponseFormat::Vtt),
        Some("diarized_json") => Err(Error::unsupported(
            "response_format",
            "this build does not tell speakers apart; use \"verbose_json\"",
        )),
        Some(other) => Err(Error::invalid_request(
            "response_format",
            format!("\"{other}\" is not one of: json, verbose_json, text, srt, vtt"),
        )),
    }
}

/// OpenAI's list, also under the name it has in a form, or faster-whisper's switch.
fn words(fields: &mut Fields<'_>) -> Result<bool> {
    let mut words = fields.boolean("word_timestamps")? == Some(true);
    for name in ["timestamp_granularities", "timestamp_granularities[]"] {
        for (index, item) in fields.array(name)?.unwrap_or_default().iter().enumerate() {
            match item.as_str() {
                Some("word") => words = true,
                Some("segment") => {}
                _ => {
                    let path = format!("{name}[{index}]");
                    return Err(Error::invalid_request(&path, "expected \"word\" or \"segment\""));
                }
            }
        }
    }
    Ok(words)
}

/// A lone 0 leaves the choice to the thresholds, as OpenAI documents it; `[0]` is 0 and no more.
fn temperatures(fields: &mut Fields<'_>) -> Result<Vec<f32>> {
    let range = 0.0..=1.0;
    let Some(Value::Array(items)) = fields.value("temperature") else {
        let lone = fields.float("temperature", range)?.filter(|&lone| lone > 0.0);
        return Ok(lone.map_or(FALLBACK.to_vec(), |lone| vec![lone]));
    };
    if !(1..=16).contains(&items.len()) {
        let message = format!("expected 1 to 16 temperatures, got {}", items.len());
        return Err(Error::invalid_request("temperature", message));
    }
    let checked = items.iter().enumerate().map(|(index, item)| {
        let number = item.as_f64().filter(|number| range.contains(number));
        number.map(|number| number as f32).ok_or_else(|| {
            let path = format!("temperature[{index}]");
            Error::invalid_request(&path, "expected a number from 0 to 1")
        })
    });
    checked.collect()
}

/// Sets a threshold that `null` switches off.
fn threshold(
    fields: &mut Fields<'_>,
    name: &'static str,
    range: RangeInclusive<f64>,
    place: &mut Option<f32>,
) -> Result<()> {
    if fields.is_null(name) {
        *place = None;
    } else if let Some(value) = fields.float(name, range)? {
        *place = Some(value);
    }
    Ok(())
}

fn suppress_tokens(fields: &mut Fields<'_>) -> Result<Option<Vec<i64>>> {
    let name = "suppress_tokens";
    let Some(items) = fields.array(name)? else {
        return Ok(None);
    };
    let ids = items.iter().enumerate().map(|(index, item)| {
        let id = item.as_i64().filter(|id| (-1..=i64::from(u32::MAX)).contains(id));
        id.ok_or_else(|| {
            let path = format!("{name}[{index}]");
            Error::invalid_request(&path, "expected a token id, or -1 for the model's own list")
        })
    });
    Ok(Some(ids.collect::<Result<_>>()?))
}
