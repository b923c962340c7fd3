//! Where there is speech, from a voice-activity model's probabilities.
//!
//! Follows `get_speech_timestamps` of Silero VAD (<https://github.com/snakers4/silero-vad>) in
//! its two thresholds, shortest speech, shortest silence and padding. Spans of any length come
//! out; `windows` cuts them, where it knows what else has to fit.
#![forbid(unsafe_code)]

use crate::audio::SAMPLE_RATE;

/// Samples per probability: what Silero VAD takes at 16 kHz.
pub const SAMPLES_PER_PROBABILITY: usize = 512;

/// How speech is told from silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanOptions {
    /// Speech begins at this probability.
    pub threshold: f32,
    /// Speech ends below this probability; in between, what was goes on.
    pub neg_threshold: f32,
    /// Shorter speech is left out, in milliseconds.
    pub min_speech_ms: u32,
    /// Shorter silence does not end speech, in milliseconds.
    pub min_silence_ms: u32,
    /// What is kept of the silence on each side, in milliseconds.
    pub speech_pad_ms: u32,
}

impl Default for SpanOptions {
    /// Silero's thresholds and faster-whisper's padding. Silence from 500 ms on ends a span, not
    /// faster-whisper's 2000: there, a span's end removes audio, here it only offers a place to
    /// cut, and a breath between sentences is where Whisper loses nothing. Half a second is above
    /// the stops and hesitations inside a phrase.
    fn default() -> Self {
        Self {
            threshold: 0.5,
            neg_threshold: 0.35,
            min_speech_ms: 100,
            min_silence_ms: 500,
            speech_pad_ms: 400,
        }
    }
}

/// A stretch of samples at 16 kHz, the end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first sample.
    pub start: usize,
    /// The sample after its last one; above `start`.
    pub end: usize,
}

fn samples(milliseconds: u32) -> usize {
    (milliseconds as usize).saturating_mul(SAMPLE_RATE as usize) / 1000
}

/// The spans of speech in audio of `audio_len` samples whose probabilities, one per
/// [`SAMPLES_PER_PROBABILITY`] samples, are `probabilities` (NaN is silence). In order, without
/// overlap, padded, within the audio.
pub fn spans(probabilities: &[f32], audio_len: usize, options: &SpanOptions) -> Vec<Span> {
    let mut list = unpadded(probabilities, audio_len, options);
    let min_speech = samples(options.min_speech_ms);
    list.retain(|span| span.end > span.start && span.end - span.start >= min_speech);
    pad(&mut list, audio_len, samples(options.speech_pad_ms));
    list
}

fn unpadded(probabilities: &[f32], audio_len: usize, options: &SpanOptions) -> Vec<Span> {
    let min_silence = samples(options.min_silence_ms);
    let mut list = Vec::new();
    let mut start = None;
    let mut silence = None;
    for (i, &probability) in probabilities.iter().enumerate() {
        let at = i.saturating_mul(SAMPLES_PER_PROBABILITY).min(audio_len);
        if probability >= options.threshold {
            silence = None;
            start = start.or(Some(at));
        } else if probability < options.neg_threshold || probability.is_nan() {
            silence = silence.or(Some(at));
        }
        if let (Some(begin), Some(end)) = (start, silence) {
            // This probability's samples are silent, too.
            if at - end + SAMPLES_PER_PROBABILITY > min_silence {
                list.push(Span { start: begin, end });
                start = None;
            }
        }
        if start.is_none() {
            silence = None;
        }
    }
    let end = silence.unwrap_or(audio_len);
    list.extend(start.map(|start| Span { start, end }));
    list
}

/// Widens each span by `pad` samples, or to the middle of a shorter silence.
fn pad(spans: &mut [Span], audio_len: usize, pad: usize) {
    let mut free_from = 0;
    for i in 0..spans.len() {
        let next = spans.get(i + 1).map(|next| next.start);
        let span = &mut spans[i];
        span.start = span.start.saturating_sub(pad).max(free_from);
        let limit = match next {
            Some(next) => span.end + (next - span.end) / 2,
            None => audio_len,
        };
        span.end = span.end.saturating_add(pad).min(limit);
        free_from = span.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Rng;

    const STEP: usize = SAMPLES_PER_PROBABILITY;

    /// Probabilities from runs of `(value, count)`.
    fn runs(runs: &[(f32, usize)]) -> Vec<f32> {
        runs.iter().flat_map(|&(value, count)| vec![value; count]).collect()
    }

    fn bare() -> SpanOptions {
        SpanOptions { speech_pad_ms: 0, ..SpanOptions::default() }
    }

    #[test]
    fn speech_begins_and_ends_at_its_thresholds() {
        // Between the thresholds, what was goes on. 500 ms are 15.6 probabilities.
        let probabilities = runs(&[(0.4, 5), (0.9, 10), (0.4, 30), (0.1, 40), (0.4, 9)]);
        let list = spans(&probabilities, 94 * STEP, &bare());
        assert_eq!(list, [Span { start: 5 * STEP, end: 45 * STEP }]);
    }

    #[test]
    fn short_silence_joins_and_long_silence_parts() {
        let with = |silence| {
            let probabilities = runs(&[(0.9, 10), (0.1, silence), (0.9, 10)]);
            spans(&probabilities, (20 + silence) * STEP, &bare()).len()
        };
        assert_eq!((with(15), with(16)), (1, 2));
    }

    #[test]
    fn clicks_are_no_speech() {
        let probabilities = runs(&[(0.1, 30), (0.9, 2), (0.1, 30), (0.9, 8), (0.1, 30)]);
        let list = spans(&probabilities, 100 * STEP, &bare());
        assert_eq!(list, [Span { start: 62 * STEP, end: 70 * STEP }]);
        assert_eq!(spans(&[0.1; 50], 50 * STEP, &bare()), []);
        assert_eq!(spans(&[f32::NAN; 50], 50 * STEP, &bare()), []);
        assert_eq!(spans(&[], 0, &bare()), []);
    }

    #[test]
    fn padding_shares_short_silence_and_stays_in_the_audio() {
        let probabilities = runs(&[(0.9, 10), (0.1, 20), (0.9, 10), (0.1, 60), (0.9, 10)]);
        let list = spans(&probabilities, 110 * STEP - 7, &SpanOptions::default());
        let pad = 6400;
        assert_eq!(
            list,
            [
                Span { start: 0, end: 20 * STEP },
                Span { start: 20 * STEP, end: 40 * STEP + pad },
                Span { start: 100 * STEP - pad, end: 110 * STEP - 7 },
            ]
        );
    }

    #[test]
    fn spans_are_ordered_and_hold_all_sure_speech() {
        let mut rng = Rng::new(8);
        for _ in 0..300 {
            let mut probabilities = Vec::new();
            while probabilities.len() < 400 {
                let count = 1 + rng.next_u64() % 60;
                let value = rng.next_f64() as f32;
                probabilities.extend((0..count).map(|_| value));
            }
            let audio = probabilities.len() * STEP - (rng.next_u64() % 512) as usize;
            let options = SpanOptions { min_speech_ms: 0, ..SpanOptions::default() };
            let list = spans(&probabilities, audio, &options);
            assert!(list.windows(2).all(|pair| pair[0].end <= pair[1].start));
            assert!(list.iter().all(|span| span.start < span.end && span.end <= audio));
            for (i, _) in probabilities.iter().enumerate().filter(|(_, p)| **p >= 0.5) {
                let sample = i * STEP;
                assert!(list.iter().any(|span| (span.start..span.end).contains(&sample)));
            }
        }
    }
}
