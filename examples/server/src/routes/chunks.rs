//! The chunks of a streamed answer, of a chat and in the older shape of completions.
//!
//! Written as text: a chunk is made for each token, and only the token's own text needs escaping.
#![forbid(unsafe_code)]

use std::fmt::Write;

use serde_json::{json, Value};

use super::body::Streaming;
use super::stream::{new_id, now, Out, Writer};
use crate::error::ApiError;
use crate::fluid::{Event, Kind};
use crate::sse;

/// Which of OpenAI's shapes an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `chat.completion`.
    Chat,
    /// `text_completion`.
    Text,
}

/// Writes the chunks of one answer.
pub(super) struct Chunks {
    shape: Shape,
    /// A chunk up to its choices.
    head: String,
    /// A chunk behind its choices, unless it is the last one.
    tail: &'static str,
    with_usage: bool,
    /// Choices of a job.
    n: usize,
    /// Jobs that have not ended.
    running: usize,
    /// Of a chat, the choices whose role was told.
    begun: Vec<bool>,
    /// Of all jobs.
    usage: Value,
    /// Of the one job.
    timings: Value,
}

impl Chunks {
    /// For `jobs` with `n` choices each.
    pub(super) fn new(
        shape: Shape,
        model: &str,
        streaming: Streaming,
        jobs: usize,
        n: usize,
    ) -> Self {
        let (prefix, object) = match shape {
            Shape::Chat => ("chatcmpl-", "chat.completion.chunk"),
            Shape::Text => ("cmpl-", "text_completion"),
        };
        let (id, created, model) = (new_id(prefix), now(), quoted(model));
        let head = format!(
            r#"{{"id":"{id}","object":"{object}","created":{created},"model":{model},"choices":["#
        );
        let tail = if streaming.usage { r#"],"usage":null}"# } else { "]}" };
        Self {
            shape,
            head,
            tail,
            with_usage: streaming.usage,
            n,
            running: jobs,
            begun: vec![false; jobs * n],
            usage: Value::Null,
            timings: Value::Null,
        }
    }

    /// Of a chat, who speaks comes first.
    fn role(&mut self, index: usize, out: &mut Out) {
        let is_new = self.begun.get_mut(index).is_some_and(|begun| !std::mem::replace(begun, true));
        if self.shape == Shape::Chat && is_new {
            let delta = r#"{"role":"assistant","content":"","refusal":null}"#;
            out.push_back(sse::data(self.chat(index, delta, "")));
        }
    }

    fn chat(&self, index: usize, delta: &str, logprobs: &str) -> String {
        let logprobs = if logprobs.is_empty() { "null" } else { logprobs };
        let mut chunk = self.opened(delta.len() + logprobs.len());
        // Writing to a string cannot fail.
        let _ = write!(
            chunk,
            r#"{{"index":{index},"delta":{delta},"logprobs":{logprobs},"finish_reason":null}}"#
        );
        chunk.push_str(self.tail);
        chunk
    }

    fn text(&self, index: usize, text: &str, logprobs: &str) -> String {
        let logprobs = if logprobs.is_empty() { "null" } else { logprobs };
        let text = quoted(text);
        let mut chunk = self.opened(text.len() + logprobs.len());
        let _ = write!(
            chunk,
            r#"{{"text":{text},"index":{index},"logprobs":{logprobs},"finish_reason":null}}"#
        );
        chunk.push_str(self.tail);
        chunk
    }

    fn opened(&self, more: usize) -> String {
        let mut chunk = String::with_capacity(self.head.len() + more + 96);
        chunk.push_str(&self.head);
        chunk
    }

    /// The last chunk of a choice; that of the answer's last one has the timings.
    fn last(&self, index: usize, reason: &Value, is_all: bool) -> String {
        let mut chunk = self.opened(0);
        let empty = match self.shape {
            Shape::Chat => r#""delta":{}"#,
            Shape::Text => r#""text":"""#,
        };
        let _ = write!(
            chunk,
            r#"{{"index":{index},{empty},"logprobs":null,"finish_reason":{reason}}}"#
        );
        if is_all && !self.with_usage && !self.timings.is_null() {
            let _ = write!(chunk, r#"],"timings":{}}}"#, self.timings);
        } else {
            chunk.push_str(self.tail);
        }
        chunk
    }
}

impl Writer for Chunks {
    fn event(&mut self, job: usize, event: Event, out: &mut Out) {
        let index = job * self.n + event.choice.max(0) as usize;
        let name = match event.kind {
            Kind::Token => "content",
            Kind::Reasoning => "reasoning_content",
            Kind::ToolCall => {
                self.role(index, out);
                let delta = format!(r#"{{"tool_calls":[{}]}}"#, event.json);
                return out.push_back(sse::data(self.chat(index, &delta, "")));
            }
            _ => return,
        };
        self.role(index, out);
        // Text may be held back until a character or a stop string is decided.
        if event.text.is_empty() && event.json.is_empty() {
            return;
        }
        out.push_back(sse::data(match self.shape {
            Shape::Chat => {
                let delta = format!(r#"{{"{name}":{}}}"#, quoted(&event.text));
                self.chat(index, &delta, &event.json)
            }
            Shape::Text => self.text(index, &event.text, &event.json),
        }));
    }

    fn end(&mut self, job: usize, result: &Value, out: &mut Out) {
        self.running = self.running.saturating_sub(1);
        add(&mut self.usage, &result["usage"]);
        if self.begun.len() == self.n {
            self.timings = result["timings"].clone();
        }
        let choices = result["choices"].as_array().map_or(&[][..], Vec::as_slice);
        for (place, choice) in choices.iter().enumerate() {
            let index = job * self.n + place;
            self.role(index, out);
            let is_all = self.running == 0 && place + 1 == choices.len();
            out.push_back(sse::data(self.last(index, &choice["finish_reason"], is_all)));
        }
    }

    fn fail(&mut self, error: ApiError, out: &mut Out) {
        out.push_back(sse::data(error.body().to_string()));
    }

    fn finish(&mut self, out: &mut Out) {
        if self.with_usage {
            let mut chunk = self.opened(0);
            let _ = write!(chunk, r#"],"usage":{}"#, self.usage);
            if !self.timings.is_null() {
                let _ = write!(chunk, r#","timings":{}"#, self.timings);
            }
            chunk.push('}');
            out.push_back(sse::data(chunk));
        }
        out.push_back(sse::data("[DONE]".to_owned()));
    }
}

/// `text` as a string of JSON.
pub(super) fn quoted(text: &str) -> String {
    // Every text is one.
    serde_json::to_string(text).unwrap_or_default()
}

/// Adds up the numbers of objects of the same form, such as `usage`.
fn add(sum: &mut Value, more: &Value) {
    match (&mut *sum, more) {
        (Value::Object(sum), Value::Object(more)) => {
            more.iter().for_each(|(name, more)| add(sum.entry(name).or_insert(Value::Null), more));
        }
        (_, Value::Number(more)) => {
            *sum = json!(sum.as_u64().unwrap_or(0) + more.as_u64().unwrap_or(0));
        }
        (sum, more) if sum.is_null() => *sum = more.clone(),
        _ => {}
    }
}

/// The whole answer of results that have `n` choices each, under the model's own name.
pub(super) fn whole(shape: Shape, model: &str, results: Vec<Value>) -> Value {
    let is_alone = results.len() == 1;
    let mut results = results.into_iter();
    let mut answer = results.next().unwrap_or_default();
    for mut more in results {
        let usage = more["usage"].take();
        add(&mut answer["usage"], &usage);
        if let (Value::Array(choices), Value::Array(more)) =
            (&mut answer["choices"], more["choices"].take())
        {
            choices.extend(more);
        }
    }
    answer["model"] = model.into();
    let choices = answer["choices"].as_array_mut().into_iter().flatten();
    for (index, choice) in choices.enumerate() {
        choice["index"] = index.into();
        if shape == Shape::Chat {
            choice["message"]["refusal"] = Value::Null;
        }
    }
    if let (Some(fields), true) = (answer.as_object_mut(), !is_alone) {
        // They are those of the first prompt alone.
        fields.shift_remove("timings");
    }
    answer
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
pub(super) mod tests;
