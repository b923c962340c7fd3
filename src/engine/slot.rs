//! One running generation: its tokens, its place in the KV cache, its text.
#![forbid(unsafe_code)]

mod drafts;

use std::time::{Duration, Instant};

use super::adapters::AdapterSet;
use super::event::Ending;
use super::job::Job;
use super::kv::Prefix;
use super::logprobs::Scorer;
use super::picker::{Picker, Rules};
use super::scoring::Scoring;
use super::speculation::Speculation;
use super::state_file::Saved;
use super::states::{Save, COMPUTED};
use super::task::Task;
use super::writer::{Form, Writer};
use crate::backend::{BatchToken, Limits, Vocab};

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
    pub(super) task: Task,
    /// Its place in the KV cache, while it has one.
    sequence: u32,
    pub(super) tokens: Vec<u32>,
    pub(super) n_prompt: usize,
    /// Tokens whose keys and values are in the KV cache: a prefix of `tokens`, never all.
    n_past: usize,
    /// Lengths of the prompt at which a copy of the state is kept, in rising order.
    marks: Vec<usize>,
    picker: Picker,
    speculation: Option<Speculation>,
    pub(super) writer: Writer,
    /// What the prompt's tokens are scored by, while they are.
    pub(super) scoring: Option<Scoring>,
    /// Tokens drawn.
    drawn: usize,
    pub(super) admitted: Instant,
    seated: bool,
    /// Since when its reader's queue is full.
    stalled: Option<Instant>,
    /// Its prompt is computed.
    begun: bool,
}

impl Slot {
    /// Puts `task` together with its prompt's `tokens`, at least one.
    pub(super) fn new(mut task: Task, tokens: Vec<u32>, vocab: &Vocab, admitted: Instant) -> Self {
        let form = Form {
            index: task.choice,
            shape: task.shape,
            stop: std::mem::take(&mut task.stop),
            reading: std::mem::take(&mut task.reading),
            min_tokens: task.min_tokens,
            has_logprobs: task.logprobs.is_some(),
        };
        let mut scorer = task.logprobs.map(Scorer::new);
        if let Some(scorer) = &mut scorer {
            scorer.skip(task.prompt_text.chars().count());
        }
        let top = task.logprobs.filter(|_| task.scores_prompt());
        let params = std::mem::take(&mut task.params);
        let rules = Rules { bans: task.bans.clone(), grammar: task.grammar.take(), scorer };
        Self {
            sequence: 0,
            n_prompt: tokens.len(),
            n_past: 0,
            marks: Vec::new(),
            picker: Picker::new(params, task.seed, &tokens, rules),
            speculation: task.drafting.map(Speculation::new),
            writer: Writer::new(form),
            scoring: top.map(|top| Scoring::new(top, tokens[0], vocab)),
            drawn: 0,
            admitted,
            seated: false,
            stalled: None,
            begun: false,
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
            if self.task.choice == 0 {
                self.task.answers.note_slot(self.admitted - self.task.job.started(), held);
            }
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

    pub(super) fn adapters(&self) -> &AdapterSet {
        &self.task.adapters
    }

    /// What its computation begins with, for another that may begin alike.
    pub(super) fn prefix(&self) -> Prefix<'_> {
        Prefix { tokens: self.shareable(), adapters: &self.task.adapters }
    }

    pub(super) fn caches_prompt(&self) -> bool {
        self.task.cache_prompt
    }

    /// Whether it begins with what was computed before: at least by the first of its job's answers.
    pub(super) fn takes_over(&self) -> bool {
        self.task.cache_prompt || self.task.choice > 0
    }

    /// Whether the first of its job's answers still computes their prompt.
    pub(super) fn awaits_prompt(&self) -> bool {
        self.task.choice > 0 && !self.task.answers.has_prompt()
    }

    /// Whether the request asks for no tokens at all: its prompt's length was the question.
    pub(super) fn wants_nothing(&self) -> bool {
        self.task.max_tokens == 0 && !self.saves() && !self.task.shows_scores()
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
        let now = Instant::now();
        self.begin(now);
        let ending = self.end("length", now);
        self.finish(ending);
    }

    pub(super) fn job(&self) -> &Job {
        &self.task.job
    }

    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Whether it has something to compute, and its reader room for what comes of it.
    pub(super) fn is_ready(&self) -> bool {
        self.task.job.has_room() && self.pending() > 0
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

    /// Appends the next `count` pending tokens and the draft to `batch`.
    pub(super) fn batch(&self, count: usize, batch: &mut Vec<BatchToken>) {
        let end = self.n_past + count;
        for position in self.n_past..end {
            batch.push(BatchToken {
                token: self.tokens[position],
                position: position as u32,
                sequence: self.sequence,
                output: position + 1 == self.tokens.len() || self.wants_score(position),
            });
        }
        batch.extend((end as u32..).zip(self.draft()).map(|(position, &token)| BatchToken {
            token,
            position,
            sequence: self.sequence,
            output: true,
        }));
    }

    /// `count` more tokens are in the KV cache. Tells the reader of a long prompt how far it is.
    pub(super) fn decoded(&mut self, count: usize) {
        self.n_past += count;
        self.speculation.iter_mut().for_each(Speculation::computed);
        if self.n_past < self.n_prompt && !self.begun && self.task.choice == 0 {
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
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(at);
        }
        if self.task.max_tokens == 0 {
            return Step::End(self.end("length", at));
        }
        self.task.answers.note_token(at);
        if let Some(tokens) = self.writer.due() {
            self.picker.force(&tokens);
        }
        let picked = match self.picker.pick(logits, vocab) {
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
        self.drawn += 1;
        let is_stopped = self.writer.push(&self.task.job, picked, vocab.piece(token), at);
        if is_stopped || self.picker.is_complete() {
            return Step::End(self.end("stop", at));
        }
        let is_full = self.tokens.len() >= limits.n_ctx as usize;
        let is_enough = self.drawn >= self.task.max_tokens;
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

    /// Goes on as `state`, computed with `adapters`, on its way to a file; it
    /// [`saves`](Self::saves).
    pub(super) fn into_save(mut self, state: Vec<u8>, adapters: String) -> Save {
        let path = self.task.save.clone().unwrap_or_default();
        self.tokens.truncate(self.n_past);
        Save { task: self.task, path, saved: Saved { tokens: self.tokens, state, adapters } }
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
        if let Some(speculation) = &self.speculation {
            self.task.answers.note_drafts(speculation.drafted, speculation.accepted);
        }
        let choice = self.writer.into_choice();
        self.task.answers.finish(self.task.choice, choice, self.drawn, ending);
    }
}
