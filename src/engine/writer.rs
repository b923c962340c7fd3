//! From an answer's tokens to its text, its events and its part of the result.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::completion::{entropy, Choice, Shape, ToolCall};
use super::event::{Body, Event, Part, TokenEvent};
use super::job::Job;
use super::logprobs::{self, Logprob};
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

/// What an answer is written by.
pub(super) struct Form {
    /// Which of its job's answers it is, from 0.
    pub(super) index: usize,
    /// OpenAI's shape of its log-probabilities.
    pub(super) shape: Shape,
    /// Texts that end its content.
    pub(super) stop: Vec<String>,
    pub(super) reading: Reading,
    /// Tokens whose text they do not end.
    pub(super) min_tokens: usize,
    /// Whether log-probabilities are noted.
    pub(super) has_logprobs: bool,
}

/// Writes one answer.
pub(super) struct Writer {
    index: usize,
    shape: Shape,
    /// From bytes to whole characters.
    characters: TextFilter,
    parser: AnswerParser,
    /// Stop strings, which count in the content only.
    stops: TextFilter,
    /// Tokens to come in whose text no stop string counts.
    unstoppable: usize,
    reading: Reading,
    /// The prompt's text and log-probabilities, if they are to come first and have not yet.
    echo: Option<(Arc<str>, Arc<[Logprob]>)>,
    choice: Choice,
    is_stopped: bool,
    is_closed: bool,
}

/// A piece of the answer for its reader.
struct Said {
    part: Part,
    text: String,
    json: String,
}

impl Said {
    fn text(part: Part, text: String) -> Self {
        Self { part, text, json: String::new() }
    }
}

impl Writer {
    pub(super) fn new(mut form: Form) -> Self {
        let logprobs = form.has_logprobs.then(Vec::new);
        form.reading.forms.ids = entropy();
        Self {
            index: form.index,
            shape: form.shape,
            characters: TextFilter::new(Vec::new()),
            parser: AnswerParser::new(std::mem::take(&mut form.reading.forms)),
            stops: TextFilter::new(form.stop),
            unstoppable: form.min_tokens,
            reading: form.reading,
            echo: None,
            choice: Choice { logprobs, ..Choice::default() },
            is_stopped: false,
            is_closed: false,
        }
    }

    /// The text of the prompt, and the log-probabilities of its tokens, come first.
    pub(super) fn echo(&mut self, prompt: Arc<str>, scores: Arc<[Logprob]>) {
        self.echo = Some((prompt, scores));
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
        self.unstoppable = self.unstoppable.saturating_sub(1);
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
        if !rest.is_empty() || self.echo.is_some() {
            self.say(job, None, Said::text(Part::Content, rest), at);
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
            let said = self.said(delta);
            if !said.text.is_empty() || !said.json.is_empty() {
                self.say(job, picked.take(), said, at);
            }
            if self.is_stopped {
                break;
            }
        }
        if picked.is_some() {
            self.say(job, picked, Said::text(Part::Content, String::new()), at);
        }
    }

    fn said(&mut self, delta: Delta) -> Said {
        match delta {
            Delta::Reasoning(text) => Said::text(Part::Reasoning, text),
            Delta::Content(text) if self.unstoppable > 0 => {
                Said::text(Part::Content, self.stops.pass(text.as_bytes()))
            }
            Delta::Content(text) => {
                let chunk = self.stops.push(text.as_bytes());
                self.is_stopped |= chunk.stopped;
                Said::text(Part::Content, chunk.text)
            }
            Delta::Call { index, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                let call =
                    json!({"index": index, "id": id, "type": "function", "function": function});
                self.choice.calls.push(ToolCall { id, name, arguments: String::new() });
                Said { part: Part::ToolCall, text: String::new(), json: call.to_string() }
            }
            Delta::Arguments { index, text } => {
                if let Some(call) = self.choice.calls.get_mut(index) {
                    call.arguments.push_str(&text);
                }
                let more = json!({"index": index, "function": {"arguments": text}});
                Said { part: Part::ToolCall, text: String::new(), json: more.to_string() }
            }
        }
    }

    fn say(&mut self, job: &Job, picked: Option<Picked>, said: Said, at: Instant) {
        let Said { part, mut text, mut json } = said;
        let id = picked.as_ref().map(|picked| picked.token);
        let drawn = picked.and_then(|picked| picked.logprob);
        let logprob = drawn.as_ref().map_or(f32::NAN, Logprob::value);
        let mut scored = Vec::new();
        if let Some((prompt, scores)) = self.echo.take() {
            text.insert_str(0, &prompt);
            scored.extend_from_slice(&scores);
        }
        scored.extend(drawn);
        // A call's own delta goes first; the result has its log-probabilities, too.
        if json.is_empty() && !scored.is_empty() {
            json = logprobs::to_json(&scored, self.shape).to_string();
        }
        match part {
            Part::Content => self.choice.content.push_str(&text),
            Part::Reasoning => self.choice.reasoning.push_str(&text),
            Part::ToolCall => {}
        }
        if let Some(all) = &mut self.choice.logprobs {
            all.extend(scored);
        }
        let event = TokenEvent { choice: self.index as u32, part, id, text, logprob, json };
        job.push(Event { body: Body::Token(event), at });
    }
}
