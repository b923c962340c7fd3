//! What the entropy of the candidates decides: typical tokens, and the dynamic temperature.
#![forbid(unsafe_code)]

use super::candidates::{Candidate, Candidates};
use super::params::DynamicTemperature;

/// Sets each `p` to its probability; returns their entropy in nats.
fn entropy(set: &mut Candidates) -> f32 {
    set.softmax();
    let terms = set.items.iter().filter(|c| c.p > 0.0).map(|c| -f64::from(c.p * c.p.ln()));
    terms.sum::<f64>() as f32
}

/// Locally typical sampling (Meister et al. 2022): keeps the tokens whose surprise is closest to
/// the entropy until their probabilities exceed `p`, and at least `min_keep`.
///
/// As llama.cpp's `llama_sampler_typical_apply`.
pub(super) fn typical_p(set: &mut Candidates, p: f32, min_keep: usize) {
    if set.items.len() < 2 {
        return;
    }
    let expected = entropy(set);
    // A surprise is the logarithm of all weights less the logit.
    let centre = set.max_logit() + set.weigh(1.0).ln() as f32 - expected;
    let distance = |logit: f32| (centre - logit).abs();
    let order = |a: &Candidate, b: &Candidate| distance(a.logit).total_cmp(&distance(b.logit));
    set.items.sort_unstable_by(|a, b| order(a, b).then(a.id.cmp(&b.id)));
    set.softmax();
    let mut sum = 0.0;
    let crossed = set.items.iter().enumerate().position(|(index, c)| {
        sum += f64::from(c.p);
        sum > f64::from(p) && index + 1 >= min_keep
    });
    set.items.truncate(crossed.map_or(set.items.len(), |index| index + 1));
}

/// The temperature for these candidates: between `temperature - range` and `temperature + range`,
/// by how much of the largest possible entropy they have.
///
/// As llama.cpp's `llama_sampler_temp_ext_apply`.
pub(super) fn temperature(
    set: &mut Candidates,
    temperature: f32,
    dynamic: &DynamicTemperature,
) -> f32 {
    if !dynamic.is_on() || set.items.len() < 2 {
        return temperature;
    }
    let low = (temperature - dynamic.range).max(0.0);
    let high = temperature + dynamic.range;
    let share = entropy(set) / (set.items.len() as f32).ln();
    low + (high - low) * share.powf(dynamic.exponent)
}
