//! What drawing one token costs: microseconds over a vocabulary of SmolLM2's size, as JSON.
//!
//!     cargo bench --bench sampling

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::time::Instant;

use fluid::sampling::{Params, Rng, Sampler};

const VOCABULARY: usize = 49_152;
const STREAMS: usize = 16;
const TURNS: usize = 200;

fn main() {
    let mut rng = Rng::new(1);
    let rows: Vec<Vec<f32>> = (0..STREAMS).map(|_| logits(&mut rng)).collect();
    let greedy = Params { temperature: 0.0, ..Params::default() };
    println!(
        r#"{{"vocabulary": {VOCABULARY}, "greedy_us": {:.3}, "default_us": {:.3}}}"#,
        microseconds(&rows, &greedy),
        microseconds(&rows, &Params::default())
    );
}

/// Spread as a model's: roughly normal, of deviation 3.
fn logits(rng: &mut Rng) -> Vec<f32> {
    let mut normal = || (0..12).map(|_| rng.next_f64()).sum::<f64>() - 6.0;
    (0..VOCABULARY).map(|_| (3.0 * normal()) as f32).collect()
}

/// The median turn's time for a token, each stream with its sampler and its logits.
fn microseconds(rows: &[Vec<f32>], params: &Params) -> f64 {
    let mut samplers: Vec<Sampler> =
        (0..rows.len()).map(|seed| Sampler::new(params.clone(), seed as u64)).collect();
    let mut turns: Vec<f64> = (0..TURNS)
        .map(|_| {
            let mut fresh = rows.to_vec();
            let started = Instant::now();
            for (sampler, logits) in samplers.iter_mut().zip(&mut fresh) {
                let token = sampler.sample(logits).expect("logits without NaN");
                sampler.accept(token);
            }
            started.elapsed().as_secs_f64()
        })
        .collect();
    turns.sort_by(f64::total_cmp);
    turns[TURNS / 2] / rows.len() as f64 * 1e6
}
