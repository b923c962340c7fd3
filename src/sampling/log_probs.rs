//! Log-probabilities of raw logits: the softmax over the whole vocabulary, before any stage.
#![forbid(unsafe_code)]

use super::candidates::{by_rank, exp, Candidates};
use super::select;

/// Computes log-probabilities; keeps its buffers from call to call.
#[derive(Debug, Clone, Default)]
pub struct LogProbs {
    set: Candidates,
}

impl LogProbs {
    /// What to take from a logit to have its natural log-probability; minus infinity where
    /// there is no usable one.
    pub fn log_sum(logits: &[f32]) -> f32 {
        let max = select::max(logits);
        let sum = select::sum(logits, |x| exp(x - max));
        (f64::from(max) + sum.ln()) as f32
    }

    /// The `count` likeliest tokens, likeliest first.
    pub fn top(&mut self, logits: &[f32], count: usize) -> impl Iterator<Item = u32> + '_ {
        if count == 0 {
            self.set.items.clear();
        } else {
            select::top_k(logits, count, &mut self.set);
        }
        self.set.items.sort_unstable_by(by_rank);
        self.set.items.iter().map(|c| c.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_come_in_order() {
        let logits: Vec<f32> = (0..1000).map(|i| ((i * 37 % 1000) as f32 * 0.01).sin()).collect();
        let log_sum = LogProbs::log_sum(&logits);
        let sum: f64 = logits.iter().map(|&x| f64::from(x - log_sum).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        let mut probs = LogProbs::default();
        let top: Vec<u32> = probs.top(&logits, 5).collect();
        let mut order: Vec<u32> = (0..1000).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        assert_eq!(top, order[..5]);
        assert_eq!(probs.top(&logits, 0).count(), 0);
    }

    #[test]
    fn masked_and_broken_logits_weigh_nothing() {
        let log_sum = LogProbs::log_sum(&[1.0, f32::NEG_INFINITY, 1.0, f32::NAN]);
        assert!((log_sum - (1.0 + 2f32.ln())).abs() < 1e-6, "{log_sum}");
        assert_eq!(LogProbs::log_sum(&[f32::NEG_INFINITY]), f32::NEG_INFINITY);
    }
}
