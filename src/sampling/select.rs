//! From the whole vocabulary to the best: the only loops over every logit.
#![forbid(unsafe_code)]

use super::candidates::{by_rank, Candidate, Candidates};

/// Logits looked at together; LLVM turns the maximum over a block into vector code.
const BLOCK: usize = 64;

/// The largest value of a block; NaN counts as minus infinity.
fn block_max(block: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = block.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let rest = chunks.remainder().iter();
    let max = |best: f32, &x: &f32| if x > best { x } else { best };
    rest.fold(lanes.iter().fold(f32::NEG_INFINITY, max), max)
}

/// The largest value; NaN counts as minus infinity.
pub(super) fn max(logits: &[f32]) -> f32 {
    logits.chunks(BLOCK).map(block_max).fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of what `value` makes of each logit.
pub(super) fn sum(logits: &[f32], value: impl Fn(f32) -> f32) -> f64 {
    const LANES: usize = 16;
    let block = |block: &[f32]| {
        // Many sums at once make vector code; few numbers in each keep it exact.
        let mut lanes = [0.0; LANES];
        let mut chunks = block.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += value(x);
            }
        }
        let rest: f32 = chunks.remainder().iter().map(|&x| value(x)).sum();
        f64::from(lanes.iter().sum::<f32>() + rest)
    };
    logits.chunks(BLOCK).map(block).sum()
}

/// The position of the largest logit, the lowest one of equals; `None` when every logit is
/// minus infinity or NaN. One pass.
pub(super) fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best = f32::NEG_INFINITY;
    let mut start = 0;
    for (i, block) in logits.chunks(BLOCK).enumerate() {
        let max = block_max(block);
        if max > best {
            best = max;
            start = i * BLOCK;
        }
    }
    let block = logits.get(start..)?;
    let offset = block.iter().position(|&x| x == best && x > f32::NEG_INFINITY)?;
    u32::try_from(start + offset).ok()
}

/// Fills `set` with the likeliest token, if there is one.
pub(super) fn best(logits: &[f32], set: &mut Candidates) {
    set.items.clear();
    let best = argmax(logits).map(|id| Candidate { id, logit: logits[id as usize], p: 0.0 });
    set.items.extend(best);
}

/// Fills `set` with every token whose logit is above minus infinity.
pub(super) fn all(logits: &[f32], set: &mut Candidates) {
    set.items.reserve(logits.len());
    at_least(logits, f32::MIN, set);
}

/// Fills `set` with every token whose logit is `edge` or more, and above minus infinity.
pub(super) fn at_least(logits: &[f32], edge: f32, set: &mut Candidates) {
    set.items.clear();
    for (id, &logit) in (0u32..).zip(logits) {
        if logit >= edge && logit > f32::NEG_INFINITY {
            set.items.push(Candidate { id, logit, p: 0.0 });
        }
    }
}

/// Fills `set` with the `k` largest logits (fewer when fewer are above minus infinity),
/// unordered; among equals at the edge the lowest ids stay.
///
/// The k-th largest of the blocks' maxima is no more than the k-th largest logit, so that blocks
/// below it are never looked into. What beats the k-th best so far goes into a buffer of at
/// least `2k`, cut back to `k` when full: linear in the vocabulary.
pub(super) fn top_k(logits: &[f32], k: usize, set: &mut Candidates) {
    if k == 0 || k >= logits.len() {
        return all(logits, set);
    }
    set.maxima.clear();
    set.maxima.extend(logits.chunks(BLOCK).map(block_max));
    let floor = floor(&set.maxima, k, &mut set.scratch);
    let full = k.saturating_mul(2).max(k.saturating_add(BLOCK)).min(logits.len());
    let items = &mut set.items;
    items.clear();
    items.reserve(full);
    let mut edge = f32::NEG_INFINITY;
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        let max = set.maxima[index];
        if max < floor || max <= edge {
            continue;
        }
        for (id, &logit) in ((index * BLOCK) as u32..).zip(block) {
            if logit > edge && logit >= floor {
                if items.len() == full {
                    edge = edge.max(cut(items, k));
                    if logit <= edge {
                        continue;
                    }
                }
                items.push(Candidate { id, logit, p: 0.0 });
            }
        }
    }
    cut(items, k);
}

/// Shortens `set` to its `k` best.
pub(super) fn keep(set: &mut Candidates, k: usize) {
    cut(&mut set.items, k.max(1));
}

/// The k-th largest of `maxima`; minus infinity when there are fewer.
fn floor(maxima: &[f32], k: usize, scratch: &mut Vec<f32>) -> f32 {
    if k > maxima.len() {
        return f32::NEG_INFINITY;
    }
    scratch.clear();
    scratch.extend_from_slice(maxima);
    // Maxima are never NaN.
    *scratch.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// Shortens `items` to its `k` best; returns the worst of them, or minus infinity when there
/// were no more than `k`.
fn cut(items: &mut Vec<Candidate>, k: usize) -> f32 {
    if items.len() <= k {
        return f32::NEG_INFINITY;
    }
    let (_, edge, _) = items.select_nth_unstable_by(k - 1, by_rank);
    let edge = edge.logit;
    items.truncate(k);
    edge
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::rng::Rng;

    fn ids(logits: &[f32], k: usize) -> Vec<u32> {
        let mut set = Candidates::default();
        top_k(logits, k, &mut set);
        set.items.sort_by(by_rank);
        set.items.iter().map(|c| c.id).collect()
    }

    #[test]
    fn argmax_takes_the_lowest_of_equals_and_skips_nan() {
        let inf = f32::INFINITY;
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[f32::NAN, -5.0, f32::NAN]), Some(1));
        assert_eq!(argmax(&[0.0, inf, inf]), Some(1));
        assert_eq!(argmax(&[-0.0, 0.0]), Some(0));
        assert_eq!(argmax(&[-inf, f32::NAN]), None);
        assert_eq!(argmax(&[]), None);
    }

    #[test]
    fn top_k_by_hand() {
        let logits = [0.5, 3.0, -1.0, 2.0, 3.0];
        assert_eq!(ids(&logits, 2), [1, 4]);
        assert_eq!(ids(&logits, 3), [1, 4, 3]);
        assert_eq!(ids(&logits, 0), [1, 4, 3, 0, 2]);
        assert_eq!(ids(&logits, 99), [1, 4, 3, 0, 2]);
        assert_eq!(ids(&[1.0, f32::NAN, f32::NEG_INFINITY, 2.0], 3), [3, 0]);
    }

    // The reference sorts everything. Few distinct values make ties at the edge common.
    #[test]
    fn top_k_and_argmax_agree_with_a_full_sort() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let n = 1 + (rng.next_u64() % 3000) as usize;
            let kinds = 1 + rng.next_u64() % 2000;
            let logits: Vec<f32> = (0..n).map(|_| (rng.next_u64() % kinds) as f32).collect();
            let mut order: Vec<u32> = (0..n as u32).collect();
            order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
            let k = 1 + (rng.next_u64() as usize) % n;
            assert_eq!(ids(&logits, k), order[..k], "seed {seed}");
            assert_eq!(argmax(&logits), Some(order[0]), "seed {seed}");
        }
    }
}
