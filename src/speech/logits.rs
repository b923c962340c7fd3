//! The loops over every logit: maximum and sum of exponentials, written so that LLVM makes
//! vector code of them on every processor. NaN counts as minus infinity.
#![forbid(unsafe_code)]

const LANES: usize = 16;
/// Logits looked at together, and skipped together.
pub(super) const BLOCK: usize = 256;
/// Logits this far below the largest are left out of sums: 50,000 of them are worth 2e-6.
const NEGLIGIBLE: f32 = 24.0;

/// The largest of `values`; minus infinity when there is none.
pub(super) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let larger = |best: f32, &x: &f32| if x > best { x } else { best };
    let rest = chunks.remainder().iter();
    rest.fold(lanes.iter().fold(f32::NEG_INFINITY, larger), larger)
}

/// The place of the largest logit, the lowest of equals, and its value; `None` when every
/// logit is minus infinity.
pub(super) fn argmax(logits: &[f32]) -> Option<(usize, f32)> {
    let mut best = f32::NEG_INFINITY;
    let mut start = 0;
    for (i, block) in logits.chunks(BLOCK).enumerate() {
        let max = max(block);
        if max > best {
            (best, start) = (max, i * BLOCK);
        }
    }
    let offset = logits.get(start..)?.iter().position(|&x| x == best)?;
    (best > f32::NEG_INFINITY).then_some((start + offset, best))
}

/// Sum of `exp((x - max) * scale)` over `values`, none of which is above `max`, which is above
/// minus infinity; `scale` is above 0.
pub(super) fn sum_exp(values: &[f32], max: f32, scale: f32) -> f64 {
    let blocks = values.chunks(BLOCK);
    blocks.map(|block| sum_exp_block(block, max, scale)).sum()
}

/// [`sum_exp`] of one block.
pub(super) fn sum_exp_block(block: &[f32], largest: f32, scale: f32) -> f64 {
    let largest = largest.min(f32::MAX);
    let nearest = max(block);
    if nearest == f32::NEG_INFINITY || (largest - nearest) * scale > NEGLIGIBLE {
        return 0.0;
    }
    let mut lanes = [0.0; LANES];
    let mut chunks = block.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += weight(x, largest, scale);
        }
    }
    let rest: f32 = chunks.remainder().iter().map(|&x| weight(x, largest, scale)).sum();
    f64::from(lanes.iter().sum::<f32>() + rest)
}

/// `exp((x - max) * scale)`; plus infinity counts as the largest finite number, so that several
/// share the draw.
pub(super) fn weight(x: f32, max: f32, scale: f32) -> f32 {
    // Not `min`, which would turn NaN into a number.
    let x = if x > f32::MAX { f32::MAX } else { x };
    exp((x - max.min(f32::MAX)) * scale)
}

/// The logarithm of the sum of exponentials; minus infinity when every value is.
pub(super) fn log_sum_exp(values: &[f32]) -> f32 {
    let max = max(values);
    if max == f32::NEG_INFINITY {
        return max;
    }
    max.min(f32::MAX) + sum_exp(values, max, 1.0).ln() as f32
}

/// The exponential of a number of at most 0, to 2e-7 of its value; below -87, and for NaN, as
/// good as 0. The power of two is put together from its bits, the rest is a Taylor series.
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const C: [f32; 6] =
        [6.931_472e-1, 2.402_265e-1, 5.550_411e-2, 9.618_129e-3, 1.333_356e-3, 1.540_353e-4];
    let x = if x > -87.0 { x } else { -87.0 };
    let t = x * std::f32::consts::LOG2_E;
    let rounded = t + ROUND;
    let f = t - (rounded - ROUND);
    let series = C[2] + f * (C[3] + f * (C[4] + f * C[5]));
    let series = 1.0 + f * (C[0] + f * (C[1] + f * series));
    series * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_single_precision() {
        for i in 0..=87_000 {
            let x = -(i as f32) / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 8e-6, "exp({x}) is off by {error}");
            assert!(x < -1.0 || error < 3e-7, "exp({x}) is off by {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN) < 1e-37);
    }

    #[test]
    fn sums_agree_with_double_precision() {
        let mut rng = crate::sampling::Rng::new(3);
        let logits: Vec<f32> = (0..5000).map(|_| (rng.next_f64() * 60.0 - 30.0) as f32).collect();
        let exact = logits.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
        assert!((f64::from(log_sum_exp(&logits)) - exact).abs() < 1e-5);
        let (place, best) = argmax(&logits).unwrap();
        assert!(logits.iter().all(|&x| x <= best) && logits[place] == best);
    }

    #[test]
    fn odd_values_do_no_harm() {
        let inf = f32::INFINITY;
        assert_eq!(argmax(&[f32::NAN, -1.0, f32::NAN]), Some((1, -1.0)));
        assert_eq!(argmax(&[-inf, f32::NAN]), None);
        assert_eq!(argmax(&[]), None);
        assert_eq!(log_sum_exp(&[-inf, f32::NAN]), -inf);
        assert_eq!(sum_exp(&[inf, 0.0, inf], inf, 1.0), 2.0);
        assert_eq!(sum_exp(&[f32::NAN, 0.0, -inf], 0.0, 1.0), 1.0);
        assert!(log_sum_exp(&[f32::MAX, 1.0]).is_finite());
    }
}
