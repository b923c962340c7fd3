//! The seeded generator behind every draw: the same numbers on every platform for a seed.
//!
//! xoshiro256++ 1.0 by David Blackman and Sebastiano Vigna ("Scrambled linear pseudorandom
//! number generators", ACM TOMS 47, 2021; reference code in the public domain at
//! <https://prng.di.unimi.it/xoshiro256plusplus.c>), its state filled by SplitMix64 as its
//! authors advise, so that neighbouring seeds give unrelated streams. Not for cryptography.
#![forbid(unsafe_code)]

/// A stream of pseudo-random numbers; a clone goes on with the same numbers.
#[derive(Debug, Clone)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of `seed`; any value is good, 0 included.
    pub fn new(seed: u64) -> Self {
        let mut mix = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut mix)) }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number in `[0, 1)`, uniform over the multiples of 2⁻⁵³.
    pub fn next_f64(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * SCALE
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    // First outputs of the authors' C programs: SplitMix64 from seed 0, xoshiro256++ from
    // the state 1, 2, 3, 4.
    #[test]
    fn matches_the_reference_programs() {
        let mut seed = 0;
        assert_eq!(split_mix(&mut seed), 0xe220_a839_7b1d_cdaf);
        assert_eq!(split_mix(&mut seed), 0x6e78_9e6a_a1b9_65f4);
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| rng.next_u64()).collect();
        let expected = [41943041, 58720359, 3588806011781223, 3591011842654386];
        assert_eq!(first, expected);
    }

    #[test]
    fn fractions_fill_the_unit_interval_evenly() {
        let mut rng = Rng::new(7);
        let mut bins = [0u32; 10];
        for _ in 0..100_000 {
            let u = rng.next_f64();
            assert!((0.0..1.0).contains(&u));
            bins[(u * 10.0) as usize] += 1;
        }
        // 10,000 each, standard deviation 95.
        assert!(bins.iter().all(|&n| n.abs_diff(10_000) < 500), "{bins:?}");
    }

    #[test]
    fn seeds_reproduce_and_differ() {
        let stream = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(stream(42), stream(42));
        assert_ne!(stream(42), stream(43));
        assert_ne!(stream(0), [0; 3]);
    }
}
