//! Whether silence is skipped, and what counts as speech.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::fields::{kind, Fields};
use crate::error::{Error, Result};

/// How voice activity is told from the model's probabilities; what is `None` is as the `speech`
/// room has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VadOptions {
    /// From this probability on it is speech, 0 to 1.
    pub threshold: Option<f32>,
    /// Shorter speech is dropped, milliseconds.
    pub min_speech_ms: Option<u32>,
    /// A shorter pause does not end a piece of speech, milliseconds.
    pub min_silence_ms: Option<u32>,
    /// Kept before and after each piece of speech, milliseconds.
    pub speech_pad_ms: Option<u32>,
}

const HOUR_MS: i64 = 3_600_000;

impl VadOptions {
    /// Reads faster-whisper's `vad_filter` and `vad_parameters`, and OpenAI's
    /// `chunking_strategy`, which asks for the same thing in fewer words. The filter is `None`
    /// where neither was given.
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<(Option<bool>, Self)> {
        let filter = fields.boolean("vad_filter")?;
        let own = parameters(fields)?;
        let Some(strategy) = chunking_strategy(fields)? else {
            return Ok((filter, own));
        };
        if filter == Some(false) {
            let message = "asks for voice activity detection, which vad_filter switches off";
            return Err(Error::invalid_request("chunking_strategy", message));
        }
        let options = Self {
            threshold: own.threshold.or(strategy.threshold),
            min_silence_ms: own.min_silence_ms.or(strategy.min_silence_ms),
            speech_pad_ms: own.speech_pad_ms.or(strategy.speech_pad_ms),
            ..own
        };
        Ok((Some(true), options))
    }
}

fn parameters(fields: &mut Fields<'_>) -> Result<VadOptions> {
    let Some(map) = fields.object("vad_parameters")? else {
        return Ok(VadOptions::default());
    };
    let mut fields = Fields::new("vad_parameters", map);
    const LACKING: [&str; 4] = [
        // Windows have 30 seconds at most.
        "max_speech_duration_s",
        "neg_threshold",
        "min_silence_at_max_speech",
        "use_max_poss_sil_at_max_speech",
    ];
    for name in LACKING {
        if fields.value(name).is_some() {
            let message = "is not supported by this build; leave it out";
            return Err(Error::unsupported(&fields.path(name), message));
        }
    }
    let options = VadOptions {
        threshold: fields.float("threshold", 0.0..=1.0)?,
        min_speech_ms: milliseconds(&mut fields, "min_speech_duration_ms")?,
        min_silence_ms: milliseconds(&mut fields, "min_silence_duration_ms")?,
        speech_pad_ms: milliseconds(&mut fields, "speech_pad_ms")?,
    };
    warn_of_unknown(&fields);
    Ok(options)
}

fn chunking_strategy(fields: &mut Fields<'_>) -> Result<Option<VadOptions>> {
    let map = match fields.value("chunking_strategy") {
        None => return Ok(None),
        Some(Value::String(text)) if text == "auto" => return Ok(Some(VadOptions::default())),
        Some(Value::Object(map)) => map,
        Some(other) => {
            let got = other.as_str().map_or(kind(other).to_owned(), |text| format!("\"{text}\""));
            let message = format!("expected \"auto\" or an object, got {got}");
            return Err(Error::invalid_request("chunking_strategy", message));
        }
    };
    let mut fields = Fields::new("chunking_strategy", map);
    if fields.string("type")? != Some("server_vad") {
        let message = "the only type of a strategy is \"server_vad\"";
        return Err(Error::invalid_request("chunking_strategy.type", message));
    }
    let options = VadOptions {
        threshold: fields.float("threshold", 0.0..=1.0)?,
        min_silence_ms: milliseconds(&mut fields, "silence_duration_ms")?,
        speech_pad_ms: milliseconds(&mut fields, "prefix_padding_ms")?,
        ..VadOptions::default()
    };
    warn_of_unknown(&fields);
    Ok(Some(options))
}

fn milliseconds(fields: &mut Fields<'_>, name: &'static str) -> Result<Option<u32>> {
    Ok(fields.integer(name, 0..=HOUR_MS)?.map(|ms| ms as u32))
}

fn warn_of_unknown(fields: &Fields<'_>) {
    fields.ignore_unknown();
}
