//! From logits to a token: penalties, filters and a seeded draw, in plain Rust over `&mut [f32]`.
//!
//! | file | holds |
//! |---|---|
//! | `params` | what a request may say |
//! | `history` | the last tokens, and the penalties on repeating them |
//! | `select` | the loops over the whole vocabulary: argmax, top-k |
//! | `candidates` | what is left in the running; softmax |
//! | `filters` | one function per filter, and the draw |
//! | `rng` | the generator |
//!
//! The stages and their order are those of llama.cpp's default chain (`common/sampling.cpp`,
//! `src/llama-sampler.cpp`): logit bias, penalties, top-k, top-p, min-p, temperature, draw. The
//! distribution is the same; the tokens for a seed are not, because the generator differs.
#![forbid(unsafe_code)]

mod candidates;
mod filters;
mod history;
mod params;
mod rng;
mod select;
#[cfg(test)]
mod tests;

pub use params::Params;
pub use rng::Rng;

use candidates::Candidates;
use history::History;

/// The token with the largest logit, the lowest one of equals; `None` where all are minus infinity
/// or NaN.
pub fn likeliest(logits: &[f32]) -> Option<u32> {
    select::argmax(logits)
}

/// Picks the tokens of one sequence. Owns its buffers: after the first call, sampling does not
/// allocate. One per sequence; `Send`, and used by one thread at a time.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: Params,
    rng: Rng,
    history: History,
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
            rng: Rng::new(seed),
            history: History::new(remembered),
            set: Candidates::default(),
            params,
        }
    }

    /// Tells the penalties about a token of the sequence: each one of the prompt, in order, and
    /// each one that was sampled and kept.
    pub fn accept(&mut self, token: u32) {
        self.history.push(token);
    }

    /// The next token, an index into `logits` (one per vocabulary entry, not normalised).
    ///
    /// Bias and penalties are applied to `logits` in place. NaN counts as minus infinity;
    /// tokens at plus infinity share the draw. `None` when no logit is left above minus
    /// infinity. Does not [`accept`](Self::accept) the token.
    pub fn sample(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.add_bias(logits);
        self.history.penalise(logits, &self.params);
        if self.params.is_greedy() {
            return select::argmax(logits);
        }
        let k = usize::try_from(self.params.top_k).unwrap_or(usize::MAX);
        select::top_k(logits, k, &mut self.set);
        filters::top_p(&mut self.set, self.params.top_p);
        filters::min_p(&mut self.set, self.params.min_p);
        let unit = self.rng.next_f64();
        filters::draw(&mut self.set, self.params.temperature, unit)
    }

    fn add_bias(&self, logits: &mut [f32]) {
        for &(token, bias) in &self.params.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
    }
}
