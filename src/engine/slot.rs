//! One running generation: its tokens, its place in the KV cache, its text.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::completion::Completion;
use super::event::Ending;
use super::intake::Work;
use super::job::{Job, Outcome};
use super::picker::Picker;
use super::state_file::Saved;
use super::states::{Save, COMPUTED};
use super::writer::{Reading, Writer};
use crate::backend::{BatchToken, Limits, Vocab};
use crate::error::{Error, Result};
use crate::grammar::Constraint;
use crate::request::ContextShift;
use crate::sampling::Params;

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
    pub(super) priority: i32,
    /// Whether a prefix that is there is taken over, and what is computed is kept.
    pub(super) cache_prompt: bool,
    /// What to drop when the context is full; `None` ends the answer.
    pub(super) context_shift: Option<ContextShift>,
    /// What the answer has to look like, once that is compiled.
    pub(super) grammar: Option<Constraint>,
    /// How the answer is read.
    pub(super) reading: Reading,
    pub(super) completion: Completion,
    /// A file to save the prompt's state to, all but its last token; nothing is generated then.
    pub(super) save: Option<String>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.job.abandon();
    }
}

impl Task {
    /// Its prompt's `tokens`, if there are enough of them.
    pub(super) fn check(&self, tokens: Vec<u32>) -> Result<Vec<u32>> {
        if self.save.is_some() && tokens.len() < 2 {
            let message = "has one token; a state is of all but the last, give a longer text";
            return Err(Error::invalid_request("prompt", message));
        }
        Ok(tokens)
    }
}

impl Work for Task {
    fn job(&self) -> &Arc<Job> {
        &self.job
    }
}

/// What follows a token that was drawn.
#[derive(Debug)]
pub(super) enum Step {
    /// The next one.
    More,
    /// Room in the context, then the next one.
    Shift,
    /// Nothing: that was the last.
    End(Ending),
}

/// A generation that has begun: in a slot, or waiting for one again.
pub(super) struct Slot {
    task: Task,
    /// Its place in the KV cache, while it has one.
    sequence: u32,
    tokens: Vec<u32>,
    n_prompt: usize,
    /// Tokens whose keys and values are in the KV cache: a prefix of `tokens`, never all.
    n_past: usize,
    /// Lengths of the prompt at which a copy of the state is kept, in rising order.
    marks: Vec<usize>,
    picker: Picker,
    writer: Writer,
    admitted: Instant,
    seated: bool,
    /// Since when its reader's queue is full.
    stalled: Option<Instant>,
    first_token: Option<Instant>,
}

impl Slot {
    /// Puts `task` together with its prompt's `tokens`, at least one.
    pub(super) fn new(mut task: Task, tokens: Vec<u32>, admitted: Instant) -> Self {
        task.completion.prompt_tokens = tokens.len();
        task.completion.timings.queued = admitted - task.job.started();
        Self {
            sequence: 0,
            n_prompt: tokens.len(),
            n_past: 0,
            marks: Vec::new(),
            picker: Picker::new(
                std::mem::take(&mut task.params),
                task.seed,
                &tokens,
                task.grammar.take(),
            ),
            writer: Writer::new(std::mem::take(&mut task.stop), std::mem::take(&mut task.reading)),
            admitted,
            seated: false,
            stalled: None,
            first_token: None,
            tokens,
            task,
        }
    }

    /// Gives it `sequence`, which holds its first `held` tokens.
    pub(super) fn seat(&mut self, sequence: u32, held: usize) {
        self.sequence = sequence;
        self.n_past = held;
        // It got the slot because its reader has caught up.
        self.stalled = None;
        if !std::mem::replace(&mut self.seated, true) {
            self.task.job.leave_queue();
            self.admitted = Instant::now();
            self.task.completion.timings.queued = self.admitted - self.task.job.started();
            self.task.completion.cached_tokens = held;
        }
    }

    /// Notes whether its reader keeps up.
    pub(super) fn note_stall(&mut self) {
        match self.task.job.has_room() {
            true => self.stalled = None,
            false => drop(self.stalled.get_or_insert_with(Instant::now)),
        }
    }

    /// Whether its reader has not kept up for `time`, nor does now.
    pub(super) fn is_stalled_for(&self, time: Duration) -> bool {
        let is_late = self.stalled.is_some_and(|since| since.elapsed() >= time);
        is_late && !self.task.job.has_room()
    }

    /// Its keys and values now lie in `sequence`.
    pub(super) fn move_to(&mut self, sequence: u32) {
        self.sequence = sequence;
    }

    /// Where to stop a prefill to keep a copy of the state; each below the prompt's length.
    pub(super) fn mark(&mut self, lengths: impl IntoIterator<Item = usize>) {
        let end = self.n_prompt - self.left_out();
        let ahead = lengths.into_iter().filter(|length| (self.n_past + 1..end).contains(length));
        self.marks = ahead.collect();
        self.marks.sort_unstable();
        self.marks.dedup();
    }

    /// Whether a copy of the state should be kept now; once for each mark.
    pub(super) fn is_at_mark(&mut self) -> bool {
        let reached = self.marks.first() == Some(&self.n_past);
        if reached {
            self.marks.remove(0);
        }
        reached
    }

    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(super) fn caches_prompt(&self) -> bool {
        self.task.cache_prompt
    }

    /// Whether the request asks for no tokens at all: its prompt's length was the question.
    pub(super) fn wants_nothing(&self) -> bool {
        self.task.max_tokens == 0 && !self.saves()
    }

    /// Whether it ends in a file instead of an answer.
    pub(super) fn saves(&self) -> bool {
        self.task.save.is_some()
    }

    /// Tokens at the end that are not computed: to go on from a state takes one that is not in it.
    fn left_out(&self) -> usize {
        usize::from(self.saves())
    }

    /// Ends a job that [`wants_nothing`](Self::wants_nothing).
    pub(super) fn finish_empty(mut self) {
        let ending = self.end("length", Instant::now());
        self.finish(ending);
    }

    pub(super) fn job(&self) -> &Job {
        &self.task.job
    }

    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Tokens to compute that are not in the KV cache yet: more than one is a prompt to prefill;
    /// none, a state to save.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.left_out() - self.n_past
    }

    /// How many of the pending tokens the next batch takes, at most `limit`.
    pub(super) fn chunk(&self, limit: usize) -> usize {
        let stop = self.marks.first().map_or(usize::MAX, |mark| mark - self.n_past);
        self.pending().min(limit).min(stop)
    }

    /// Appends the next `count` pending tokens to `batch`.
    pub(super) fn batch(&self, count: usize, batch: &mut Vec<BatchToken>) {
        let end = self.n_past + count;
        for position in self.n_past..end {
            batch.push(BatchToken {
                token: self.tokens[position],
                position: position as u32,
                sequence: self.sequence,
                output: position + 1 == self.tokens.len(),
            });
        }
    }

    /// `count` more tokens are in the KV cache. Tells the reader of a long prompt how far it is.
    pub(super) fn decoded(&mut self, count: usize) {
        self.n_past += count;
        if self.n_past < self.n_prompt && self.first_token.is_none() {
            let share = if self.saves() { COMPUTED } else { 1.0 };
            self.task.job.push_progress(share * self.n_past as f32 / self.n_prompt as f32);
        }
    }

    /// The KV cache holds only the first `count` tokens.
    pub(super) fn rewound(&mut self, count: usize) {
        self.n_past = count;
    }

    pub(super) fn n_past(&self) -> usize {
        self.n_past
    }

    /// Draws the next token from `logits`, computed at `at`.
    pub(super) fn advance(
        &mut self,
        logits: &mut [f32],
        vocab: &Vocab,
        limits: Limits,
        at: Instant,
    ) -> Step {
        let first = *self.first_token.get_or_insert(at);
        self.task.completion.timings.prompt = first - self.admitted;
        self.task.completion.timings.predicted = at - first;
        if let Some(tokens) = self.writer.due() {
            self.picker.force(&tokens);
        }
        let picked = match self.picker.pick(logits) {
            Ok(picked) => picked,
            Err(error) => return Step::End(Ending::Failed(error)),
        };
        let token = picked.token;
        if vocab.is_end_of_generation(token) {
            return Step::End(self.end("stop", at));
        }
        if let Err(error) = self.picker.accept(token) {
            return Step::End(Ending::Failed(error));
        }
        self.tokens.push(token);
        self.task.completion.completion_tokens += 1;
        let is_stopped = self.writer.push(&self.task.job, picked, vocab.piece(token), at);
        if is_stopped || self.picker.is_complete() {
            return Step::End(self.end("stop", at));
        }
        let is_full = self.tokens.len() >= limits.n_ctx as usize;
        let is_enough = self.task.completion.completion_tokens >= self.task.max_tokens;
        match self.task.context_shift {
            Some(_) if is_full && !is_enough => Step::Shift,
            _ if is_full || is_enough => Step::End(self.end("length", at)),
            _ => Step::More,
        }
    }

    /// Drops the oldest tokens but the first ones that are to stay, as llama-server's context
    /// shift does. Returns from where on, and how many.
    pub(super) fn forget(&mut self) -> (usize, usize) {
        let shift = self.task.context_shift.unwrap_or_default();
        let length = self.tokens.len();
        let asked = shift.n_keep.map_or(self.n_prompt, |count| count as usize);
        // The first token takes much of the attention in most models (Xiao et al. 2023).
        let keep = asked.clamp(1, length - length / 4);
        let after = length - keep;
        let drop = shift.n_discard.map_or(after / 2, |count| count as usize).clamp(1, after - 1);
        self.tokens.drain(keep..keep + drop);
        self.n_past -= drop;
        (keep, drop)
    }

    fn end(&mut self, reason: &'static str, at: Instant) -> Ending {
        self.writer.end(&self.task.job, reason, at);
        Ending::Done
    }

    /// Goes on as `state` on its way to a file; it [`saves`](Self::saves).
    pub(super) fn into_save(mut self, state: Vec<u8>) -> Save {
        let path = self.task.save.clone().unwrap_or_default();
        self.tokens.truncate(self.n_past);
        Save { task: self.task, path, saved: Saved { tokens: self.tokens, state } }
    }

    /// Ends the job.
    pub(super) fn finish(mut self, ending: Ending) {
        if self.saves() {
            self.task.job.finish(ending, None);
            return;
        }
        if ending != Ending::Done {
            self.writer.flush(&self.task.job, Instant::now());
        }
        let mut completion = self.task.completion.clone();
        completion.choices = vec![self.writer.into_choice()];
        self.task.job.finish(ending, Some(Outcome::Completion(Box::new(completion))));
    }
}
