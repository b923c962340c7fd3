//! What a request may say about sampling, with llama.cpp's defaults.
#![forbid(unsafe_code)]

/// How the next token is chosen. Every value is taken as it is: out-of-range numbers have the
/// meaning stated here, so that sampling itself cannot fail.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Flattens (above 1) or sharpens (below 1) the distribution; 0, below 0 or NaN picks the
    /// most likely token. Usual range 0 to 2.
    pub temperature: f32,
    /// Keeps the smallest set of most likely tokens whose probabilities reach this sum; 1 or
    /// more, or NaN, is off; 0 or less keeps the best token.
    pub top_p: f32,
    /// Keeps this many of the most likely tokens; 0 is off.
    pub top_k: u32,
    /// Keeps tokens at least this likely, relative to the most likely one; 0 or less, or NaN,
    /// is off; above 1 keeps the best token.
    pub min_p: f32,
    /// Divides positive and multiplies other logits of recent tokens; 1 is off.
    pub repeat_penalty: f32,
    /// How many of the last tokens, prompt included, the three penalties look at; 0 is off.
    pub repeat_last_n: usize,
    /// Subtracted once from the logit of each recent token. Usual range -2 to 2.
    pub presence_penalty: f32,
    /// Subtracted from the logit of each recent token, times its occurrences. Usual range -2 to 2.
    pub frequency_penalty: f32,
    /// Added to the logits of single tokens: -100 bans, 100 forces in practice. Tokens outside
    /// the vocabulary are ignored.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
        }
    }
}

impl Params {
    /// Whether the penalties can change a logit at all.
    pub fn has_penalties(&self) -> bool {
        let neutral = self.repeat_penalty == 1.0
            && self.presence_penalty == 0.0
            && self.frequency_penalty == 0.0;
        self.repeat_last_n > 0 && !neutral
    }

    /// Whether the most likely token is taken instead of a draw.
    pub fn is_greedy(&self) -> bool {
        // NaN, too, must not reach the division by the temperature.
        self.temperature.is_nan() || self.temperature <= 0.0
    }
}
