//! Decodes that go round in circles, seen while they run instead of after 224 tokens.
#![forbid(unsafe_code)]

use super::vocabulary::Vocabulary;

/// The longest circle looked for, in text tokens.
const MAX_PERIOD: usize = 40;
/// So many rounds at the least; people do say things three times.
const MIN_ROUNDS: usize = 4;
/// So many tokens in circles at the least: such text deflates to less than 1/2.4, so the
/// quality check would refuse it at the end anyway.
const MIN_TOKENS: usize = 40;

/// Whether `sampled`, the tokens of one decode so far, ends in the same few text tokens over
/// and over. Timestamps are skipped: a loop moves them on. The caller may end the decode there
/// and fall back to a higher temperature; at the last one, it should let the decode run.
///
/// Looks at the end only, so the cost per token is small: in normal text, every period is
/// refused at its first token or two.
pub fn is_looping(vocabulary: &Vocabulary, sampled: &[u32]) -> bool {
    if sampled.len() < MIN_TOKENS {
        return false;
    }
    let text = sampled.iter().rev().copied().filter(|&token| vocabulary.is_text(token));
    let newest: Vec<u32> = text.take(MAX_PERIOD * (MIN_ROUNDS + 1)).collect();
    (1..=MAX_PERIOD).any(|period| {
        let shifted = newest.iter().skip(period);
        let matching = newest.iter().zip(shifted).take_while(|(a, b)| a == b).count();
        let repeated = matching + period;
        repeated >= MIN_TOKENS && repeated / period >= MIN_ROUNDS
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::testing;

    #[test]
    fn loops_are_seen_with_moving_timestamps_and_normal_text_is_not() {
        let vocabulary = testing::small();
        let begin = vocabulary.special().timestamp_begin;
        let mut tokens: Vec<u32> = (100..150).collect();
        for round in 0..8 {
            assert!(!is_looping(&vocabulary, &tokens), "round {round}");
            tokens.extend([begin + 50 * round, 7, 8, 9, 10, 11, begin + 50 * round + 40]);
        }
        // 8 rounds of 5 are 40.
        assert!(is_looping(&vocabulary, &tokens));
        tokens.push(99);
        assert!(!is_looping(&vocabulary, &tokens));
    }

    #[test]
    fn a_chorus_sung_three_times_is_no_loop() {
        let vocabulary = testing::small();
        let chorus: Vec<u32> = (10..40).collect();
        assert!(!is_looping(&vocabulary, &chorus.repeat(3)));
        assert!(is_looping(&vocabulary, &chorus.repeat(4)));
        assert!(is_looping(&vocabulary, &[5; 40]));
        assert!(!is_looping(&vocabulary, &[5; 39]));
    }
}
