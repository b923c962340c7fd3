//! Mirostat: a bound on the candidates that follows the surprise of the text (Basu et al. 2021,
//! "Mirostat: a neural text decoding algorithm that directly controls perplexity").
#![forbid(unsafe_code)]

use super::candidates::{by_rank, exp, Candidates};
use super::params::Mirostat;
use super::select;

/// How many of the likeliest tokens the exponent of Zipf's law is estimated from.
const ESTIMATED_FROM: usize = 100;

/// The bound, in bits.
#[derive(Debug, Clone)]
pub(super) struct Bound(f32);

impl Bound {
    pub(super) fn new(params: &Mirostat) -> Self {
        Self(2.0 * params.tau)
    }

    /// Fills `set` with what is within the bound at `temperature`, above 0, as llama.cpp's chain of
    /// temperature and `llama_sampler_mirostat_apply` or `llama_sampler_mirostat_v2_apply`.
    pub(super) fn keep(
        &self,
        logits: &[f32],
        set: &mut Candidates,
        temperature: f32,
        params: &Mirostat,
    ) {
        match params.version {
            1 => self.keep_by_rank(logits, set, temperature),
            _ => self.keep_by_surprise(logits, set, temperature),
        }
    }

    /// Follows `token`, which was drawn from what [`keep`](Self::keep) left.
    pub(super) fn note(&mut self, set: &Candidates, token: u32, params: &Mirostat) {
        let sum: f64 = set.items.iter().map(|c| f64::from(c.p)).sum();
        if let Some(drawn) = set.items.iter().find(|c| c.id == token) {
            let surprise = -(f64::from(drawn.p) / sum).log2() as f32;
            self.0 -= params.eta * (surprise - params.tau);
        }
    }

    /// Version 1: so many tokens as would, by Zipf's law, give the surprise of the bound.
    fn keep_by_rank(&self, logits: &[f32], set: &mut Candidates, temperature: f32) {
        select::top_k(logits, ESTIMATED_FROM, set);
        set.items.sort_unstable_by(by_rank);
        let (mut products, mut squares) = (0.0, 0.0);
        for (rank, pair) in (1u16..).zip(set.items.windows(2)) {
            let rank = f32::from(rank);
            let step = ((rank + 1.0) / rank).ln();
            products += step * (pair[0].logit - pair[1].logit) / temperature;
            squares += step * step;
        }
        let exponent = products / squares;
        let epsilon = exponent - 1.0;
        let all = logits.len() as f32;
        let k = (epsilon * self.0.exp2() / (1.0 - all.powf(-epsilon))).powf(1.0 / exponent);
        // The cast takes NaN as 0 and ends at the largest number.
        select::top_k(logits, (k as usize).max(1), set);
    }

    /// Version 2: the tokens whose surprise is within the bound, and the likeliest.
    fn keep_by_surprise(&self, logits: &[f32], set: &mut Candidates, temperature: f32) {
        let max = select::max(logits);
        let sum = select::sum(logits, |x| exp((x - max) / temperature));
        let edge = max + temperature * (sum.ln() as f32 - self.0 * std::f32::consts::LN_2);
        // Among infinities the edge is no number.
        select::at_least(logits, edge.min(max), set);
    }
}
