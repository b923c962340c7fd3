//! How long batches take on this machine, learnt from those that were computed.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Batch sizes are told apart by the power of two they fit in, up to 2^13 = 8,192 tokens.
const SIZES: usize = 14;

/// How much the newest batch counts in the running mean.
const WEIGHT: f32 = 0.3;

/// Seconds for each token of batches of each size, as a running mean.
#[derive(Debug, Default)]
pub(super) struct Pace {
    per_token: [Option<f32>; SIZES],
}

/// The exponent of the power of two that `count` tokens fit in.
fn size_of(count: usize) -> usize {
    let exponent = count.max(1).next_power_of_two().trailing_zeros() as usize;
    exponent.min(SIZES - 1)
}

impl Pace {
    /// A batch of `count` tokens took `time`.
    pub(super) fn note(&mut self, count: usize, time: Duration) {
        let new = time.as_secs_f32() / count.max(1) as f32;
        let mean = &mut self.per_token[size_of(count)];
        *mean = Some(mean.map_or(new, |mean| mean + WEIGHT * (new - mean)));
    }

    /// How long a batch of `count` tokens is likely to take, judged by the nearest size that was
    /// computed, smaller ones first; `None` before the first batch.
    pub(super) fn expect(&self, count: usize) -> Option<Duration> {
        let size = size_of(count);
        let smaller = (0..=size).rev().find_map(|size| self.per_token[size]);
        let nearest = smaller.or_else(|| (size..SIZES).find_map(|size| self.per_token[size]));
        nearest.map(|seconds| Duration::from_secs_f32(seconds * count as f32))
    }

    /// How many times as long as a batch of `base` tokens one of `count` takes. A size that was never
    /// computed counts as no longer, so that it is tried once.
    pub(super) fn ratio(&self, count: usize, base: usize) -> f32 {
        let known = |count| Some(self.per_token[size_of(count)]? * count as f32);
        match (known(count), known(base)) {
            (Some(whole), Some(part)) if part > 0.0 => whole / part,
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_come_from_the_nearest_sizes() {
        let mut pace = Pace::default();
        let expect = |pace: &Pace, count| {
            let time = pace.expect(count)?;
            Some((time.as_secs_f64() * 1e3).round() as u32)
        };
        assert_eq!(expect(&pace, 1), None);
        pace.note(8, Duration::from_millis(80));
        assert_eq!([8, 5, 32, 1].map(|count| expect(&pace, count)), [80, 50, 320, 10].map(Some));
        pace.note(1, Duration::from_millis(20));
        assert_eq!([1, 4, 8].map(|count| expect(&pace, count)), [20, 80, 80].map(Some));
        pace.note(1, Duration::from_millis(30));
        assert_eq!(expect(&pace, 1), Some(23));
    }

    #[test]
    fn ratios_are_of_what_was_computed() {
        let mut pace = Pace::default();
        pace.note(1, Duration::from_millis(10));
        assert_eq!(pace.ratio(8, 1), 1.0, "nobody knows");
        pace.note(8, Duration::from_millis(40));
        assert_eq!([1, 8, 6].map(|count| pace.ratio(count, 1)), [1.0, 4.0, 3.0]);
    }

    #[test]
    fn sizes_beyond_the_table_count_as_its_last() {
        let mut pace = Pace::default();
        pace.note(100_000, Duration::from_millis(100));
        assert!(pace.expect(1 << 40).is_some());
        assert!(pace.expect(0).is_some());
    }
}
