//! From an answer's tokens to its text, its events and its part of the result.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use super::completion::{Choice, Shape};
use super::event::{Body, Event, TokenEvent};
use super::job::Job;
use super::logprobs::{self, Logprob};
use super::picker::Picked;
use crate::chat::{Chunk, TextFilter};

/// What an answer is written by.
pub(super) struct Form {
    /// Which of its job's answers it is, from 0.
    pub(super) index: usize,
    /// OpenAI's shape of its log-probabilities.
    pub(super) shape: Shape,
    /// Texts that end it.
    pub(super) stop: Vec<String>,
    /// Tokens whose text they do not end.
    pub(super) min_tokens: usize,
    /// Whether log-probabilities are noted.
    pub(super) has_logprobs: bool,
}

/// Writes one answer.
pub(super) struct Writer {
    index: usize,
    shape: Shape,
    filter: TextFilter,
    /// Tokens to come in whose text no stop string counts.
    unstoppable: usize,
    /// The prompt's text and log-probabilities, if they are to come first and have not yet.
    echo: Option<(Arc<str>, Arc<[Logprob]>)>,
    choice: Choice,
}

impl Writer {
    /// A writer of an answer that ends before the first of the stop strings.
    pub(super) fn new(form: Form) -> Self {
        let logprobs = form.has_logprobs.then(Vec::new);
        Self {
            index: form.index,
            shape: form.shape,
            filter: TextFilter::new(form.stop),
            unstoppable: form.min_tokens,
            echo: None,
            choice: Choice { logprobs, ..Choice::default() },
        }
    }

    /// The text of the prompt, and the log-probabilities of its tokens, come first.
    pub(super) fn echo(&mut self, prompt: Arc<str>, scores: Arc<[Logprob]>) {
        self.echo = Some((prompt, scores));
    }

    /// Takes a token, its bytes in `piece`, and tells the reader of `job`. True: a stop string is
    /// complete.
    pub(super) fn push(&mut self, job: &Job, picked: Picked, piece: &[u8], at: Instant) -> bool {
        let chunk = match self.unstoppable {
            0 => self.filter.push(piece),
            _ => Chunk { text: self.filter.pass(piece), stopped: false },
        };
        self.unstoppable = self.unstoppable.saturating_sub(1);
        self.say(job, Some(picked), chunk.text, at);
        chunk.stopped
    }

    /// The answer ends for `reason`.
    pub(super) fn end(&mut self, job: &Job, reason: &'static str, at: Instant) {
        self.choice.finish_reason = Some(reason);
        self.flush(job, at);
    }

    /// Hands out the text that was held back while a character or a stop string was undecided.
    pub(super) fn flush(&mut self, job: &Job, at: Instant) {
        let rest = self.filter.finish();
        if !rest.is_empty() || self.echo.is_some() {
            self.say(job, None, rest, at);
        }
    }

    /// The answer, as far as it came.
    pub(super) fn into_choice(self) -> Choice {
        self.choice
    }

    fn say(&mut self, job: &Job, picked: Option<Picked>, mut text: String, at: Instant) {
        let id = picked.as_ref().map(|picked| picked.token);
        let drawn = picked.and_then(|picked| picked.logprob);
        let logprob = drawn.as_ref().map_or(f32::NAN, Logprob::value);
        let mut scored = Vec::new();
        if let Some((prompt, scores)) = self.echo.take() {
            text.insert_str(0, &prompt);
            scored.extend_from_slice(&scores);
        }
        scored.extend(drawn);
        let json = match scored.is_empty() {
            true => String::new(),
            false => logprobs::to_json(&scored, self.shape).to_string(),
        };
        self.choice.content.push_str(&text);
        if let Some(all) = &mut self.choice.logprobs {
            all.extend(scored);
        }
        let event = TokenEvent { choice: self.index as u32, id, text, logprob, json };
        job.push(Event { body: Body::Token(event), at });
    }
}
