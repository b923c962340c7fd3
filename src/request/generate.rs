//! A generation: OpenAI's chat-completion fields, or `prompt` for a raw completion.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{Map, Value};

use super::fields::{kind, Fields};
use super::grammar::grammar;
use super::lora::LoraChoice;
use super::output::OutputFields;
use super::reasoning::Reasoning;
use super::sampling::{BanFields, SamplingFields};
use super::speculative::SpeculativeFields;
use super::tools::{self, Tools};
use super::{messages, options, parse_object, sampling};
use crate::error::{Error, Result};
use crate::grammar::Grammar;

/// What to continue.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// A chat; the model's template turns it into a text.
    Chat {
        /// The checked `messages` array.
        messages: Value,
        /// `chat_template_kwargs`: further variables for the template.
        variables: Map<String, Value>,
    },
    /// A text, taken as it stands; special tokens in it are read as such.
    Text(String),
    /// Token ids, taken as they stand.
    Tokens(Vec<u32>),
}

/// What to drop when the context is full, so that the answer can go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContextShift {
    /// Tokens that stay at the front, at least one; by default the prompt. At most three quarters
    /// of the context stay.
    pub n_keep: Option<u32>,
    /// Tokens to drop behind them; by default half of the rest.
    pub n_discard: Option<u32>,
}

/// A checked request for text.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// The functions that the model may call, for a chat.
    pub tools: Option<Tools>,
    /// How a chat's answer is thought over.
    pub reasoning: Reasoning,
    /// How tokens are drawn.
    pub sampling: SamplingFields,
    /// What may not be said, and when not to stop.
    pub bans: BanFields,
    /// What comes back.
    pub output: OutputFields,
    /// Tokens to generate at most; by default as many as the context holds.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Jobs of higher priority go first, and take slots from those of lower; -1,000 to 1,000.
    pub priority: i32,
    /// Whether a prefix that an earlier job computed is taken over, and what this one computes
    /// is kept for later ones.
    pub cache_prompt: bool,
    /// How to go on in a full context; `None` ends the answer there.
    pub context_shift: Option<ContextShift>,
    /// LoRA adapters to compute with; `None` leaves them to the load options.
    pub lora: Option<Vec<LoraChoice>>,
    /// Whether and how to decode speculatively; `None` leaves it to the load options.
    pub speculative: Option<SpeculativeFields>,
    /// The job ends with `FLUID_DEADLINE` after this time, waiting included.
    pub deadline: Option<Duration>,
    /// What the answer has to look like.
    pub grammar: Option<Grammar>,
    /// `model` as the request names it, for the result.
    pub model: Option<String>,
}

/// OpenAI's fields that change nothing here: accounting of its service, or delivery,
/// which the callback decides.
const ACCEPTED: [&str; 10] = [
    "stream",
    "stream_options",
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "verbosity",
];

/// OpenAI's fields that would change the answer and that this build lacks.
const LACKING: [&str; 6] =
    ["functions", "function_call", "audio", "prediction", "web_search_options", "moderation"];

impl GenerateRequest {
    /// Reads `text`, a JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        let map = parse_object(text, "request")?;
        let mut fields = Fields::new("", &map);
        refuse_lacking(&mut fields)?;
        let prompt = prompt(&mut fields)?;
        let is_chat = matches!(prompt, Prompt::Chat { .. });
        let (tools, grammar) = (tools(&mut fields, &prompt)?, grammar(&mut fields)?);
        if let (Some(_), Some(grammar)) = (&tools, &grammar) {
            let message = "cannot be held together with tools; leave one of them out";
            return Err(Error::unsupported(&grammar.field, message));
        }
        let request = Self {
            tools,
            reasoning: Reasoning::read(&mut fields)?,
            prompt,
            sampling: sampling::sampling(&mut fields)?,
            bans: sampling::bans(&mut fields)?,
            output: OutputFields::parse(&mut fields, is_chat)?,
            max_tokens: max_tokens(&mut fields)?,
            stop: stop(&mut fields)?,
            priority: fields.integer("priority", -1_000..=1_000)?.unwrap_or(0) as i32,
            cache_prompt: fields.boolean("cache_prompt")?.unwrap_or(true),
            context_shift: context_shift(&mut fields)?,
            lora: LoraChoice::parse(&mut fields)?,
            speculative: SpeculativeFields::parse(&mut fields)?,
            deadline: options::deadline(&mut fields)?,
            grammar,
            model: fields.string("model")?.map(str::to_owned),
        };
        if request.max_tokens.is_some_and(|most| (most as usize) < request.bans.min_tokens) {
            return Err(Error::invalid_request("min_tokens", "is more than max_tokens"));
        }
        fields.ignore_unknown();
        Ok(request)
    }
}

fn refuse_lacking(fields: &mut Fields<'_>) -> Result<()> {
    for name in ACCEPTED {
        fields.value(name);
    }
    // Some clients send empty lists of what they do not use.
    let asked = |value: &Value| value.as_array().is_none_or(|items| !items.is_empty());
    for name in LACKING {
        if fields.value(name).is_some_and(asked) {
            return Err(Error::unsupported(name, "is not supported by this build; leave it out"));
        }
    }
    let modalities = fields.array("modalities")?.unwrap_or_default();
    if modalities.iter().any(|modality| modality != "text") {
        return Err(Error::unsupported("modalities", "only \"text\" is supported by this build"));
    }
    Ok(())
}

fn tools(fields: &mut Fields<'_>, prompt: &Prompt) -> Result<Option<Tools>> {
    let tools = tools::read(fields)?;
    if tools.is_some() && !matches!(prompt, Prompt::Chat { .. }) {
        return Err(Error::invalid_request("tools", "belong to a chat; give messages, not prompt"));
    }
    Ok(tools)
}

fn prompt(fields: &mut Fields<'_>) -> Result<Prompt> {
    let variables = fields.object("chat_template_kwargs")?.cloned();
    match (fields.value("messages"), fields.value("prompt")) {
        (Some(_), Some(_)) => {
            Err(Error::invalid_request("prompt", "give messages or prompt, not both"))
        }
        (None, None) => Err(Error::invalid_request(
            "messages",
            "is missing; give messages, or prompt for a raw completion",
        )),
        (Some(value), None) => Ok(Prompt::Chat {
            messages: messages::check(value)?.clone(),
            variables: variables.unwrap_or_default(),
        }),
        (None, Some(Value::String(text))) => Ok(Prompt::Text(text.clone())),
        (None, Some(Value::Array(items))) => raw_array(items),
        (None, Some(other)) => Err(Error::invalid_request(
            "prompt",
            format!("expected a string or an array of token ids, got {}", kind(other)),
        )),
    }
}

fn raw_array(items: &[Value]) -> Result<Prompt> {
    match items {
        [Value::String(text)] => return Ok(Prompt::Text(text.clone())),
        [Value::String(_), ..] => {
            return Err(Error::unsupported("prompt", "only one prompt per request is supported"))
        }
        _ => {}
    }
    let ids = items.iter().enumerate().map(|(index, item)| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| Error::invalid_request(&format!("prompt[{index}]"), "expected a token id"))
    });
    Ok(Prompt::Tokens(ids.collect::<Result<_>>()?))
}

fn max_tokens(fields: &mut Fields<'_>) -> Result<Option<u32>> {
    let range = 0..=i64::from(i32::MAX);
    let older = fields.integer("max_tokens", range.clone())?;
    let newer = fields.integer("max_completion_tokens", range)?;
    Ok(newer.or(older).map(|count| count as u32))
}

/// llama-server's fields. `n_keep` -1 is the whole prompt, as there.
fn context_shift(fields: &mut Fields<'_>) -> Result<Option<ContextShift>> {
    let is_on = fields.boolean("context_shift")?.unwrap_or(false);
    let n_keep = fields.integer("n_keep", -1..=i64::from(i32::MAX))?;
    let n_discard = fields.integer("n_discard", 0..=i64::from(i32::MAX))?;
    let shift = ContextShift {
        n_keep: n_keep.and_then(|count| u32::try_from(count).ok()),
        n_discard: n_discard.filter(|&count| count > 0).map(|count| count as u32),
    };
    Ok(is_on.then_some(shift))
}

fn stop(fields: &mut Fields<'_>) -> Result<Vec<String>> {
    let items = match fields.value("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => return Ok(vec![text.clone()]),
        Some(Value::Array(items)) => items,
        Some(other) => {
            let message = format!("expected a string or an array of strings, got {}", kind(other));
            return Err(Error::invalid_request("stop", message));
        }
    };
    if items.len() > 64 {
        return Err(Error::invalid_request(
            "stop",
            format!("{} strings are more than 64", items.len()),
        ));
    }
    let texts = items.iter().enumerate().map(|(index, item)| match item {
        Value::String(text) => Ok(text.clone()),
        other => Err(Error::invalid_request(
            &format!("stop[{index}]"),
            format!("expected a string, got {}", kind(other)),
        )),
    });
    texts.collect()
}
