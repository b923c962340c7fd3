//! What a request may say about sampling, with llama.cpp's defaults.
#![forbid(unsafe_code)]

use super::Breakers;

/// How the next token is chosen. Every value is taken as it is: out-of-range numbers have the
/// meaning stated here, so that sampling itself cannot fail.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Flattens (above 1) or sharpens (below 1) the distribution; 0, below 0 or NaN picks the
    /// most likely token. Usual range 0 to 2.
    pub temperature: f32,
    /// Entropy moves the temperature within this distance of [`temperature`](Self::temperature).
    pub dynamic: DynamicTemperature,
    /// Keeps the smallest set of most likely tokens whose probabilities reach this sum; 1 or
    /// more, or NaN, is off; 0 or less keeps the best token.
    pub top_p: f32,
    /// Keeps this many of the most likely tokens; 0 is off.
    pub top_k: u32,
    /// Keeps tokens at least this likely, relative to the most likely one; 0 or less, or NaN,
    /// is off; above 1 keeps the best token.
    pub min_p: f32,
    /// Keeps the tokens closest to the expected surprise until their probabilities exceed this
    /// sum; 1 or more, or NaN, is off.
    pub typical_p: f32,
    /// Keeps tokens within this many standard deviations of the largest logit; 0 or less, or
    /// NaN, is off.
    pub top_n_sigma: f32,
    /// Leaves out the likeliest of several likely tokens.
    pub xtc: Xtc,
    /// Tokens that top-p, min-p, typical-p and XTC leave at least; 0 is off.
    pub min_keep: usize,
    /// Keeps the surprise of the text near a target, in place of all other stages.
    pub mirostat: Mirostat,
    /// Draws tokens near a target probability; used where [`stages`](Self::stages) name it.
    pub adaptive: Adaptive,
    /// Penalises tokens that would repeat a sequence.
    pub dry: Dry,
    /// The stages after the logit bias, in their order; one that is missing is not applied.
    pub stages: Vec<Stage>,
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
            dynamic: DynamicTemperature::default(),
            min_p: 0.05,
            typical_p: 1.0,
            top_n_sigma: -1.0,
            xtc: Xtc::default(),
            min_keep: 0,
            mirostat: Mirostat::default(),
            adaptive: Adaptive::default(),
            dry: Dry::default(),
            stages: Stage::DEFAULT.to_vec(),
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

    /// Whether stage `stage` can change anything.
    pub(super) fn uses(&self, stage: Stage) -> bool {
        match stage {
            Stage::Penalties => self.has_penalties(),
            Stage::Dry => self.dry.is_on(),
            Stage::TopNSigma => self.top_n_sigma > 0.0,
            Stage::TopK => self.top_k > 0,
            Stage::TypicalP => self.typical_p < 1.0,
            Stage::TopP => self.top_p < 1.0,
            Stage::MinP => self.min_p > 0.0,
            Stage::Xtc => self.xtc.probability > 0.0 && self.xtc.threshold <= 0.5,
            Stage::Temperature | Stage::AdaptiveP => true,
        }
    }
}

/// A step on the way from logits to a token, by llama.cpp's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The three penalties on recent tokens.
    Penalties,
    /// The penalty on repeated sequences.
    Dry,
    /// Standard deviations below the largest logit.
    TopNSigma,
    /// So many tokens.
    TopK,
    /// Locally typical sampling.
    TypicalP,
    /// Nucleus sampling.
    TopP,
    /// Tokens relative to the likeliest.
    MinP,
    /// "Exclude top choices".
    Xtc,
    /// Temperature, dynamic or not.
    Temperature,
    /// The draw near a target probability; wherever it is named, it comes last.
    AdaptiveP,
}

impl Stage {
    /// llama.cpp's default order.
    pub const DEFAULT: [Self; 9] = [
        Self::Penalties,
        Self::Dry,
        Self::TopNSigma,
        Self::TopK,
        Self::TypicalP,
        Self::TopP,
        Self::MinP,
        Self::Xtc,
        Self::Temperature,
    ];
}

/// Dynamic temperature: from `temperature - range` where one token is certain to
/// `temperature + range` where all are alike (llama.cpp's `temp_ext`, after KoboldCpp).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DynamicTemperature {
    /// Half of the way between the two; 0 or less, or NaN, is off.
    pub range: f32,
    /// The normalised entropy is raised to this power.
    pub exponent: f32,
}

impl Default for DynamicTemperature {
    fn default() -> Self {
        Self { range: 0.0, exponent: 1.0 }
    }
}

impl DynamicTemperature {
    /// Whether it moves the temperature at all.
    pub fn is_on(&self) -> bool {
        self.range > 0.0
    }
}

/// "Exclude top choices" (p-e-w, text-generation-webui): now and then all tokens above a
/// threshold but the least likely of them are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Xtc {
    /// How often; 0 is off.
    pub probability: f32,
    /// Above 0.5 is off, for no two tokens can reach it.
    pub threshold: f32,
}

impl Default for Xtc {
    fn default() -> Self {
        Self { probability: 0.0, threshold: 0.1 }
    }
}

/// Mirostat (Basu et al. 2021).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mirostat {
    /// 0 is off, 1 the paper's algorithm, 2 its simpler successor.
    pub version: u8,
    /// The surprise aimed at, in bits.
    pub tau: f32,
    /// How fast the bound follows what was observed.
    pub eta: f32,
}

impl Default for Mirostat {
    fn default() -> Self {
        Self { version: 0, tau: 5.0, eta: 0.1 }
    }
}

/// Adaptive-p (llama.cpp): draws tokens whose probability is near a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// The probability aimed at, 0 to 1; below 0 draws as usual.
    pub target: f32,
    /// How much of the past counts, 0 to 0.99.
    pub decay: f32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { target: -1.0, decay: 0.9 }
    }
}

/// "Don't repeat yourself" (p-e-w, text-generation-webui): a token that would go on with a
/// sequence that was there before loses `multiplier * base ^ (length - allowed_length)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dry {
    /// 0 is off.
    pub multiplier: f32,
    /// Below 1 is off.
    pub base: f32,
    /// Repeated sequences shorter than this cost nothing.
    pub allowed_length: usize,
    /// How many of the last tokens are searched, the prompt's included; 0 is off.
    pub last_n: usize,
    /// Sequences that a repeat does not reach over.
    pub breakers: Breakers,
}

impl Default for Dry {
    fn default() -> Self {
        let breakers = Breakers::default();
        Self { multiplier: 0.0, base: 1.75, allowed_length: 2, last_n: 64, breakers }
    }
}

impl Dry {
    /// Whether it can change a logit at all.
    pub fn is_on(&self) -> bool {
        self.multiplier != 0.0 && self.base >= 1.0 && self.last_n > 0
    }
}
