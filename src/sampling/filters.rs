//! One function per filter: each shortens the candidates, and leaves at least the best one.
//!
//! Top-k is in `select`, because it reads the whole vocabulary; what goes by entropy, in `entropy`.
#![forbid(unsafe_code)]

use super::candidates::{by_rank, Candidate, Candidates};
use super::params::Xtc;
use super::select;

/// Candidates up to which sorting beats buckets.
const SORTED_BELOW: usize = 1024;
/// Buckets for larger sets: one per eighth of a nat below the likeliest.
const BUCKETS: usize = 256;
const BUCKETS_PER_NAT: f32 = 8.0;

/// Nucleus sampling (Holtzman et al. 2019): keeps the likeliest candidates until their
/// probabilities reach `p`, the one that crosses it included.
///
/// As llama.cpp's `llama_sampler_top_p_apply`; at least `min_keep` stay.
pub(super) fn top_p(set: &mut Candidates, p: f32, min_keep: usize) {
    if p >= 1.0 || p.is_nan() || set.items.len() < 2 {
        return;
    }
    set.softmax();
    if set.items.len() < SORTED_BELOW || min_keep > 1 {
        set.items.sort_unstable_by(by_rank);
        cut_at(&mut set.items, 0, 0.0, p, min_keep);
    } else {
        top_p_large(set, p);
    }
}

/// Drops what follows the candidate at which the sum of probabilities, `sum` for those before
/// `start`, reaches `p`, but leaves `min_keep`; `items` from `start` on are sorted.
fn cut_at(items: &mut Vec<Candidate>, start: usize, mut sum: f64, p: f32, min_keep: usize) {
    for i in start..items.len() {
        sum += f64::from(items[i].p);
        if sum >= f64::from(p) && i + 1 >= min_keep {
            items.truncate(i + 1);
            return;
        }
    }
}

/// [`top_p`] without sorting everything: sums the probabilities by bucket of logits, keeps the
/// buckets before the crossing whole, and sorts the one in which it happens.
fn top_p_large(set: &mut Candidates, p: f32) {
    let max = set.max_logit();
    let bucket = |c: &Candidate| {
        // Equal infinities give NaN, which the cast makes 0; the last bucket takes the rest.
        (((max - c.logit) * BUCKETS_PER_NAT) as usize).min(BUCKETS - 1)
    };
    let mut sums = [0.0f64; BUCKETS];
    for c in &set.items {
        sums[bucket(c)] += f64::from(c.p);
    }
    let (mut edge, mut before) = (0, 0.0);
    while edge < BUCKETS - 1 && before + sums[edge] < f64::from(p) {
        before += sums[edge];
        edge += 1;
    }
    set.items.retain(|c| bucket(c) <= edge);
    let whole = partition(&mut set.items, |c| bucket(c) < edge);
    set.items[whole..].sort_unstable_by(by_rank);
    cut_at(&mut set.items, whole, before, p, 0);
}

/// Moves the items that `first` picks to the front; returns how many there are.
fn partition(items: &mut [Candidate], first: impl Fn(&Candidate) -> bool) -> usize {
    let mut count = 0;
    for i in 0..items.len() {
        if first(&items[i]) {
            items.swap(i, count);
            count += 1;
        }
    }
    count
}

/// Keeps candidates at least `p` times as likely as the likeliest (Nguyen et al. 2024, "Turning
/// up the heat: min-p sampling").
///
/// As llama.cpp's `llama_sampler_min_p_apply`: compared as logits, against `max + ln(p)`; at least
/// the `min_keep` likeliest stay.
pub(super) fn min_p(set: &mut Candidates, p: f32, min_keep: usize) {
    if p.is_nan() || p <= 0.0 {
        return;
    }
    let max = set.max_logit();
    // A p above 1 would drop everything; the likeliest stay.
    let edge = max + p.min(1.0).ln();
    if min_keep < 2 {
        set.items.retain(|c| c.logit >= edge);
        return;
    }
    set.items.sort_unstable_by(by_rank);
    let likely = set.items.partition_point(|c| c.logit >= edge);
    set.items.truncate(likely.max(min_keep));
}

/// Leaves out all candidates as likely as the threshold but the least likely of them, unless
/// fewer than `min_keep` would stay. The caller has drawn that it is to happen.
///
/// As llama.cpp's `llama_sample_xtc_apply`.
pub(super) fn xtc(set: &mut Candidates, params: &Xtc, min_keep: usize) {
    if set.items.len() < 2 {
        return;
    }
    set.softmax();
    let is_top = |c: &&Candidate| c.p >= params.threshold;
    let count = set.items.iter().filter(is_top).count();
    let Some(least) = set.items.iter().filter(is_top).max_by(|a, b| by_rank(a, b)).copied() else {
        return;
    };
    if set.items.len() + 1 - count >= min_keep {
        set.items.retain(|c| c.p < params.threshold || c.id == least.id);
    }
}

/// Below this logit a token is more than `n` standard deviations off the largest one (Tang et al.
/// 2024, "Top-nσ: not all logits are you need"); NaN, which nothing is below, where infinities
/// leave no such number. Tokens at minus infinity and NaN do not count.
///
/// As llama.cpp's `llama_sampler_top_n_sigma_apply`.
pub(super) fn sigma_edge(logits: &[f32], n: f32) -> f32 {
    let valid = |x: f32, value: f32| if x > f32::NEG_INFINITY { value } else { 0.0 };
    let count = select::sum(logits, |x| valid(x, 1.0));
    let mean = (select::sum(logits, |x| valid(x, x)) / count) as f32;
    let variance = select::sum(logits, |x| valid(x, (x - mean) * (x - mean))) / count;
    select::max(logits) - n * variance.sqrt() as f32
}

/// Divides the logits by `temperature`; 0 or less leaves the likeliest candidate alone.
///
/// As llama.cpp's `llama_sampler_temp_impl`.
pub(super) fn divide(set: &mut Candidates, temperature: f32) {
    if temperature.is_nan() || temperature <= 0.0 {
        if let Some(best) = set.items.iter().min_by(|a, b| by_rank(a, b)).copied() {
            set.items.retain(|c| c.id == best.id);
        }
        return;
    }
    // Smaller ones would make infinities of what differs, larger ones NaN of infinities.
    let temperature = temperature.clamp(1e-6, f32::MAX);
    set.items.iter_mut().for_each(|c| c.logit /= temperature);
}

/// Picks one candidate with probability proportional to `exp(logit / temperature)`, given
/// `unit` in `[0, 1)`; `None` without candidates.
///
/// Temperature is a division of logits in llama.cpp's chain; here it goes into the weights,
/// where the largest logit is subtracted first, so that nothing overflows.
pub(super) fn draw(set: &mut Candidates, temperature: f32, unit: f64) -> Option<u32> {
    let target = set.weigh(temperature) * unit;
    let mut sum = 0.0;
    let mut last = None;
    for c in &set.items {
        sum += f64::from(c.p);
        if c.p > 0.0 {
            last = Some(c.id);
            if sum > target {
                break;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::rng::Rng;

    /// Candidates with the given probabilities, as logits.
    fn set(weights: &[f32]) -> Candidates {
        let logits: Vec<f32> = weights.iter().map(|w| w.ln()).collect();
        let mut set = Candidates::default();
        crate::sampling::select::all(&logits, &mut set);
        set
    }

    fn kept(mut set: Candidates, filter: impl Fn(&mut Candidates)) -> Vec<u32> {
        filter(&mut set);
        let mut ids: Vec<u32> = set.items.iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids
    }

    // Probabilities 0.1, 0.5, 0.15, 0.25: sorted sums are 0.5, 0.75, 0.9, 1.
    #[test]
    fn top_p_includes_the_one_that_crosses() {
        let weights = [0.1, 0.5, 0.15, 0.25];
        let top = |p| kept(set(&weights), |s| top_p(s, p, 0));
        assert_eq!(top(0.3), [1]);
        assert_eq!(top(0.6), [1, 3]);
        assert_eq!(top(0.8), [1, 2, 3]);
        assert_eq!(top(0.95), [0, 1, 2, 3]);
        assert_eq!(top(0.0), [1]);
        assert_eq!(top(-1.0), [1]);
        assert_eq!(top(1.0), [0, 1, 2, 3]);
        assert_eq!(top(f32::NAN), [0, 1, 2, 3]);
    }

    // Relative to the largest (0.5): 0.2, 1, 0.3, 0.5.
    #[test]
    fn min_p_is_relative_to_the_likeliest() {
        let weights = [0.1, 0.5, 0.15, 0.25];
        let min = |p| kept(set(&weights), |s| min_p(s, p, 0));
        assert_eq!(min(0.25), [1, 2, 3]);
        assert_eq!(min(0.4), [1, 3]);
        assert_eq!(min(0.9), [1]);
        assert_eq!(min(7.0), [1]);
        assert_eq!(min(0.0), [0, 1, 2, 3]);
        assert_eq!(min(f32::NAN), [0, 1, 2, 3]);
    }

    #[test]
    fn min_keep_keeps_the_likeliest() {
        let weights = [0.1, 0.5, 0.15, 0.25];
        assert_eq!(kept(set(&weights), |s| top_p(s, 0.3, 3)), [1, 2, 3]);
        assert_eq!(kept(set(&weights), |s| min_p(s, 0.9, 2)), [1, 3]);
        assert_eq!(kept(set(&weights), |s| min_p(s, 0.25, 2)), [1, 2, 3]);
    }

    #[test]
    fn xtc_leaves_the_least_of_the_likely() {
        let weights = [0.1, 0.5, 0.15, 0.25];
        let xtc = |threshold, min_keep| {
            let params = Xtc { probability: 1.0, threshold };
            kept(set(&weights), |s| xtc(s, &params, min_keep))
        };
        assert_eq!(xtc(0.2, 0), [0, 2, 3]);
        assert_eq!(xtc(0.12, 0), [0, 2]);
        assert_eq!(xtc(0.4, 0), [0, 1, 2, 3]);
        assert_eq!(xtc(0.12, 3), [0, 1, 2, 3]);
    }

    // Mean 2, squares 9, 4 and 1.
    #[test]
    fn sigma_leaves_masked_tokens_out_of_account() {
        let logits = [5.0, 0.0, f32::NEG_INFINITY, 1.0, f32::NAN];
        let edge = sigma_edge(&logits, 1.0);
        assert!((edge - (5.0 - (14f32 / 3.0).sqrt())).abs() < 1e-6, "{edge}");
        assert!(sigma_edge(&[f32::INFINITY, 1.0], 1.0).is_nan());
    }

    // The reference sorts everything; at the very edge, rounding may move it by one.
    #[test]
    fn buckets_agree_with_sorting_everything() {
        for seed in 0..60 {
            let mut rng = Rng::new(seed);
            let spread = [0.5, 4.0, 20.0, 200.0][(seed % 4) as usize];
            let n = SORTED_BELOW + (rng.next_u64() % 5000) as usize;
            let logits: Vec<f32> = (0..n).map(|_| (rng.next_f64() * spread) as f32).collect();
            let p = [0.1, 0.5, 0.95, 0.9999][(rng.next_u64() % 4) as usize];
            let mut sorted = Candidates::default();
            crate::sampling::select::all(&logits, &mut sorted);
            let mut fast = sorted.clone();
            sorted.softmax();
            sorted.items.sort_by(by_rank);
            cut_at(&mut sorted.items, 0, 0.0, p, 0);
            top_p(&mut fast, p, 0);
            fast.items.sort_by(by_rank);
            let (a, b) = (fast.items.len(), sorted.items.len());
            assert!(a.abs_diff(b) <= 1, "seed {seed}: {a} and {b} kept");
            let same = fast.items.iter().zip(&sorted.items).all(|(a, b)| a.id == b.id);
            assert!(same, "seed {seed}");
        }
    }

    // Weights 1, 2, 1 split [0, 1) at 0.25 and 0.75.
    #[test]
    fn draw_maps_the_unit_interval() {
        let at = |unit| draw(&mut set(&[1.0, 2.0, 1.0]), 1.0, unit);
        assert_eq!(at(0.0), Some(0));
        assert_eq!(at(0.24), Some(0));
        assert_eq!(at(0.26), Some(1));
        assert_eq!(at(0.74), Some(1));
        assert_eq!(at(0.76), Some(2));
        assert_eq!(at(0.999_999_999), Some(2));
        assert_eq!(draw(&mut Candidates::default(), 1.0, 0.5), None);
    }

    // At temperature 0.5 the weights 1 and 3 become 1 and 9.
    #[test]
    fn temperature_raises_weights_to_its_inverse() {
        let at = |unit| draw(&mut set(&[1.0, 3.0]), 0.5, unit);
        assert_eq!(at(0.099), Some(0));
        assert_eq!(at(0.101), Some(1));
        let hot = |unit| draw(&mut set(&[1.0, 3.0]), f32::INFINITY, unit);
        assert_eq!(hot(0.49), Some(0));
        assert_eq!(hot(0.51), Some(1));
        assert_eq!(draw(&mut set(&[1.0, 3.0]), 1e-45, 0.0), Some(1));
    }
}
