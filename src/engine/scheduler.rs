//! Shares one model's native state among its jobs: who computes next, and with whom.
//!
//! Continuous batching (Orca, Yu et al. 2022): each turn computes one batch with one token of every
//! generation that has room for it, and with chunks of prompts, as many tokens as the running
//! streams can wait for. New jobs join at the next turn.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{select, Receiver, TryRecvError};

use super::event::Ending;
use super::kept::common;
use super::kv::{KvCache, WORTH_KEEPING};
use super::line::{Line, Turn, Waiting};
use super::pace::Pace;
use super::prompt;
use super::signal::Signal;
use super::slot::{Input, Slot, Step, Task};
use super::states::{Arrival, States};
use crate::backend::{Backend, BatchToken, Decoded, Limits, Vocab};
use crate::error::{Error, ErrorKind};

/// How long streams that run may wait for a batch with a part of somebody's prompt in it, for
/// each prompt that waits, up to so many: larger parts are computed with less effort in all.
const SHARED_TURN: Duration = Duration::from_millis(200);
const MOST_SHARED: usize = 3;

/// How long a job that comes may wait for a batch that holds prompts alone.
const OWN_TURN: Duration = Duration::from_millis(1_000);

/// The smallest part of a prompt worth a batch, and the one tried before the pace is known.
const LEAST_CHUNK: usize = 32;
const FIRST_CHUNK: usize = 64;

/// Prompt tokens of one batch after which no further prompt is begun: more would not be
/// computed faster, and the first would wait for the last.
const ENOUGH: usize = 64;

/// A batch of several jobs that is likely done in this time is not interrupted by a stop, nor is
/// one in the second time when the batch before was: others would have to compute theirs again
/// and again.
const SHORT: Duration = Duration::from_millis(25);
const SHORT_AGAIN: Duration = Duration::from_millis(60);

/// Bytes of text that one turn tokenises before the running jobs compute again.
const TOKENISED: usize = 16 * 1024;

/// Cells of the KV cache for each job to grow by, without which no further one is let in.
const ROOM_TO_GROW: usize = 32;

/// How long a worker without work waits before it looks around unasked.
const IDLE: Duration = Duration::from_secs(3_600);

/// A job's part of a batch: its next `count` tokens.
struct Row {
    turn: Turn,
    count: usize,
}

pub(super) struct Scheduler {
    backend: Box<dyn Backend>,
    limits: Limits,
    vocab: Arc<Vocab>,
    signal: Signal,
    states: Arc<States>,
    arrivals: Receiver<Arrival>,
    kv: KvCache,
    pace: Pace,
    line: Line,
    running: BTreeMap<Turn, Slot>,
    batch: Vec<BatchToken>,
    /// The oldest prompt has every second turn, the shortest one the others.
    shortest_first: bool,
    /// The batch before was interrupted.
    interrupted: bool,
    /// The next batch must not be: it moves keys in the cache.
    shifted: bool,
}

impl Scheduler {
    pub(super) fn new(
        backend: Box<dyn Backend>,
        limits: Limits,
        vocab: Arc<Vocab>,
        signal: Signal,
        (states, arrivals): (Arc<States>, Receiver<Arrival>),
    ) -> Self {
        Self {
            backend,
            limits,
            vocab,
            signal,
            states,
            arrivals,
            kv: KvCache::new(limits),
            pace: Pace::default(),
            line: Line::default(),
            running: BTreeMap::new(),
            batch: Vec::new(),
            shortest_first: false,
            interrupted: false,
            shifted: false,
        }
    }

    /// Works until the signal says to shut down; jobs that are left end as cancelled.
    pub(super) fn run(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) {
        self.work(tasks, woken);
        let running = std::mem::take(&mut self.running).into_values();
        for slot in running.chain(self.line.clear()) {
            slot.finish(Ending::Cancelled);
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
            self.close_gap();
            let computed = self.take_turn();
            let handed_over = self.hand_over();
            if !admitted && !computed && !handed_over && !self.wait(tasks, woken) {
                return;
            }
        }
    }

    /// Takes over what callers have sent. False: nobody can send any more.
    fn collect(&mut self, tasks: &Receiver<Task>) -> bool {
        while let Ok(arrival) = self.arrivals.try_recv() {
            arrival.arrive(|saved| self.kv.bring(saved.tokens, saved.state));
        }
        loop {
            match tasks.try_recv() {
                Ok(task) => self.line.join(task),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn wait(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) -> bool {
        select! {
            recv(tasks) -> task => match task {
                Ok(task) => self.line.join(task),
                Err(_) => return false,
            },
            recv(woken) -> _ => {}
            default(IDLE) => {}
        }
        true
    }

    fn retire_stopped(&mut self) {
        for slot in self.line.take_stopped() {
            let cause = slot.job().stop_cause();
            slot.finish(cause.map_or(Ending::Cancelled, |cause| cause.ending()));
        }
        let stopped = self.running.iter().filter_map(|(&turn, slot)| {
            slot.job().stop_cause().map(|cause| (turn, cause.ending()))
        });
        for (turn, ending) in stopped.collect::<Vec<_>>() {
            self.retire(turn, ending);
        }
    }

    /// Ends the job of `turn` and frees its slot; what it computed is kept, if it is sound.
    fn retire(&mut self, turn: Turn, ending: Ending) {
        if let Some(slot) = self.running.remove(&turn) {
            let is_sound = !matches!(ending, Ending::Failed(_));
            let keep = is_sound && slot.caches_prompt();
            self.kv.close(&mut *self.backend, slot.sequence(), keep);
            slot.finish(ending);
        }
    }

    // --- who has a slot ---

    /// Gives slots to those who wait, as far as there are any. False: nobody got one.
    fn admit(&mut self) -> bool {
        let mut admitted = false;
        let mut tokenised = 0;
        while tokenised < TOKENISED {
            let Some(turn) = self.line.first(|slot| self.is_ahead(slot)) else { break };
            if !self.make_way(turn) {
                break;
            }
            match self.line.get(turn) {
                Some(Waiting::New(task)) => tokenised += self.prepare(turn, task.input.bytes()),
                Some(Waiting::Ready(slot)) if self.has_cells(slot.tokens().len()) => {
                    self.seat(turn);
                }
                _ => break,
            }
            admitted = true;
        }
        admitted
    }

    /// Whether a running job is just computing what the prompt of `slot` begins with, so that
    /// waiting for it saves the same work.
    fn is_ahead(&self, slot: &Slot) -> bool {
        if self.limits.whole_only || !slot.caches_prompt() {
            return false;
        }
        let wanted = &slot.tokens()[..slot.tokens().len() - 1];
        let to_come = |other: &Slot| {
            let is_prefilling = other.pending() > 1 && other.job().has_room();
            let is_prefilling = is_prefilling && other.caches_prompt();
            let shared = if is_prefilling { common(other.tokens(), wanted) } else { 0 };
            // What is still pending of it, not counting the last token, which others compute too.
            shared.min(other.tokens().len() - 1).saturating_sub(other.n_past())
        };
        let most = self.running.values().map(to_come).max().unwrap_or(0);
        most >= WORTH_KEEPING
    }

    /// A slot for the job of `turn`: a free one, or that of a job of lower rank or of one whose
    /// reader is slow, which then waits in its place. False: there is none.
    fn make_way(&mut self, turn: Turn) -> bool {
        if self.running.len() < self.limits.n_parallel as usize {
            return true;
        }
        let is_slow = |slot: &Slot| !slot.job().has_room();
        let slow = self.running.iter().rev().find(|(_, slot)| is_slow(slot)).map(|(&turn, _)| turn);
        let last = self.running.keys().next_back().copied();
        let outranked = last.filter(|last| turn.outranks(last));
        slow.or(outranked).inspect(|&leaving| self.park(leaving)).is_some()
    }

    /// Takes the slot of a running job, which waits in line for another; what it computed stays
    /// in the cache until memory is wanted.
    fn park(&mut self, turn: Turn) {
        if let Some(slot) = self.running.remove(&turn) {
            self.kv.close(&mut *self.backend, slot.sequence(), slot.caches_prompt());
            self.line.rejoin(turn, slot);
        }
    }

    /// Tokenises the task of `turn`; it then stands in line as ready. Returns `bytes`.
    fn prepare(&mut self, turn: Turn, bytes: usize) -> usize {
        let Some(Waiting::New(task)) = self.line.take(turn) else { return bytes };
        let admitted = Instant::now();
        // Before the job is admitted, so that a stop ends it on the spot: a text of megabytes
        // takes longer to tokenise than a cancel may take, and nothing can interrupt it.
        let tokens = prompt::tokens(&mut *self.backend, &task.input, &self.vocab, self.limits)
            .and_then(|tokens| task.check(tokens));
        if !task.job.admit() {
            return bytes;
        }
        match tokens {
            Ok(tokens) => {
                let slot = Slot::new(*task, tokens, admitted);
                match slot.wants_nothing() {
                    true => slot.finish_empty(),
                    false => self.line.rejoin(turn, slot),
                }
            }
            Err(error) => {
                task.job.finish(Ending::Failed(error), None);
            }
        }
        bytes
    }

    /// Whether the cache has room for `count` tokens and for all to grow. One job alone has.
    fn has_cells(&self, count: usize) -> bool {
        let growth = ROOM_TO_GROW * (self.running.len() + 1);
        self.running.is_empty() || self.kv.available() >= count + growth
    }

    fn seat(&mut self, turn: Turn) {
        let Some(Waiting::Ready(mut slot)) = self.line.take(turn) else { return };
        let reuse = slot.caches_prompt();
        let length = slot.tokens().len();
        let branch = match self.limits.whole_only && reuse {
            true => self.kv.common(&slot.tokens()[..length - 1]),
            false => 0,
        };
        let (sequence, held) = self.kv.open(&mut *self.backend, slot.tokens(), reuse);
        slot.seat(sequence, held);
        if self.limits.whole_only && reuse {
            // Where another prompt went its own way, and where this one may be asked again.
            slot.mark([branch, length - 1].into_iter().filter(|&mark| mark >= WORTH_KEEPING));
        }
        self.running.insert(turn, *slot);
    }

    /// Moves a job in the cache where that saves a part of each batch.
    fn close_gap(&mut self) {
        if let Some((from, to)) = self.kv.close_gap(&mut *self.backend) {
            let moved = self.running.values_mut().find(|slot| slot.sequence() == from);
            moved.into_iter().for_each(|slot| slot.move_to(to));
        }
    }

    // --- what is computed ---

    /// Computes one batch. False: there is nothing to compute.
    fn take_turn(&mut self) -> bool {
        let mut rows = self.plan();
        let wanted = |rows: &[Row]| rows.iter().map(|row| row.count).sum();
        while !self.kv.reserve(&mut *self.backend, wanted(&rows)) {
            // The last in line gives way: the first can always go on.
            let Some((&last, _)) = self.running.last_key_value() else { break };
            self.park(last);
            rows.retain(|row| row.turn != last);
        }
        if rows.is_empty() {
            return false;
        }
        // llama.cpp computes neighbours together if they come in the order of their numbers.
        rows.sort_by_key(|row| self.running[&row.turn].sequence());
        self.batch.clear();
        for row in &rows {
            self.running[&row.turn].batch(row.count, &mut self.batch);
        }
        self.compute(&rows);
        true
    }

    /// One token of every generation that has room for it, then prompts.
    fn plan(&mut self) -> Vec<Row> {
        let limit = self.limits.n_batch as usize;
        let is_ready = |slot: &Slot| slot.job().has_room() && slot.pending() > 0;
        let ready = self.running.iter().filter(|(_, slot)| is_ready(slot));
        let (generating, prompts): (Vec<_>, Vec<_>) =
            ready.partition(|(_, slot)| slot.pending() == 1);
        let mut rows: Vec<Row> =
            generating.iter().take(limit).map(|(&turn, _)| Row { turn, count: 1 }).collect();
        let mut prompts: Vec<(Turn, usize)> =
            prompts.iter().map(|(&turn, slot)| (turn, slot.pending())).collect();
        if prompts.is_empty() {
            return rows;
        }
        self.shortest_first = !self.shortest_first;
        if self.shortest_first {
            prompts.sort_by_key(|&(turn, pending)| (turn.rank(), pending));
        }
        let budget = self.budget(rows.len(), prompts.len());
        let mut taken = 0;
        for (turn, _) in prompts {
            if taken >= budget.min(ENOUGH) {
                break;
            }
            let count = self.running[&turn].chunk(budget - taken);
            taken += count;
            rows.push(Row { turn, count });
        }
        rows
    }

    /// How many tokens of `prompts` prompts go along with `streams` generations.
    fn budget(&self, streams: usize, prompts: usize) -> usize {
        let limit = (self.limits.n_batch as usize).saturating_sub(streams);
        let (bound, first) = match streams {
            _ if !self.limits.interruptible => (SHORT_AGAIN, LEAST_CHUNK),
            0 => (OWN_TURN, limit),
            _ => (SHARED_TURN * prompts.min(MOST_SHARED) as u32, FIRST_CHUNK),
        };
        let fits = |count: &usize| {
            self.pace.expect(count + streams).map_or(*count <= first, |time| time <= bound)
        };
        let mut sizes = (LEAST_CHUNK..limit).step_by(LEAST_CHUNK).chain([limit]);
        sizes.rfind(fits).unwrap_or(LEAST_CHUNK).min(limit)
    }

    /// Computes the batch of `rows`, and draws the tokens that its logits are for.
    fn compute(&mut self, rows: &[Row]) {
        let begun = Instant::now();
        let is_short = rows.len() > 1 && self.is_short(self.batch.len());
        self.signal.interrupt_flag().defer(is_short || self.shifted || !self.limits.interruptible);
        let decoded = self.backend.decode(&self.batch);
        self.interrupted = false;
        match decoded {
            Ok(Decoded::Done) => {
                self.shifted = false;
                self.pace.note(self.batch.len(), begun.elapsed());
                self.draw(rows);
            }
            Ok(Decoded::Interrupted) => {
                self.interrupted = true;
                self.rewind(rows);
            }
            Ok(Decoded::Full) => self.give_up_cells(rows),
            Err(error) => self.fail(rows, &error),
        }
    }

    /// Ends the jobs of a batch that failed.
    fn fail(&mut self, rows: &[Row], error: &Error) {
        for row in rows {
            self.retire(row.turn, Ending::Failed(error.clone()));
        }
        if !self.limits.interruptible {
            // Recurrent states of sequences outside the batch may have been swapped.
            self.kv.drop_idle(&mut *self.backend);
            for slot in self.running.values_mut() {
                let kept = self.kv.rewind(&mut *self.backend, slot.sequence(), 0);
                slot.rewound(kept);
            }
        }
    }

    fn is_short(&self, count: usize) -> bool {
        let bound = if self.interrupted { SHORT_AGAIN } else { SHORT };
        self.pace.expect(count).is_some_and(|time| time <= bound)
    }

    /// Takes an interrupted batch out of the KV cache again, so that it can be computed anew.
    fn rewind(&mut self, rows: &[Row]) {
        for row in rows {
            if let Some(slot) = self.running.get_mut(&row.turn) {
                let kept = self.kv.rewind(&mut *self.backend, slot.sequence(), slot.n_past());
                slot.rewound(kept);
            }
        }
    }

    /// The backend has less room than our book says: something has to go, so that the next
    /// attempt is another one.
    fn give_up_cells(&mut self, rows: &[Row]) {
        self.rewind(rows);
        if self.kv.evict(&mut *self.backend) {
            return;
        }
        match (self.running.len(), self.running.last_key_value()) {
            (2.., Some((&last, _))) => {
                self.park(last);
                self.kv.evict(&mut *self.backend);
            }
            (_, Some((&last, _))) => {
                let error = Error::new(ErrorKind::Backend, "the KV cache has no room for one job");
                self.retire(last, Ending::Failed(error));
            }
            (_, None) => {}
        }
    }

    /// Notes what was computed, and draws a token for each of `rows` that is complete.
    fn draw(&mut self, rows: &[Row]) {
        let at = Instant::now();
        let mut end = 0;
        for row in rows {
            let tokens = end..end + row.count;
            end = tokens.end;
            let Some(slot) = self.running.get_mut(&row.turn) else { continue };
            let ids = self.batch[tokens].iter().map(|token| token.token);
            self.kv.extend(slot.sequence(), &ids.collect::<Vec<_>>());
            slot.decoded(row.count);
            if slot.is_at_mark() {
                self.kv.keep_copy(&mut *self.backend, slot.sequence());
            }
            if slot.pending() > 0 || slot.saves() {
                continue;
            }
            let step = match self.backend.logits(end - 1) {
                Ok(logits) => slot.advance(logits, &self.vocab, self.limits, at),
                Err(error) => Step::End(Ending::Failed(error)),
            };
            match step {
                Step::More => {}
                Step::Shift => self.shift(row.turn),
                Step::End(ending) => self.retire(row.turn, ending),
            }
        }
    }

    /// Sends the states that are complete on their way to their files. False: there were none,
    /// or others have to be written first.
    fn hand_over(&mut self) -> bool {
        let complete = self.running.iter().filter(|(_, slot)| slot.pending() == 0);
        let complete: Vec<Turn> = complete.map(|(&turn, _)| turn).collect();
        let mut handed_over = false;
        for turn in complete {
            if !self.states.can_write() {
                break;
            }
            let Some(slot) = self.running.remove(&turn) else { continue };
            let state = self.backend.save(slot.sequence());
            self.kv.close(&mut *self.backend, slot.sequence(), slot.caches_prompt());
            match state {
                Ok(state) => self.states.write(slot.into_save(state)),
                Err(error) => slot.finish(Ending::Failed(error)),
            }
            handed_over = true;
        }
        handed_over
    }

    /// Makes room in a full context. What cannot be moved in the cache is computed again.
    fn shift(&mut self, turn: Turn) {
        let Some(slot) = self.running.get_mut(&turn) else { return };
        let (at, count) = slot.forget();
        if self.kv.shift(&mut *self.backend, slot.sequence(), at, count) {
            self.shifted = true;
        } else {
            let kept = self.kv.rewind(&mut *self.backend, slot.sequence(), at);
            slot.rewound(kept);
        }
    }
}

impl Input {
    /// How long the text is that has to be tokenised.
    fn bytes(&self) -> usize {
        match self {
            Input::Text { text, .. } => text.len(),
            Input::Tokens(_) => 0,
        }
    }
}
