//! Bytes of main memory: what a model takes, part by part, and what there is.
#![forbid(unsafe_code)]

use std::ops::AddAssign;

use serde_json::{Map, Value};

use crate::error::Result;
/// Bytes of main memory that a load may take now.
pub use crate::machine::memory::available;

/// What a loaded model takes, in bytes of main memory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Weights, of adapters and a draft model too; mapped files count wholly.
    pub weights: u64,
    /// What jobs leave behind token by token: keys and values, recurrent states.
    pub kv_cache: u64,
    /// Room for what is computed: graphs' values, logits.
    pub compute: u64,
    /// All else: vocabularies, descriptions of graphs, threads.
    pub other: u64,
}

impl Memory {
    /// All of it; `u64::MAX` stands for more than can be counted.
    pub fn total(&self) -> u64 {
        let parts = [self.weights, self.kv_cache, self.compute, self.other];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// The parts and their sum, each under its name with `_bytes`.
    pub fn to_json(&self) -> Map<String, Value> {
        let parts = [
            ("weights_bytes", self.weights),
            ("kv_cache_bytes", self.kv_cache),
            ("compute_bytes", self.compute),
            ("other_bytes", self.other),
            ("total_bytes", self.total()),
        ];
        parts.into_iter().map(|(name, bytes)| (name.to_owned(), Value::from(bytes))).collect()
    }
}

impl AddAssign for Memory {
    fn add_assign(&mut self, more: Self) {
        self.weights = self.weights.saturating_add(more.weights);
        self.kv_cache = self.kv_cache.saturating_add(more.kv_cache);
        self.compute = self.compute.saturating_add(more.compute);
        self.other = self.other.saturating_add(more.other);
    }
}

/// The largest number of 1 to `most` that `fits`; whatever is below one that fits, fits.
pub fn largest(most: u32, mut fits: impl FnMut(u32) -> Result<bool>) -> Result<Option<u32>> {
    if most == 0 || fits(most)? {
        return Ok((most > 0).then_some(most));
    }
    let (mut low, mut high) = (0, most);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match fits(middle)? {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok((low > 0).then_some(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_found_in_few_steps() {
        for most in [1, 2, 3, 1_000, u32::MAX] {
            for limit in [0, 1, 2, 999, 1_000, u32::MAX - 1, u32::MAX] {
                let mut steps = 0;
                let found = largest(most, |number| {
                    steps += 1;
                    assert!((1..=most).contains(&number));
                    Ok(number <= limit)
                });
                let expected = (limit > 0).then_some(limit.min(most));
                assert_eq!(found.expect("no error"), expected);
                assert!(steps <= 33, "{steps}");
            }
        }
        assert_eq!(largest(0, |_| Ok(true)).expect("no error"), None);
    }

    #[test]
    fn sums_do_not_overflow() {
        let mut sum = Memory { weights: u64::MAX, kv_cache: 1, compute: 2, other: 3 };
        assert_eq!(sum.total(), u64::MAX);
        sum += Memory { weights: 1, kv_cache: 2, compute: 3, other: 4 };
        assert_eq!(sum, Memory { weights: u64::MAX, kv_cache: 3, compute: 5, other: 7 });
    }
}
