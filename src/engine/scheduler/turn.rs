//! What is computed: one batch a turn, and what follows from its logits.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::Scheduler;
use crate::backend::{Backend, Decoded, Vocab};
use crate::engine::event::Ending;
use crate::engine::line::Turn;
use crate::engine::slot::{Slot, Step};
use crate::error::{Error, ErrorKind, Result};

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

/// A job's part of a batch: its next `count` tokens, and its draft.
pub(super) struct Row {
    pub(super) turn: Turn,
    count: usize,
}

impl Scheduler {
    /// Computes one batch. False: there is nothing to compute.
    pub(super) fn take_turn(&mut self) -> bool {
        let mut rows = self.plan();
        self.add_drafts(&rows);
        if !self.reserve(&rows) {
            // Nobody's cells are taken for a draft.
            rows.iter().for_each(|row| {
                self.running.entry(row.turn).and_modify(Slot::drop_draft);
            });
        }
        while !self.reserve(&rows) {
            // One with a slow reader gives way, else the last: the first can always go on.
            let last = self.running.last_key_value().map(|(&last, _)| last);
            let Some(leaving) = self.last_slow().or(last) else { break };
            self.park(leaving);
            rows.retain(|row| row.turn != leaving);
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

    /// Makes room in the KV cache for `rows` and their drafts. False: running jobs hold the rest.
    fn reserve(&mut self, rows: &[Row]) -> bool {
        let wanted = rows.iter().map(|row| row.count + self.running[&row.turn].draft().len());
        self.kv.reserve(&mut *self.backend, wanted.sum())
    }

    /// Of the adapters whose turn it is: one token of every generation that has room for it, then
    /// prompts.
    fn plan(&mut self) -> Vec<Row> {
        let limit = self.limits.n_batch as usize;
        let sets = self.running.values().map(|slot| (slot.adapters(), slot.is_ready()));
        let Some(adapters) = self.rounds.next(sets) else { return Vec::new() };
        let ready = self.running.iter().filter(|(_, slot)| slot.is_ready());
        let streams = ready.clone().filter(|(_, slot)| slot.pending() == 1).count();
        let ready = ready.filter(|(_, slot)| *slot.adapters() == adapters);
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
        let budget = self.budget(rows.len(), streams, prompts.len());
        // Of each row one output is counted already.
        let mut outputs = self.limits.n_outputs as usize - rows.len() - prompts.len();
        let mut taken = 0;
        for (turn, _) in prompts {
            if taken >= budget.min(ENOUGH) {
                break;
            }
            let slot = &self.running[&turn];
            let mut count = slot.chunk(budget - taken);
            if slot.is_scored() {
                count = count.min(outputs + 1);
                outputs -= count - 1;
            }
            taken += count;
            rows.push(Row { turn, count });
        }
        rows
    }

    /// How many tokens of `prompts` prompts go along with `generating` tokens, while `streams`
    /// generations wait for the batch.
    fn budget(&self, generating: usize, streams: usize, prompts: usize) -> usize {
        let limit = (self.limits.n_batch as usize).saturating_sub(generating);
        let (bound, first) = match streams {
            // What cannot be interrupted, or should not be again, has to be short.
            _ if !self.limits.interruptible || self.interrupted || self.shifted => {
                (SHORT_AGAIN, LEAST_CHUNK)
            }
            0 => (OWN_TURN, limit),
            _ => (SHARED_TURN * prompts.min(MOST_SHARED) as u32, FIRST_CHUNK),
        };
        let fits = |count: &usize| {
            self.pace.expect(count + generating).map_or(*count <= first, |time| time <= bound)
        };
        let mut sizes = (LEAST_CHUNK..limit).step_by(LEAST_CHUNK).chain([limit]);
        sizes.rfind(fits).unwrap_or(LEAST_CHUNK).min(limit)
    }

    /// Computes the batch of `rows`, and draws the tokens that its logits are for.
    fn compute(&mut self, rows: &[Row]) {
        let begun = Instant::now();
        let is_short = (rows.len() > 1 || self.interrupted) && self.is_short(self.batch.len());
        self.signal.interrupt_flag().defer(is_short || self.shifted || !self.limits.interruptible);
        let decoded = self.adapt(rows).and_then(|()| self.backend.decode(&self.batch));
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

    /// Has the backend compute with the adapters of `rows`, which all have the same.
    fn adapt(&mut self, rows: &[Row]) -> Result<()> {
        match rows.first() {
            Some(row) => self.backend.adapt(self.running[&row.turn].adapters().adapters()),
            None => Ok(()),
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

    /// Notes what was computed, and draws tokens for each of `rows` that is complete.
    fn draw(&mut self, rows: &[Row]) {
        let at = Instant::now();
        let mut end = 0;
        for row in rows {
            let Some(slot) = self.running.get_mut(&row.turn) else { continue };
            let (start, last) = (end, end + row.count - 1);
            end += row.count + slot.draft().len();
            let ids = self.batch[start..end].iter().map(|token| token.token);
            self.kv.extend(slot.sequence(), &ids.collect::<Vec<_>>());
            slot.decoded(row.count);
            if slot.is_at_mark() {
                self.kv.keep_copy(&mut *self.backend, slot.sequence());
            }
            let scored = match slot.is_scored() {
                true => score(&mut *self.backend, slot, start, row.count, &self.vocab),
                false => Ok(()),
            };
            if scored.is_ok() && (slot.pending() > 0 || slot.saves()) {
                continue;
            }
            let step = match scored {
                Ok(()) => self.draw_tokens(row.turn, last, at),
                Err(error) => Step::End(Ending::Failed(error)),
            };
            match step {
                Step::More => {}
                Step::Shift => self.shift(row.turn),
                Step::End(ending) => self.retire(row.turn, ending),
            }
        }
    }

    /// Draws the token of batch entry `index` for the job of `turn`, and those behind it as long as
    /// its draft comes true. What was computed of the draft beyond that goes.
    fn draw_tokens(&mut self, turn: Turn, mut index: usize, at: Instant) -> Step {
        let Some(slot) = self.running.get_mut(&turn) else { return Step::More };
        let is_draft = !slot.draft().is_empty();
        let step = loop {
            let step = match self.backend.logits(index) {
                Ok(logits) => slot.advance(logits, &self.vocab, self.limits, at),
                Err(error) => Step::End(Ending::Failed(error)),
            };
            if !matches!(step, Step::More) || !slot.follows_draft() {
                break step;
            }
            index += 1;
        };
        if is_draft {
            let kept = self.kv.rewind(&mut *self.backend, slot.sequence(), slot.n_past());
            slot.rewound(kept);
        }
        step
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

/// Has `slot` note how likely its prompt's tokens are, by the `count` outputs from `start` on.
fn score(
    backend: &mut dyn Backend,
    slot: &mut Slot,
    start: usize,
    count: usize,
    vocab: &Vocab,
) -> Result<()> {
    let begun = slot.n_past() - count;
    for (index, position) in (start..start + count).zip(begun..) {
        if slot.wants_score(position) {
            slot.score(backend.logits(index)?, vocab);
        }
    }
    Ok(())
}
