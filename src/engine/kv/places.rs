//! Where in the KV cache a job lies: in an idle sequence, in an empty one, beside the others.
#![forbid(unsafe_code)]

use super::{KvCache, Use};
use crate::backend::Backend;

/// States up to this size are moved to save a pass over the weights: a few milliseconds.
const CHEAP_BYTES: u64 = 32 << 20;

impl KvCache {
    /// A sequence that begins with `count` tokens of `source`: itself, where that loses little
    /// and splits no batch.
    pub(super) fn follow(
        &mut self,
        backend: &mut dyn Backend,
        source: usize,
        count: usize,
    ) -> (usize, usize) {
        let best = self.best_place();
        let is_idle = self.sequences[source].role != Use::Running;
        let fits = is_idle
            && (!self.wants_neighbours || self.groups_with(source) <= self.groups_with(best));
        let loses_little = count >= self.sequences[source].tokens.len() / 2;
        if best == source && !loses_little {
            self.put_away(backend, source);
        }
        if best == source || (fits && loses_little) {
            return (source, self.rewind(backend, source as u32, count));
        }
        let fresh = self.vacate(backend);
        (fresh, self.copy(backend, source, fresh, count))
    }

    /// An empty sequence; an idle one is put away for it if need be.
    pub(super) fn vacate(&mut self, backend: &mut dyn Backend) -> usize {
        let place = self.best_place();
        if self.sequences[place].role != Use::Free {
            self.put_away(backend, place);
            self.drop_sequence(backend, place as u32);
        }
        place
    }

    /// The place where a job would cost least: beside the running ones where that matters, then
    /// a free one, then the one that was idle for longest. There are fewer jobs than places.
    fn best_place(&self) -> usize {
        let places = self.sequences.iter().enumerate().filter_map(|(index, sequence)| {
            let idle_since = match sequence.role {
                Use::Running => return None,
                Use::Free => 0,
                Use::Idle(tick) => tick,
            };
            let groups = if self.wants_neighbours { self.groups_with(index) } else { 0 };
            Some((groups, idle_since, index))
        });
        places.min().expect("fewer jobs than sequences").2
    }

    /// In how many stretches of neighbours the running sequences lie, `index` with them: llama.cpp
    /// computes each by itself, where it wants neighbours.
    fn groups_with(&self, index: usize) -> usize {
        let runs = |at: usize| at == index || self.sequences[at].role == Use::Running;
        let begins = |&at: &usize| runs(at) && (at == 0 || !runs(at - 1));
        (0..self.sequences.len()).filter(begins).count()
    }

    /// Moves a running sequence to where it splits no batch, if that is cheap. Returns its old
    /// and its new number.
    pub(in crate::engine) fn close_gap(&mut self, backend: &mut dyn Backend) -> Option<(u32, u32)> {
        if !self.wants_neighbours {
            return None;
        }
        let running = || self.used().filter(|(_, sequence)| sequence.role == Use::Running);
        let now = self.groups_with(running().next()?.0);
        if now < 2 {
            return None;
        }
        let (from, to) = self.better_place(now)?;
        let count = self.sequences[from].tokens.len();
        let bytes = backend.state_bytes(from as u32).ok()?;
        if bytes > CHEAP_BYTES || self.sequences[from].exact < count {
            return None;
        }
        if self.sequences[to].role != Use::Free {
            self.put_away(backend, to);
            self.drop_sequence(backend, to as u32);
        }
        if self.copy(backend, from, to, count) < count {
            self.drop_sequence(backend, to as u32);
            return None;
        }
        self.drop_sequence(backend, from as u32);
        self.sequences[to].role = Use::Running;
        self.sequences[to].adapters = self.sequences[from].adapters.clone();
        Some((from as u32, to as u32))
    }

    /// A running sequence and a place that leave fewer stretches than `now`.
    fn better_place(&mut self, now: usize) -> Option<(usize, usize)> {
        for from in 0..self.sequences.len() {
            if self.sequences[from].role != Use::Running {
                continue;
            }
            self.sequences[from].role = Use::Free;
            let to = self.best_place();
            let groups = self.groups_with(to);
            self.sequences[from].role = Use::Running;
            if groups < now && to != from {
                return Some((from, to));
            }
        }
        None
    }
}
