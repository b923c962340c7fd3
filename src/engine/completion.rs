//! A generation's result, in OpenAI's shape.
#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{json, Value};

use super::event::Ending;
use super::logprobs::{self, Logprob};

/// Which of OpenAI's two shapes the result has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `chat.completion`.
    Chat,
    /// `text_completion`.
    Text,
}

/// Where the time went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for a slot.
    pub queued: Duration,
    /// From the slot to the first token: tokenising and computing the prompt.
    pub prompt: Duration,
    /// From the first token to the last.
    pub predicted: Duration,
}

/// A call of a tool, as far as it came.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// What a message with its result names it by.
    pub id: String,
    /// The function.
    pub name: String,
    /// JSON, or its beginning where the answer was cut off.
    pub arguments: String,
}

/// One answer, whole or as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Its text.
    pub content: String,
    /// The reasoning before it.
    pub reasoning: String,
    /// Tokens of the reasoning, with its markup.
    pub reasoning_tokens: usize,
    /// Calls of tools.
    pub calls: Vec<ToolCall>,
    /// Why it ended, in OpenAI's words.
    pub finish_reason: Option<&'static str>,
    /// Its tokens' log-probabilities, where they were asked for.
    pub logprobs: Option<Vec<Logprob>>,
}

impl Choice {
    /// Notes why it is not whole, where nothing said so before.
    pub(super) fn ended(&mut self, ending: &Ending) {
        let reason = match ending {
            Ending::Done => return,
            Ending::Cancelled => "cancelled",
            Ending::Deadline => "deadline",
            Ending::Failed(_) => "error",
        };
        self.finish_reason.get_or_insert(reason);
    }

    fn to_json(&self, index: usize, shape: Shape) -> Value {
        let logprobs = self.logprobs.as_ref().map(|tokens| logprobs::to_json(tokens, shape));
        match shape {
            Shape::Chat => json!({
                "index": index,
                "message": self.message(),
                "logprobs": logprobs,
                "finish_reason": self.finish_reason,
            }),
            Shape::Text => json!({
                "index": index,
                "text": self.content,
                "logprobs": logprobs,
                "finish_reason": self.finish_reason,
            }),
        }
    }
}

impl Choice {
    fn message(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": self.content});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.as_str().into();
        }
        if !self.calls.is_empty() {
            if self.content.is_empty() {
                message["content"] = Value::Null;
            }
            let calls = self.calls.iter().map(|call| {
                let function = json!({"name": call.name, "arguments": call.arguments});
                json!({"id": call.id, "type": "function", "function": function})
            });
            message["tool_calls"] = calls.collect();
        }
        message
    }
}

/// A result, whole or as far as it came.
#[derive(Debug, Clone)]
pub struct Completion {
    id: String,
    shape: Shape,
    created: u64,
    model: String,
    seed: u64,
    /// The answers, in the order of their numbers.
    pub choices: Vec<Choice>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were there already.
    pub cached_tokens: usize,
    /// Tokens drawn.
    pub completion_tokens: usize,
    /// Tokens of drafts that were computed.
    pub draft_tokens: usize,
    /// Of these, tokens that were drawn as the draft said.
    pub accepted_tokens: usize,
    /// Where the time went.
    pub timings: Timings,
}

impl Completion {
    /// An empty result with `count` answers.
    pub fn new(shape: Shape, model: String, seed: u64, count: usize) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        let prefix = match shape {
            Shape::Chat => "chatcmpl",
            Shape::Text => "cmpl",
        };
        Self {
            id: format!("{prefix}-{:016x}", entropy()),
            shape,
            created: created.map_or(0, |since| since.as_secs()),
            model,
            seed,
            choices: vec![Choice::default(); count],
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            draft_tokens: 0,
            accepted_tokens: 0,
            timings: Timings::default(),
        }
    }

    /// Notes why a result is not whole, where nothing said so before.
    pub fn ended(&mut self, ending: &Ending) {
        self.choices.iter_mut().for_each(|choice| choice.ended(ending));
    }

    /// OpenAI's object, with `seed` and llama-server's `timings` beside it.
    pub fn to_json(&self) -> String {
        let object = match self.shape {
            Shape::Chat => "chat.completion",
            Shape::Text => "text_completion",
        };
        let choices = self.choices.iter().enumerate();
        let choices = choices.map(|(index, choice)| choice.to_json(index, self.shape));
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices.collect::<Vec<_>>(),
            "usage": self.usage(),
            "seed": self.seed,
            "timings": self.timings_json(),
        })
        .to_string()
    }

    fn usage(&self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        });
        if self.shape == Shape::Chat {
            let reasoning: usize = self.choices.iter().map(|choice| choice.reasoning_tokens).sum();
            usage["completion_tokens_details"] = json!({"reasoning_tokens": reasoning});
        }
        usage
    }

    fn timings_json(&self) -> Value {
        // The first token belongs to the prompt's computation: n tokens are n - 1 steps.
        let steps = self.completion_tokens.saturating_sub(1);
        let computed = self.prompt_tokens - self.cached_tokens;
        let mut timings = json!({
            "queued_ms": ms(self.timings.queued),
            "cache_n": self.cached_tokens,
            "prompt_n": computed,
            "prompt_ms": ms(self.timings.prompt),
            "prompt_per_second": rate(computed, self.timings.prompt),
            "predicted_n": self.completion_tokens,
            "predicted_ms": ms(self.timings.predicted),
            "predicted_per_second": rate(steps, self.timings.predicted),
        });
        if self.draft_tokens > 0 {
            timings["draft_n"] = json!(self.draft_tokens);
            timings["draft_n_accepted"] = json!(self.accepted_tokens);
        }
        timings
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    (count as f64 / time.as_secs_f64() * 100.0).round() / 100.0
}

/// 64 bits that differ from call to call and process to process; not for secrets.
pub(super) fn entropy() -> u64 {
    // The standard library keys each RandomState anew, from the system's random numbers.
    RandomState::new().build_hasher().finish()
}
