//! Every sampler against llama.cpp's own: the probabilities that are left, and what is drawn.
#![cfg(feature = "llama")]

mod support;

use fluid::sampling::{
    Adaptive, Breakers, Dry, DynamicTemperature, Mirostat, Params, Rng, Sampler, Stage, Xtc,
};
use llama_cpp_sys_2 as sys;
use support::llama::Plain;
use support::vocabulary::Vocabulary;
use support::{smollm2, smollm2_path};

const VOCABULARY: usize = 500;
const DRAWS: usize = 100_000;

/// llama.cpp's chain, and its seed for the draw at its end.
struct Chain(*mut sys::llama_sampler);

impl Chain {
    /// llama.cpp's own samplers for `params`, in the order that its `common_sampler_init` has.
    fn new(params: &Params, vocab: *const sys::llama_vocab, breakers: &[&std::ffi::CStr]) -> Self {
        // SAFETY: returns a plain struct.
        let options = unsafe { sys::llama_sampler_chain_default_params() };
        // SAFETY: valid options.
        let chain = Self(unsafe { sys::llama_sampler_chain_init(options) });
        let size = VOCABULARY as i32;
        let Mirostat { version, tau, eta } = params.mirostat;
        if version > 0 {
            // SAFETY: these take numbers only.
            chain.add(unsafe { sys::llama_sampler_init_temp(params.temperature) });
            chain.add(match version {
                // SAFETY: as above.
                1 => unsafe { sys::llama_sampler_init_mirostat(size, 7, tau, eta, 100) },
                // SAFETY: as above.
                _ => unsafe { sys::llama_sampler_init_mirostat_v2(7, tau, eta) },
            });
            return chain;
        }
        for &stage in params.stages.iter().filter(|&&stage| stage != Stage::AdaptiveP) {
            chain.add(stage_of(stage, params, vocab, breakers));
        }
        let Adaptive { target, decay } = params.adaptive;
        chain.add(match params.stages.contains(&Stage::AdaptiveP) {
            // SAFETY: as above.
            true => unsafe { sys::llama_sampler_init_adaptive_p(target, decay, 7) },
            // SAFETY: as above.
            false => unsafe { sys::llama_sampler_init_dist(7) },
        });
        chain
    }

    fn add(&self, sampler: *mut sys::llama_sampler) {
        // SAFETY: the chain owns `sampler` from here on.
        unsafe { sys::llama_sampler_chain_add(self.0, sampler) };
    }

    fn accept(&self, token: u32) {
        // SAFETY: the chain is alive.
        unsafe { sys::llama_sampler_accept(self.0, token as i32) };
    }

    /// The probability of each token, and the one drawn.
    fn apply(&self, logits: &[f32]) -> (Vec<f32>, u32) {
        let token =
            |(id, &logit): (usize, &f32)| sys::llama_token_data { id: id as i32, logit, p: 0.0 };
        let mut data: Vec<sys::llama_token_data> = logits.iter().enumerate().map(token).collect();
        let mut array = sys::llama_token_data_array {
            data: data.as_mut_ptr(),
            size: data.len(),
            selected: -1,
            sorted: false,
        };
        // SAFETY: the chain is alive, and so is what the array points to.
        unsafe { sys::llama_sampler_apply(self.0, &mut array) };
        // SAFETY: samplers only move within `data`.
        let left = unsafe { std::slice::from_raw_parts(array.data, array.size) };
        let mut all = vec![0.0; logits.len()];
        left.iter().for_each(|token| all[token.id as usize] = token.p);
        (all, left[array.selected as usize].id as u32)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: made by llama.cpp, freed once.
        unsafe { sys::llama_sampler_free(self.0) };
    }
}

fn stage_of(
    stage: Stage,
    params: &Params,
    vocab: *const sys::llama_vocab,
    breakers: &[&std::ffi::CStr],
) -> *mut sys::llama_sampler {
    let keep = params.min_keep;
    let (last_n, dynamic, dry) = (params.repeat_last_n as i32, params.dynamic, &params.dry);
    let mut texts: Vec<_> = breakers.iter().map(|text| text.as_ptr()).collect();
    let Xtc { probability, threshold } = params.xtc;
    let (size, penalty) = (VOCABULARY as i32, params.repeat_penalty);
    let (frequency, presence) = (params.frequency_penalty, params.presence_penalty);
    let (breakers, n_breakers) = (texts.as_mut_ptr(), texts.len());
    let (length, window) = (dry.allowed_length as i32, dry.last_n as i32);
    let (temperature, range) = (params.temperature, dynamic.range);
    match stage {
        // SAFETY: this takes numbers only.
        Stage::Penalties => unsafe {
            sys::llama_sampler_init_penalties(size, last_n, penalty, frequency, presence)
        },
        // SAFETY: a vocabulary that is alive where DRY is on, and texts, which are copied.
        Stage::Dry => unsafe {
            let (multiplier, base) = (dry.multiplier, dry.base);
            sys::llama_sampler_init_dry(
                vocab, multiplier, base, length, window, breakers, n_breakers,
            )
        },
        // SAFETY: this and the following take numbers only.
        Stage::TopNSigma => unsafe { sys::llama_sampler_init_top_n_sigma(params.top_n_sigma) },
        // SAFETY: as above.
        Stage::TopK => unsafe { sys::llama_sampler_init_top_k(params.top_k as i32) },
        // SAFETY: as above.
        Stage::TypicalP => unsafe { sys::llama_sampler_init_typical(params.typical_p, keep) },
        // SAFETY: as above.
        Stage::TopP => unsafe { sys::llama_sampler_init_top_p(params.top_p, keep) },
        // SAFETY: as above.
        Stage::MinP => unsafe { sys::llama_sampler_init_min_p(params.min_p, keep) },
        // SAFETY: as above.
        Stage::Xtc => unsafe { sys::llama_sampler_init_xtc(probability, threshold, keep, 11) },
        // SAFETY: as above.
        _ => unsafe { sys::llama_sampler_init_temp_ext(temperature, range, dynamic.exponent) },
    }
}

/// Spread as a model's logits are: a few stand out.
fn logits(seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let mut normal = || (0..12).map(|_| rng.next_f64()).sum::<f64>() - 6.0;
    let mut logits: Vec<f32> = (0..VOCABULARY).map(|_| (2.0 * normal()) as f32).collect();
    for token in 0..12 {
        logits[token * 37] += 6.0 - 0.4 * token as f32;
    }
    logits
}

fn off() -> Params {
    Params { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, ..Params::default() }
}

fn dynamic(range: f32, exponent: f32) -> DynamicTemperature {
    DynamicTemperature { range, exponent }
}

/// Settings that can be compared by probabilities, each with one that is slightly wrong.
fn exact_cases() -> Vec<(&'static str, Params, Params)> {
    let xtc = |threshold| Xtc { probability: 1.0, threshold };
    let swapped = |a: Stage, b: Stage| -> Vec<Stage> {
        let swap = |stage| match stage {
            stage if stage == a => b,
            stage if stage == b => a,
            stage => stage,
        };
        Stage::DEFAULT.into_iter().map(swap).collect()
    };
    let penalised = Params { repeat_penalty: 1.4, frequency_penalty: 0.3, ..off() };
    let narrow = Params { top_p: 0.8, min_p: 0.1, ..off() };
    let typical = Params { typical_p: 0.7, ..off() };
    let mixed =
        Params { top_k: 30, typical_p: 0.9, top_p: 0.9, xtc: xtc(0.08), temperature: 1.3, ..off() };
    vec![
        ("defaults", Params::default(), Params { top_p: 0.9, ..Params::default() }),
        ("temperature", Params { temperature: 1.7, ..off() }, Params { temperature: 1.6, ..off() }),
        ("top-p and min-p", narrow.clone(), Params { min_p: 0.12, ..narrow.clone() }),
        ("typical", typical.clone(), Params { typical_p: 0.6, ..typical.clone() }),
        ("sigma", Params { top_n_sigma: 1.5, ..off() }, Params { top_n_sigma: 1.4, ..off() }),
        ("XTC", Params { xtc: xtc(0.05), ..off() }, Params { xtc: xtc(0.1), ..off() }),
        (
            "dynamic temperature",
            Params { dynamic: dynamic(0.7, 1.5), ..off() },
            Params { dynamic: dynamic(0.7, 1.0), ..off() },
        ),
        (
            "dynamic temperature around 0",
            Params { temperature: 0.0, dynamic: dynamic(0.7, 1.0), ..off() },
            Params { temperature: 0.1, dynamic: dynamic(0.7, 1.0), ..off() },
        ),
        (
            "min-keep",
            Params { min_keep: 20, top_p: 0.1, min_p: 0.9, typical_p: 0.2, ..off() },
            Params { min_keep: 19, top_p: 0.1, min_p: 0.9, typical_p: 0.2, ..off() },
        ),
        ("penalties", penalised.clone(), Params { frequency_penalty: 0.2, ..penalised }),
        (
            "all",
            mixed.clone(),
            Params { stages: swapped(Stage::TopK, Stage::Xtc), ..mixed.clone() },
        ),
        (
            "another order",
            Params { stages: swapped(Stage::Temperature, Stage::TopP), ..mixed.clone() },
            mixed.clone(),
        ),
        (
            "temperature first, penalties last",
            Params {
                stages: vec![Stage::Temperature, Stage::MinP, Stage::TopNSigma, Stage::Penalties],
                min_p: 0.02,
                top_n_sigma: 2.0,
                repeat_penalty: 1.5,
                ..mixed.clone()
            },
            Params { min_p: 0.02, top_n_sigma: 2.0, repeat_penalty: 1.5, ..mixed },
        ),
    ]
}

/// Tokens the penalties have seen, the likely ones among them.
fn seen() -> impl Iterator<Item = u32> {
    (0..40).map(|i| (i % 7) * 37)
}

/// The widest difference of the two probabilities of a token.
fn difference(ours: &[(u32, f32)], theirs: &[f32]) -> f32 {
    let mut all = vec![0.0; theirs.len()];
    ours.iter().for_each(|&(token, p)| all[token as usize] = p);
    all.iter().zip(theirs).map(|(a, b): (&f32, &f32)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn probabilities_are_llama_cpps() {
    for (name, params, wrong) in exact_cases() {
        let chain = Chain::new(&params, std::ptr::null(), &[]);
        let [mut right, mut wrong] = [params, wrong].map(|params| Sampler::new(params, 1));
        seen().for_each(|token| {
            chain.accept(token);
            right.accept(token);
            wrong.accept(token);
        });
        let mut told_apart = false;
        for seed in 0..20 {
            let logits = logits(seed);
            let (theirs, _) = chain.apply(&logits);
            let apart = difference(&right.distribution(&mut logits.clone()), &theirs);
            assert!(apart < 1e-5, "{name}, seed {seed}: {apart}");
            let wrongly = difference(&wrong.distribution(&mut logits.clone()), &theirs);
            told_apart |= wrongly > 1e-4;
        }
        assert!(told_apart, "{name}: the wrong parameters give the same");
    }
}

/// How often each token comes in [`DRAWS`] draws from three sets of logits in turn.
fn histogram(mut draw: impl FnMut(&[f32]) -> u32) -> Vec<f64> {
    let sets: Vec<Vec<f32>> = (0..3).map(logits).collect();
    let mut counts = vec![0.0; 3 * VOCABULARY];
    for index in 0..DRAWS {
        let token = draw(&sets[index % 3]);
        counts[index % 3 * VOCABULARY + token as usize] += 1.0 / DRAWS as f64;
    }
    counts
}

fn drawn_by_us(params: &Params) -> Vec<f64> {
    let mut sampler = Sampler::new(params.clone(), 3);
    let mut copy = Vec::new();
    histogram(|logits| {
        copy.clear();
        copy.extend_from_slice(logits);
        let token = sampler.sample(&mut copy).expect("finite logits");
        sampler.accept(token);
        token
    })
}

fn drawn_by_llama_cpp(params: &Params) -> Vec<f64> {
    let chain = Chain::new(params, std::ptr::null(), &[]);
    histogram(|logits| {
        let (_, token) = chain.apply(logits);
        chain.accept(token);
        token
    })
}

/// Total variation: the share of draws that would have to change.
fn variation(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0
}

/// Settings in which chance, or what was drawn before, decides; each with one slightly wrong.
fn drawn_cases() -> Vec<(&'static str, Params, Params)> {
    let few = Params { top_k: 30, ..off() };
    let adaptive = |target, decay| Params {
        adaptive: Adaptive { target, decay },
        stages: [&Stage::DEFAULT[..], &[Stage::AdaptiveP]].concat(),
        min_p: 0.01,
        ..few.clone()
    };
    let mirostat = |version, tau, eta| Params { mirostat: Mirostat { version, tau, eta }, ..off() };
    let xtc = |probability| Params { xtc: Xtc { probability, threshold: 0.04 }, ..few.clone() };
    vec![
        ("defaults", Params::default(), Params { temperature: 1.0, ..Params::default() }),
        ("XTC", xtc(0.5), xtc(0.6)),
        ("mirostat 1", mirostat(1, 2.0, 0.1), mirostat(1, 2.3, 0.1)),
        ("mirostat 2", mirostat(2, 2.0, 0.1), mirostat(2, 2.3, 0.1)),
        ("adaptive", adaptive(0.2, 0.9), adaptive(0.3, 0.9)),
    ]
}

#[test]
fn draws_are_llama_cpps() {
    for (name, params, wrong) in drawn_cases() {
        let theirs = drawn_by_llama_cpp(&params);
        let apart = variation(&drawn_by_us(&params), &theirs);
        let wrongly = variation(&drawn_by_us(&wrong), &theirs);
        // Two histograms of one distribution over some hundred tokens differ by 0.02 at most.
        assert!(apart < 0.02 && wrongly > 1.5 * apart + 0.01, "{name}: {apart}, wrongly {wrongly}");
    }
}

#[test]
fn repeats_cost_what_they_do_in_llama_cpp() {
    // Starts llama.cpp.
    let _model = smollm2();
    let plain = Plain::load(&smollm2_path(), 64, 1, 1);
    let texts = [c"\n", c":", c"\"", c"*", c"the end"];
    let tokens = plain.tokenize(
        "The cat sat on the mat: the cat sat on the hat.\nThe cat sat on the end: the cat sat on",
        false,
    );
    let vocabulary = Vocabulary::read(&smollm2_path());
    let pieces: Vec<Vec<u8>> =
        (0..vocabulary.len() as u32).map(|token| vocabulary.bytes(&[token])).collect();
    let strings: Vec<String> =
        texts.iter().map(|text| text.to_str().expect("UTF-8").to_owned()).collect();
    let tail = |text: &str| Ok::<_, ()>(plain.tokenize(text, false));
    let breakers = |texts: &[String]| {
        Breakers::new(texts, |token| &pieces[token as usize][..], pieces.len() as u32, tail)
            .expect("cannot fail")
    };
    let mut told_apart = 0;
    for (allowed_length, last_n, count) in
        [(2, 64, 5), (1, 64, 0), (2, 12, 4), (0, 64, 4), (4, 64, 4), (2, 64, 4)]
    {
        let dry = Dry {
            multiplier: 0.8,
            base: 1.75,
            allowed_length,
            last_n,
            breakers: breakers(&strings[..count]),
        };
        let params = Params { dry, ..off() };
        let chain = Chain::new(&params, plain.vocab(), &texts[..count]);
        let mut ours = Sampler::new(params, 1);
        let mut without = Sampler::new(off(), 1);
        // Few likely tokens, so that a penalty shows: those of the text itself.
        let mut logits = vec![-20.0; pieces.len()];
        tokens.iter().for_each(|&token| logits[token as usize] = 1.0);
        for &token in &tokens {
            chain.accept(token);
            ours.accept(token);
            let (theirs, _) = chain.apply(&logits);
            let apart = difference(&ours.distribution(&mut logits.clone()), &theirs);
            assert!(apart < 1e-5, "{allowed_length}, {last_n}, {count}: {apart}");
            let plainly = difference(&without.distribution(&mut logits.clone()), &theirs);
            told_apart += usize::from(plainly > 1e-3);
        }
    }
    assert!(told_apart > 20, "{told_apart} penalties");
}
