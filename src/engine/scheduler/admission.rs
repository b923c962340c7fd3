//! Who has a slot: who comes next, who gives way, and what a job begins with.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::{Scheduler, GRACE};
use crate::engine::event::Ending;
use crate::engine::kv::WORTH_KEEPING;
use crate::engine::line::{Turn, Waiting};
use crate::engine::prompt;
use crate::engine::slot::Slot;
use crate::engine::task::{Input, Task};

/// Bytes of text that one turn tokenises before the running jobs compute again.
const TOKENISED: usize = 16 * 1024;

/// Cells of the KV cache for each job to grow by, without which no further one is let in.
const ROOM_TO_GROW: usize = 32;

impl Scheduler {
    /// Gives slots to those who wait, as far as there are any. False: nobody got one.
    pub(super) fn admit(&mut self) -> bool {
        let mut admitted = false;
        let mut tokenised = 0;
        while tokenised < TOKENISED {
            let waits = |turn: Turn, slot: &Slot| self.is_ahead(turn, slot);
            let Some(turn) = self.line.first(waits) else { break };
            let is_out_of_slots = self.running.len() >= self.limits.n_parallel as usize;
            if is_out_of_slots || !self.has_cells(turn) {
                if !self.give_way(turn) {
                    break;
                }
                continue;
            }
            match self.line.get(turn) {
                Some(Waiting::New(task)) => tokenised += self.prepare(turn, task.input.bytes()),
                Some(Waiting::Ready(_)) => self.seat(turn),
                None => break,
            }
            admitted = true;
        }
        admitted
    }

    /// Whether another answer of its job, or a running job of no lower rank, is just computing what
    /// the prompt of `slot` begins with, so that waiting for it saves the same work.
    fn is_ahead(&self, turn: Turn, slot: &Slot) -> bool {
        if slot.awaits_prompt() {
            return true;
        }
        if self.limits.whole_only || !slot.caches_prompt() {
            return false;
        }
        let wanted = slot.prefix().but_last();
        let to_come = |other: &Slot| {
            let is_prefilling = other.pending() > 1 && other.job().has_room();
            let is_prefilling = is_prefilling && other.caches_prompt();
            let shared = if is_prefilling { other.prefix().common(wanted) } else { 0 };
            // What is still pending of it, not counting the last token, which others compute too.
            shared.min(other.tokens().len() - 1).saturating_sub(other.n_past())
        };
        let ahead = self.running.iter().filter(|(other, _)| !turn.outranks(other));
        ahead.map(|(_, other)| to_come(other)).max().unwrap_or(0) >= WORTH_KEEPING
    }

    /// Has a running job make way for that of `turn`: one whose reader is slow, else one of lower
    /// rank, the last of them; it then waits in its place. False: there is none.
    fn give_way(&mut self, turn: Turn) -> bool {
        let last = self.running.keys().next_back().copied();
        let outranked = last.filter(|last| turn.outranks(last));
        self.last_slow().or(outranked).inspect(|&leaving| self.park(leaving)).is_some()
    }

    /// The last running job whose reader has been slow for a while.
    pub(super) fn last_slow(&self) -> Option<Turn> {
        let mut slow = self.running.iter().rev().filter(|(_, slot)| slot.is_stalled_for(GRACE));
        slow.next().map(|(&turn, _)| turn)
    }

    /// Takes the slots of the running jobs whose readers are slow. False: there are none.
    pub(super) fn park_slow(&mut self) -> bool {
        let slow = std::iter::from_fn(|| self.last_slow().inspect(|&turn| self.park(turn)));
        slow.count() > 0
    }

    /// Takes the slot of a running job, which waits in line for another; what it computed stays
    /// in the cache until memory is wanted.
    pub(super) fn park(&mut self, turn: Turn) {
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
        if !task.job.prepare() {
            return bytes;
        }
        match tokens {
            Ok(tokens) => self.queue_answers(turn, *task, &tokens, admitted),
            Err(error) => {
                task.job.finish(Ending::Failed(error), None);
            }
        }
        bytes
    }

    /// Puts each answer to `tokens` in line, the first in front: the others begin with what it
    /// computes.
    fn queue_answers(&mut self, turn: Turn, mut task: Task, tokens: &[u32], admitted: Instant) {
        task.read(tokens, &self.vocab);
        for choice in 0..task.answers.count() {
            let slot = Slot::new(task.for_choice(choice), tokens.to_vec(), &self.vocab, admitted);
            match slot.wants_nothing() {
                true => slot.finish_empty(),
                false => self.line.rejoin(turn.of_choice(choice), slot),
            }
        }
    }

    /// Whether the cache has room for the job of `turn`, what it shares with running ones not
    /// counted, and for all to grow. One job alone has, and each in a part of its own.
    fn has_cells(&self, turn: Turn) -> bool {
        let Some(Waiting::Ready(slot)) = self.line.get(turn) else { return true };
        if !self.limits.shares_cells || self.running.is_empty() {
            return true;
        }
        let shared = match slot.takes_over() && !self.limits.whole_only {
            true => self.kv.common_with_running(slot.prefix()),
            false => 0,
        };
        let growth = ROOM_TO_GROW * (self.running.len() + 1);
        self.kv.available() >= slot.tokens().len() - shared + growth
    }

    fn seat(&mut self, turn: Turn) {
        let Some(Waiting::Ready(mut slot)) = self.line.take(turn) else { return };
        let reuse = slot.takes_over();
        let length = slot.tokens().len();
        let branch = match self.limits.whole_only && reuse {
            true => self.kv.common(slot.prefix().but_last()),
            false => 0,
        };
        let (sequence, held) = self.kv.open(&mut *self.backend, slot.prefix(), reuse);
        slot.seat(sequence, held);
        if self.limits.whole_only && reuse {
            // Where another prompt went its own way, and where this one may be asked again.
            slot.mark([branch, length - 1].into_iter().filter(|&mark| mark >= WORTH_KEEPING));
        }
        self.running.insert(turn, *slot);
    }

    /// Moves a job in the cache where that saves a part of each batch.
    pub(super) fn close_gap(&mut self) {
        if let Some((from, to)) = self.kv.close_gap(&mut *self.backend) {
            let moved = self.running.values_mut().find(|slot| slot.sequence() == from);
            moved.into_iter().for_each(|slot| slot.move_to(to));
        }
    }
}

impl Input {
    /// How long the text is that has to be tokenised.
    fn bytes(&self) -> usize {
        match self {
            Input::Text { text, .. } => text.len(),
            Input::Tokens(tokens) => size_of_val(&tokens[..]),
            Input::Infill { prefix, suffix, .. } => prefix.len() + suffix.len(),
        }
    }
}
