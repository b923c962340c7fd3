//! One running generation: its tokens, its place in the KV cache, its text.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use super::completion::Completion;
use super::event::{Body, Ending, Event};
use super::intake::Work;
use super::job::{Job, Outcome};
use crate::backend::{BatchToken, Limits, Vocab};
use crate::chat::TextFilter;
use crate::error::{Error, ErrorKind};
use crate::sampling::{Params, Sampler};

/// What the prompt is when it reaches the worker.
pub(super) enum Input {
    /// A text; `special` lets the model add the tokens it wants around it.
    Text { text: String, special: bool },
    /// Token ids, checked against the vocabulary.
    Tokens(Vec<u32>),
}

/// A generation on its way to a slot. Dropped unfinished, it ends its job: no job is left without an end.
pub(super) struct Task {
    pub(super) job: Arc<Job>,
    pub(super) input: Input,
    pub(super) params: Params,
    pub(super) seed: u64,
    pub(super) stop: Vec<String>,
    pub(super) max_tokens: usize,
    pub(super) completion: Completion,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.job.abandon();
    }
}

impl Work for Task {
    fn job(&self) -> &Arc<Job> {
        &self.job
    }
}

/// A generation in a slot.
pub(super) struct Slot {
    task: Task,
    sequence: u32,
    tokens: Vec<u32>,
    n_prompt: usize,
    /// Tokens whose keys and values are in the KV cache: a prefix of `tokens`, never all.
    n_past: usize,
    sampler: Sampler,
    filter: TextFilter,
    admitted: Instant,
    first_token: Option<Instant>,
}

impl Slot {
    /// Puts `task` with its prompt's `tokens`, at least one, into `sequence`.
    pub(super) fn new(mut task: Task, tokens: Vec<u32>, sequence: u32, admitted: Instant) -> Self {
        let mut sampler = Sampler::new(std::mem::take(&mut task.params), task.seed);
        for &token in &tokens {
            sampler.accept(token);
        }
        task.completion.prompt_tokens = tokens.len();
        task.completion.timings.queued = admitted - task.job.started();
        Self {
            sequence,
            n_prompt: tokens.len(),
            n_past: 0,
            sampler,
            filter: TextFilter::new(std::mem::take(&mut task.stop)),
            admitted,
            first_token: None,
            tokens,
            task,
        }
    }

    /// Whether the request asks for no tokens at all: its prompt's length was the question.
    pub(super) fn wants_nothing(&self) -> bool {
        self.task.max_tokens == 0
    }

    /// Ends a job that [`wants_nothing`](Self::wants_nothing).
    pub(super) fn finish_empty(mut self) {
        self.task.completion.finish_reason = Some("length");
        self.finish(Ending::Done);
    }

    pub(super) fn admitted(&self) -> Instant {
        self.admitted
    }

    pub(super) fn job(&self) -> &Job {
        &self.task.job
    }

    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Tokens that are not in the KV cache yet: more than one is a prompt to prefill.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.n_past
    }

    /// Appends the next `count` pending tokens to `batch`; true when logits will come of it.
    pub(super) fn batch(&self, count: usize, batch: &mut Vec<BatchToken>) -> bool {
        let end = self.n_past + count;
        for position in self.n_past..end {
            batch.push(BatchToken {
                token: self.tokens[position],
                position: position as u32,
                sequence: self.sequence,
                output: position + 1 == self.tokens.len(),
            });
        }
        end == self.tokens.len()
    }

    /// `count` more tokens are in the KV cache. Tells the reader of a long prompt how far it is.
    pub(super) fn decoded(&mut self, count: usize) {
        self.n_past += count;
        if self.n_past < self.n_prompt {
            let progress = self.n_past as f32 / self.n_prompt as f32;
            self.task.job.push_progress(progress);
        }
    }

    /// The KV cache holds only the first `count` tokens.
    pub(super) fn rewound(&mut self, count: usize) {
        self.n_past = count;
    }

    pub(super) fn n_past(&self) -> usize {
        self.n_past
    }

    /// Draws the next token from `logits`, computed at `at`. Returns the ending if that was the last.
    pub(super) fn advance(
        &mut self,
        logits: &mut [f32],
        vocab: &Vocab,
        limits: Limits,
        at: Instant,
    ) -> Option<Ending> {
        let first = *self.first_token.get_or_insert(at);
        self.task.completion.timings.prompt = first - self.admitted;
        self.task.completion.timings.predicted = at - first;
        let Some(token) = self.sampler.sample(logits) else {
            let message = "the model computed no usable logits; the file may be damaged";
            return Some(Ending::Failed(Error::new(ErrorKind::Backend, message)));
        };
        if vocab.is_end_of_generation(token) {
            return Some(self.end("stop", at));
        }
        self.sampler.accept(token);
        self.tokens.push(token);
        self.task.completion.completion_tokens += 1;
        let chunk = self.filter.push(vocab.piece(token));
        self.say(Some(token), chunk.text, at);
        if chunk.stopped {
            return Some(self.end("stop", at));
        }
        let full = self.tokens.len() >= limits.n_ctx as usize;
        let enough = self.task.completion.completion_tokens >= self.task.max_tokens;
        (full || enough).then(|| self.end("length", at))
    }

    fn end(&mut self, reason: &'static str, at: Instant) -> Ending {
        self.task.completion.finish_reason = Some(reason);
        self.flush(at);
        Ending::Done
    }

    /// Hands out the text that was held back while a character or a stop string was undecided.
    fn flush(&mut self, at: Instant) {
        let rest = self.filter.finish();
        if !rest.is_empty() {
            self.say(None, rest, at);
        }
    }

    fn say(&mut self, id: Option<u32>, text: String, at: Instant) {
        self.task.completion.content.push_str(&text);
        let body = Body::Token { id, text };
        self.task.job.push(Event { body, at });
    }

    /// Ends the job.
    pub(super) fn finish(mut self, ending: Ending) {
        if ending != Ending::Done {
            self.flush(Instant::now());
        }
        let completion = self.task.completion.clone();
        self.task.job.finish(ending, Some(Outcome::Completion(Box::new(completion))));
    }
}
