//! From an answer's tokens to its text, its events and its part of the result.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{json, Value};

use super::completion::{entropy, Choice, ToolCall};
use super::event::{Body, Event, Part, TokenEvent};
use super::job::Job;
use super::picker::Picked;
use crate::chat::{AnswerParser, Delta, Forms, TextFilter};

/// How an answer is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// What is looked for in it.
    pub(super) forms: Forms,
    /// The texts of control tokens that count as text.
    pub(super) markers: Arc<BTreeMap<u32, String>>,
    /// Tokens of reasoning after which `close` is due.
    pub(super) budget: Option<usize>,
    /// The tokens that end the reasoning.
    pub(super) close: Arc<[u32]>,
}

/// Writes one answer.
pub(super) struct Writer {
    /// From bytes to whole characters.
    characters: TextFilter,
    parser: AnswerParser,
    /// Stop strings, which count in the content only.
    stops: TextFilter,
    reading: Reading,
    choice: Choice,
    is_stopped: bool,
    is_closed: bool,
}

impl Writer {
    /// A writer of an answer whose content ends before the first of the `stop` strings.
    pub(super) fn new(stop: Vec<String>, mut reading: Reading) -> Self {
        reading.forms.ids = entropy();
        Self {
            characters: TextFilter::new(Vec::new()),
            parser: AnswerParser::new(std::mem::take(&mut reading.forms)),
            stops: TextFilter::new(stop),
            reading,
            choice: Choice::default(),
            is_stopped: false,
            is_closed: false,
        }
    }

    /// Takes a token, its bytes in `piece`, and tells the reader of `job`. True: a stop string is
    /// complete.
    pub(super) fn push(&mut self, job: &Job, picked: Picked, piece: &[u8], at: Instant) -> bool {
        let piece = self.reading.markers.get(&picked.token).map_or(piece, |text| text.as_bytes());
        let was_reasoning = self.parser.is_reasoning();
        let text = self.characters.push(piece).text;
        let deltas = self.parser.push(&text);
        if was_reasoning || self.parser.is_reasoning() {
            self.choice.reasoning_tokens += 1;
        }
        self.tell(job, Some(picked), deltas, at);
        self.is_stopped
    }

    /// The tokens that have to come next, once the reasoning's budget is spent.
    pub(super) fn due(&mut self) -> Option<Arc<[u32]>> {
        let spent =
            self.reading.budget.is_some_and(|budget| self.choice.reasoning_tokens >= budget);
        // In the midst of a character they would spoil it.
        let is_due = spent && self.parser.is_reasoning() && self.characters.is_whole();
        (is_due && !std::mem::replace(&mut self.is_closed, true))
            .then(|| Arc::clone(&self.reading.close))
    }

    /// The answer ends for `reason`.
    pub(super) fn end(&mut self, job: &Job, reason: &'static str, at: Instant) {
        self.flush(job, at);
        let has_called = reason == "stop" && !self.choice.calls.is_empty();
        self.choice.finish_reason = Some(if has_called { "tool_calls" } else { reason });
    }

    /// Hands out the text that was held back while a character, a stop string or markup was
    /// undecided.
    pub(super) fn flush(&mut self, job: &Job, at: Instant) {
        if self.is_stopped {
            return;
        }
        let rest = self.characters.finish();
        let mut deltas = self.parser.push(&rest);
        deltas.extend(self.parser.finish());
        self.tell(job, None, deltas, at);
        let rest = self.stops.finish();
        if !rest.is_empty() {
            self.say(job, None, Part::Content, rest, String::new(), at);
        }
        self.is_stopped = true;
    }

    /// The answer, as far as it came.
    pub(super) fn into_choice(self) -> Choice {
        self.choice
    }

    /// Each token makes one event at least; where it makes several, the first has its id.
    fn tell(&mut self, job: &Job, mut picked: Option<Picked>, deltas: Vec<Delta>, at: Instant) {
        for delta in deltas {
            let (part, text, json) = match delta {
                Delta::Reasoning(text) => (Part::Reasoning, text, String::new()),
                Delta::Content(text) => {
                    let chunk = self.stops.push(text.as_bytes());
                    self.is_stopped |= chunk.stopped;
                    (Part::Content, chunk.text, String::new())
                }
                Delta::Call { index, id, name } => {
                    let function = json!({"name": name, "arguments": ""});
                    let json =
                        json!({"index": index, "id": id, "type": "function", "function": function});
                    self.choice.calls.push(ToolCall { id, name, arguments: String::new() });
                    (Part::ToolCall, String::new(), json.to_string())
                }
                Delta::Arguments { index, text } => {
                    if let Some(call) = self.choice.calls.get_mut(index) {
                        call.arguments.push_str(&text);
                    }
                    let json: Value = json!({"index": index, "function": {"arguments": text}});
                    (Part::ToolCall, String::new(), json.to_string())
                }
            };
            if !text.is_empty() || !json.is_empty() {
                self.say(job, picked.take(), part, text, json, at);
            }
            if self.is_stopped {
                break;
            }
        }
        if picked.is_some() {
            self.say(job, picked, Part::Content, String::new(), String::new(), at);
        }
    }

    fn say(
        &mut self,
        job: &Job,
        picked: Option<Picked>,
        part: Part,
        text: String,
        json: String,
        at: Instant,
    ) {
        match part {
            Part::Content => self.choice.content.push_str(&text),
            Part::Reasoning => self.choice.reasoning.push_str(&text),
            Part::ToolCall => {}
        }
        let event = TokenEvent {
            choice: 0,
            part,
            id: picked.map(|picked| picked.token),
            text,
            logprob: picked.map_or(f32::NAN, |picked| picked.logprob),
            json,
        };
        let event = Event { body: Body::Token(event), at };
        match picked {
            Some(_) => job.push(event),
            None => job.push_further(event),
        }
    }
}
