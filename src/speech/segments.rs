//! From the tokens of one window to timed segments, and how far the next window lies.
//!
//! The cases are those of OpenAI's `transcribe`: pairs of timestamps delimit segments; what
//! follows the last pair is unfinished and decoded again, unless one timestamp closes it.
//! Departures: times never leave the window, never decrease, and a window always advances.
#![forbid(unsafe_code)]

use super::vocabulary::Vocabulary;
use super::{Segment, FRAMES_PER_SECOND, FRAMES_PER_TIMESTAMP};

/// Where a window lies in the audio, in frames of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its first frame.
    pub seek: u32,
    /// How many of its frames hold audio: 3000, or fewer at the end of the audio.
    pub frames: u32,
}

/// What a decode of one window gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// The tokens sampled, without the end.
    pub tokens: Vec<u32>,
    /// The temperature they were sampled at.
    pub temperature: f32,
    /// See `quality::avg_logprob`.
    pub avg_logprob: f32,
    /// See `quality::compression_ratio`; of the trimmed text.
    pub compression_ratio: f32,
    /// Probability that the window holds no speech.
    pub no_speech_prob: f32,
}

/// The segments of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Segments with text and a length, in order; without words.
    pub segments: Vec<Segment>,
    /// Frames from the begin of this window to that of the next; 1 to the window's length
    /// (or 1 for an empty window).
    pub advance: u32,
    /// Whether the tokens ended inside a segment, whose tokens were left out: the next window
    /// begins before it. Where windows do not follow each other (cut by a voice-activity model),
    /// the caller should decode again from `advance`.
    pub unfinished: bool,
}

impl Split {
    /// Where the segments have words: has the next window begin no sooner than the last word ended,
    /// which may be after the timestamp that the window was cut at. That word would be heard twice.
    /// OpenAI's `transcribe` goes on at the last word, too, but also where that is earlier.
    pub fn skip_timed_words(&mut self, extent: Extent) {
        let last = self.segments.iter().rev().find_map(|segment| segment.words.last());
        if let (Some(word), true) = (last, self.unfinished) {
            let end = (word.end * f64::from(FRAMES_PER_SECOND)).round() as u32;
            let heard = end.saturating_sub(extent.seek).min(extent.frames);
            self.advance = self.advance.max(heard);
            self.unfinished = self.advance < extent.frames;
        }
    }
}

/// Splits `decoded` at its timestamps. Segments are numbered from `first_id`.
pub fn split(vocabulary: &Vocabulary, decoded: &Decoded, extent: Extent, first_id: u32) -> Split {
    let tokens = &decoded.tokens;
    let is_timestamp = |i: usize| tokens.get(i).is_some_and(|&t| vocabulary.is_timestamp(t));
    let closed =
        tokens.len() >= 2 && is_timestamp(tokens.len() - 1) && !is_timestamp(tokens.len() - 2);
    let mut ends: Vec<usize> =
        (1..tokens.len()).filter(|&i| is_timestamp(i) && is_timestamp(i - 1)).collect();
    let mut builder = Builder { vocabulary, decoded, extent, first_id, segments: Vec::new() };
    if ends.is_empty() {
        builder.push_whole();
        let advance = extent.frames.max(1);
        return Split { segments: builder.segments, advance, unfinished: false };
    }
    if closed {
        ends.push(tokens.len());
    }
    let mut start = 0;
    for end in ends {
        builder.push_piece(&tokens[start..end]);
        start = end;
    }
    // No speech follows a single closing timestamp; the reference says so, too.
    let last = builder.frames(&tokens[..start], usize::checked_sub(start, 1));
    let advance = if closed { extent.frames } else { last.unwrap_or(extent.frames) };
    // A window that ends where it began would be decoded for ever.
    let advance = if advance == 0 { extent.frames } else { advance };
    let unfinished = !closed && advance < extent.frames;
    Split { segments: builder.segments, advance: advance.max(1), unfinished }
}

struct Builder<'a> {
    vocabulary: &'a Vocabulary,
    decoded: &'a Decoded,
    extent: Extent,
    first_id: u32,
    segments: Vec<Segment>,
}

impl Builder<'_> {
    /// The time that `tokens[i]` tells, in frames from the window's begin, within the window.
    fn frames(&self, tokens: &[u32], i: Option<usize>) -> Option<u32> {
        let steps = self.vocabulary.timestamp_steps(*tokens.get(i?)?)?;
        Some(steps.saturating_mul(FRAMES_PER_TIMESTAMP).min(self.extent.frames))
    }

    /// The tokens between two cuts; what has no timestamp ends with the window.
    fn push_piece(&mut self, tokens: &[u32]) {
        let start = self.frames(tokens, Some(0)).unwrap_or(0);
        let end = self.frames(tokens, tokens.len().checked_sub(1));
        self.push(start, end.unwrap_or(self.extent.frames), tokens);
    }

    /// All tokens as one segment: there is no pair of timestamps. It begins with the window, or
    /// at its first timestamp, and ends at its last one, or with the window.
    fn push_whole(&mut self) {
        let tokens = &self.decoded.tokens;
        let start = self.frames(tokens, Some(0)).unwrap_or(0);
        let last = tokens.iter().rposition(|&token| self.vocabulary.is_timestamp(token));
        let end = self.frames(tokens, last).filter(|&end| end > start);
        self.push(start, end.unwrap_or(self.extent.frames), tokens);
    }

    /// Adds a segment, unless it has no length or no text.
    fn push(&mut self, start: u32, end: u32, tokens: &[u32]) {
        let text = self.vocabulary.decode(tokens);
        if end <= start || text.trim().is_empty() {
            return;
        }
        let seconds = |frames: u32| {
            f64::from(self.extent.seek.saturating_add(frames)) / f64::from(FRAMES_PER_SECOND)
        };
        let count = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
        self.segments.push(Segment {
            id: self.first_id.saturating_add(count),
            seek: self.extent.seek,
            start: seconds(start),
            end: seconds(end),
            text,
            tokens: tokens.to_vec(),
            temperature: self.decoded.temperature,
            avg_logprob: self.decoded.avg_logprob,
            compression_ratio: self.decoded.compression_ratio,
            no_speech_prob: self.decoded.no_speech_prob,
            words: Vec::new(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Rng;
    use crate::speech::{testing, Word};

    const EXTENT: Extent = Extent { seek: 1000, frames: 3000 };

    /// A window's tokens: numbers are timestamps in seconds, words are text.
    fn tokens(vocabulary: &Vocabulary, script: &str) -> Vec<u32> {
        let begin = vocabulary.special().timestamp_begin;
        let one = |part: &str| match part.parse::<f64>() {
            Ok(seconds) => vec![begin + (seconds * 50.0).round() as u32],
            Err(_) => vocabulary.encode(&format!(" {part}")).unwrap(),
        };
        script.split(' ').filter(|part| !part.is_empty()).flat_map(one).collect()
    }

    fn split_script(script: &str, extent: Extent) -> (Vec<(f64, f64, String)>, u32, bool) {
        let vocabulary = testing::small();
        let decoded = Decoded { tokens: tokens(&vocabulary, script), ..Decoded::default() };
        let split = split(&vocabulary, &decoded, extent, 7);
        let list = split.segments.iter().zip(7..).map(|(segment, id)| {
            assert_eq!((segment.id, segment.seek), (id, extent.seek));
            (segment.start, segment.end, segment.text.clone())
        });
        (list.collect(), split.advance, split.unfinished)
    }

    fn text(start: f64, end: f64, text: &str) -> (f64, f64, String) {
        (start, end, text.to_owned())
    }

    #[test]
    fn a_closing_timestamp_ends_the_window() {
        let (segments, advance, unfinished) = split_script("0.0 so 7.6 7.6 ask 10.6", EXTENT);
        assert_eq!(segments, [text(10.0, 17.6, " so"), text(17.6, 20.6, " ask")]);
        assert_eq!((advance, unfinished), (3000, false));
    }

    #[test]
    fn what_follows_the_last_pair_is_decoded_again() {
        let (segments, advance, unfinished) =
            split_script("0.5 so 7.6 8.0 ask 26.0 26.4 what", EXTENT);
        assert_eq!(segments, [text(10.5, 17.6, " so"), text(18.0, 36.0, " ask")]);
        // From the last pair's first half, as the reference does.
        assert_eq!((advance, unfinished), (2600, true));
        let (segments, advance, unfinished) = split_script("0.0 so 30.0 30.0", EXTENT);
        assert_eq!((segments.len(), advance, unfinished), (1, 3000, false));
    }

    #[test]
    fn a_word_that_ends_after_the_cut_is_not_heard_again() {
        let vocabulary = testing::small();
        let script = tokens(&vocabulary, "0.5 so 7.6 8.0 ask 26.0 26.4 what");
        let decoded = Decoded { tokens: script, ..Decoded::default() };
        for (end, advance, unfinished) in [
            (None, 2600, true),
            (Some(35.2), 2600, true),
            (Some(36.37), 2637, true),
            (Some(40.0), 3000, false),
            (Some(41.0), 3000, false),
        ] {
            let mut split = split(&vocabulary, &decoded, EXTENT, 0);
            let word = |end| Word { word: " ask".into(), start: 30.0, end, probability: 1.0 };
            split.segments[1].words.extend(end.map(word));
            split.skip_timed_words(EXTENT);
            assert_eq!((split.advance, split.unfinished), (advance, unfinished), "{end:?}");
        }
        // Nothing was left out of this one: its window is done.
        let closed = Decoded { tokens: tokens(&vocabulary, "0.0 so 7.6"), ..Decoded::default() };
        let mut split = split(&vocabulary, &closed, EXTENT, 0);
        let word = Word { word: " so".into(), start: 10.0, end: 17.9, probability: 1.0 };
        split.segments[0].words.push(word);
        split.skip_timed_words(EXTENT);
        assert_eq!((split.advance, split.unfinished), (3000, false));
    }

    #[test]
    fn without_pairs_the_window_is_one_segment() {
        let whole = |script| split_script(script, EXTENT);
        assert_eq!(whole("so ask"), (vec![text(10.0, 40.0, " so ask")], 3000, false));
        assert_eq!(whole("0.0 so ask"), (vec![text(10.0, 40.0, " so ask")], 3000, false));
        assert_eq!(whole("1.2 so ask 5.0"), (vec![text(11.2, 15.0, " so ask")], 3000, false));
        assert_eq!(whole(""), (vec![], 3000, false));
        assert_eq!(whole("0.0 so 0.0").0, [text(10.0, 40.0, " so")]);
    }

    #[test]
    fn empty_and_blank_segments_are_dropped_and_the_rest_numbered_on() {
        let (segments, advance, _) = split_script("0.0 so 2.0 2.0 2.0 ask 4.0 4.0", EXTENT);
        assert_eq!(segments, [text(10.0, 12.0, " so"), text(12.0, 14.0, " ask")]);
        assert_eq!(advance, 400);
    }

    #[test]
    fn times_end_with_the_audio() {
        let extent = Extent { seek: 500, frames: 1100 };
        let (segments, advance, unfinished) = split_script("0.0 so 7.6 7.6 ask 29.0", extent);
        assert_eq!(segments[1], text(12.6, 16.0, " ask"));
        assert_eq!((advance, unfinished), (1100, false));
        let (segments, advance, _) = split_script("20.0 so 29.0 29.0", extent);
        assert_eq!((segments, advance), (vec![], 1100));
    }

    #[test]
    fn any_tokens_give_ordered_times_and_advance() {
        let vocabulary = testing::small();
        let size = u64::from(vocabulary.sizes().vocabulary);
        let mut rng = Rng::new(9);
        for _ in 0..2000 {
            let extent = Extent {
                seek: (rng.next_u64() % 100_000) as u32,
                frames: (rng.next_u64() % 3001) as u32,
            };
            let count = rng.next_u64() % 12;
            let tokens = (0..count).map(|_| (rng.next_u64() % (size + 5)) as u32).collect();
            let decoded = Decoded { tokens, ..Decoded::default() };
            let split = split(&vocabulary, &decoded, extent, 0);
            assert!((1..=extent.frames.max(1)).contains(&split.advance));
            let (from, to) = (extent.seek, extent.seek + extent.frames);
            for segment in &split.segments {
                assert!(segment.start < segment.end, "{decoded:?}");
                assert!(f64::from(from) / 100.0 <= segment.start);
                assert!(segment.end <= f64::from(to) / 100.0);
            }
        }
    }
}
