//! The whole chain: against a plain reference, against hostile numbers, against the clock.
#![forbid(unsafe_code)]

use super::{
    Adaptive, Breakers, Dry, DynamicTemperature, Mirostat, Params, Rng, Sampler, Stage, Xtc,
};

/// The probabilities of the chain for small vocabularies, written as the definitions read: sort,
/// cut, normalise, in f64.
fn reference(logits: &[f32], params: &Params) -> Vec<f64> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    let softmax = |order: &[usize], t: f64| -> Vec<f64> {
        let w = order.iter().map(|&i| (f64::from(logits[i]) / t).exp());
        let w: Vec<f64> = w.collect();
        let sum: f64 = w.iter().sum();
        w.iter().map(|x| x / sum).collect()
    };
    let p = softmax(&order, 1.0);
    let mut sum = 0.0;
    let crossed = p.iter().position(|x| {
        sum += x;
        sum >= f64::from(params.top_p)
    });
    order.truncate(crossed.map_or(order.len(), |i| i + 1));
    order.retain(|&i| {
        let gap = f64::from(logits[i] - logits[order_best(logits)]);
        gap.exp() >= f64::from(params.min_p)
    });
    let mut out = vec![0.0; logits.len()];
    let p = softmax(&order, f64::from(params.temperature));
    order.iter().zip(p).for_each(|(&i, p)| out[i] = p);
    out
}

fn order_best(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0)
}

/// Pearson's chi-square over the kept tokens, in units of its degrees of freedom; draws of a
/// token that the reference drops fail at once.
fn chi_square(logits: &[f32], params: Params, draws: usize) -> f64 {
    let expected = reference(logits, &params);
    let mut sampler = Sampler::new(params, 20_240_607);
    let mut counts = vec![0usize; logits.len()];
    for _ in 0..draws {
        let token = sampler.sample(&mut logits.to_vec()).expect("finite logits");
        counts[token as usize] += 1;
    }
    let (mut sum, mut kept) = (0.0, 0);
    for (token, (&count, &p)) in counts.iter().zip(&expected).enumerate() {
        assert!(p > 0.0 || count == 0, "token {token} was filtered, yet drawn");
        if p > 0.0 {
            let mean = p * draws as f64;
            sum += (count as f64 - mean).powi(2) / mean;
            kept += 1;
        }
    }
    sum / f64::from((kept - 1).max(1))
}

#[test]
fn draws_follow_the_reference_distribution() {
    let logits: Vec<f32> = (0..50).map(|i| ((i * 37 % 50) as f32 * 0.13).sin() * 3.0).collect();
    let off = Params { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, ..Params::default() };
    let cases = [
        ("defaults", Params::default()),
        ("all filters off", off.clone()),
        ("hot", Params { temperature: 1.7, ..off.clone() }),
        ("top-k", Params { top_k: 5, ..off.clone() }),
        ("top-p", Params { top_p: 0.6, ..off.clone() }),
        ("min-p", Params { min_p: 0.3, temperature: 0.5, ..off }),
    ];
    for (name, params) in cases {
        let score = chi_square(&logits, params, 40_000);
        // The mean is 1; 2 is far beyond the 99.9 % quantile for 20 or more degrees, 4 for 5.
        assert!(score < 4.0, "{name}: chi-square per degree of freedom {score}");
    }
}

#[test]
fn seeds_reproduce_and_differ() {
    let draw = |seed| -> Vec<u32> {
        let mut sampler = Sampler::new(Params::default(), seed);
        let one = |_| sampler.sample(&mut [1.0; 30]).expect("finite logits");
        (0..50).map(one).collect()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn bias_forces_and_bans() {
    let sample = |bias: (u32, f32), temperature| {
        let params =
            Params { logit_bias: vec![bias, (999, 5.0)], temperature, ..Params::default() };
        let mut sampler = Sampler::new(params, 3);
        (0..200).map(|_| sampler.sample(&mut [9.0, 8.0, 1.0]).expect("finite")).collect::<Vec<_>>()
    };
    for temperature in [0.0, 0.8, 2.0] {
        assert!(sample((2, 100.0), temperature).iter().all(|&t| t == 2));
        assert!(sample((0, -100.0), temperature).iter().all(|&t| t != 0));
    }
}

// By hand: token 0 is repeated in the prompt, so 3.0 / 2 falls below token 1's 2.0; once two
// other tokens have passed, it is forgotten.
#[test]
fn penalties_see_the_prompt_and_forget_it() {
    let params =
        Params { temperature: 0.0, repeat_penalty: 2.0, repeat_last_n: 2, ..Params::default() };
    let mut sampler = Sampler::new(params, 0);
    sampler.accept(0);
    assert_eq!(sampler.sample(&mut [3.0, 2.0, 1.0]), Some(1));
    sampler.accept(2);
    sampler.accept(2);
    assert_eq!(sampler.sample(&mut [3.0, 2.0, 1.0]), Some(0));
}

#[test]
fn equal_logits_are_greedy_for_the_lowest_id() {
    let params = Params { temperature: 0.0, ..Params::default() };
    assert_eq!(Sampler::new(params, 0).sample(&mut [1.0, 7.0, 7.0]), Some(1));
}

/// A number that is hostile half of the time.
fn nasty(rng: &mut Rng) -> f32 {
    match rng.next_u64() % 16 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => f32::MAX,
        4 => f32::MIN,
        5 => 0.0,
        6 => f32::MIN_POSITIVE / 4.0,
        7 => -1.0,
        8 => f32::from_bits(rng.next_u64() as u32),
        _ => (rng.next_f64() * 20.0 - 10.0) as f32,
    }
}

fn nasty_params(rng: &mut Rng) -> Params {
    let count = |rng: &mut Rng| [0, 1, 3, 64, usize::MAX][(rng.next_u64() % 5) as usize];
    Params {
        temperature: nasty(rng),
        dynamic: DynamicTemperature { range: nasty(rng), exponent: nasty(rng) },
        top_p: nasty(rng),
        top_k: [0, 1, 2, 40, u32::MAX][(rng.next_u64() % 5) as usize],
        min_p: nasty(rng),
        typical_p: nasty(rng),
        top_n_sigma: nasty(rng),
        xtc: Xtc { probability: nasty(rng), threshold: nasty(rng) },
        min_keep: count(rng),
        mirostat: Mirostat {
            version: (rng.next_u64() % 6).saturating_sub(3) as u8,
            tau: nasty(rng),
            eta: nasty(rng),
        },
        adaptive: Adaptive { target: nasty(rng), decay: nasty(rng) },
        dry: Dry {
            multiplier: nasty(rng),
            base: nasty(rng),
            allowed_length: count(rng),
            last_n: count(rng),
            breakers: Breakers::default(),
        },
        stages: nasty_stages(rng),
        repeat_penalty: nasty(rng),
        repeat_last_n: count(rng),
        presence_penalty: nasty(rng),
        frequency_penalty: nasty(rng),
        logit_bias: vec![(rng.next_u64() as u32 % 8, nasty(rng)), (u32::MAX, 1.0)],
    }
}

/// llama.cpp's order, or any.
fn nasty_stages(rng: &mut Rng) -> Vec<Stage> {
    if rng.next_u64() % 2 == 0 {
        return Stage::DEFAULT.to_vec();
    }
    let all: Vec<Stage> = Stage::DEFAULT.into_iter().chain([Stage::AdaptiveP]).collect();
    let count = rng.next_u64() % 12;
    (0..count).map(|_| all[rng.next_u64() as usize % all.len()]).collect()
}

#[test]
fn nothing_panics_and_some_token_is_found_where_there_is_one() {
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let params = nasty_params(&mut rng);
        let mut sampler = Sampler::new(params.clone(), seed);
        let n = [0, 1, 2, 7, 300, 3000][(rng.next_u64() % 6) as usize];
        for step in 0..3 {
            let mut logits: Vec<f32> = (0..n).map(|_| nasty(&mut rng)).collect();
            let token = sampler.sample(&mut logits);
            // `logits` now holds what the filters saw.
            let any = logits.iter().any(|&x| x > f32::NEG_INFINITY);
            let at = format!("seed {seed}, step {step}, {params:?}");
            // Penalties on what is left, which only another order has, can take all of it out.
            let is_whole = params.stages == Stage::DEFAULT;
            assert!(token.is_some() == any || (any && !is_whole), "{at}");
            if let Some(token) = token {
                assert!(logits[token as usize] > f32::NEG_INFINITY, "{at}");
                sampler.accept(token);
            }
        }
    }
}

/// Prints microseconds per token: `cargo test --release timing -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
#[allow(clippy::print_stdout, reason = "its output is what it is for")]
fn timing() {
    let off = Params { top_k: 0, min_p: 0.0, ..Params::default() };
    let cases = [
        ("greedy", Params { temperature: 0.0, ..Params::default() }),
        ("defaults", Params::default()),
        ("defaults, repeat 1.1", Params { repeat_penalty: 1.1, ..Params::default() }),
        ("top_p 0.95 alone", off.clone()),
        ("no filter", Params { top_p: 1.0, ..off }),
    ];
    for vocabulary in [49_152, 151_936] {
        let mut rng = Rng::new(1);
        // The sum of three uniform numbers, spread as a model's logits are: sigma 3.
        let mut logit = || ((0..3).map(|_| rng.next_f64()).sum::<f64>() * 6.0 - 9.0) as f32;
        let logits: Vec<f32> = (0..vocabulary).map(|_| logit()).collect();
        for (name, params) in &cases {
            let mut sampler = Sampler::new(params.clone(), 1);
            (0..64).for_each(|t| sampler.accept(t));
            let mut copy = logits.clone();
            let start = std::time::Instant::now();
            let rounds = 300;
            (0..rounds).for_each(|_| assert!(sampler.sample(&mut copy).is_some()));
            let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
            println!("{vocabulary:>7} {name:<22} {each:8.1} us");
        }
    }
}
