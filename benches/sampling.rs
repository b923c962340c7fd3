//! What drawing one token costs: microseconds over a vocabulary of SmolLM2's size, as JSON.
//!
//!     cargo bench --bench sampling

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::time::Instant;

use fluid::sampling::{Dry, LogProbs, Mirostat, Params, Rng, Sampler, Xtc};

const VOCABULARY: usize = 49_152;
const STREAMS: usize = 16;
const TURNS: usize = 200;

fn main() {
    let mut rng = Rng::new(1);
    let rows: Vec<Vec<f32>> = (0..STREAMS).map(|_| logits(&mut rng)).collect();
    let mirostat =
        Params { mirostat: Mirostat { version: 2, ..Mirostat::default() }, ..Params::default() };
    let greedy = Params { temperature: 0.0, ..Params::default() };
    println!(
        r#"{{"vocabulary": {VOCABULARY}, "greedy_us": {:.3}, "default_us": {:.3}, "all_us": {:.3}, "mirostat_us": {:.3}, "log_probs_us": {:.3}}}"#,
        microseconds(&rows, &greedy),
        microseconds(&rows, &Params::default()),
        microseconds(&rows, &all()),
        microseconds(&rows, &mirostat),
        log_probs(&rows)
    );
}

/// Every stage is on, and DRY looks back over 1,024 tokens.
fn all() -> Params {
    Params {
        repeat_penalty: 1.1,
        dry: Dry { multiplier: 0.8, last_n: 1_024, ..Dry::default() },
        top_n_sigma: 3.0,
        typical_p: 0.95,
        xtc: Xtc { probability: 0.5, threshold: 0.1 },
        ..Params::default()
    }
}

/// The log-probability of one token, and the twenty likeliest.
fn log_probs(rows: &[Vec<f32>]) -> f64 {
    let mut probs = LogProbs::default();
    let mut times: Vec<f64> = (0..TURNS)
        .map(|turn| {
            let row = &rows[turn % rows.len()];
            let started = Instant::now();
            assert!(LogProbs::log_sum(row).is_finite());
            assert_eq!(probs.top(row, 20).count(), 20);
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[TURNS / 2] * 1e6
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
