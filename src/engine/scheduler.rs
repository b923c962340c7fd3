//! Shares one model's native state among its jobs: who computes next, and with whom.
//!
//! Each turn computes one batch with one token of every generation that has room for it, and one
//! chunk of one prompt, in turn among the prompts.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{select, Receiver, TryRecvError};

use super::event::Ending;
use super::signal::Signal;
use super::slot::{Input, Slot, Task};
use crate::backend::{Backend, BatchToken, Decoded, Limits, Vocab};
use crate::error::{Error, ErrorKind, Result};

/// Prompt tokens of one turn while other generations run: long enough to compute well, short
/// enough that running streams barely pause.
const SHARED_CHUNK: usize = 128;

/// Characters without white space, or of nothing else. Some of llama.cpp's tokenisers match such
/// runs with std::regex, which recurses for each character: longer ones overflow the stack.
const LONGEST_WORD: usize = 64 * 1024;

/// How long paused jobs may keep others from their slots.
const GRACE: Duration = Duration::from_secs(1);

/// How long a worker without work waits before it looks around unasked.
const IDLE: Duration = Duration::from_secs(3_600);

/// Length of the longest stretch of characters that are alike.
fn longest_run(text: &str, alike: impl Fn(&char, &char) -> bool) -> usize {
    let (mut longest, mut run, mut before) = (0, 0, None);
    for character in text.chars() {
        let goes_on = before.is_some_and(|before| alike(&before, &character));
        run = if goes_on { run + 1 } else { 1 };
        longest = longest.max(run);
        before = Some(character);
    }
    longest
}

pub(super) struct Scheduler {
    backend: Box<dyn Backend>,
    limits: Limits,
    vocab: Arc<Vocab>,
    signal: Signal,
    waiting: VecDeque<Task>,
    slots: Vec<Option<Slot>>,
    /// The slot whose prompt has the next turn.
    turn: usize,
    batch: Vec<BatchToken>,
    /// Since when all slots are paused while jobs wait.
    stalled_since: Option<Instant>,
}

impl Scheduler {
    pub(super) fn new(
        backend: Box<dyn Backend>,
        limits: Limits,
        vocab: Arc<Vocab>,
        signal: Signal,
    ) -> Self {
        Self {
            backend,
            limits,
            vocab,
            signal,
            waiting: VecDeque::new(),
            slots: (0..limits.n_parallel).map(|_| None).collect(),
            turn: 0,
            batch: Vec::new(),
            stalled_since: None,
        }
    }

    /// Works until the signal says to shut down; jobs that are left end as cancelled.
    pub(super) fn run(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) {
        self.work(tasks, woken);
        for index in 0..self.slots.len() {
            self.retire(index, Ending::Cancelled);
        }
    }

    fn work(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) {
        loop {
            // Cleared before the jobs are looked at: a stop that comes later raises it again.
            self.signal.interrupt_flag().clear();
            if self.signal.is_shut_down() || !self.collect(tasks) {
                return;
            }
            self.retire_stopped();
            let admitted = self.admit();
            let generated = self.generate();
            let prefilled = self.prefill(generated);
            if admitted || generated || prefilled {
                self.stalled_since = None;
            } else if !self.make_way() && !self.wait(tasks, woken) {
                return;
            }
        }
    }

    /// Takes over what callers have sent. False: nobody can send any more.
    fn collect(&mut self, tasks: &Receiver<Task>) -> bool {
        loop {
            match tasks.try_recv() {
                Ok(task) => self.waiting.push_back(task),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        self.waiting.retain(|task| !task.job.is_ended());
        true
    }

    fn wait(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) -> bool {
        select! {
            recv(tasks) -> task => match task {
                Ok(task) => self.waiting.push_back(task),
                Err(_) => return false,
            },
            recv(woken) -> _ => {}
            default(self.stalled_since.map_or(IDLE, |_| GRACE)) => {}
        }
        true
    }

    fn retire_stopped(&mut self) {
        for index in 0..self.slots.len() {
            let cause = self.slots[index].as_ref().and_then(|slot| slot.job().stop_cause());
            if let Some(cause) = cause {
                self.retire(index, cause.ending());
            }
        }
    }

    /// Ends the generation in slot `index` and frees the slot.
    fn retire(&mut self, index: usize, ending: Ending) {
        if let Some(slot) = self.slots[index].take() {
            self.backend.truncate(slot.sequence(), 0);
            slot.finish(ending);
        }
    }

    /// Puts the first waiting task into a free slot, if there is one. One at a turn: tokenising a
    /// long text takes its time. False: nothing to do.
    fn admit(&mut self) -> bool {
        let Some(index) = self.slots.iter().position(Option::is_none) else {
            return false;
        };
        let Some(task) = self.waiting.pop_front() else {
            return false;
        };
        let admitted = Instant::now();
        // Before the job is admitted, so that a stop ends it on the spot: a text of megabytes
        // takes longer to tokenise than a cancel may take, and nothing can interrupt it.
        let tokens = self.tokens(&task);
        if !task.job.admit() {
            return true;
        }
        match tokens {
            Ok(tokens) => self.start(index, Slot::new(task, tokens, index as u32, admitted)),
            Err(error) => {
                task.job.finish(Ending::Failed(error), None);
            }
        }
        true
    }

    /// When jobs have waited for `GRACE` behind running ones whose readers are all slow: lets the
    /// oldest run on without bound, for its reader may read the others first. False: not now.
    fn make_way(&mut self) -> bool {
        if self.waiting.is_empty() {
            self.stalled_since = None;
            return false;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        if since.elapsed() < GRACE {
            return false;
        }
        self.stalled_since = None;
        let oldest = self.slots.iter().flatten().min_by_key(|slot| slot.admitted());
        oldest.inspect(|slot| slot.job().lift_bound()).is_some()
    }

    fn start(&mut self, index: usize, slot: Slot) {
        if slot.wants_nothing() {
            slot.finish_empty();
        } else {
            self.slots[index] = Some(slot);
        }
    }

    /// The prompt's tokens: at least one, and room for at least one more.
    fn tokens(&mut self, task: &Task) -> Result<Vec<u32>> {
        let tokens = match &task.input {
            Input::Tokens(tokens) => tokens.clone(),
            Input::Text { text, special } => {
                self.check_text(text)?;
                self.backend.tokenize(text, *special)?
            }
        };
        if tokens.is_empty() {
            return Err(Error::invalid_request(
                "prompt",
                "has no tokens; give a text that is not empty",
            ));
        }
        if tokens.len() >= self.limits.n_ctx as usize {
            let message = format!(
                "the prompt has {} tokens, the context holds {}; shorten it or load the model with a larger n_ctx",
                tokens.len(),
                self.limits.n_ctx
            );
            return Err(Error::new(ErrorKind::ContextOverflow, message));
        }
        Ok(tokens)
    }

    /// Refuses a text that cannot fit, or that a tokeniser might choke on, before it is tokenised.
    fn check_text(&self, text: &str) -> Result<()> {
        let (n_ctx, longest) = (self.limits.n_ctx as usize, self.vocab.longest_piece());
        if text.len() / longest.max(1) > n_ctx {
            let message = format!(
                "the prompt has {} bytes, more than {n_ctx} tokens of context can hold; shorten it or load the model with a larger n_ctx",
                text.len()
            );
            return Err(Error::new(ErrorKind::ContextOverflow, message));
        }
        let of_a_kind = |a: &char, b: &char| a.is_whitespace() == b.is_whitespace();
        match longest_run(text, of_a_kind) {
            run if run > LONGEST_WORD => Err(Error::invalid_request(
                "prompt",
                format!("has a word of {run} characters; split words of more than {LONGEST_WORD}"),
            )),
            _ => Ok(()),
        }
    }

    /// One token for every generation that has room for it. False: there was none.
    fn generate(&mut self) -> bool {
        self.batch.clear();
        let limit = self.limits.n_batch as usize;
        let mut rows = Vec::with_capacity(self.slots.len().min(limit));
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot else { continue };
            if slot.pending() == 1 && rows.len() < limit && slot.job().has_room() {
                slot.batch(1, &mut self.batch);
                rows.push(index);
            }
        }
        if rows.is_empty() {
            return false;
        }
        if self.compute(&rows) {
            self.draw(&rows, 1);
        }
        true
    }

    /// A chunk of the next prompt in turn. False: there was none.
    fn prefill(&mut self, sharing: bool) -> bool {
        let count = self.slots.len();
        let next = (0..count).map(|step| (self.turn + step) % count).find(|&index| {
            let slot = self.slots[index].as_ref();
            slot.is_some_and(|slot| slot.pending() > 1 && slot.job().has_room())
        });
        let Some(index) = next else { return false };
        self.turn = (index + 1) % count;
        let limit = self.limits.n_batch as usize;
        let limit = if sharing { limit.min(SHARED_CHUNK) } else { limit };
        self.batch.clear();
        if let Some(slot) = &self.slots[index] {
            let chunk = slot.pending().min(limit);
            let complete = slot.batch(chunk, &mut self.batch);
            if self.compute(&[index]) {
                if complete {
                    self.draw(&[index], chunk);
                } else if let Some(slot) = &mut self.slots[index] {
                    slot.decoded(chunk);
                }
            }
        }
        true
    }

    /// Computes the batch of slots `rows`. False: interrupted, or failed and the slots are retired.
    fn compute(&mut self, rows: &[usize]) -> bool {
        match self.backend.decode(&self.batch) {
            Ok(Decoded::Done) => true,
            Ok(Decoded::Interrupted) => {
                for &index in rows {
                    self.rewind(index);
                }
                false
            }
            Err(error) => {
                for &index in rows {
                    self.retire(index, Ending::Failed(error.clone()));
                }
                false
            }
        }
    }

    /// Takes an interrupted batch out of the KV cache again, so that it can be computed anew.
    fn rewind(&mut self, index: usize) {
        if let Some(slot) = &mut self.slots[index] {
            let kept = slot.n_past();
            if !self.backend.truncate(slot.sequence(), kept as u32) {
                slot.rewound(0);
            }
        }
    }

    /// Draws a token for each of `rows`; the last `count` batch entries of each gave its logits.
    fn draw(&mut self, rows: &[usize], count: usize) {
        let at = Instant::now();
        for (row, &index) in rows.iter().enumerate() {
            let Some(slot) = &mut self.slots[index] else { continue };
            slot.decoded(count);
            let ending = match self.backend.logits((row + 1) * count - 1) {
                Ok(logits) => slot.advance(logits, &self.vocab, self.limits, at),
                Err(error) => Some(Ending::Failed(error)),
            };
            if let Some(ending) = ending {
                self.retire(index, ending);
            }
        }
    }
}
