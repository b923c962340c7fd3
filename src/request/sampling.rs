//! How tokens are drawn: OpenAI's fields, and llama-server's with its names and defaults.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::fields::{kind, Fields};
use crate::error::{Error, Result};
use crate::sampling::{Adaptive, Dry, DynamicTemperature, Mirostat, Params, Stage, Xtc};

/// Texts of one list, and entries of a logit bias.
const MOST_ENTRIES: usize = 1_024;
/// Texts of one list: each is looked for in all of the vocabulary.
const MOST_TEXTS: usize = 128;

/// Bytes of one of them: each is tokenised, or looked for in all tokens.
const LONGEST_TEXT: usize = 256;

/// How many tokens any of the penalties may look back.
const LONGEST_LOOK: i64 = 65_536;

/// How tokens are drawn, as far as the request says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplingFields {
    /// 0 picks the likeliest token; at most 100. Here and below, the model's defaults fill what
    /// is `None`.
    pub temperature: Option<f32>,
    /// Keeps the likeliest tokens that together reach this probability, 0 to 1.
    pub top_p: Option<f32>,
    /// Keeps this many tokens; 0 keeps all.
    pub top_k: Option<u32>,
    /// Keeps tokens with at least this share of the best one's probability, 0 to 1.
    pub min_p: Option<f32>,
    /// Divides the logits of recent tokens; 1 is off.
    pub repeat_penalty: Option<f32>,
    /// How many recent tokens the three penalties look at; 0 turns them off.
    pub repeat_last_n: Option<u32>,
    /// All else, with llama.cpp's defaults; `logit_bias` holds what was given by id.
    pub params: Params,
    /// The same seed, request and model give the same text.
    pub seed: Option<u64>,
    /// Added to the logits of each token of these texts.
    pub bias_texts: Vec<(String, f32)>,
    /// Texts over which DRY sees no repeats.
    pub dry_breakers: Vec<String>,
}

/// What may not be said, and when not to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BanFields {
    /// Nothing that ends an answer is drawn.
    pub ignore_eos: bool,
    /// Before so many tokens nothing ends the answer, stop strings included.
    pub min_tokens: usize,
    /// Texts that are not in the answer.
    pub strings: Vec<String>,
}

pub(super) fn sampling(fields: &mut Fields<'_>) -> Result<SamplingFields> {
    let (logit_bias, bias_texts) = logit_bias(fields)?;
    Ok(SamplingFields {
        temperature: fields.float("temperature", 0.0..=100.0)?,
        top_p: fields.float("top_p", 0.0..=1.0)?,
        top_k: count(fields, "top_k", i64::from(i32::MAX))?.map(|k| k as u32),
        min_p: fields.float("min_p", 0.0..=1.0)?,
        repeat_penalty: fields.float("repeat_penalty", 0.01..=100.0)?,
        repeat_last_n: count(fields, "repeat_last_n", LONGEST_LOOK)?.map(|n| n as u32),
        params: Params { logit_bias, ..params(fields)? },
        seed: seed(fields)?,
        bias_texts,
        dry_breakers: match fields.value("dry_sequence_breakers") {
            None => ["\n", ":", "\"", "*"].map(str::to_owned).to_vec(),
            Some(_) => texts(fields, "dry_sequence_breakers")?,
        },
    })
}

fn params(fields: &mut Fields<'_>) -> Result<Params> {
    let base = Params::default();
    Ok(Params {
        dynamic: DynamicTemperature {
            range: fields.float("dynatemp_range", 0.0..=100.0)?.unwrap_or(0.0),
            exponent: fields.float("dynatemp_exponent", 0.0..=100.0)?.unwrap_or(1.0),
        },
        typical_p: fields.float("typical_p", 0.0..=1.0)?.unwrap_or(base.typical_p),
        top_n_sigma: fields.float("top_n_sigma", -1.0..=100.0)?.unwrap_or(base.top_n_sigma),
        xtc: Xtc {
            probability: fields.float("xtc_probability", 0.0..=1.0)?.unwrap_or(0.0),
            threshold: fields.float("xtc_threshold", 0.0..=1.0)?.unwrap_or(base.xtc.threshold),
        },
        min_keep: count(fields, "min_keep", i64::from(i32::MAX))?.unwrap_or(0),
        mirostat: Mirostat {
            version: fields.integer("mirostat", 0..=2)?.unwrap_or(0) as u8,
            tau: fields.float("mirostat_tau", 0.0..=100.0)?.unwrap_or(base.mirostat.tau),
            eta: fields.float("mirostat_eta", 0.0..=10.0)?.unwrap_or(base.mirostat.eta),
        },
        adaptive: Adaptive {
            target: fields.float("adaptive_target", -1.0..=1.0)?.unwrap_or(base.adaptive.target),
            decay: fields.float("adaptive_decay", 0.0..=0.99)?.unwrap_or(base.adaptive.decay),
        },
        dry: dry(fields)?,
        stages: stages(fields)?,
        presence_penalty: fields.float("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0),
        frequency_penalty: fields.float("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0),
        ..base
    })
}

fn dry(fields: &mut Fields<'_>) -> Result<Dry> {
    let base = Dry::default();
    let last_n = fields.integer("dry_penalty_last_n", -1..=LONGEST_LOOK)?;
    Ok(Dry {
        multiplier: fields.float("dry_multiplier", 0.0..=100.0)?.unwrap_or(base.multiplier),
        base: fields.float("dry_base", 1.0..=100.0)?.unwrap_or(base.base),
        allowed_length: count(fields, "dry_allowed_length", LONGEST_LOOK)?
            .unwrap_or(base.allowed_length),
        last_n: match last_n {
            None => base.last_n,
            Some(n) => usize::try_from(n).unwrap_or(LONGEST_LOOK as usize),
        },
        breakers: base.breakers,
    })
}

fn count(fields: &mut Fields<'_>, name: &'static str, most: i64) -> Result<Option<usize>> {
    Ok(fields.integer(name, 0..=most)?.map(|count| count as usize))
}

/// llama-server's names, those it takes for the same thing included.
fn stage(name: &str) -> Option<Stage> {
    Some(match name {
        "penalties" => Stage::Penalties,
        "dry" => Stage::Dry,
        "top_n_sigma" | "top-n-sigma" => Stage::TopNSigma,
        "top_k" | "top-k" => Stage::TopK,
        "typ_p" | "typ-p" | "typ" | "typical" | "typical_p" | "typical-p" => Stage::TypicalP,
        "top_p" | "top-p" | "nucleus" => Stage::TopP,
        "min_p" | "min-p" => Stage::MinP,
        "xtc" => Stage::Xtc,
        "temperature" | "temp" => Stage::Temperature,
        "adaptive_p" | "adaptive-p" => Stage::AdaptiveP,
        _ => return None,
    })
}

fn stages(fields: &mut Fields<'_>) -> Result<Vec<Stage>> {
    let Some(items) = fields.array("samplers")? else {
        return Ok(Stage::DEFAULT.to_vec());
    };
    if items.len() > 64 {
        let message = format!("{} stages are more than 64", items.len());
        return Err(Error::invalid_request("samplers", message));
    }
    let stages = items.iter().enumerate().map(|(index, item)| {
        item.as_str().and_then(stage).ok_or_else(|| {
            Error::invalid_request(
                &format!("samplers[{index}]"),
                "expected one of penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature, adaptive_p",
            )
        })
    });
    stages.collect()
}

/// Any whole number of 64 bits; a negative one counts as its two's complement.
pub(super) fn seed(fields: &mut Fields<'_>) -> Result<Option<u64>> {
    if let Some(seed) = fields.value("seed").and_then(Value::as_u64) {
        return Ok(Some(seed));
    }
    Ok(fields.integer("seed", i64::MIN..=i64::MAX)?.map(|seed| seed as u64))
}

/// What is biased: tokens by id, and texts.
type Biases = (Vec<(u32, f32)>, Vec<(String, f32)>);

/// OpenAI's object, or llama-server's array of pairs; a key that is no number is a text.
fn logit_bias(fields: &mut Fields<'_>) -> Result<Biases> {
    let mut biases = Biases::default();
    match fields.value("logit_bias") {
        None => {}
        Some(Value::Object(map)) => {
            check_length("logit_bias", map.len(), MOST_ENTRIES)?;
            for (key, value) in map {
                let bias = bias(&format!("logit_bias.{key}"), value)?;
                match key.parse() {
                    Ok(token) => biases.0.push((token, bias)),
                    Err(_) => biases.1.push((checked("logit_bias", key)?, bias)),
                }
            }
        }
        Some(Value::Array(items)) => {
            check_length("logit_bias", items.len(), MOST_ENTRIES)?;
            for (index, item) in items.iter().enumerate() {
                add_pair(&mut biases, &format!("logit_bias[{index}]"), item)?;
            }
        }
        Some(other) => {
            let message = format!("expected an object or an array of pairs, got {}", kind(other));
            return Err(Error::invalid_request("logit_bias", message));
        }
    }
    Ok(biases)
}

fn add_pair(biases: &mut Biases, path: &str, item: &Value) -> Result<()> {
    let Some([what, value]) = item.as_array().map(Vec::as_slice) else {
        let message = "expected a pair: a token id or a text, and a number or false";
        return Err(Error::invalid_request(path, message));
    };
    let bias = bias(&format!("{path}[1]"), value)?;
    let id = what.as_u64().and_then(|id| u32::try_from(id).ok());
    match (id, what) {
        (Some(id), _) => biases.0.push((id, bias)),
        (None, Value::String(text)) => {
            biases.1.push((checked(&format!("{path}[0]"), text)?, bias));
        }
        (None, _) => {
            let message = "expected a token id or a text";
            return Err(Error::invalid_request(&format!("{path}[0]"), message));
        }
    }
    Ok(())
}

/// A number, or `false` for never.
fn bias(path: &str, value: &Value) -> Result<f32> {
    let number = match value {
        Value::Bool(false) => return Ok(f32::NEG_INFINITY),
        value => value.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)),
    };
    number.map(|bias| bias as f32).ok_or_else(|| {
        Error::invalid_request(path, "expected a number from -100 to 100, or false for never")
    })
}

fn check_length(name: &str, length: usize, most: usize) -> Result<()> {
    if length > most {
        let message = format!("{length} entries are more than {most}");
        return Err(Error::invalid_request(name, message));
    }
    Ok(())
}

/// `text`, if it is neither empty nor too long.
fn checked(path: &str, text: &str) -> Result<String> {
    match text.len() {
        0 => Err(Error::invalid_request(path, "is an empty text")),
        1..=LONGEST_TEXT => Ok(text.to_owned()),
        length => {
            let message = format!("has {length} bytes, more than {LONGEST_TEXT}");
            Err(Error::invalid_request(path, message))
        }
    }
}

/// An array of texts.
fn texts(fields: &mut Fields<'_>, name: &'static str) -> Result<Vec<String>> {
    let items = fields.array(name)?.unwrap_or_default();
    check_length(name, items.len(), MOST_TEXTS)?;
    let texts = items.iter().enumerate().map(|(index, item)| match item {
        Value::String(text) => checked(&format!("{name}[{index}]"), text),
        other => Err(Error::invalid_request(
            &format!("{name}[{index}]"),
            format!("expected a string, got {}", kind(other)),
        )),
    });
    texts.collect()
}

pub(super) fn bans(fields: &mut Fields<'_>) -> Result<BanFields> {
    let mut strings = texts(fields, "banned_strings")?;
    strings.extend(texts(fields, "bad_words")?);
    Ok(BanFields {
        ignore_eos: fields.boolean("ignore_eos")?.unwrap_or(false),
        min_tokens: count(fields, "min_tokens", i64::from(i32::MAX))?.unwrap_or(0),
        strings,
    })
}
