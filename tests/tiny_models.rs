//! Models of the kinds that SmolLM2 is not: recurrent, hybrid and with a sliding window, tiny and
//! random, against llama.cpp by itself.
#![cfg(feature = "llama")]

mod support;

use serde_json::{json, Value};
use support::llama::{likeliest, sequence, Plain};
use support::{alone, model_path, status_name, text_of, Engine, Model};

const KINDS: [(&str, &str); 3] = [("mamba", "mamba"), ("hybrid", "jamba"), ("swa", "gemma3")];
/// Four slots; the longest prompt takes four batches.
const OPTIONS: &str = r#"{"n_parallel": 4, "n_ctx": 1024, "n_ubatch": 128, "n_threads": 1}"#;
/// Tokens of each greedy answer.
const LENGTH: usize = 32;
/// What the order of sums may change in a logit, and more.
const ROUNDING: f32 = 0.03;

/// Runs `test` on one model of each kind, loaded for it alone; it also gets the file's path.
fn on_each_kind(test: impl Fn(&Model, &str)) {
    let _turn = alone();
    let engine = Engine::new("");
    for (name, architecture) in KINDS {
        let path = model_path(&format!("tiny-random-gguf/{name}.gguf"));
        let model = engine.load(&path, OPTIONS);
        assert_eq!(model.info()["architecture"], architecture);
        test(&model, &path);
    }
}

/// From far shorter than the sliding window of 64 tokens to far longer than a batch.
fn prompts() -> [String; 4] {
    let tale = |count| {
        (0..count).map(|n| format!("Chapter {n} tells of the sea and the wind. ")).collect()
    };
    ["The sea is".to_owned(), "Q: Why is the sky blue?\nA:".to_owned(), tale(9), tale(40)]
}

fn greedy(prompt: &str) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": LENGTH})
}

#[test]
fn greedy_tokens_are_those_of_llama_cpp_itself() {
    on_each_kind(|model, path| {
        let mut plain = Plain::load(path, 1_024, 1, 1);
        for prompt in prompts() {
            let tokens = plain.tokenize(&prompt, true);
            let expected = plain.greedy(&tokens, LENGTH);
            assert_eq!(expected.len(), LENGTH, "{path}: {prompt:?}");
            for _ in 0..2 {
                assert_eq!(model.answer(&greedy(&prompt)).tokens(), expected, "{path}: {prompt:?}");
            }
        }
    });
}

#[test]
fn four_jobs_at_once_say_what_each_says_alone() {
    on_each_kind(|model, path| {
        let texts = prompts().map(|prompt| model.answer(&greedy(&prompt)).text());
        let jobs = prompts().map(|prompt| model.start(&greedy(&prompt)));
        for ((job, text), prompt) in jobs.iter().zip(texts).zip(prompts()) {
            assert_eq!(text_of(&job.read()), text, "{path}: {prompt:?}");
        }
    });
}

#[test]
fn a_cancelled_job_leaves_the_others_and_the_next_as_they_are() {
    on_each_kind(|model, path| {
        let [short, _, _, long] = prompts();
        let texts = [&short, &long].map(|prompt| model.answer(&greedy(prompt)).text());
        let endless = json!({"prompt": long, "temperature": 0});
        // One is stopped while its prompt is computed, one while it speaks.
        let jobs = [model.start(&endless), model.start(&endless)];
        let beside = model.start(&greedy(&short));
        jobs[0].cancel();
        jobs[1].next_token();
        jobs[1].cancel();
        for job in &jobs {
            let end = job.read().pop().expect("a final event");
            assert_eq!(status_name(end.status), "FLUID_CANCELLED", "{path}");
        }
        assert_eq!(text_of(&beside.read()), texts[0], "{path}");
        for (prompt, text) in [&short, &long].into_iter().zip(&texts) {
            assert_eq!(model.answer(&greedy(prompt)).text(), *text, "{path}: {prompt:?}");
        }
    });
}

/// What tests with these models rest on: a token that is lost or mixed up anywhere shows.
#[test]
fn every_token_of_the_context_counts() {
    on_each_kind(|_, path| {
        let mut plain = Plain::load(path, 1_024, 1, 1);
        let tokens = plain.tokenize(&prompts()[2], true);
        assert!(tokens.len() > 100, "{} tokens", tokens.len());
        let logits = logits_after(&mut plain, &tokens);
        assert!(logits.iter().all(|logit| logit.is_finite()), "{path}");
        for place in [0, 1, tokens.len() / 2, tokens.len() - 2, tokens.len() - 1] {
            let mut other = tokens.clone();
            other[place] = 1_000;
            let changed = logits_after(&mut plain, &other);
            let most = logits.iter().zip(&changed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most > 4.0 * ROUNDING, "{path}: token {place} changes logits by {most}");
        }
    });
}

/// The other thing they rest on: sums in another order, as other batches bring, change no text.
#[test]
fn no_token_is_said_by_a_hair() {
    on_each_kind(|_, path| {
        let mut plain = Plain::load(path, 1_024, 1, 1);
        for prompt in prompts() {
            let mut tokens = plain.tokenize(&prompt, true);
            logits_after(&mut plain, &tokens);
            for _ in 0..LENGTH {
                let logits = plain.last_logits();
                let best = likeliest(logits);
                let rivals =
                    logits.iter().filter(|&&logit| logit > logits[best as usize] - ROUNDING);
                assert_eq!(
                    rivals.count(),
                    1,
                    "{path}: behind token {} of {prompt:?}",
                    tokens.len()
                );
                plain.decode(&sequence(&[best], 0, tokens.len()));
                tokens.push(best);
            }
        }
    });
}

fn logits_after(plain: &mut Plain, tokens: &[u32]) -> Vec<f32> {
    plain.forget(0);
    for (index, chunk) in tokens.chunks(512).enumerate() {
        plain.decode(&sequence(chunk, 0, index * 512));
    }
    plain.last_logits().to_vec()
}
