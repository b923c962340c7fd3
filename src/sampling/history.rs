//! The last tokens of a sequence, and the three penalties on repeating them.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};

use super::candidates::Candidates;
use super::Params;

/// The last `repeat_last_n` tokens with the number of times each occurs among them.
#[derive(Debug, Clone)]
pub(super) struct History {
    limit: usize,
    tokens: VecDeque<u32>,
    counts: HashMap<u32, u32>,
}

impl History {
    /// An empty history of at most `limit` tokens; 0 remembers nothing.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, tokens: VecDeque::new(), counts: HashMap::new() }
    }

    /// Remembers `token` and forgets the oldest one beyond the limit.
    pub(super) fn push(&mut self, token: u32) {
        if self.limit == 0 {
            return;
        }
        if self.tokens.len() == self.limit {
            self.forget_oldest();
        }
        self.tokens.push_back(token);
        *self.counts.entry(token).or_insert(0) += 1;
    }

    fn forget_oldest(&mut self) {
        let Some(old) = self.tokens.pop_front() else {
            return;
        };
        if let Some(count) = self.counts.get_mut(&old) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&old);
            }
        }
    }

    /// Lowers (or, with negative penalties, raises) the logits of remembered tokens.
    ///
    /// As llama.cpp's `llama_sampler_penalties_apply`: the repeat penalty of CTRL (Keskar et
    /// al. 2019), multiplying logits that are not positive, because dividing them would make
    /// the token likelier; then `count * frequency + presence` as OpenAI documents it.
    pub(super) fn penalise(&self, logits: &mut [f32], params: &Params) {
        for (&token, &count) in &self.counts {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = penalised(*logit, count, params);
            }
        }
    }

    /// [`penalise`](Self::penalise) for what is left in the running.
    pub(super) fn penalise_set(&self, set: &mut Candidates, params: &Params) {
        for candidate in &mut set.items {
            if let Some(&count) = self.counts.get(&candidate.id) {
                candidate.logit = penalised(candidate.logit, count, params);
            }
        }
    }
}

fn penalised(logit: f32, count: u32, params: &Params) -> f32 {
    let repeated = match logit <= 0.0 {
        true => logit * params.repeat_penalty,
        false => logit / params.repeat_penalty,
    };
    repeated - (count as f32 * params.frequency_penalty + params.presence_penalty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        Params {
            repeat_penalty: 2.0,
            frequency_penalty: 0.25,
            presence_penalty: 0.5,
            ..Params::default()
        }
    }

    // By hand: token 0 seen twice, 4/2 - (2*0.25 + 0.5) = 1; token 1 seen once,
    // -1*2 - 0.75 = -2.75; token 2 unseen; token 3 seen once, 0*2 - 0.75.
    #[test]
    fn follows_the_formula_by_hand() {
        let mut history = History::new(64);
        [0, 1, 0, 3, 999].iter().for_each(|&t| history.push(t));
        let mut logits = [4.0, -1.0, 2.0, 0.0];
        history.penalise(&mut logits, &params());
        assert_eq!(logits, [1.0, -2.75, 2.0, -0.75]);
    }

    #[test]
    fn forgets_beyond_the_limit() {
        let mut history = History::new(2);
        [0, 0, 1, 2].iter().for_each(|&t| history.push(t));
        let mut logits = [1.0; 3];
        history.penalise(&mut logits, &params());
        assert_eq!(logits, [1.0, -0.25, -0.25]);
        assert_eq!(history.counts.len(), 2);
    }

    #[test]
    fn a_limit_of_zero_remembers_nothing() {
        let mut history = History::new(0);
        history.push(0);
        let mut logits = [1.0];
        history.penalise(&mut logits, &params());
        assert_eq!(logits, [1.0]);
    }
}
