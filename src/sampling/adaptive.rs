//! Adaptive-p: a draw of tokens near a target probability (llama.cpp's `adaptive-p`).
#![forbid(unsafe_code)]

use super::candidates::Candidates;
use super::params::Adaptive;

/// The shape of the new logits around the target, as in llama.cpp.
const PEAK: f32 = 5.0;
const SHARPNESS: f32 = 10.0;
const INVERSE_WIDTH: f32 = 1.0 / 0.3;

/// A decaying average of the probabilities of what was drawn.
#[derive(Debug, Clone)]
pub(super) struct Average {
    sum: f32,
    weight: f32,
    decay: f32,
    /// What was drawn last, and how likely it was; counted once it is kept.
    drawn: Option<(u32, f32)>,
}

impl Average {
    pub(super) fn new(params: &Adaptive) -> Self {
        let decay = params.decay.clamp(0.0, 0.99);
        let weight = 1.0 / (1.0 - decay);
        Self { sum: params.target * weight, weight, decay, drawn: None }
    }

    /// Makes likely what is near the target.
    pub(super) fn aim(&mut self, set: &mut Candidates, params: &Adaptive) {
        set.softmax();
        set.scratch.clear();
        set.scratch.extend(set.items.iter().map(|c| c.p));
        if params.target.is_nan() || params.target < 0.0 {
            return;
        }
        let wanted = (2.0 * params.target.min(1.0) - self.sum / self.weight).clamp(0.0, 1.0);
        for c in &mut set.items {
            let distance = ((c.p - wanted) * INVERSE_WIDTH).abs();
            c.logit = PEAK - SHARPNESS * distance * distance / (1.0 + distance);
        }
    }

    /// `token` was drawn from what [`aim`](Self::aim) left.
    pub(super) fn note(&mut self, set: &Candidates, token: u32) {
        let index = set.items.iter().position(|c| c.id == token);
        self.drawn = index.and_then(|index| Some((token, *set.scratch.get(index)?)));
    }

    /// Counts `token`, if it is what was drawn.
    pub(super) fn accept(&mut self, token: u32) {
        if let Some((_, p)) = self.drawn.take().filter(|&(drawn, _)| drawn == token) {
            self.sum = p + self.decay * self.sum;
            self.weight = 1.0 + self.decay * self.weight;
        }
    }
}
