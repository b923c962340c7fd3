//! From logits to a token: penalties, filters and a seeded draw, in plain Rust over `&mut [f32]`.
//!
//! | file | holds |
//! |---|---|
//! | `params` | what a request may say |
//! | `chain` | which stages a sampler has, and what each of them does |
//! | `history`, `dry` | the last tokens, and the penalties on repeating them |
//! | `select` | the loops over the whole vocabulary: argmax, top-k |
//! | `candidates` | what is left in the running; softmax |
//! | `filters`, `entropy` | one function per filter, and the draw |
//! | `mirostat`, `adaptive` | draws that follow what was drawn before |
//! | `log_probs` | log-probabilities of raw logits |
//! | `rng` | the generator |
//!
//! The stages and their order are those of llama.cpp's default chain (`common/sampling.cpp`,
//! `src/llama-sampler.cpp`): logit bias, penalties, DRY, top-n-sigma, top-k, typical-p, top-p, min-p,
//! XTC, temperature, draw. The distribution is the same; the tokens for a seed are not, because the
//! generator differs. Where llama.cpp leaves tokens at minus infinity in the running, they are gone here.
#![forbid(unsafe_code)]

mod adaptive;
mod candidates;
mod chain;
mod dry;
mod entropy;
mod filters;
mod history;
mod log_probs;
mod mirostat;
mod params;
mod rng;
mod select;
#[cfg(test)]
mod tests;

pub use dry::Breakers;
pub use log_probs::LogProbs;
pub use params::{Adaptive, Dry, DynamicTemperature, Mirostat, Params, Stage, Xtc};
pub use rng::Rng;

use adaptive::Average;
use candidates::Candidates;
use chain::Plan;
use dry::Repeats;
use history::History;
use mirostat::Bound;

/// The token with the largest logit, the lowest one of equals; `None` where all are minus infinity
/// or NaN.
pub fn likeliest(logits: &[f32]) -> Option<u32> {
    select::argmax(logits)
}

/// Picks the tokens of one sequence. Owns its buffers: after the first calls, sampling does not
/// allocate. One per sequence; `Send`, and used by one thread at a time.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: Params,
    plan: Plan,
    rng: Rng,
    history: History,
    repeats: Repeats,
    bound: Bound,
    average: Average,
    set: Candidates,
}

impl Sampler {
    /// A sampler that has seen no token; equal seeds draw equally.
    pub fn new(params: Params, seed: u64) -> Self {
        let remembered = match params.has_penalties() {
            true => params.repeat_last_n,
            false => 0,
        };
        Self {
            plan: Plan::new(&params),
            rng: Rng::new(seed),
            history: History::new(remembered),
            repeats: Repeats::default(),
            bound: Bound::new(&params.mirostat),
            average: Average::new(&params.adaptive),
            set: Candidates::default(),
            params,
        }
    }

    /// How many of the last tokens have a say.
    pub fn memory(&self) -> usize {
        let (params, dry) = (&self.params, &self.params.dry);
        let penalties = if params.has_penalties() { params.repeat_last_n } else { 0 };
        penalties.max(if dry.is_on() { dry.last_n } else { 0 })
    }

    /// Whether [`sample`](Self::sample) takes the likeliest of the logits, which bias and penalties
    /// have changed, and leaves the others as they are.
    pub fn takes_likeliest(&self) -> bool {
        match self.params.mirostat.version {
            0 => self.plan.takes_likeliest(),
            _ => self.params.is_greedy(),
        }
    }

    /// Tells the penalties about a token of the sequence: each one of the prompt, in order, and
    /// each one that was sampled and kept.
    pub fn accept(&mut self, token: u32) {
        self.history.push(token);
        self.repeats.push(token, &self.params.dry);
        self.average.accept(token);
    }

    /// The next token, an index into `logits` (one per vocabulary entry, not normalised).
    ///
    /// Bias and penalties are applied to `logits` in place. NaN counts as minus infinity;
    /// tokens at plus infinity share the draw. `None` when no logit is left above minus
    /// infinity. Does not [`accept`](Self::accept) the token.
    pub fn sample(&mut self, logits: &mut [f32]) -> Option<u32> {
        let temperature = self.narrow_down(logits);
        let unit = match self.set.items.len() {
            // A greedy answer has no use for the generator.
            1 if self.params.is_greedy() => 0.0,
            _ => self.rng.next_f64(),
        };
        let token = filters::draw(&mut self.set, temperature, unit)?;
        match self.params.mirostat.version {
            0 if self.plan.is_adaptive() => self.average.note(&self.set, token),
            0 => {}
            _ => self.bound.note(&self.set, token, &self.params.mirostat),
        }
        Some(token)
    }

    /// What [`sample`](Self::sample) would draw from: tokens with their probabilities, which sum
    /// to 1, in no order. Where a stage itself is a matter of chance, what it came to this time.
    pub fn distribution(&mut self, logits: &mut [f32]) -> Vec<(u32, f32)> {
        let temperature = self.narrow_down(logits);
        let sum = self.set.weigh(temperature);
        let share = |p: f32| (f64::from(p) / sum) as f32;
        self.set.items.iter().map(|c| (c.id, share(c.p))).collect()
    }

    /// Leaves in the running what can be drawn; returns the temperature of the draw.
    fn narrow_down(&mut self, logits: &mut [f32]) -> f32 {
        self.add_bias(logits);
        let params = &self.params;
        if params.mirostat.version == 0 {
            return self.run(logits);
        }
        if params.is_greedy() {
            select::best(logits, &mut self.set);
            return 1.0;
        }
        self.bound.keep(logits, &mut self.set, params.temperature, &params.mirostat);
        params.temperature
    }

    fn add_bias(&self, logits: &mut [f32]) {
        for &(token, bias) in &self.params.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
    }
}
