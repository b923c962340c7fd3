//! The next token and its log-probability, from logits that the rules have been applied to.
#![forbid(unsafe_code)]

use super::logits::{self, BLOCK};
use super::vocabulary::{Language, Vocabulary};
use crate::sampling::Rng;

/// A token that was picked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picked {
    /// Its id.
    pub token: u32,
    /// The natural logarithm of its probability at temperature 1, as OpenAI's `sum_logprobs`
    /// counts it; at most 0.
    pub logprob: f32,
}

/// The next token: the likeliest (the lowest of equals) where `temperature` is 0 or less, or
/// NaN; else a draw from the softmax of the logits over `temperature`.
///
/// `logits` are one step's over the whole vocabulary. NaN counts as minus infinity; tokens at
/// plus infinity share the draw. `None` when no logit is above minus infinity.
pub fn pick(logits: &[f32], temperature: f32, rng: &mut Rng) -> Option<Picked> {
    let (best, max) = logits::argmax(logits)?;
    let total = logits::sum_exp(logits, max, 1.0);
    let token = match temperature > 0.0 {
        true => draw(logits, max, temperature, rng.next_f64()).unwrap_or(best),
        false => best,
    };
    let weight = (logits[token].min(f32::MAX) - max.min(f32::MAX)) as f64;
    let logprob = ((weight - total.ln()) as f32).min(0.0);
    u32::try_from(token).ok().map(|token| Picked { token, logprob })
}

/// The token at the fraction `unit` of the weights' sum.
fn draw(logits: &[f32], max: f32, temperature: f32, unit: f64) -> Option<usize> {
    // Infinity would make every difference NaN; this is flat enough.
    let scale = (1.0 / temperature).clamp(1e-6, 1e6);
    let mut left = unit * logits::sum_exp(logits, max, scale);
    let mut last = None;
    for (i, block) in logits.chunks(BLOCK).enumerate() {
        let sum = logits::sum_exp_block(block, max, scale);
        if sum > 0.0 && left < sum {
            return draw_in_block(block, max, scale, left).map(|offset| i * BLOCK + offset);
        }
        // Rounding may leave a little at the end: then the last block that counts has it.
        last = if sum > 0.0 { Some((i, block, sum)) } else { last };
        left -= sum;
    }
    let (i, block, sum) = last?;
    draw_in_block(block, max, scale, sum).map(|offset| i * BLOCK + offset)
}

fn draw_in_block(block: &[f32], max: f32, scale: f32, mut left: f64) -> Option<usize> {
    let mut last = None;
    for (i, &x) in block.iter().enumerate() {
        if x > f32::NEG_INFINITY {
            last = Some(i);
            left -= f64::from(logits::weight(x, max, scale));
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

/// The probability of `token` in the softmax of `logits`, 0 to 1; 0 outside the vocabulary.
/// With the first step's logits before any rule and `Special::no_speech`, that of silence; with
/// the logits of text alone (`&logits[..eot]`), what OpenAI's word timestamps give as a token's
/// probability.
pub fn probability(logits: &[f32], token: u32) -> f32 {
    let Some(&logit) = logits.get(token as usize) else { return 0.0 };
    let max = logits::max(logits);
    if max == f32::NEG_INFINITY {
        return 0.0;
    }
    let weight = f64::from(logits::weight(logit, max, 1.0));
    (weight / logits::sum_exp(logits, max, 1.0)).min(1.0) as f32
}

/// The languages of `vocabulary` with their probabilities, likeliest first: the softmax over the
/// language tokens alone of the logits after `<|startoftranscript|>` (`detect_language` in
/// `whisper/decoding.py`).
pub fn languages<'a>(vocabulary: &'a Vocabulary, logits: &[f32]) -> Vec<(&'a Language, f32)> {
    let languages = vocabulary.languages();
    let logit = |language: &Language| logits.get(language.token as usize).copied();
    let own: Vec<f32> = languages.iter().map(|l| logit(l).unwrap_or(f32::NEG_INFINITY)).collect();
    let places = (0u32..).take(own.len());
    let mut list: Vec<_> = languages.iter().zip(places.map(|i| probability(&own, i))).collect();
    list.sort_by(|a, b| b.1.total_cmp(&a.1));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::testing;

    #[test]
    fn greedy_takes_the_best_and_its_logprob() {
        let logits = [1.0f32, 3.0, f32::NEG_INFINITY, 2.0, f32::NAN];
        let picked = pick(&logits, 0.0, &mut Rng::new(0)).unwrap();
        let total = 1f64.exp() + 2f64.exp() + 3f64.exp();
        assert_eq!(picked.token, 1);
        let error = f64::from(picked.logprob) - (3.0 - total.ln());
        assert!(error.abs() < 1e-6, "{error}");
        assert_eq!(pick(&[f32::NAN, f32::NEG_INFINITY], 0.5, &mut Rng::new(0)), None);
        assert_eq!(pick(&[], 0.5, &mut Rng::new(0)), None);
    }

    #[test]
    fn draws_follow_the_softmax_and_the_temperature() {
        // Far apart in the vocabulary, so that blocks are passed on the way.
        let mut logits = vec![f32::NEG_INFINITY; 1000];
        (logits[3], logits[400], logits[999]) = (0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln());
        for temperature in [1.0f32, 0.5] {
            let mut counts = [0; 3];
            let mut rng = Rng::new(11);
            for _ in 0..20_000 {
                let picked = pick(&logits, temperature, &mut rng).unwrap();
                let i = [3, 400, 999].iter().position(|&id| id == picked.token).unwrap();
                counts[i] += 1;
                // At temperature 1, whatever it was drawn at.
                assert!((picked.logprob.exp() - [0.5, 0.3, 0.2][i]).abs() < 1e-5);
            }
            let power = 1.0 / f64::from(temperature);
            let weights = [0.5f64, 0.3, 0.2].map(|p| p.powf(power));
            let total: f64 = weights.iter().sum();
            for (count, weight) in counts.into_iter().zip(weights) {
                let share = f64::from(count) / 20_000.0;
                assert!((share - weight / total).abs() < 0.015, "{counts:?}");
            }
        }
    }

    #[test]
    fn every_temperature_gives_a_token_that_is_allowed() {
        let mut rng = Rng::new(5);
        for seed in 0..200 {
            let logits: Vec<f32> = (0..700)
                .map(|_| match rng.next_u64() % 5 {
                    0 => f32::NEG_INFINITY,
                    1 => f32::NAN,
                    2 if seed % 3 == 0 => f32::INFINITY,
                    _ => (rng.next_f64() * 200.0 - 100.0) as f32,
                })
                .collect();
            for temperature in [f32::NAN, -1.0, 1e-30, 0.2, 1.0, 1e30, f32::INFINITY] {
                let picked = pick(&logits, temperature, &mut rng).unwrap();
                assert!(logits[picked.token as usize] > f32::NEG_INFINITY);
                assert!(picked.logprob <= 0.0, "{picked:?}");
            }
        }
    }

    #[test]
    fn languages_share_their_own_softmax() {
        let vocabulary = testing::small();
        let mut logits = vec![50.0; vocabulary.sizes().vocabulary as usize];
        for (language, logit) in vocabulary.languages().iter().zip([0.1f32, 0.7, 0.15, 0.05]) {
            logits[language.token as usize] = logit.ln();
        }
        let list = languages(&vocabulary, &logits);
        assert_eq!((list[0].0.name(), list.len()), ("french", 4));
        assert!((list[0].1 - 0.7).abs() < 1e-5);
    }
}
