//! What Whisper's tokens mean: from probabilities and tokens to timed text, in plain Rust.
//!
//! | file | holds |
//! |---|---|
//! | `vocabulary` | [`Vocabulary`]: token ids and their text, read from a model's folder |
//! | `special` | [`Special`]: the tokens that are not text |
//! | `model_files` | the folder's JSON files, checked field by field |
//! | `bytes` | the bytes of each token, and the way back from text to tokens |
//! | `languages` | codes and English names of Whisper's languages |
//! | `prompt` | the tokens that a decode begins with |
//! | `rules` | [`Rules`]: which tokens may come next |
//! | `logits` | the loops over every logit |
//! | `pick` | the next token and its log-probability |
//! | `repetition` | decodes that go round in circles |
//! | `quality` | whether a decode is good enough, or silence |
//! | `segments` | tokens of a window into timed segments |
//! | `attention` | cross-attention scores into one cost matrix |
//! | `dtw` | the cheapest monotonic path through it |
//! | `word_split` | tokens into words, punctuation into its neighbours |
//! | `words` | timed words, and the segments drawn tight around them |
//! | `spans` | where a voice-activity model hears speech |
//! | `windows` | speech into windows of at most 30 s |
//! | `format` | the bodies of OpenAI's transcription endpoint |
//! | `subtitles` | SRT and WebVTT |
//!
//! Behaviour follows OpenAI's reference implementation (<https://github.com/openai/whisper>) and,
//! where it goes further, faster-whisper; each file names what it follows and where it departs.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod attention;
mod bytes;
mod dtw;
pub mod format;
mod languages;
mod logits;
mod model_files;
pub mod pick;
pub mod prompt;
pub mod quality;
pub mod repetition;
pub mod rules;
pub mod segments;
pub mod spans;
mod special;
pub mod subtitles;
mod vocabulary;
pub mod windows;
mod word_split;
pub mod words;

#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vocabulary_tests;
#[cfg(test)]
mod words_tests;

pub use model_files::{sizes, Sizes};
pub use rules::Rules;
pub use special::Special;
pub use vocabulary::{Language, Vocabulary};

use crate::audio::{FRAME_SAMPLES, SAMPLE_RATE, WINDOW_SAMPLES};

/// Frames of the log-mel spectrogram per second: one per 10 ms.
pub const FRAMES_PER_SECOND: u32 = SAMPLE_RATE / FRAME_SAMPLES as u32;
/// Frames of one window: 30 s.
pub const WINDOW_FRAMES: u32 = (WINDOW_SAMPLES / FRAME_SAMPLES) as u32;
/// Frames that one timestamp token advances: 20 ms.
pub const FRAMES_PER_TIMESTAMP: u32 = 2;

/// A stretch of speech as Whisper delimits it, a sentence or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its number in the transcription, from 0.
    pub id: u32,
    /// Where its window began, in frames of 10 ms from the start of the audio.
    pub seek: u32,
    /// Begin, in seconds from the start of the audio.
    pub start: f64,
    /// End, in seconds from the start of the audio; not before `start`.
    pub end: f64,
    /// What was said, with the space in front that Whisper writes between words.
    pub text: String,
    /// The tokens behind it, timestamps included.
    pub tokens: Vec<u32>,
    /// The temperature that its window was decoded at.
    pub temperature: f32,
    /// Mean log-probability of its window's tokens, the end included.
    pub avg_logprob: f32,
    /// Length of its window's text over its deflated length.
    pub compression_ratio: f32,
    /// Probability that its window holds no speech, 0 to 1.
    pub no_speech_prob: f32,
    /// Its words, when word timestamps were asked for.
    pub words: Vec<Word>,
}

/// One word with its punctuation.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// The word, with the space in front where Whisper writes one.
    pub word: String,
    /// Begin, in seconds from the start of the audio.
    pub start: f64,
    /// End, in seconds from the start of the audio.
    pub end: f64,
    /// Mean probability of its tokens, 0 to 1.
    pub probability: f32,
}
