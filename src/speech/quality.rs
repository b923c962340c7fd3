//! Whether a decode is good enough to keep, or nothing but silence.
#![forbid(unsafe_code)]

use miniz_oxide::deflate::core::{
    compress_to_output, create_comp_flags_from_zip_params, CompressionStrategy as Strategy,
    CompressorOxide, TDEFLFlush,
};

/// The limits of a transcription, with the defaults of OpenAI's `transcribe`; a limit that is
/// `None` is not checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Text that deflates to less than one part in this many is repetitive: 2.4.
    pub compression_ratio: Option<f32>,
    /// A mean log-probability below this is guesswork: -1.
    pub logprob: Option<f32>,
    /// A probability of no speech above this, with guesswork, is silence: 0.6.
    pub no_speech: Option<f32>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { compression_ratio: Some(2.4), logprob: Some(-1.0), no_speech: Some(0.6) }
    }
}

impl Thresholds {
    /// Whether a decode should be tried again at a higher temperature: repetitive or guesswork,
    /// and not silence (which a higher temperature would fill with words).
    pub fn needs_fallback(&self, compression_ratio: f32, logprob: f32, no_speech: f32) -> bool {
        let repetitive = self.compression_ratio.is_some_and(|limit| compression_ratio > limit);
        let guessed = self.is_guesswork(logprob);
        // In `decode_with_fallback`, silence needs a low log-probability beside it.
        (repetitive || guessed) && !(guessed && self.is_speechless(no_speech))
    }

    /// Whether a window is to be skipped as silence: no speech, and a text that was guessed.
    pub fn is_silence(&self, logprob: f32, no_speech: f32) -> bool {
        let sure = self.logprob.is_some_and(|limit| logprob > limit);
        self.is_speechless(no_speech) && !sure
    }

    fn is_guesswork(&self, logprob: f32) -> bool {
        // NaN is as bad as it gets.
        self.logprob.is_some_and(|limit| logprob < limit || logprob.is_nan())
    }

    fn is_speechless(&self, no_speech: f32) -> bool {
        self.no_speech.is_some_and(|limit| no_speech > limit)
    }
}

/// Mean log-probability of a decode of `tokens` tokens (the end not counted) whose
/// log-probabilities, that of the end included, sum to `sum`.
pub fn avg_logprob(sum: f64, tokens: usize) -> f32 {
    (sum / (tokens as f64 + 1.0)) as f32
}

/// Bytes of `text` over the bytes that zlib makes of it at level 6, as Python's
/// `zlib.compress` does; empty text gives 0. Another deflate than zlib's own: of 1500 texts of
/// 20 to 1200 bytes, half of them repetitive, the figure was within 4 % of zlib's (9 % below 60
/// bytes), and none lay on the other side of 2.4.
pub fn compression_ratio(text: &str) -> f32 {
    // zlib takes the shorter of its own codes and the format's fixed ones; this deflate has to
    // be asked for each.
    let size = deflated_len(text, Strategy::Default).min(deflated_len(text, Strategy::Fixed));
    text.len() as f32 / size as f32
}

/// Length of `text` as a zlib stream of level 6; at least 1.
fn deflated_len(text: &str, strategy: Strategy) -> usize {
    const LEVEL: i32 = 6;
    const ZLIB_HEADER: i32 = 1;
    let flags = create_comp_flags_from_zip_params(LEVEL, ZLIB_HEADER, strategy as i32);
    let mut compressor = CompressorOxide::new(flags);
    let mut size = 0;
    compress_to_output(&mut compressor, text.as_bytes(), TDEFLFlush::Finish, |bytes| {
        size += bytes.len();
        true
    });
    size.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // `len(text) / len(zlib.compress(text))` in Python 3.11 with zlib 1.2.13.
    #[test]
    fn ratios_are_those_of_zlib() {
        let jfk = "And so my fellow Americans, ask not what your country can do for you, \
            ask what you can do for your country.";
        let cases = [
            (jfk.to_owned(), 1.3544),
            ("Thank you. ".repeat(20), 10.0000),
            (jfk.repeat(3), 3.7765),
        ];
        for (text, python) in cases {
            let ratio = compression_ratio(&text);
            assert!((ratio / python - 1.0).abs() < 0.02, "{ratio} is not {python}");
        }
        assert_eq!(compression_ratio(""), 0.0);
    }

    #[test]
    fn fallback_and_silence_as_the_reference_decides() {
        let limits = Thresholds::default();
        assert!(!limits.needs_fallback(1.5, -0.3, 0.1));
        assert!(limits.needs_fallback(2.5, -0.3, 0.1));
        assert!(limits.needs_fallback(1.5, -1.1, 0.1));
        // Silence: a guess with no speech is kept as it is, and then skipped.
        assert!(!limits.needs_fallback(1.5, -1.1, 0.7));
        assert!(limits.is_silence(-1.1, 0.7));
        // A loop that the model is sure of is no silence, whatever it thinks of the speech.
        assert!(limits.needs_fallback(9.0, -0.2, 0.9));
        assert!(!limits.is_silence(-0.2, 0.9));
        assert!(!limits.is_silence(-1.1, 0.5));
        assert!(limits.needs_fallback(1.0, f32::NAN, 0.0));
        let none = Thresholds { compression_ratio: None, logprob: None, no_speech: None };
        assert!(!none.needs_fallback(99.0, -99.0, 1.0) && !none.is_silence(-99.0, 1.0));
    }

    #[test]
    fn the_mean_counts_the_end() {
        assert_eq!(avg_logprob(-3.0, 5), -0.5);
        assert_eq!(avg_logprob(-1.0, 0), -1.0);
    }
}
