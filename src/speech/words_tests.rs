//! Words from attention that is made by hand.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::attention::Attention;
use super::segments::{split, Decoded, Extent};
use super::testing;
use super::vocabulary::Vocabulary;
use super::words::{add, input, text_tokens, Heard};
use super::{Segment, Word};
use crate::error::{ErrorKind, Result};

/// A window's segments of `(start, end, text)`, without words.
fn segments(vocabulary: &Vocabulary, extent: Extent, script: &[(f64, f64, &str)]) -> Vec<Segment> {
    let timestamp =
        |seconds: f64| vocabulary.special().timestamp_begin + (seconds * 50.0).round() as u32;
    let mut tokens = Vec::new();
    for (start, end, text) in script {
        tokens.push(timestamp(*start));
        tokens.extend(vocabulary.encode(text).unwrap());
        tokens.push(timestamp(*end));
    }
    split(vocabulary, &Decoded { tokens, ..Decoded::default() }, extent, 0).segments
}

/// Adds words where the token fed at row `i` attends to the frames from `begins[i]` to
/// `begins[i + 1]`; the rows are those of the text tokens and the one after them.
fn aligned(
    vocabulary: &Vocabulary,
    list: &mut [Segment],
    extent: Extent,
    begins: &[usize],
    before: f64,
) -> Result<f64> {
    let text = text_tokens(vocabulary, list);
    let (tokens, rows) = input(vocabulary, &[vocabulary.special().sot], &text);
    assert_eq!((rows[0], rows.len()), (1, text.len() + 1));
    let frames = extent.frames as usize / 2;
    let mut weights = vec![0.0; tokens.len() * frames];
    for (i, row) in rows.iter().enumerate().take(begins.len()) {
        let end = begins.get(i + 1).copied().unwrap_or(frames);
        weights[row * frames..][begins[i]..end].fill(9.0);
    }
    let heard = Heard {
        attention: Attention { heads: 1, tokens: tokens.len(), frames, weights: &weights },
        rows: &rows,
        probabilities: &vec![0.5; text.len()],
    };
    add(vocabulary, None, list, extent, &heard, before)
}

fn shown(words: &[Word]) -> Vec<(&str, f64, f64)> {
    words.iter().map(|word| (&*word.word, word.start, word.end)).collect()
}

#[test]
fn words_lie_where_their_tokens_attend() {
    let vocabulary = testing::small();
    let extent = Extent { seek: 500, frames: 600 };
    let mut list =
        segments(&vocabulary, extent, &[(0.0, 2.0, " hello, hello"), (2.0, 4.0, " hello.")]);
    // hello | , | hello | hello | . | end
    let end = aligned(&vocabulary, &mut list, extent, &[20, 40, 45, 70, 100, 105], 5.0).unwrap();
    assert_eq!(shown(&list[0].words), [(" hello,", 5.0, 5.8), (" hello", 5.9, 6.4)]);
    assert_eq!(shown(&list[1].words), [(" hello.", 6.4, 7.0)]);
    assert_eq!((list[0].start, list[0].end), (5.0, 6.4));
    assert_eq!((list[1].start, list[1].end, end), (6.4, 7.0, 7.0));
    assert!(list[0].words.iter().all(|word| word.probability == 0.5));
}

#[test]
fn a_word_that_swallowed_the_pause_is_shortened() {
    let vocabulary = testing::small();
    let extent = Extent { seek: 0, frames: 3000 };
    let script = [(10.0, 11.6, " hello hello hello hello")];
    let mut list = segments(&vocabulary, extent, &script);
    // The first word takes ten seconds of silence, the others 0.4 s each.
    let begins = [0, 520, 540, 560, 580];
    aligned(&vocabulary, &mut list, extent, &begins, 0.0).unwrap();
    let words = shown(&list[0].words);
    // Not longer than twice the median, and not far before its segment.
    assert_eq!(words[0], (" hello", 9.6, 10.4));
    assert_eq!(
        words[1..],
        [(" hello", 10.4, 10.8), (" hello", 10.8, 11.2), (" hello", 11.2, 11.6)]
    );
    assert_eq!((list[0].start, list[0].end), (9.6, 11.6));
}

#[test]
fn a_last_word_that_runs_on_ends_with_its_segment() {
    let vocabulary = testing::small();
    let extent = Extent { seek: 0, frames: 3000 };
    let mut list = segments(&vocabulary, extent, &[(0.0, 1.4, " hello hello hello")]);
    aligned(&vocabulary, &mut list, extent, &[0, 20, 40, 900], 0.0).unwrap();
    assert_eq!(list[0].words[2].end, 1.4);
    assert_eq!(list[0].end, 1.4);
}

#[test]
fn nothing_to_align_is_no_error_and_a_wrong_shape_is_one() {
    let vocabulary = testing::small();
    let extent = Extent { seek: 0, frames: 100 };
    let attention = Attention { heads: 0, tokens: 0, frames: 0, weights: &[] };
    let heard = Heard { attention, rows: &[], probabilities: &[] };
    assert_eq!(add(&vocabulary, None, &mut [], extent, &heard, 3.5), Ok(3.5));
    let mut list = segments(&vocabulary, extent, &[(0.0, 1.0, " hello")]);
    let error = add(&vocabulary, None, &mut list, extent, &heard, 0.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    let heard = Heard { rows: &[0, 1], probabilities: &[1.0], ..heard };
    let error = add(&vocabulary, None, &mut list, extent, &heard, 0.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
}

// A full window: eight heads, 224 tokens, 1500 frames.
#[test]
fn a_full_window_aligns_in_bounded_time() {
    let (heads, tokens, frames) = (8, 228, 1500);
    let mut rng = crate::sampling::Rng::new(6);
    let weights: Vec<f32> = (0..heads * tokens * frames).map(|_| rng.next_f64() as f32).collect();
    let start = Instant::now();
    let attention = Attention { heads, tokens, frames, weights: &weights };
    let rows: Vec<usize> = (3..tokens).collect();
    let matrix = attention.matrix(&rows).unwrap();
    let first = super::dtw::first_frames(&matrix, rows.len(), frames);
    assert!(first.windows(2).all(|pair| pair[0] <= pair[1]));
    // 25 ms on an idle core, 1 ms of them the path.
    assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
}
