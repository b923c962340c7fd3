//! The stages of one sampler, in their order.
#![forbid(unsafe_code)]

use super::params::Stage;
use super::{entropy, filters, select, Params, Sampler};

/// The stages that can change anything, split by what they work on.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Stages on the whole vocabulary, which only change logits.
    whole: Vec<Stage>,
    /// How many tokens of it stay in the running; all of them if 0.
    top_k: usize,
    /// Stages on those.
    rest: Vec<Stage>,
    end: End,
}

/// How a token is picked from what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The likeliest of the whole vocabulary: no stage could take it out.
    Best,
    /// A draw at the temperature.
    Tempered,
    /// A draw; the temperature, if there is one, comes before other stages.
    Plain,
    /// A draw near a target probability.
    Adaptive,
}

impl Plan {
    pub(super) fn new(params: &Params) -> Self {
        let stages = params.stages.iter().copied().filter(|&stage| params.uses(stage));
        let mut rest: Vec<Stage> = stages.collect();
        let on_logits =
            |stage: &Stage| matches!(stage, Stage::Penalties | Stage::Dry | Stage::TopNSigma);
        let first = rest.iter().position(|stage| !on_logits(stage)).unwrap_or(rest.len());
        let whole: Vec<Stage> = rest.drain(..first).collect();
        let mut top_k = 0;
        if rest.first() == Some(&Stage::TopK) {
            top_k = usize::try_from(params.top_k).unwrap_or(usize::MAX);
            rest.remove(0);
        }
        let end = Self::end(&mut rest, params);
        Self { whole, top_k, rest, end }
    }

    /// Whether the likeliest token is taken, and no stage takes others out of the logits.
    pub(super) fn takes_likeliest(&self) -> bool {
        self.end == End::Best && !self.whole.contains(&Stage::TopNSigma)
    }

    /// Whether tokens near a target probability are drawn.
    pub(super) fn is_adaptive(&self) -> bool {
        self.end == End::Adaptive
    }

    fn end(rest: &mut Vec<Stage>, params: &Params) -> End {
        if rest.contains(&Stage::AdaptiveP) {
            rest.retain(|stage| *stage != Stage::AdaptiveP);
            return End::Adaptive;
        }
        if rest.last() != Some(&Stage::Temperature) {
            return End::Plain;
        }
        rest.pop();
        let keeps_best = |stage: &Stage| matches!(stage, Stage::TopK | Stage::TopP | Stage::MinP);
        // As in llama.cpp, a range makes a temperature of what was none.
        let is_greedy = params.is_greedy() && !params.dynamic.is_on();
        match is_greedy && rest.iter().all(keeps_best) {
            true => End::Best,
            false => End::Tempered,
        }
    }
}

impl Sampler {
    /// Runs all stages but the draw. Returns the temperature of that, above 0; what is left of a
    /// draw that needs none is one token.
    pub(super) fn run(&mut self, logits: &mut [f32]) -> f32 {
        for index in 0..self.plan.whole.len() {
            self.change(self.plan.whole[index], logits);
        }
        if self.plan.end == End::Best {
            select::best(logits, &mut self.set);
            return 1.0;
        }
        select::top_k(logits, self.plan.top_k, &mut self.set);
        for index in 0..self.plan.rest.len() {
            self.narrow(self.plan.rest[index]);
        }
        match self.plan.end {
            End::Tempered => {
                let params = &self.params;
                let temperature =
                    entropy::temperature(&mut self.set, params.temperature, &params.dynamic);
                if temperature > 0.0 {
                    return temperature;
                }
                filters::divide(&mut self.set, temperature);
            }
            End::Adaptive => self.average.aim(&mut self.set, &self.params.adaptive),
            End::Plain | End::Best => {}
        }
        1.0
    }

    /// Applies a stage to the whole vocabulary.
    fn change(&mut self, stage: Stage, logits: &mut [f32]) {
        match stage {
            Stage::Penalties => self.history.penalise(logits, &self.params),
            Stage::Dry => self.repeats.penalise(logits, &self.params.dry),
            _ => {
                let edge = filters::sigma_edge(logits, self.params.top_n_sigma);
                for logit in logits {
                    *logit = if *logit < edge { f32::NEG_INFINITY } else { *logit };
                }
            }
        }
    }

    /// Applies a stage to what is left in the running.
    fn narrow(&mut self, stage: Stage) {
        let (params, set) = (&self.params, &mut self.set);
        match stage {
            Stage::Penalties => {
                self.history.penalise_set(set, params);
                set.drop_masked();
            }
            Stage::Dry => {
                self.repeats.penalise_set(set, &params.dry);
                set.drop_masked();
            }
            Stage::TopNSigma => {
                set.scratch.clear();
                set.scratch.extend(set.items.iter().map(|c| c.logit));
                let edge = filters::sigma_edge(&set.scratch, params.top_n_sigma);
                set.items.retain(|c| edge.is_nan() || c.logit >= edge);
            }
            Stage::TopK => select::keep(set, usize::try_from(params.top_k).unwrap_or(usize::MAX)),
            Stage::TypicalP => entropy::typical_p(set, params.typical_p, params.min_keep),
            Stage::TopP => filters::top_p(set, params.top_p, params.min_keep),
            Stage::MinP => filters::min_p(set, params.min_p, params.min_keep),
            Stage::Xtc => {
                if self.rng.next_f64() <= f64::from(params.xtc.probability) {
                    filters::xtc(set, &params.xtc, params.min_keep);
                }
            }
            Stage::Temperature => {
                let now = entropy::temperature(set, params.temperature, &params.dynamic);
                filters::divide(set, now);
            }
            Stage::AdaptiveP => {}
        }
    }
}
