//! Which tokens may come next: Whisper's rules over the logits, before each pick.
//!
//! The rules and their order are those of OpenAI's `whisper/decoding.py` (`SuppressBlank`,
//! `SuppressTokens`, `ApplyTimestampRules`); `repetition_penalty` and `no_repeat_ngram_size` are
//! those of faster-whisper, except that they leave timestamps and the end alone: moving those
//! would move times.
#![forbid(unsafe_code)]

use super::logits;
use super::special::Special;
use super::vocabulary::Vocabulary;

const BANNED: f32 = f32::NEG_INFINITY;

/// What a request may say about the rules.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleOptions {
    /// Whether segments get timestamps; without, every timestamp is banned.
    pub timestamps: bool,
    /// Tokens never to be sampled in place of the model's own list; those outside the
    /// vocabulary are ignored.
    pub suppress: Option<Vec<u32>>,
    /// Whether a decode may not begin with a space or the end.
    pub suppress_blank: bool,
    /// The latest first timestamp in steps of 20 ms in place of the model's own; `u32::MAX` is
    /// no limit.
    pub max_initial_timestamp: Option<u32>,
    /// Above 1, makes text tokens that were sampled already less likely; 1 is off, as is a
    /// value that is not above 0.
    pub repetition_penalty: f32,
    /// Bans text tokens that would repeat this many tokens in a row; 0 is off.
    pub no_repeat_ngram_size: usize,
}

impl Default for RuleOptions {
    fn default() -> Self {
        Self {
            timestamps: true,
            suppress: None,
            suppress_blank: true,
            max_initial_timestamp: None,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
        }
    }
}

/// The rules of one transcription. Immutable, so one value serves every row of a batch.
#[derive(Debug, Clone)]
pub struct Rules {
    special: Special,
    timestamps: bool,
    suppress: Vec<u32>,
    begin_suppress: Vec<u32>,
    max_initial_timestamp: u32,
    repetition_penalty: f32,
    no_repeat_ngram_size: usize,
}

impl Rules {
    /// The rules of `vocabulary` as changed by `options`.
    pub fn new(vocabulary: &Vocabulary, options: &RuleOptions) -> Self {
        let suppress = options.suppress.as_deref().unwrap_or(vocabulary.suppressed());
        let begin_suppress = match options.suppress_blank {
            true => vocabulary.begin_suppressed().to_vec(),
            false => Vec::new(),
        };
        let max_initial = options.max_initial_timestamp;
        Self {
            special: *vocabulary.special(),
            timestamps: options.timestamps,
            suppress: suppress.to_vec(),
            begin_suppress,
            max_initial_timestamp: max_initial.unwrap_or(vocabulary.max_initial_timestamp()),
            repetition_penalty: options.repetition_penalty,
            no_repeat_ngram_size: options.no_repeat_ngram_size,
        }
    }

    /// Sets the logits of tokens that may not follow `sampled`, the tokens since the prompt, to
    /// minus infinity. `logits` is one step's, over the whole vocabulary, not normalised; NaN
    /// counts as minus infinity. At least one token that the model could give stays.
    pub fn apply(&self, logits: &mut [f32], sampled: &[u32]) {
        self.penalise_repeated(logits, sampled);
        self.ban_repeated_ngrams(logits, sampled);
        ban_all(logits, &self.suppress);
        let Special { eot, timestamp_begin, timestamp_count, .. } = self.special;
        // Start, tasks, languages: none belongs into a transcript.
        ban(logits, eot.saturating_add(1), timestamp_begin);
        ban(logits, timestamp_begin.saturating_add(timestamp_count), u32::MAX);
        if sampled.is_empty() {
            ban_all(logits, &self.begin_suppress);
        }
        match self.timestamps {
            true => self.apply_timestamp_rules(logits, sampled),
            false => ban(logits, timestamp_begin, u32::MAX),
        }
    }

    fn apply_timestamp_rules(&self, logits: &mut [f32], sampled: &[u32]) {
        let begin = self.special.timestamp_begin;
        if sampled.is_empty() {
            let last = begin.saturating_add(self.max_initial_timestamp);
            ban(logits, 0, begin);
            return ban(logits, last.saturating_add(1), u32::MAX);
        }
        self.pair_timestamps(logits, sampled);
        // Whichever is likelier: any timestamp at all, or the best other token.
        let (text, timestamps) = logits.split_at_mut(logits.len().min(begin as usize));
        if logits::log_sum_exp(timestamps) > logits::max(text) {
            text.fill(BANNED);
        }
    }

    /// Timestamps come in pairs, end and begin, and never go back; a segment is never empty.
    fn pair_timestamps(&self, logits: &mut [f32], sampled: &[u32]) {
        let begin = self.special.timestamp_begin;
        let is_timestamp = |token: &u32| *token >= begin;
        let last_is = sampled.last().is_some_and(is_timestamp);
        let before_is = sampled.iter().nth_back(1).is_none_or(is_timestamp);
        match (last_is, before_is) {
            (true, true) => ban(logits, begin, u32::MAX),
            (true, false) => ban(logits, 0, self.special.eot),
            (false, _) => {}
        }
        let Some(&last) = sampled.iter().rev().find(|token| is_timestamp(token)) else { return };
        // The pair's second may repeat the first: one segment ends where the next begins.
        let lowest = if last_is && !before_is { last } else { last.saturating_add(1) };
        ban(logits, begin, lowest);
    }

    fn penalise_repeated(&self, logits: &mut [f32], sampled: &[u32]) {
        let penalty = self.repetition_penalty;
        if penalty == 1.0 || !penalty.is_finite() || penalty <= 0.0 {
            return;
        }
        for (i, &token) in sampled.iter().enumerate() {
            if token >= self.special.eot || sampled[..i].contains(&token) {
                continue;
            }
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    fn ban_repeated_ngrams(&self, logits: &mut [f32], sampled: &[u32]) {
        let n = self.no_repeat_ngram_size;
        if n == 0 || sampled.len() < n {
            return;
        }
        let newest = &sampled[sampled.len() - (n - 1)..];
        for ngram in sampled.windows(n) {
            if ngram.starts_with(newest) && ngram[n - 1] < self.special.eot {
                ban_all(logits, &ngram[n - 1..]);
            }
        }
    }
}

/// Bans the tokens from `start` to before `end`.
fn ban(logits: &mut [f32], start: u32, end: u32) {
    let end = logits.len().min(end as usize);
    if let Some(range) = logits.get_mut(start as usize..end) {
        range.fill(BANNED);
    }
}

fn ban_all(logits: &mut [f32], tokens: &[u32]) {
    for &token in tokens {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = BANNED;
        }
    }
}
