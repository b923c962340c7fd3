//! How long batches take on this machine, learnt from those that were computed.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Batch sizes are told apart by the power of two they fit in, up to 2^13 = 8,192 tokens.
const SIZES: usize = 14;

/// How much the newest batch counts in the running mean.
const WEIGHT: f32 = 0.3;

/// Seconds that batches of each size take, as a running mean.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seconds: [Option<f32>; SIZES],
}

/// The exponent of the power of two that `count` tokens fit in.
fn size_of(count: usize) -> usize {
    let exponent = count.max(1).next_power_of_two().trailing_zeros() as usize;
    exponent.min(SIZES - 1)
}

impl Pace {
    /// A batch of `count` tokens took `time`.
    pub(super) fn note(&mut self, count: usize, time: Duration) {
        let size = size_of(count);
        // As if the batch had been full: estimates err towards too long.
        let full = time.as_secs_f32() * (1usize << size) as f32 / count.max(1) as f32;
        let mean = &mut self.seconds[size];
        *mean = Some(mean.map_or(full, |mean| mean + WEIGHT * (full - mean)));
    }

    /// How long a batch of `count` tokens is likely to take; `None` before the first one.
    pub(super) fn expect(&self, count: usize) -> Option<Duration> {
        let size = size_of(count);
        let larger = (size..SIZES).find_map(|size| self.seconds[size]);
        let smaller = || {
            let known = (0..size).rev().find(|&known| self.seconds[known].is_some())?;
            self.seconds[known].map(|seconds| seconds * (1usize << (size - known)) as f32)
        };
        let seconds = match self.seconds[size] {
            Some(known) => Some(known),
            // In proportion to a smaller batch, and no longer than a larger one.
            None => match (smaller(), larger) {
                (Some(scaled), Some(bound)) => Some(scaled.min(bound)),
                (scaled, bound) => scaled.or(bound),
            },
        };
        seconds.map(Duration::from_secs_f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_come_from_the_nearest_sizes() {
        let mut pace = Pace::default();
        let expect =
            |pace: &Pace, count| pace.expect(count).map(|time| time.as_micros().div_ceil(10));
        assert_eq!(expect(&pace, 1), None);
        pace.note(8, Duration::from_millis(80));
        assert_eq!(expect(&pace, 8), Some(8_000));
        assert_eq!(expect(&pace, 32), Some(32_000));
        assert_eq!(expect(&pace, 1), Some(8_000), "no longer than eight");
        pace.note(1, Duration::from_millis(10));
        assert_eq!(expect(&pace, 2), Some(2_000));
        pace.note(1, Duration::from_millis(20));
        assert_eq!(expect(&pace, 1), Some(1_300));
    }

    #[test]
    fn sizes_beyond_the_table_count_as_its_last() {
        let mut pace = Pace::default();
        pace.note(100_000, Duration::from_millis(100));
        assert!(pace.expect(usize::MAX / 2).is_some());
        assert!(pace.expect(0).is_some());
    }
}
