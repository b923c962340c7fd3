//! States of sequences that no job has, in main memory: for jobs that will begin alike.
//!
//! llama-server calls its own a prompt cache (`--cache-ram`). A state out of the KV cache costs the
//! running jobs nothing: attention looks at every cell in use.
#![forbid(unsafe_code)]

use super::{is_worth, Prefix};
use crate::engine::adapters::AdapterSet;

/// One sequence as it was when its place was wanted.
pub(super) struct Kept {
    pub(super) tokens: Vec<u32>,
    pub(super) state: Vec<u8>,
    adapters: AdapterSet,
    tick: u64,
}

impl Kept {
    fn prefix(&self) -> Prefix<'_> {
        Prefix { tokens: &self.tokens, adapters: &self.adapters }
    }

    /// Whether it begins with all of `prefix`.
    fn starts_with(&self, prefix: Prefix<'_>) -> bool {
        self.prefix().common(prefix) == prefix.tokens.len()
    }

    /// Whether it is a state of just `prefix`.
    fn is_of(&self, prefix: Prefix<'_>) -> bool {
        self.starts_with(prefix) && self.tokens.len() == prefix.tokens.len()
    }

    fn size(&self) -> u64 {
        size(&self.tokens, self.state.len() as u64)
    }
}

/// The states, within a number of bytes; those unused for longest go first.
pub(super) struct KeptStates {
    kept: Vec<Kept>,
    bytes: u64,
    limit: u64,
    /// A state serves only those that begin with all its tokens.
    whole_only: bool,
    tick: u64,
}

impl KeptStates {
    /// A store of at most `limit` bytes.
    pub(super) fn new(limit: u64, whole_only: bool) -> Self {
        Self { kept: Vec::new(), bytes: 0, limit, whole_only, tick: 0 }
    }

    /// Whether a state of `bytes` for `prefix` would be kept, and nothing kept does its service.
    pub(super) fn wants(&self, prefix: Prefix<'_>, bytes: u64) -> bool {
        let serves = |kept: &Kept| match self.whole_only {
            true => kept.is_of(prefix),
            false => kept.starts_with(prefix),
        };
        let fits = size(prefix.tokens, bytes) <= self.limit;
        !prefix.tokens.is_empty() && fits && !self.kept.iter().any(serves)
    }

    /// Keeps `state` of `prefix`, which it [`wants`](Self::wants).
    pub(super) fn put(&mut self, prefix: Prefix<'_>, state: Vec<u8>) {
        let (tokens, adapters) = (prefix.tokens.to_vec(), prefix.adapters.clone());
        self.put_back(Kept { tokens, state, adapters, tick: 0 });
    }

    /// Keeps `state` of `prefix`, which comes from outside and for which there is room.
    pub(super) fn bring(&mut self, prefix: Prefix<'_>, state: Vec<u8>) {
        debug_assert!(size(prefix.tokens, state.len() as u64) <= self.limit, "checked before");
        self.retain(|kept| !kept.is_of(prefix));
        self.put(prefix, state);
    }

    /// Keeps what was taken out, or is new, as the one used last. What it makes needless goes.
    pub(super) fn put_back(&mut self, mut new: Kept) {
        if !self.whole_only {
            self.retain(|kept| !new.starts_with(kept.prefix()));
        }
        while self.bytes + new.size() > self.limit {
            let oldest = self.kept.iter().map(|kept| kept.tick).min();
            let Some(oldest) = oldest else { return };
            self.retain(|kept| kept.tick != oldest);
        }
        self.tick += 1;
        new.tick = self.tick;
        self.bytes += new.size();
        self.kept.push(new);
    }

    fn retain(&mut self, stays: impl Fn(&Kept) -> bool) {
        self.kept.retain(&stays);
        self.bytes = self.kept.iter().map(Kept::size).sum();
    }

    /// The state that has most of `prefix` to give, and how many tokens.
    pub(super) fn longest(&self, prefix: Prefix<'_>) -> Option<(usize, usize)> {
        let usable = self.kept.iter().enumerate().map(|(index, kept)| {
            let count = kept.prefix().common(prefix);
            (index, if self.whole_only && count < kept.tokens.len() { 0 } else { count })
        });
        let worth = usable.filter(|&(index, count)| is_worth(count, self.kept[index].tokens.len()));
        worth.max_by_key(|&(_, count)| count)
    }

    /// How much of `prefix` any of them begins with.
    pub(super) fn common(&self, prefix: Prefix<'_>) -> usize {
        self.kept.iter().map(|kept| kept.prefix().common(prefix)).max().unwrap_or(0)
    }

    /// Takes the state at `index` out, which moves others to new places.
    pub(super) fn take_out(&mut self, index: usize) -> Kept {
        let kept = self.kept.swap_remove(index);
        self.bytes -= kept.size();
        kept
    }
}

fn size(tokens: &[u32], bytes: u64) -> u64 {
    bytes + size_of_val(tokens) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tokens` without adapters.
    fn plain(tokens: &[u32]) -> Prefix<'_> {
        static NONE: std::sync::OnceLock<AdapterSet> = std::sync::OnceLock::new();
        Prefix { tokens, adapters: NONE.get_or_init(AdapterSet::default) }
    }

    #[test]
    fn the_longest_beginning_is_found() {
        for (whole_only, found) in [(false, (0, 3)), (true, (1, 2))] {
            let mut states = KeptStates::new(1_000, whole_only);
            states.put(plain(&[1, 2, 3, 4]), vec![0; 4]);
            states.put(plain(&[1, 2]), vec![0; 2]);
            assert_eq!(
                states.longest(plain(&[1, 2, 3, 9])),
                Some(found),
                "whole_only: {whole_only}"
            );
            assert_eq!(states.longest(plain(&[7])), None);
            assert_eq!(states.common(plain(&[1, 2, 3, 9])), 3);
            assert_eq!(states.take_out(0).tokens, [1, 2, 3, 4]);
            assert_eq!(states.longest(plain(&[1, 2, 3, 9])), Some((0, 2)));
        }
    }

    #[test]
    fn what_is_part_of_another_is_not_kept_twice() {
        let mut states = KeptStates::new(1_000, false);
        states.put(plain(&[1, 2]), vec![0; 2]);
        states.put(plain(&[1, 2, 3]), vec![0; 3]);
        assert_eq!(states.kept.len(), 1);
        assert!(!states.wants(plain(&[1, 2]), 2) && states.wants(plain(&[1, 4]), 2));
        let mut states = KeptStates::new(1_000, true);
        states.put(plain(&[1, 2, 3]), vec![0; 3]);
        assert!(states.wants(plain(&[1, 2]), 2), "the longer one cannot be cut");
    }

    #[test]
    fn a_state_from_outside_is_kept_once_and_counts_as_used() {
        let mut states = KeptStates::new(100, true);
        states.put(plain(&[1, 2]), vec![0; 20]);
        states.put(plain(&[3]), vec![0; 20]);
        states.bring(plain(&[1, 2]), vec![1; 20]);
        assert_eq!((states.kept.len(), states.bytes), (2, 52));
        states.put(plain(&[4]), vec![0; 50]);
        assert!(states.longest(plain(&[3])).is_none(), "the one that was used before goes first");
        let (index, _) = states.longest(plain(&[1, 2])).expect("it is kept");
        assert_eq!(states.take_out(index).state, [1; 20]);
    }

    #[test]
    fn the_bytes_are_bounded_and_the_oldest_goes_first() {
        let mut states = KeptStates::new(100, false);
        for first in 1..=3 {
            states.put(plain(&[first]), vec![0; 30]);
        }
        assert_eq!(states.longest(plain(&[1])), None, "102 bytes are more than 100");
        let used = states.take_out(0);
        states.put_back(used);
        states.put(plain(&[4]), vec![0; 30]);
        assert!(states.longest(plain(&[2])).is_some() && states.longest(plain(&[3])).is_none());
        assert!(!states.wants(plain(&[5]), 97), "with its token that is 101");
        assert_eq!(states.bytes, 68);
    }
}
