//! Dynamic time warping: the monotonic path through a matrix of tokens and frames that costs
//! least, as OpenAI's `dtw_cpu` (`whisper/timing.py`) finds it, ties included.
#![forbid(unsafe_code)]

/// Where the path came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The token and frame before.
    Both,
    /// The token before, same frame.
    Token,
    /// The frame before, same token.
    Frame,
}

/// The first frame of each token on the path from the first token and frame to the last that
/// gathers the most of `gain`, a matrix `[tokens, frames]`. Never decreases. All 0 for a matrix
/// without frames.
///
/// Time and memory are `tokens * frames`: 1 ms and 0.3 MB for 224 tokens and 1500 frames.
pub(super) fn first_frames(gain: &[f32], tokens: usize, frames: usize) -> Vec<usize> {
    let mut first = vec![0; tokens];
    if frames == 0 {
        return first;
    }
    let steps = forward(gain, frames);
    let (mut token, mut frame) = (tokens, frames - 1);
    // Backwards from the last cell; the lowest frame that a token has is written last.
    while let Some(current) = token.checked_sub(1) {
        first[current] = frame;
        let step = steps.get(current * frames + frame).copied().unwrap_or(Step::Token);
        match (step, frame) {
            (Step::Token, _) | (Step::Both, 0) => token = current,
            // The first token begins with the path, whatever the costs.
            (Step::Frame, 0) => token = current,
            (Step::Both, _) => (token, frame) = (current, frame - 1),
            (Step::Frame, _) => frame -= 1,
        }
        if current == 0 && token == 0 {
            first[0] = 0;
        }
    }
    first
}

/// The best way into each cell.
fn forward(gain: &[f32], frames: usize) -> Vec<Step> {
    let mut steps = Vec::with_capacity(gain.len());
    // Costs of the row above and of this one, with the border before the first frame.
    let mut above = vec![f32::INFINITY; frames + 1];
    above[0] = 0.0;
    for row in gain.chunks_exact(frames) {
        let mut diagonal = std::mem::replace(&mut above[0], f32::INFINITY);
        let mut left = f32::INFINITY;
        for (gain, above) in row.iter().zip(&mut above[1..]) {
            let (step, cost) = if diagonal < *above && diagonal < left {
                (Step::Both, diagonal)
            } else if *above < diagonal && *above < left {
                (Step::Token, *above)
            } else {
                (Step::Frame, left)
            };
            left = cost - gain;
            diagonal = std::mem::replace(above, left);
            steps.push(step);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Rng;

    /// The best sum over every monotonic path, by trying them all.
    fn best(gain: &[f32], frames: usize, token: usize, frame: usize) -> f32 {
        let here = gain[token * frames + frame];
        let before = match (token, frame) {
            (0, 0) => return here,
            (0, _) => best(gain, frames, 0, frame - 1),
            (_, 0) => best(gain, frames, token - 1, 0),
            _ => best(gain, frames, token - 1, frame - 1)
                .max(best(gain, frames, token - 1, frame))
                .max(best(gain, frames, token, frame - 1)),
        };
        here + before
    }

    /// The best sum over the paths on which each token begins at its frame of `first`.
    fn sum(gain: &[f32], frames: usize, first: &[usize]) -> f32 {
        let last = |token: usize| match first.get(token + 1) {
            // The next token may begin in the frame where this one ends, or after it.
            Some(&next) if next == first[token] => (next, next),
            Some(&next) => (next - 1, next),
            None => (frames - 1, frames - 1),
        };
        let row = |token: usize, end: usize| -> f32 {
            (first[token]..=end).map(|frame| gain[token * frames + frame]).sum()
        };
        let tokens = 0..first.len();
        tokens.map(|t| row(t, last(t).0).max(row(t, last(t).1))).sum()
    }

    #[test]
    fn agrees_with_trying_every_path() {
        let mut rng = Rng::new(4);
        for _ in 0..400 {
            let (tokens, frames) =
                (1 + (rng.next_u64() % 5) as usize, 1 + (rng.next_u64() % 6) as usize);
            let gain: Vec<f32> =
                (0..tokens * frames).map(|_| (rng.next_f64() * 2.0 - 1.0) as f32).collect();
            let first = first_frames(&gain, tokens, frames);
            assert_eq!(first[0], 0);
            assert!(first.windows(2).all(|pair| pair[0] <= pair[1]));
            let (found, best) =
                (sum(&gain, frames, &first), best(&gain, frames, tokens - 1, frames - 1));
            assert!((found - best).abs() < 1e-4, "{tokens} x {frames}: {found} is not {best}");
        }
    }

    #[test]
    fn plateaus_begin_where_they_are() {
        let gain: Vec<f32> =
            (0..4 * 40).map(|i| if i / 40 == i % 40 / 10 { 1.0 } else { -1.0 }).collect();
        assert_eq!(first_frames(&gain, 4, 40), [0, 10, 20, 30]);
    }

    #[test]
    fn degenerate_matrices_end() {
        assert!(first_frames(&[], 0, 0).is_empty());
        assert_eq!(first_frames(&[], 3, 0), [0, 0, 0]);
        assert!(first_frames(&[], 0, 5).is_empty());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0] {
            let first = first_frames(&[value; 30], 3, 10);
            assert!(first.windows(2).all(|pair| pair[0] <= pair[1]), "{value}: {first:?}");
        }
    }
}
