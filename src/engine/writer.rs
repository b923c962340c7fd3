//! From an answer's tokens to its text, its events and its part of the result.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::completion::Choice;
use super::event::{Body, Event, TokenEvent};
use super::job::Job;
use super::picker::Picked;
use crate::chat::TextFilter;

/// Writes one answer.
pub(super) struct Writer {
    filter: TextFilter,
    choice: Choice,
}

impl Writer {
    /// A writer of an answer that ends before the first of the `stop` strings.
    pub(super) fn new(stop: Vec<String>) -> Self {
        Self { filter: TextFilter::new(stop), choice: Choice::default() }
    }

    /// Takes a token, its bytes in `piece`, and tells the reader of `job`. True: a stop string is
    /// complete.
    pub(super) fn push(&mut self, job: &Job, picked: Picked, piece: &[u8], at: Instant) -> bool {
        let chunk = self.filter.push(piece);
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
        if !rest.is_empty() {
            self.say(job, None, rest, at);
        }
    }

    /// The answer, as far as it came.
    pub(super) fn into_choice(self) -> Choice {
        self.choice
    }

    fn say(&mut self, job: &Job, picked: Option<Picked>, text: String, at: Instant) {
        self.choice.content.push_str(&text);
        let event = TokenEvent {
            choice: 0,
            id: picked.map(|picked| picked.token),
            text,
            logprob: picked.map_or(f32::NAN, |picked| picked.logprob),
            json: String::new(),
        };
        job.push(Event { body: Body::Token(event), at });
    }
}
