//! Which tokens lie in the KV cache, and in which sequences: what runs, what lies idle for a job
//! that begins alike, what is shared, what goes when memory is wanted.
//!
//! A job takes over the longest beginning that any sequence has, running, idle or kept in main
//! memory, if the same adapters computed it. Cells are counted, so that a batch is sent only when there is room for it.
#![forbid(unsafe_code)]

mod cells;
mod kept;
mod places;
mod prefix;

pub(super) use self::prefix::{common, Prefix};

use self::cells::Cells;
use self::kept::KeptStates;
use super::adapters::AdapterSet;
use crate::backend::{Backend, Limits};
use crate::log::log;

/// Everything of a sequence is as a computation from the start would give it.
const ALL: usize = usize::MAX;

/// Shorter sequences are not put away: computing them again takes hardly longer.
pub(super) const WORTH_KEEPING: usize = 16;

/// Whether `count` tokens are worth that the state of `moved` tokens is copied for them: moving one
/// takes far less than a hundredth of computing it, but nobody computes meanwhile.
fn is_worth(count: usize, moved: usize) -> bool {
    count > 0 && count >= moved / 32
}

/// What a sequence is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    /// A job computes in it.
    Running,
    /// No job has it; it was used last at this tick.
    Idle(u64),
}

struct Sequence {
    role: Use,
    tokens: Vec<u32>,
    /// What they were computed with.
    adapters: AdapterSet,
    /// The cell of each token, as we count them; not llama.cpp's own numbers.
    cells: Vec<u32>,
    /// Tokens at the front that no context shift has moved.
    exact: usize,
}

impl Sequence {
    fn prefix(&self) -> Prefix<'_> {
        Prefix { tokens: &self.tokens, adapters: &self.adapters }
    }

    /// How much of `prefix` it begins with, as a computation from the start would give it.
    fn common(&self, prefix: Prefix<'_>) -> usize {
        self.prefix().common(prefix).min(self.exact)
    }
}

/// Where a beginning lies: `count` tokens of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Sequence { index: usize, count: usize },
    Kept { index: usize, count: usize },
}

/// The book of one model's KV cache.
pub(super) struct KvCache {
    sequences: Vec<Sequence>,
    cells: Cells,
    kept: KeptStates,
    whole_only: bool,
    shares_cells: bool,
    wants_neighbours: bool,
    tick: u64,
}

impl KvCache {
    pub(super) fn new(limits: Limits) -> Self {
        let empty = || Sequence {
            role: Use::Free,
            tokens: Vec::new(),
            adapters: AdapterSet::default(),
            cells: Vec::new(),
            exact: ALL,
        };
        Self {
            sequences: (0..limits.n_parallel).map(|_| empty()).collect(),
            cells: Cells::new(limits.n_cells),
            kept: KeptStates::new(limits.kept_bytes, limits.whole_only),
            whole_only: limits.whole_only,
            shares_cells: limits.shares_cells,
            wants_neighbours: limits.wants_neighbours,
            tick: 0,
        }
    }

    /// A sequence for a job whose tokens are `whole`, and how many of them it holds already: never
    /// all, for the last one has to be computed to give logits. Without `reuse` it is empty.
    /// There are fewer running jobs than sequences.
    pub(super) fn open(
        &mut self,
        backend: &mut dyn Backend,
        whole: Prefix<'_>,
        reuse: bool,
    ) -> (u32, usize) {
        let source = if reuse { self.longest(whole.but_last()) } else { None };
        let (index, held) = match source {
            None => (self.vacate(backend), 0),
            Some(Source::Sequence { index, count }) => self.follow(backend, index, count),
            Some(Source::Kept { index, count }) => self.bring_back(backend, index, count),
        };
        self.sequences[index].role = Use::Running;
        self.sequences[index].adapters = whole.adapters.clone();
        (index as u32, held)
    }

    /// How much of `prefix` any sequence begins with, whether or not so much can be taken over.
    pub(super) fn common(&self, prefix: Prefix<'_>) -> usize {
        let here = self.used().map(|(_, sequence)| sequence.common(prefix)).max();
        here.unwrap_or(0).max(self.kept.common(prefix))
    }

    /// How much of `prefix` a running sequence begins with.
    pub(super) fn common_with_running(&self, prefix: Prefix<'_>) -> usize {
        let running = self.used().filter(|(_, sequence)| sequence.role == Use::Running);
        running.map(|(_, sequence)| sequence.common(prefix)).max().unwrap_or(0)
    }

    fn used(&self) -> impl Iterator<Item = (usize, &Sequence)> {
        self.sequences.iter().enumerate().filter(|(_, sequence)| sequence.role != Use::Free)
    }

    /// Where most of `prefix` lies: of equals, in an idle sequence, which a job can go on in.
    fn longest(&self, prefix: Prefix<'_>) -> Option<Source> {
        let usable = self.used().map(|(index, sequence)| {
            let count = sequence.common(prefix);
            let is_whole = count == sequence.tokens.len();
            (if self.whole_only && !is_whole { 0 } else { count }, index)
        });
        let rank =
            |&(count, index): &(usize, usize)| (count, self.sequences[index].role != Use::Running);
        let here = usable.filter(|&(count, index)| {
            let moved = if self.shares_cells { 0 } else { self.sequences[index].tokens.len() };
            is_worth(count, moved)
        });
        let here = here.max_by_key(rank);
        let kept = self.kept.longest(prefix);
        match (here, kept) {
            (here, Some((index, count))) if here.is_none_or(|(here, _)| here < count) => {
                Some(Source::Kept { index, count })
            }
            (here, _) => here.map(|(count, index)| Source::Sequence { index, count }),
        }
    }

    fn oldest_idle(&self) -> Option<usize> {
        let idle = self.used().filter_map(|(index, sequence)| match sequence.role {
            Use::Idle(tick) => Some((tick, index)),
            _ => None,
        });
        idle.min().map(|(_, index)| index)
    }

    /// Lets the free sequence `to` begin as `from` does; returns how many tokens it got.
    fn copy(&mut self, backend: &mut dyn Backend, from: usize, to: usize, count: usize) -> usize {
        let has_room = self.shares_cells || self.cells.left() >= count;
        if !has_room || !backend.share(from as u32, to as u32, count as u32) {
            return 0;
        }
        let tokens = self.sequences[from].tokens[..count].to_vec();
        if self.shares_cells {
            let cells = self.sequences[from].cells[..count].to_vec();
            self.cells.share(&cells);
            self.sequences[to].tokens = tokens;
            self.sequences[to].cells = cells;
        } else {
            self.extend(to as u32, &tokens);
        }
        count
    }

    /// A sequence that begins with `count` tokens of the kept state `index`.
    fn bring_back(
        &mut self,
        backend: &mut dyn Backend,
        index: usize,
        count: usize,
    ) -> (usize, usize) {
        // Out of the store first: what is put away to make room could push it out.
        let kept = self.kept.take_out(index);
        let to = self.vacate(backend);
        let length = kept.tokens.len();
        let mut held = 0;
        if self.reserve(backend, length) {
            match backend.restore(to as u32, length as u32, &kept.state) {
                Ok(()) => {
                    self.extend(to as u32, &kept.tokens);
                    held = self.rewind(backend, to as u32, count);
                }
                Err(error) => {
                    log!(Warn, "a kept prefix is computed again: {error}");
                    // Not put back: it would fail again.
                    return (to, 0);
                }
            }
        }
        self.kept.put_back(kept);
        (to, held)
    }

    /// Copies the state of `index` to main memory, if it is worth it and not there.
    fn put_away(&mut self, backend: &mut dyn Backend, index: usize) {
        let prefix = self.sequences[index].prefix();
        let sequence = index as u32;
        if prefix.tokens.len() < WORTH_KEEPING {
            return;
        }
        let Ok(bytes) = backend.state_bytes(sequence) else { return };
        if self.kept.wants(prefix, bytes) {
            if let Ok(state) = backend.save(sequence) {
                self.kept.put(prefix, state);
            }
        }
    }

    /// Keeps a state from outside, for which there is room, as if it had been used just now.
    pub(super) fn bring(&mut self, prefix: Prefix<'_>, state: Vec<u8>) {
        self.kept.bring(prefix, state);
    }

    /// Makes room for `count` tokens; idle sequences are put away, those unused for longest
    /// first. False: running ones hold the rest.
    pub(super) fn reserve(&mut self, backend: &mut dyn Backend, count: usize) -> bool {
        while self.cells.left() < count {
            if !self.evict(backend) {
                return false;
            }
        }
        true
    }

    /// Puts away the idle sequence that was unused for longest. False: none is idle.
    pub(super) fn evict(&mut self, backend: &mut dyn Backend) -> bool {
        let oldest = self.oldest_idle();
        if let Some(oldest) = oldest {
            self.put_away(backend, oldest);
            self.drop_sequence(backend, oldest as u32);
        }
        oldest.is_some()
    }

    /// Empties all idle sequences; what they held is not to be trusted any more.
    pub(super) fn drop_idle(&mut self, backend: &mut dyn Backend) {
        while let Some(idle) = self.oldest_idle() {
            self.drop_sequence(backend, idle as u32);
        }
    }

    /// Cells that running sequences do not hold.
    pub(super) fn available(&self) -> usize {
        let mut held = vec![false; self.cells.ever_used()];
        for (_, sequence) in self.used().filter(|(_, sequence)| sequence.role == Use::Running) {
            for &cell in &sequence.cells {
                held[cell as usize] = true;
            }
        }
        self.cells.limit() - held.iter().filter(|held| **held).count()
    }

    /// Notes that `tokens` were computed behind what `sequence` held; there was room.
    pub(super) fn extend(&mut self, sequence: u32, tokens: &[u32]) {
        let sequence = &mut self.sequences[sequence as usize];
        sequence.tokens.extend_from_slice(tokens);
        sequence.cells.extend(tokens.iter().map(|_| self.cells.take()));
    }

    /// Takes `sequence` back to its first `count` tokens, also what was computed beyond what
    /// is noted. Returns how many it has then: none where only whole sequences can be dropped.
    pub(super) fn rewind(
        &mut self,
        backend: &mut dyn Backend,
        sequence: u32,
        count: usize,
    ) -> usize {
        // What lies behind a window may be gone, though the backend would cut the sequence there.
        let is_cut = count < self.sequences[sequence as usize].tokens.len();
        let wanted = if self.whole_only && is_cut { 0 } else { count };
        let kept = if backend.truncate(sequence, wanted as u32) { wanted } else { 0 };
        let sequence = &mut self.sequences[sequence as usize];
        sequence.tokens.truncate(kept);
        self.cells.give_back(sequence.cells.drain(kept..));
        kept
    }

    /// Keeps the state of a running `sequence` as it is now, for jobs that will begin alike.
    pub(super) fn keep_copy(&mut self, backend: &mut dyn Backend, sequence: u32) {
        self.put_away(backend, sequence as usize);
    }

    /// The job in `sequence` has left it. With `keep`, what it holds stays for later ones.
    pub(super) fn close(&mut self, backend: &mut dyn Backend, sequence: u32, keep: bool) {
        let index = sequence as usize;
        let exact = self.sequences[index].exact;
        if exact < self.sequences[index].tokens.len() {
            self.rewind(backend, sequence, exact);
        }
        let prefix = self.sequences[index].prefix();
        let length = prefix.tokens.len();
        let is_elsewhere = self.used().any(|(other, idle)| {
            let serves = !self.whole_only || idle.tokens.len() == length;
            let is_idle = other != index && idle.role != Use::Running;
            is_idle && serves && idle.common(prefix) == length
        });
        if !keep || is_elsewhere || length == 0 {
            self.drop_sequence(backend, sequence);
        } else {
            self.tick += 1;
            self.sequences[index].role = Use::Idle(self.tick);
            self.sequences[index].exact = ALL;
        }
    }

    /// Empties `sequence`; it is free then.
    pub(super) fn drop_sequence(&mut self, backend: &mut dyn Backend, sequence: u32) {
        self.rewind(backend, sequence, 0);
        let sequence = &mut self.sequences[sequence as usize];
        sequence.role = Use::Free;
        sequence.exact = ALL;
    }

    /// Drops `count` tokens of a running `sequence` from `at` on and moves the rest down. False:
    /// it cannot, or another job shares what would move; `sequence` is as it was then.
    pub(super) fn shift(
        &mut self,
        backend: &mut dyn Backend,
        sequence: u32,
        at: usize,
        count: usize,
    ) -> bool {
        let index = sequence as usize;
        if self.whole_only {
            return false;
        }
        while let Some(sharer) = self.idle_sharer(index, at) {
            self.put_away(backend, sharer);
            self.drop_sequence(backend, sharer as u32);
        }
        let moved = &self.sequences[index].cells[at..];
        let is_shared = moved.iter().any(|&cell| self.cells.is_shared(cell));
        if is_shared || !backend.shift(sequence, at as u32, count as u32) {
            return false;
        }
        let sequence = &mut self.sequences[index];
        sequence.tokens.drain(at..at + count);
        self.cells.give_back(sequence.cells.drain(at..at + count));
        sequence.exact = sequence.exact.min(at);
        true
    }

    /// An idle sequence that shares what `index` holds at `at`.
    fn idle_sharer(&self, index: usize, at: usize) -> Option<usize> {
        let cell = self.sequences[index].cells.get(at)?;
        let mut idle = self.used().filter(|(_, sequence)| sequence.role != Use::Running);
        idle.find(|(_, sequence)| sequence.cells.get(at) == Some(cell)).map(|(index, _)| index)
    }
}
