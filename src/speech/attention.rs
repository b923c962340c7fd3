//! From queries and keys of cross-attention to one matrix that says which token was heard when.
//!
//! Follows `find_alignment` in OpenAI's `whisper/timing.py`: softmax over the frames that hold
//! audio, each frame normalised over the tokens, a median filter along the frames, and the mean
//! over the alignment heads.
#![forbid(unsafe_code)]

use super::logits;
use crate::error::{Error, ErrorKind, Result};

/// Width of the median filter, in frames of 20 ms; [`median`] is made for it.
const FILTER: usize = 7;

/// The shape of one layer's queries `[heads, tokens, width]` and keys `[heads, frames, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    /// Attention heads in the layer.
    pub heads: usize,
    /// Tokens that were fed.
    pub tokens: usize,
    /// Positions of the encoder's output: 1500.
    pub frames: usize,
    /// Width of one head: 64.
    pub width: usize,
}

/// Scores of cross-attention before the softmax, `[heads, tokens, frames]`, of the alignment
/// heads alone.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Alignment heads, of all layers together.
    pub heads: usize,
    /// Tokens that were fed.
    pub tokens: usize,
    /// Frames of 20 ms that hold audio.
    pub frames: usize,
    /// The scores.
    pub weights: &'a [f32],
}

/// Appends to `out` the scores `scale * q.k` of one layer's `chosen` heads against the first
/// `frames` keys: `[chosen, tokens, frames]`. `scale` is 1/sqrt(width), or 1 where the queries
/// are scaled already (as optimum's exports have them: the scale is the attention node's fifth
/// input). Calls for several layers add up to an [`Attention`].
///
/// # Errors
/// `Backend` when the slices do not have the shape, or a head or frame is outside it.
pub fn scores(
    query: &[f32],
    key: &[f32],
    shape: &HeadShape,
    chosen: &[usize],
    frames: usize,
    scale: f32,
    out: &mut Vec<f32>,
) -> Result<()> {
    let HeadShape { heads, tokens, width, .. } = *shape;
    let product = usize::saturating_mul;
    let (rows, columns) = (product(tokens, width), product(shape.frames, width));
    let fits = query.len() == product(heads, rows) && key.len() == product(heads, columns);
    let outside = frames > shape.frames || chosen.iter().any(|&head| head >= heads);
    if !fits || outside || rows == 0 {
        let (query, key) = (query.len(), key.len());
        return Err(unfit(format!("{shape:?}, {query} queries, {key} keys, heads {chosen:?}")));
    }
    for &head in chosen {
        let keys = &key[head * columns..][..frames * width];
        let queries = &query[head * rows..][..rows];
        head_scores(queries, &interleave::<FRAMES>(keys, width), width, frames, scale, out);
    }
    Ok(())
}

/// Queries and keys that are multiplied together: 32 sums fit into the registers of any
/// processor with SSE2 or NEON.
const QUERIES: usize = 4;
const FRAMES: usize = 8;

/// Rows of `width` in groups of `N`, each group's first values, then its second ones, and so on;
/// the last group is filled up with zeros. So one load takes a value of `N` rows.
fn interleave<const N: usize>(rows: &[f32], width: usize) -> Vec<[f32; N]> {
    let count = (rows.len() / width).div_ceil(N);
    let mut groups = vec![[0.0; N]; count * width];
    for (i, row) in rows.chunks_exact(width).enumerate() {
        let group = &mut groups[i / N * width..][..width];
        group.iter_mut().zip(row).for_each(|(values, x)| values[i % N] = *x);
    }
    groups
}

/// Appends the scores of every query of one head against every key.
fn head_scores(
    queries: &[f32],
    keys: &[[f32; FRAMES]],
    width: usize,
    frames: usize,
    scale: f32,
    out: &mut Vec<f32>,
) {
    let count = queries.len() / width;
    let start = out.len();
    out.resize(start + count * frames, 0.0);
    let groups = interleave::<QUERIES>(queries, width);
    let rows = out[start..].chunks_mut((QUERIES * frames).max(1));
    for (group, rows) in groups.chunks_exact(width).zip(rows) {
        for (block, keys) in keys.chunks_exact(width).enumerate() {
            let products = multiply(group, keys);
            for (row, products) in rows.chunks_exact_mut(frames).zip(products) {
                let place = row[block * FRAMES..].iter_mut();
                place.zip(products).for_each(|(score, product)| *score = product * scale);
            }
        }
    }
}

fn multiply(queries: &[[f32; QUERIES]], keys: &[[f32; FRAMES]]) -> [[f32; FRAMES]; QUERIES] {
    let mut sums = [[0.0; FRAMES]; QUERIES];
    for (queries, keys) in queries.iter().zip(keys) {
        for (sums, q) in sums.iter_mut().zip(queries) {
            sums.iter_mut().zip(keys).for_each(|(sum, k)| *sum += q * k);
        }
    }
    sums
}

impl Attention<'_> {
    /// How strongly each of `rows` (tokens, in the order fed) attends to each frame, compared
    /// with the other tokens: `[rows, frames]`.
    ///
    /// # Errors
    /// `Backend` when the weights do not have the shape or a row is outside it.
    pub fn matrix(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let head = self.tokens.checked_mul(self.frames).filter(|size| *size > 0);
        let whole = head.and_then(|head| head.checked_mul(self.heads)).filter(|size| *size > 0);
        let (Some(head), true) = (head, whole == Some(self.weights.len())) else {
            let Self { heads, tokens, frames, weights } = self;
            let size = weights.len();
            return Err(unfit(format!("{heads} x {tokens} x {frames}, {size} weights")));
        };
        if let Some(row) = rows.iter().find(|row| **row >= self.tokens) {
            return Err(unfit(format!("row {row} of {} tokens", self.tokens)));
        }
        let mut sum = vec![0.0; rows.len() * self.frames];
        let mut filtered = vec![0.0; self.frames];
        for weights in self.weights.chunks_exact(head) {
            let mut weights = weights.to_vec();
            weights.chunks_exact_mut(self.frames).for_each(softmax);
            normalise(&mut weights, self.frames);
            for (&row, sums) in rows.iter().zip(sum.chunks_exact_mut(self.frames)) {
                median(&weights[row * self.frames..][..self.frames], &mut filtered);
                sums.iter_mut().zip(&filtered).for_each(|(sum, x)| *sum += x);
            }
        }
        sum.iter_mut().for_each(|x| *x /= self.heads as f32);
        Ok(sum)
    }
}

fn unfit(shape: String) -> Error {
    let message = format!("cross-attention has an unexpected shape: {shape}");
    Error::new(ErrorKind::Backend, message)
}

/// One token's scores to weights that sum to 1.
fn softmax(row: &mut [f32]) {
    let max = logits::max(row);
    if max == f32::NEG_INFINITY {
        return row.fill(0.0);
    }
    row.iter_mut().for_each(|x| *x = logits::weight(*x, max, 1.0));
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

/// Makes each frame's weights, over all tokens, of mean 0 and deviation 1; 0 where all are
/// equal.
fn normalise(weights: &mut [f32], frames: usize) {
    let tokens = (weights.len() / frames) as f32;
    let mut mean = vec![0.0; frames];
    for row in weights.chunks_exact(frames) {
        mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / tokens);
    }
    let mut variance = vec![0.0; frames];
    for row in weights.chunks_exact(frames) {
        let row = row.iter().zip(&mean).map(|(x, mean)| x - mean);
        variance.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x / tokens);
    }
    let factor = |v: f32| if v > 0.0 { 1.0 / v.sqrt() } else { 0.0 };
    variance.iter_mut().for_each(|v| *v = factor(*v));
    for row in weights.chunks_exact_mut(frames) {
        for ((x, mean), factor) in row.iter_mut().zip(&mean).zip(&variance) {
            *x = (*x - mean) * factor;
        }
    }
}

/// The median of the [`FILTER`] values around each one, mirrored at both ends; as it is where
/// there are too few to mirror. `out` is as long as `row`.
fn median(row: &[f32], out: &mut [f32]) {
    const SIDE: usize = FILTER / 2;
    if row.len() <= SIDE {
        return out.copy_from_slice(row);
    }
    let last = row.len() - 1;
    let mirrored = (1..=SIDE).rev().chain(0..=last).chain((1..=SIDE).map(|i| last - i));
    let padded: Vec<f32> = mirrored.map(|i| row[i]).collect();
    for (out, window) in out.iter_mut().zip(padded.windows(FILTER)) {
        *out = median_of_7(window);
    }
}

/// The 13 comparisons of Devillard's "Fast median search" (1998); the middle one comes out
/// right, the others only on its right side.
fn median_of_7(window: &[f32]) -> f32 {
    const PAIRS: [(usize, usize); 13] = [
        (0, 5),
        (0, 3),
        (1, 6),
        (2, 4),
        (0, 1),
        (3, 5),
        (2, 6),
        (2, 3),
        (3, 6),
        (4, 5),
        (1, 4),
        (1, 3),
        (3, 4),
    ];
    let mut p: [f32; FILTER] = std::array::from_fn(|i| window[i]);
    for (a, b) in PAIRS {
        let (low, high) = if p[b] < p[a] { (p[b], p[a]) } else { (p[a], p[b]) };
        (p[a], p[b]) = (low, high);
    }
    p[FILTER / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Rng;

    fn random(rng: &mut Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| (rng.next_f64() * 4.0 - 2.0) as f32).collect()
    }

    #[test]
    fn scores_are_the_dot_products_of_the_chosen_heads() {
        let mut rng = Rng::new(1);
        for (tokens, width) in [(6, 64), (4, 20), (1, 3), (9, 8)] {
            let shape = HeadShape { heads: 3, tokens, frames: 5, width };
            let query = random(&mut rng, 3 * tokens * width);
            let key = random(&mut rng, 3 * 5 * width);
            let mut out = vec![9.0];
            scores(&query, &key, &shape, &[2, 0], 4, 0.5, &mut out).unwrap();
            assert_eq!(out.len(), 1 + 2 * tokens * 4);
            let mut at = 1;
            for head in [2, 0] {
                for t in 0..tokens {
                    for f in 0..4 {
                        let q = &query[(head * tokens + t) * width..][..width];
                        let k = &key[(head * 5 + f) * width..][..width];
                        let dot: f32 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                        assert!((out[at] - 0.5 * dot).abs() < 1e-4);
                        at += 1;
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let shape = HeadShape { heads: 2, tokens: 2, frames: 2, width: 2 };
        let (q, mut out) = (vec![0.0; 8], Vec::new());
        let mut call = |q: &[f32], shape: &HeadShape, chosen: &[usize], frames| {
            scores(q, &[0.0; 8], shape, chosen, frames, 1.0, &mut out).map_err(|e| e.kind())
        };
        assert_eq!(call(&q, &shape, &[1], 2), Ok(()));
        assert_eq!(call(&q, &shape, &[1], 0), Ok(()));
        assert_eq!(call(&q[1..], &shape, &[1], 2), Err(ErrorKind::Backend));
        assert_eq!(call(&q, &shape, &[2], 2), Err(ErrorKind::Backend));
        assert_eq!(call(&q, &shape, &[1], 3), Err(ErrorKind::Backend));
        let huge = HeadShape { heads: usize::MAX, ..shape };
        assert_eq!(call(&q, &huge, &[1], 2), Err(ErrorKind::Backend));
        let attention = Attention { heads: 1, tokens: 2, frames: 2, weights: &q[..4] };
        assert!(attention.matrix(&[1]).is_ok() && attention.matrix(&[2]).is_err());
        assert!(Attention { heads: 0, ..attention }.matrix(&[]).is_err());
        assert!(Attention { frames: 0, ..attention }.matrix(&[]).is_err());
    }

    #[test]
    fn medians_agree_with_sorting() {
        let mut rng = Rng::new(2);
        for len in [4, 5, 7, 50] {
            let row: Vec<f32> = (0..len).map(|_| (rng.next_u64() % 9) as f32).collect();
            let mut out = vec![0.0; len];
            median(&row, &mut out);
            for i in 0..len as isize {
                // Mirrored without the edge twice, as `mode="reflect"`.
                let mirror = |j: isize| if j < 0 { -j } else { j.min(2 * len as isize - 2 - j) };
                let mut window: Vec<f32> =
                    (i - 3..=i + 3).map(|j| row[mirror(j) as usize]).collect();
                window.sort_by(f32::total_cmp);
                assert_eq!(out[i as usize], window[3], "{row:?} at {i}");
            }
        }
    }

    #[test]
    fn each_token_stands_out_where_it_attends() {
        // Three tokens, each with a plateau of ten frames.
        let weights: Vec<f32> =
            (0..3 * 30).map(|i| if i / 30 == i % 30 / 10 { 5.0 } else { 0.0 }).collect();
        let attention = Attention { heads: 1, tokens: 3, frames: 30, weights: &weights };
        let matrix = attention.matrix(&[0, 2]).unwrap();
        assert!(matrix[..10].iter().all(|&x| x > 1.0) && matrix[10..30].iter().all(|&x| x < 0.0));
        assert!(matrix[30..50].iter().all(|&x| x < 0.0) && matrix[50..].iter().all(|&x| x > 1.0));
        let broken = [f32::NAN; 90];
        let matrix = Attention { weights: &broken, ..attention }.matrix(&[0]).unwrap();
        assert!(matrix.iter().all(|x| x.is_finite()));
    }
}
