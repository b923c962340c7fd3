//! Timed words: tokens aligned with the speech by the decoder's cross-attention.
//!
//! Follows `find_alignment` and `add_word_timestamps` of OpenAI's `whisper/timing.py`. The
//! heuristics for words that are too long, at sentences' and segments' edges, are those of the
//! reference, because Whisper stretches words over pauses.
#![forbid(unsafe_code)]

use super::attention::Attention;
use super::dtw;
use super::segments::Extent;
use super::vocabulary::{Language, Vocabulary};
use super::word_split::{self, Part};
use super::{Segment, Word, FRAMES_PER_SECOND};
use crate::error::{Error, ErrorKind, Result};

/// Seconds per frame of the attention: two of the spectrogram.
const FRAME: f64 = 0.02;
/// No median word is taken to be longer, in seconds.
const MAX_MEDIAN: f64 = 0.7;
const SENTENCE_END: &str = ".。!！?？";

/// What the decoder heard of one window's text.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Scores over the frames of the window that hold audio.
    pub attention: Attention<'a>,
    /// For each text token, the place (among the tokens fed) of the token before it, whose step
    /// predicts it; then the place of the last text token. One more than there are tokens.
    pub rows: &'a [usize],
    /// The probability of each text token among the text tokens.
    pub probabilities: &'a [f32],
}

/// The tokens to feed for an alignment: `start` (see `prompt::start`), no timestamps, `text`,
/// the end; and the rows of [`Heard`] for them.
pub fn input(vocabulary: &Vocabulary, start: &[u32], text: &[u32]) -> (Vec<u32>, Vec<usize>) {
    let special = vocabulary.special();
    let tokens = [start, &[special.no_timestamps], text, &[special.eot]].concat();
    let rows = (start.len()..=start.len() + text.len()).collect();
    (tokens, rows)
}

/// The text tokens of `segments`, in order.
pub fn text_tokens(vocabulary: &Vocabulary, segments: &[Segment]) -> Vec<u32> {
    let tokens = segments.iter().flat_map(|segment| &segment.tokens);
    tokens.copied().filter(|&token| vocabulary.is_text(token)).collect()
}

/// Gives the segments of one window their words and draws their times tight around them.
///
/// `heard` is about [`text_tokens`] of `segments`; `last_speech_end` is where speech ended
/// before this window, in seconds. Returns where it ends now.
///
/// # Errors
/// `Backend` when `heard` does not have the shape that the text asks for.
pub fn add(
    vocabulary: &Vocabulary,
    language: Option<&Language>,
    segments: &mut [Segment],
    extent: Extent,
    heard: &Heard,
    last_speech_end: f64,
) -> Result<f64> {
    let text = text_tokens(vocabulary, segments);
    let at_characters = language.is_some_and(Language::has_no_spaces);
    let parts = word_split::split(vocabulary, &text, at_characters);
    let mut timings = align(&parts, text.len(), heard)?;
    let median = median_duration(&timings);
    shorten_at_sentences(&parts, &mut timings, 2.0 * median);
    let words = join(&parts, &timings);
    let limits = Limits { extent, median, end_of_speech: last_speech_end };
    Ok(assign(vocabulary, segments, words, limits))
}

/// Begin and end in seconds from the begin of the window.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Timing {
    start: f64,
    end: f64,
    probability: f32,
}

impl Timing {
    fn duration(&self) -> f64 {
        self.end - self.start
    }
}

fn align(parts: &[Part], tokens: usize, heard: &Heard) -> Result<Vec<Timing>> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    if heard.rows.len() != tokens + 1 || heard.probabilities.len() != tokens {
        let (rows, probabilities) = (heard.rows.len(), heard.probabilities.len());
        let message = format!(
            "word alignment got {rows} rows and {probabilities} probabilities for {tokens} tokens"
        );
        return Err(Error::new(ErrorKind::Backend, message));
    }
    let matrix = heard.attention.matrix(heard.rows)?;
    let first = dtw::first_frames(&matrix, heard.rows.len(), heard.attention.frames);
    let seconds = |row: usize| first[row] as f64 * FRAME;
    let timing = |part: &Part| {
        let own = &heard.probabilities[part.tokens.clone()];
        let mean = own.iter().sum::<f32>() / own.len() as f32;
        Timing {
            start: seconds(part.tokens.start),
            end: seconds(part.tokens.end),
            probability: if mean.is_nan() { 0.0 } else { mean.clamp(0.0, 1.0) },
        }
    };
    Ok(parts.iter().map(timing).collect())
}

/// The median duration of the words that have one, at most [`MAX_MEDIAN`]; 0 without any.
fn median_duration(timings: &[Timing]) -> f64 {
    let mut durations: Vec<f64> = timings.iter().map(Timing::duration).collect();
    durations.retain(|duration| *duration != 0.0);
    durations.sort_by(f64::total_cmp);
    let middle = durations.len() / 2;
    match durations.len() {
        0 => 0.0,
        n if n % 2 == 1 => durations[middle].min(MAX_MEDIAN),
        _ => ((durations[middle - 1] + durations[middle]) / 2.0).min(MAX_MEDIAN),
    }
}

/// A full stop that lasts, or a word after one, has swallowed the pause.
fn shorten_at_sentences(parts: &[Part], timings: &mut [Timing], max: f64) {
    let ends = |part: &Part| SENTENCE_END.contains(&part.text);
    for i in 1..parts.len() {
        if max <= 0.0 || timings[i].duration() <= max {
            continue;
        }
        if ends(&parts[i]) {
            timings[i].end = timings[i].start + max;
        } else if ends(&parts[i - 1]) {
            timings[i].start = timings[i].end - max;
        }
    }
}

/// A word with its punctuation, its times in the window, and how many tokens it is made of.
struct Joined {
    word: Word,
    tokens: usize,
}

fn join(parts: &[Part], timings: &[Timing]) -> Vec<Joined> {
    let groups = word_split::join_punctuation(parts).into_iter();
    let joined = groups.map(|(place, range)| {
        let Timing { start, end, probability } = timings[place];
        let parts = &parts[range];
        let word = parts.iter().map(|part| &*part.text).collect();
        let tokens = parts.iter().map(|part| part.tokens.len()).sum();
        Joined { word: Word { word, start, end, probability }, tokens }
    });
    joined.collect()
}

struct Limits {
    extent: Extent,
    median: f64,
    end_of_speech: f64,
}

/// Deals the words out to the segments, by their tokens.
fn assign(
    vocabulary: &Vocabulary,
    segments: &mut [Segment],
    words: Vec<Joined>,
    mut limits: Limits,
) -> f64 {
    let offset = f64::from(limits.extent.seek) / f64::from(FRAMES_PER_SECOND);
    let mut words = words.into_iter();
    for segment in segments {
        let text = segment.tokens.iter().filter(|token| vocabulary.is_text(**token)).count();
        let mut taken = 0;
        segment.words.clear();
        while taken < text {
            let Some(Joined { mut word, tokens }) = words.next() else { break };
            taken += tokens;
            word.start = round(offset + word.start);
            word.end = round(offset + word.end);
            segment.words.push(word);
        }
        shorten_after_pause(&mut segment.words, &limits);
        fit(segment, limits.median);
        if !segment.words.is_empty() {
            limits.end_of_speech = segment.end;
        }
    }
    limits.end_of_speech
}

/// To the 10 ms that `verbose_json` shows.
fn round(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

/// After a pause, the first two words may have swallowed it.
fn shorten_after_pause(words: &mut [Word], limits: &Limits) {
    let max = 2.0 * limits.median;
    let Some((first, rest)) = words.split_first_mut() else { return };
    let second = rest.first_mut();
    let pause = first.end - limits.end_of_speech > 4.0 * limits.median;
    let both = second.as_ref().is_some_and(|second| second.end - first.start > 2.0 * max);
    if !pause || !(first.end - first.start > max || both) {
        return;
    }
    if let Some(second) = second.filter(|second| second.end - second.start > max) {
        let boundary = (second.end - max).max(second.end / 2.0);
        (first.end, second.start) = (boundary, boundary);
    }
    first.start = (first.end - max).max(0.0);
}

/// Agrees on the segment's edges: the words', unless a word at the edge is far too long.
fn fit(segment: &mut Segment, median: f64) {
    let (start, end) = (segment.start, segment.end);
    if let Some(first) = segment.words.first_mut() {
        if start < first.end && start - 0.5 > first.start {
            first.start = (first.end - median).min(start).max(0.0);
        } else {
            segment.start = first.start;
        }
    }
    if let Some(last) = segment.words.last_mut() {
        if end > last.start && end + 0.5 < last.end {
            last.end = (last.start + median).max(end);
        } else {
            segment.end = last.end;
        }
    }
    segment.end = segment.end.max(segment.start);
}
