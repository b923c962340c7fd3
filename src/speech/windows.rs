//! From spans of speech to windows of at most 30 s, which can be decoded side by side.
//!
//! A window is one stretch of the original audio, so times inside it need no mapping: time is
//! the window's begin plus the time in the window. Spans close to each other share a window,
//! silence between them included; a long silence is skipped; speech without a pause is cut where
//! it is least sure to be speech.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::segments::Extent;
use super::spans::{Span, SAMPLES_PER_PROBABILITY};
use super::WINDOW_FRAMES;
use crate::audio::FRAME_SAMPLES;

/// The most frames that Whisper hears at once: 30 s.
const MAX: usize = WINDOW_FRAMES as usize;
/// Silence of so many frames is skipped rather than decoded: 2 s, as faster-whisper's filter
/// does. Shorter silence costs less than a window of its own.
const SKIPPED: usize = 200;
/// Speech is cut in the last third before the limit, so that windows stay long.
const CUT_FROM: usize = MAX / 3 * 2;

/// A stretch of the audio for one decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first sample, a multiple of 160, which is one frame.
    pub start_sample: usize,
    /// The sample after its last one; at most 480,000 (30 s) after the first.
    pub end_sample: usize,
}

impl Window {
    /// Where it lies among the audio's samples.
    pub fn samples(&self) -> Range<usize> {
        self.start_sample..self.end_sample
    }

    /// Where it lies in frames, of which it has 1 to 3000; the last one may be partly filled.
    pub fn extent(&self) -> Extent {
        let frames = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let samples = self.end_sample.saturating_sub(self.start_sample);
        Extent {
            seek: frames(self.start_sample / FRAME_SAMPLES),
            frames: frames(samples.div_ceil(FRAME_SAMPLES)),
        }
    }
}

/// Windows over every sample of `spans` (in order, without overlap) that lies in the audio of
/// `audio_len` samples. They are in order, do not overlap and are at most 30 s long.
/// `probabilities` are those that the spans were made of; they say where to cut speech that goes
/// on for more than 30 s.
pub fn windows(spans: &[Span], probabilities: &[f32], audio_len: usize) -> Vec<Window> {
    // Begin and end of each, in frames.
    let mut list: Vec<(usize, usize)> = Vec::new();
    for span in spans {
        let end = span.end.min(audio_len).div_ceil(FRAME_SAMPLES);
        let mut start = span.start / FRAME_SAMPLES;
        if let Some(last) = list.last_mut() {
            // Two spans may share a frame.
            start = start.max(last.1);
            if start - last.1 < SKIPPED && end.saturating_sub(last.0) <= MAX {
                last.1 = last.1.max(end);
                continue;
            }
        }
        while start < end {
            let stop = if end - start <= MAX { end } else { cut(start, probabilities) };
            list.push((start, stop));
            start = stop;
        }
    }
    let window = |(start, end): (usize, usize)| Window {
        start_sample: start * FRAME_SAMPLES,
        end_sample: (end * FRAME_SAMPLES).min(audio_len),
    };
    list.into_iter().map(window).collect()
}

/// The frame at which to cut speech that begins at frame `start` and goes on for more than 30 s:
/// in the middle of the probability that, with its neighbours, is lowest, of those 20 s to 30 s
/// in.
fn cut(start: usize, probabilities: &[f32]) -> usize {
    let probability_at = |frame: usize| frame * FRAME_SAMPLES / SAMPLES_PER_PROBABILITY;
    let at = |i: usize| probabilities.get(i).copied().filter(|p| !p.is_nan()).unwrap_or(0.0);
    // Three in a row are a tenth of a second: a pause, not the stop of a consonant.
    let around = |i: usize| at(i.saturating_sub(1)) + at(i) + at(i + 1);
    let places = probability_at(start + CUT_FROM)..probability_at(start + MAX);
    // Of equals the last: the longest window.
    let places = places.filter(|i| i + 1 < probabilities.len());
    let deepest = places.min_by(|&a, &b| around(a).total_cmp(&around(b)).then(b.cmp(&a)));
    let middle =
        |i: usize| (i * SAMPLES_PER_PROBABILITY + SAMPLES_PER_PROBABILITY / 2) / FRAME_SAMPLES;
    deepest.map_or(start + MAX, middle).clamp(start + 1, start + MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Rng;
    use crate::speech::spans::{spans, SpanOptions};

    const STEP: usize = SAMPLES_PER_PROBABILITY;
    const SECOND: usize = 16_000;

    fn of(list: &[(usize, usize)], probabilities: &[f32], audio_len: usize) -> Vec<(usize, usize)> {
        let list: Vec<Span> = list.iter().map(|&(start, end)| Span { start, end }).collect();
        let list = windows(&list, probabilities, audio_len);
        list.iter().map(|window| (window.start_sample, window.end_sample)).collect()
    }

    #[test]
    fn near_spans_share_a_window_and_far_ones_do_not() {
        let second = |from: usize, to: usize| (from * SECOND, to * SECOND);
        let long = 1000 * SECOND;
        let near = [second(1, 5), second(6, 20), second(21, 30)];
        assert_eq!(of(&near, &[], long), [second(1, 30)]);
        // 31 s together are too long.
        let near = [second(1, 5), second(6, 20), second(21, 32)];
        assert_eq!(of(&near, &[], long), [second(1, 20), second(21, 32)]);
        let far = [second(1, 5), second(7, 8)];
        assert_eq!(of(&far, &[], long), far);
        assert_eq!(of(&[], &[], long), []);
    }

    #[test]
    fn frames_are_whole_and_shared_ones_belong_to_the_first() {
        let list = of(&[(170, 330), (400, 100_000 * 160)], &[], 200_001);
        assert_eq!(list, [(160, 200_001)]);
        let far = 1000 * SECOND;
        let list = of(&[(165, 30 * SECOND + 5), (30 * SECOND + 7, 31 * SECOND)], &[], far);
        assert_eq!(list, [(160, 30 * SECOND + 160), (30 * SECOND + 160, 31 * SECOND)]);
        let window = Window { start_sample: 320, end_sample: 801 };
        assert_eq!(window.extent(), Extent { seek: 2, frames: 4 });
        assert_eq!(window.samples(), 320..801);
    }

    #[test]
    fn endless_speech_is_cut_at_its_deepest_pause() {
        let mut probabilities = vec![0.9; 3000];
        // Shallow and late, deep and earlier, deepest but too early.
        probabilities[900..903].fill(0.5);
        probabilities[800..803].fill(0.4);
        probabilities[500..503].fill(0.0);
        let end = 1500 * STEP;
        let list = of(&[(0, end)], &probabilities, end);
        let place = (801 * STEP + STEP / 2) / 160 * 160;
        assert_eq!(list, [(0, place), (place, end)]);
        // Without a pause, at the limit.
        let list = of(&[(0, end)], &[0.9; 3000], end);
        assert!(list[0].1 > 30 * SECOND - 2 * STEP && list[0].1 <= 30 * SECOND, "{list:?}");
        assert_eq!(of(&[(0, end)], &[], end)[0], (0, 30 * SECOND));
    }

    #[test]
    fn windows_cover_all_speech_in_order_without_overlap() {
        let mut rng = Rng::new(12);
        for round in 0..200 {
            let mut probabilities = Vec::new();
            while probabilities.len() < 9000 {
                let count = 1 + rng.next_u64() % if round % 2 == 0 { 60 } else { 2000 };
                let value = rng.next_f64() as f32;
                probabilities.extend((0..count).map(|_| value));
            }
            let audio = probabilities.len() * STEP - (rng.next_u64() % 512) as usize;
            let speech = spans(&probabilities, audio, &SpanOptions::default());
            let list = windows(&speech, &probabilities, audio);
            assert!(list.windows(2).all(|pair| pair[0].end_sample <= pair[1].start_sample));
            for window in &list {
                let length = window.end_sample - window.start_sample;
                assert!(length > 0 && length <= 30 * SECOND && window.extent().frames <= 3000);
                assert!(window.start_sample % 160 == 0 && window.end_sample <= audio);
            }
            for span in &speech {
                // Each span's samples, followed from window to window.
                let mut at = span.start;
                while at < span.end {
                    let inside = |w: &&Window| w.start_sample <= at && at < w.end_sample;
                    at = list.iter().find(inside).expect("a window over the sample").end_sample;
                }
            }
        }
    }
}
