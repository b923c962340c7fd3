//! The tokens still in the running for one draw, and the arithmetic all filters share.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

/// One token in the running.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The token's id: its position in the logits.
    pub(super) id: u32,
    /// Its logit; never NaN and never minus infinity.
    pub(super) logit: f32,
    /// Its probability among the candidates, once [`Candidates::softmax`] has run.
    pub(super) p: f32,
}

/// Likelier first; equal logits by id, so that every order is the same on every run.
pub(super) fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    let logits = b.logit.partial_cmp(&a.logit);
    logits.unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

/// The candidates in no fixed order. The buffer is kept between draws.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates {
    /// The tokens left; filters shorten it and leave at least one.
    pub(super) items: Vec<Candidate>,
    /// The largest logit of each block of the vocabulary, and room to sort them.
    pub(super) maxima: Vec<f32>,
    pub(super) scratch: Vec<f32>,
}

impl Candidates {
    /// Takes out what a penalty has brought to minus infinity, or to NaN.
    pub(super) fn drop_masked(&mut self) {
        self.items.retain(|c| c.logit > f32::NEG_INFINITY);
    }

    /// The largest logit, or minus infinity when there are no candidates.
    pub(super) fn max_logit(&self) -> f32 {
        let max = |best: f32, c: &Candidate| if c.logit > best { c.logit } else { best };
        self.items.iter().fold(f32::NEG_INFINITY, max)
    }

    /// Sets each `p` to its weight at `temperature` (above 0) relative to the likeliest
    /// candidate, in `[0, 1]`; returns the sum of all weights, at least 1 if there are any.
    pub(super) fn weigh(&mut self, temperature: f32) -> f64 {
        let max = self.max_logit();
        let mut sum = 0.0;
        for c in &mut self.items {
            // Equal infinities would give NaN; they share the top instead.
            let gap = if c.logit == max { 0.0 } else { c.logit - max };
            c.p = exp(gap / temperature);
            sum += f64::from(c.p);
        }
        sum
    }

    /// Sets each `p` to the candidate's probability; they sum to 1.
    pub(super) fn softmax(&mut self) {
        let scale = 1.0 / self.weigh(1.0);
        for c in &mut self.items {
            c.p = (f64::from(c.p) * scale) as f32;
        }
    }
}

/// `e^x` for `x <= 0`; 0 below -87 (and for NaN), where f32 leaves its normal range.
///
/// Range reduction to `2^n * e^r`, `|r| <= ln(2)/2`, and the polynomial of Cephes' `expf`
/// (Moshier, <https://netlib.org/cephes>); relative error below 2e-7. Our own because the
/// system's `expf` differs between platforms, and a loop over this one becomes vector code.
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to a whole number.
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let mut poly = 1.987_569_1e-4;
    for k in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        poly = poly * r + k;
    }
    let fraction = poly * r * r + r + 1.0;
    // The low bits of `shifted` hold n, so shifting them makes the exponent of 2^n.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x >= -87.0 {
        fraction * power
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        assert_eq!(exp(0.0), 1.0);
        for x in [-87.1, -1e30, f32::NEG_INFINITY, f32::NAN] {
            assert_eq!(exp(x), 0.0, "{x}");
        }
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2e-7, "exp({x}) is off by {error}");
        }
    }

    #[test]
    fn infinities_share_the_probability() {
        let logits = [f32::INFINITY, 3.0, f32::INFINITY];
        let mut set = Candidates::default();
        for (id, &logit) in logits.iter().enumerate() {
            set.items.push(Candidate { id: id as u32, logit, p: 0.0 });
        }
        set.softmax();
        let p: Vec<f32> = set.items.iter().map(|c| c.p).collect();
        assert_eq!(p, [0.5, 0.0, 0.5]);
    }
}
