//! From a request's fields to the options of decoding and of voice activity detection.
#![forbid(unsafe_code)]

use super::texts::Decoding;
use crate::engine::completion::entropy;
use crate::request::{TranscribeRequest, VadOptions};
use crate::sampling::Rng;
use crate::speech::quality::Thresholds;
use crate::speech::rules::RuleOptions;
use crate::speech::spans::SpanOptions;
use crate::speech::{Rules, Vocabulary};

/// How the texts of `request` are decoded.
pub(super) fn decoding<'a>(
    vocabulary: &'a Vocabulary,
    request: &TranscribeRequest,
) -> Decoding<'a> {
    let suppress = request.suppress_tokens.as_ref().map(|given| {
        let own = given.contains(&-1).then(|| vocabulary.suppressed());
        let listed = given.iter().filter_map(|&token| u32::try_from(token).ok());
        listed.chain(own.unwrap_or_default().iter().copied()).collect()
    });
    // Timestamps are 20 ms apart.
    let max_initial_timestamp = (request.max_initial_timestamp * 50.0).round() as u32;
    let options = RuleOptions {
        timestamps: request.timestamps,
        suppress,
        suppress_blank: request.suppress_blank,
        max_initial_timestamp: Some(max_initial_timestamp),
        repetition_penalty: request.repetition_penalty,
        no_repeat_ngram_size: request.no_repeat_ngram_size as usize,
    };
    Decoding {
        vocabulary,
        rules: Rules::new(vocabulary, &options),
        thresholds: Thresholds {
            compression_ratio: request.compression_ratio_threshold,
            logprob: request.log_prob_threshold,
            no_speech: request.no_speech_threshold,
        },
        temperatures: request.temperatures.clone(),
        best_of: request.best_of as usize,
        rng: Rng::new(request.seed.unwrap_or_else(entropy)),
    }
}

/// The request's words on voice activity, over the usual ones.
pub(super) fn span_options(given: &VadOptions) -> SpanOptions {
    let usual = SpanOptions::default();
    let threshold = given.threshold.unwrap_or(usual.threshold);
    SpanOptions {
        threshold,
        // As far below as usual: what is almost speech goes on as it was.
        neg_threshold: (threshold + usual.neg_threshold - usual.threshold).max(0.01),
        min_speech_ms: given.min_speech_ms.unwrap_or(usual.min_speech_ms),
        min_silence_ms: given.min_silence_ms.unwrap_or(usual.min_silence_ms),
        speech_pad_ms: given.speech_pad_ms.unwrap_or(usual.speech_pad_ms),
    }
}
