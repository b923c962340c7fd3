//! The output of a response as its items come, and the events that tell of them.
#![forbid(unsafe_code)]

use std::sync::Arc;

use serde_json::{json, Value};

use super::items::output_text;
use super::request::Asked;
use crate::app::App;
use crate::error::ApiError;
use crate::fluid::{Event, Kind};
use crate::routes::chunks::quoted;
use crate::routes::stream::{new_id, now, Out, Writer};
use crate::sse;

/// Writes one response.
pub(super) struct Output {
    response: Value,
    /// The number of the next event.
    sequence: u64,
    with_logprobs: bool,
    open: Option<Open>,
    keeper: Option<Keeper>,
}

/// Where the response is kept when it is complete.
pub(super) struct Keeper {
    pub(super) app: Arc<App>,
    /// The conversation before it.
    pub(super) items: Vec<Value>,
}

/// The item that grows.
struct Open {
    kind: OpenKind,
    id: String,
    /// Its text, or a call's arguments.
    text: String,
    logprobs: Vec<Value>,
}

enum OpenKind {
    Reasoning,
    Message,
    Call { call_id: Value, name: Value },
}

impl Open {
    fn new(kind: OpenKind) -> Self {
        let id = new_id(match kind {
            OpenKind::Reasoning => "rs_",
            OpenKind::Message => "msg_",
            OpenKind::Call { .. } => "fc_",
        });
        Self { kind, id, text: String::new(), logprobs: Vec::new() }
    }

    /// Its only part, unless it is a call.
    fn part(&self) -> Option<Value> {
        match self.kind {
            OpenKind::Reasoning => Some(json!({"type": "reasoning_text", "text": self.text})),
            OpenKind::Message => {
                let mut part = output_text(&self.text);
                part["logprobs"] = json!(self.logprobs);
                Some(part)
            }
            OpenKind::Call { .. } => None,
        }
    }

    fn item(&self, status: &str, content: Vec<Value>) -> Value {
        let id = &self.id;
        match &self.kind {
            OpenKind::Reasoning => json!({
                "id": id, "type": "reasoning", "summary": [], "content": content, "status": status,
            }),
            OpenKind::Message => json!({
                "id": id, "type": "message", "status": status, "role": "assistant",
                "content": content,
            }),
            OpenKind::Call { call_id, name } => json!({
                "id": id, "type": "function_call", "status": status, "call_id": call_id,
                "name": name, "arguments": self.text,
            }),
        }
    }
}

impl Output {
    pub(super) fn new(model: &str, asked: Asked, keeper: Option<Keeper>) -> Self {
        let mut response = asked.response;
        response["model"] = model.into();
        Self { response, sequence: 0, with_logprobs: asked.with_logprobs, open: None, keeper }
    }

    /// What there is so far.
    pub(super) fn into_response(self) -> Value {
        self.response
    }

    fn index(&self) -> usize {
        self.response["output"].as_array().map_or(0, Vec::len)
    }

    fn tell(&mut self, name: &str, fields: Value, out: &mut Out) {
        let mut event = json!({"type": name, "sequence_number": self.sequence});
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.sequence += 1;
        out.push_back(sse::named(name, event.to_string()));
    }

    fn tell_response(&mut self, name: &str, out: &mut Out) {
        let response = self.response.clone();
        self.tell(name, json!({"response": response}), out);
    }

    /// Begins an item, unless one of its kind is open already.
    fn open(&mut self, kind: OpenKind, out: &mut Out) {
        let is_same = matches!(
            (&kind, self.open.as_ref().map(|open| &open.kind)),
            (OpenKind::Reasoning, Some(OpenKind::Reasoning))
                | (OpenKind::Message, Some(OpenKind::Message))
        );
        if is_same {
            return;
        }
        self.close("completed", out);
        let (open, index) = (Open::new(kind), self.index());
        let item = open.item("in_progress", Vec::new());
        self.tell("response.output_item.added", json!({"output_index": index, "item": item}), out);
        if let Some(part) = open.part() {
            let fields = json!({
                "item_id": open.id, "output_index": index, "content_index": 0, "part": part,
            });
            self.tell("response.content_part.added", fields, out);
        }
        self.open = Some(open);
    }

    /// Ends the item that is open.
    fn close(&mut self, status: &str, out: &mut Out) {
        let Some(mut open) = self.open.take() else { return };
        let (index, id) = (self.index(), open.id.clone());
        let place = json!({"item_id": id, "output_index": index});
        let in_part = json!({"item_id": id, "output_index": index, "content_index": 0});
        let part = open.part();
        let (name, at, more) = match &open.kind {
            OpenKind::Reasoning => {
                ("response.reasoning_text.done", in_part.clone(), json!({"text": open.text}))
            }
            OpenKind::Message => {
                let fields =
                    json!({"text": open.text, "logprobs": std::mem::take(&mut open.logprobs)});
                ("response.output_text.done", in_part.clone(), fields)
            }
            OpenKind::Call { name, .. } => {
                let fields = json!({"name": name, "arguments": open.text});
                ("response.function_call_arguments.done", place, fields)
            }
        };
        self.tell(name, joined(at, more), out);
        if let Some(part) = &part {
            self.tell("response.content_part.done", joined(in_part, json!({"part": part})), out);
        }
        let item = open.item(status, part.into_iter().collect());
        self.tell("response.output_item.done", json!({"output_index": index, "item": item}), out);
        if let Some(output) = self.response["output"].as_array_mut() {
            output.push(item);
        }
    }

    /// More of the text that is open. Written as text, for it comes with each token.
    fn text(&mut self, name: &str, event: &Event, out: &mut Out) {
        let index = self.index();
        let Some(open) = &mut self.open else { return };
        open.text.push_str(&event.text);
        let mut data = format!(
            r#"{{"type":"{name}","sequence_number":{},"item_id":"{}","output_index":{index},"content_index":0,"delta":{}"#,
            self.sequence,
            open.id,
            quoted(&event.text),
        );
        if matches!(open.kind, OpenKind::Message) {
            let logprobs = if self.with_logprobs { logprobs(&event.json) } else { Vec::new() };
            data.push_str(&format!(r#","logprobs":{}"#, json!(logprobs)));
            open.logprobs.extend(logprobs);
        }
        data.push('}');
        self.sequence += 1;
        out.push_back(sse::named(name, data));
    }

    fn call(&mut self, delta: &Value, out: &mut Out) {
        let function = &delta["function"];
        if delta["id"].is_string() {
            let (call_id, name) = (delta["id"].clone(), function["name"].clone());
            self.open(OpenKind::Call { call_id, name }, out);
        }
        let arguments = function["arguments"].as_str().unwrap_or_default();
        let index = self.index();
        let Some(open) = self.open.as_mut().filter(|_| !arguments.is_empty()) else { return };
        open.text.push_str(arguments);
        let fields = json!({"item_id": open.id, "output_index": index, "delta": arguments});
        self.tell("response.function_call_arguments.delta", fields, out);
    }
}

impl Writer for Output {
    fn begin(&mut self, out: &mut Out) {
        self.tell_response("response.created", out);
        self.tell_response("response.in_progress", out);
    }

    fn event(&mut self, _job: usize, event: Event, out: &mut Out) {
        // Text may be held back until a character or a stop string is decided.
        let is_empty = event.text.is_empty() && event.json.is_empty();
        match event.kind {
            Kind::Token if !is_empty => {
                self.open(OpenKind::Message, out);
                self.text("response.output_text.delta", &event, out);
            }
            Kind::Reasoning if !is_empty => {
                self.open(OpenKind::Reasoning, out);
                self.text("response.reasoning_text.delta", &event, out);
            }
            Kind::ToolCall => {
                self.call(&serde_json::from_str(&event.json).unwrap_or_default(), out);
            }
            _ => {}
        }
    }

    fn end(&mut self, _job: usize, result: &Value, out: &mut Out) {
        let reason = result["choices"][0]["finish_reason"].as_str().unwrap_or_default();
        let cut_off = match reason {
            "stop" | "tool_calls" => None,
            "length" => Some("max_output_tokens"),
            other => Some(other),
        };
        let status = if cut_off.is_none() { "completed" } else { "incomplete" };
        if self.open.is_none() && self.index() == 0 {
            self.open(OpenKind::Message, out);
        }
        self.close(status, out);
        self.response["status"] = status.into();
        self.response["completed_at"] = now().into();
        self.response["incomplete_details"] =
            cut_off.map_or(Value::Null, |reason| json!({"reason": reason}));
        self.response["usage"] = usage(&result["usage"]);
        if let Some(Keeper { app, items }) = self.keeper.take() {
            let id = self.response["id"].as_str().unwrap_or_default();
            app.kept.keep(id, &self.response, &items);
        }
        self.tell_response(&format!("response.{status}"), out);
    }

    fn fail(&mut self, error: ApiError, out: &mut Out) {
        self.close("incomplete", out);
        self.response["status"] = "failed".into();
        self.response["error"] = json!({"code": "server_error", "message": error.message});
        self.tell_response("response.failed", out);
    }
}

fn joined(mut fields: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}

/// Those of an event of a chat.
fn logprobs(json: &str) -> Vec<Value> {
    let mut parsed: Value = serde_json::from_str(json).unwrap_or_default();
    match parsed["content"].take() {
        Value::Array(tokens) => tokens,
        _ => Vec::new(),
    }
}

/// The same counts under other names.
fn usage(chat: &Value) -> Value {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let reasoning = &chat["completion_tokens_details"]["reasoning_tokens"];
    json!({
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": count(&chat["prompt_tokens_details"]["cached_tokens"]),
        },
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": count(reasoning)},
        "total_tokens": chat["total_tokens"],
    })
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
