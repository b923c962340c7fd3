//! States of sequences that no job has, in main memory: for jobs that will begin alike.
//!
//! llama-server calls its own a prompt cache (`--cache-ram`). A state out of the KV cache costs the
//! running jobs nothing: attention looks at every cell in use.
#![forbid(unsafe_code)]

use super::{common, is_worth};

/// One sequence as it was when its place was wanted.
pub(super) struct Kept {
    pub(super) tokens: Vec<u32>,
    pub(super) state: Vec<u8>,
    tick: u64,
}

impl Kept {
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

    /// Whether a state of `bytes` for `tokens` would be kept, and nothing kept does its service.
    pub(super) fn wants(&self, tokens: &[u32], bytes: u64) -> bool {
        let serves = |kept: &Kept| match self.whole_only {
            true => kept.tokens == tokens,
            false => kept.tokens.starts_with(tokens),
        };
        !tokens.is_empty() && size(tokens, bytes) <= self.limit && !self.kept.iter().any(serves)
    }

    /// Keeps `state` of `tokens`, which it [`wants`](Self::wants).
    pub(super) fn put(&mut self, tokens: Vec<u32>, state: Vec<u8>) {
        self.put_back(Kept { tokens, state, tick: 0 });
    }

    /// Keeps `state` of `tokens`, which comes from outside and for which there is room.
    pub(super) fn bring(&mut self, tokens: Vec<u32>, state: Vec<u8>) {
        debug_assert!(size(&tokens, state.len() as u64) <= self.limit, "checked before");
        self.retain(|kept| kept.tokens != tokens);
        self.put(tokens, state);
    }

    /// Keeps what was taken out, or is new, as the one used last. What it makes needless goes.
    pub(super) fn put_back(&mut self, mut new: Kept) {
        if !self.whole_only {
            self.retain(|kept| !new.tokens.starts_with(&kept.tokens));
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

    /// The state that has most of `tokens` to give, and how many.
    pub(super) fn longest(&self, tokens: &[u32]) -> Option<(usize, usize)> {
        let usable = self.kept.iter().enumerate().map(|(index, kept)| {
            let count = common(&kept.tokens, tokens);
            (index, if self.whole_only && count < kept.tokens.len() { 0 } else { count })
        });
        let worth = usable.filter(|&(index, count)| is_worth(count, self.kept[index].tokens.len()));
        worth.max_by_key(|&(_, count)| count)
    }

    /// How many of `tokens` any of them begins with.
    pub(super) fn common(&self, tokens: &[u32]) -> usize {
        self.kept.iter().map(|kept| common(&kept.tokens, tokens)).max().unwrap_or(0)
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

    #[test]
    fn the_longest_beginning_is_found() {
        for (whole_only, found) in [(false, (0, 3)), (true, (1, 2))] {
            let mut states = KeptStates::new(1_000, whole_only);
            states.put(vec![1, 2, 3, 4], vec![0; 4]);
            states.put(vec![1, 2], vec![0; 2]);
            assert_eq!(states.longest(&[1, 2, 3, 9]), Some(found), "whole_only: {whole_only}");
            assert_eq!(states.longest(&[7]), None);
            assert_eq!(states.common(&[1, 2, 3, 9]), 3);
            assert_eq!(states.take_out(0).tokens, [1, 2, 3, 4]);
            assert_eq!(states.longest(&[1, 2, 3, 9]), Some((0, 2)));
        }
    }

    #[test]
    fn what_is_part_of_another_is_not_kept_twice() {
        let mut states = KeptStates::new(1_000, false);
        states.put(vec![1, 2], vec![0; 2]);
        states.put(vec![1, 2, 3], vec![0; 3]);
        assert_eq!(states.kept.len(), 1);
        assert!(!states.wants(&[1, 2], 2) && states.wants(&[1, 4], 2));
        let mut states = KeptStates::new(1_000, true);
        states.put(vec![1, 2, 3], vec![0; 3]);
        assert!(states.wants(&[1, 2], 2), "the longer one cannot be cut");
    }

    #[test]
    fn a_state_from_outside_is_kept_once_and_counts_as_used() {
        let mut states = KeptStates::new(100, true);
        states.put(vec![1, 2], vec![0; 20]);
        states.put(vec![3], vec![0; 20]);
        states.bring(vec![1, 2], vec![1; 20]);
        assert_eq!((states.kept.len(), states.bytes), (2, 52));
        states.put(vec![4], vec![0; 50]);
        assert!(states.longest(&[3]).is_none(), "the one that was used before goes first");
        let (index, _) = states.longest(&[1, 2]).expect("it is kept");
        assert_eq!(states.take_out(index).state, [1; 20]);
    }

    #[test]
    fn the_bytes_are_bounded_and_the_oldest_goes_first() {
        let mut states = KeptStates::new(100, false);
        for first in 1..=3 {
            states.put(vec![first], vec![0; 30]);
        }
        assert_eq!(states.longest(&[1]), None, "102 bytes are more than 100");
        let used = states.take_out(0);
        states.put_back(used);
        states.put(vec![4], vec![0; 30]);
        assert!(states.longest(&[2]).is_some() && states.longest(&[3]).is_none());
        assert!(!states.wants(&[5], 97), "with its token that is 101");
        assert_eq!(states.bytes, 68);
    }
}
