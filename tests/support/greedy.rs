//! Whether two computations of one greedy answer agree, where sums come in another order.
//!
//! Batches of another shape use other kernels, so that logits differ a little; where the two
//! likeliest tokens are nearly even, the texts then part. What must hold all the same: each token
//! of each text is, up to a tolerance, the likeliest one behind those before it, as llama.cpp by
//! itself computes them.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use serde_json::{json, Value};

use super::llama::Plain;
use super::{model_path, smollm2_path, tokens_of, Answer, Event, Model};

/// What a batch of another shape changed in a logit of SmolLM2 at most was 0.5, so two that are
/// further apart than twice that keep their order. Its mean gap to the second is near 3.
pub const SMOLLM2_TOLERANCE: f32 = 1.0;

/// The same for the tiny models, whose weights are not quantised: 0.02 was measured.
pub const TINY_TOLERANCE: f32 = 0.04;

/// The tiny random models: recurrent, hybrid, with a sliding window.
pub const TINY: [&str; 3] = ["mamba", "hybrid", "swa"];

/// A model to try something on.
pub struct Subject {
    pub name: &'static str,
    pub path: String,
    pub tolerance: f32,
}

pub fn smollm2_subject() -> Subject {
    Subject { name: "SmolLM2", path: smollm2_path(), tolerance: SMOLLM2_TOLERANCE }
}

pub fn tiny_subjects() -> [Subject; 3] {
    TINY.map(|name| Subject {
        name,
        path: model_path(&format!("tiny-random-gguf/{name}.gguf")),
        tolerance: TINY_TOLERANCE,
    })
}

impl Subject {
    /// Compares answers of this model. One must have been loaded through the library before.
    pub fn judge(&self) -> Judge {
        Judge {
            plain: Plain::load(&self.path, 2_048, 1, 1),
            name: self.name,
            tolerance: self.tolerance,
            parted: 0,
            worst: 0.0,
        }
    }
}

/// Compares answers, and counts those that parted.
pub struct Judge {
    pub plain: Plain,
    name: &'static str,
    tolerance: f32,
    /// Texts that were not what the other computation gave.
    pub parted: usize,
    /// The widest gap in any of these.
    pub worst: f32,
}

impl Judge {
    /// Fails unless `got` is what `expected` is, or parts from it at a near-tie and then is right
    /// by itself. `prompt` is what both continue.
    pub fn same(&mut self, prompt: &[u32], expected: &[u32], got: &[u32], ended: bool) {
        if got == expected {
            return;
        }
        let at = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
        let gaps = self.plain.gaps(prompt, got, ended);
        let worst = gaps.iter().copied().fold(0.0, f32::max);
        self.parted += 1;
        self.worst = self.worst.max(worst);
        assert!(
            worst <= self.tolerance,
            "{}: parts at token {at} of {expected:?}: {got:?}, whose logits are below the highest by {gaps:?}",
            self.name
        );
    }

    /// [`same`](Self::same) for whole answers to `prompt`.
    pub fn same_answer(&mut self, prompt: &str, expected: &Answer, got: &Answer) {
        let tokens = self.plain.tokenize(prompt, true);
        let ended = got.finish_reason() == "stop";
        self.same(&tokens, &expected.tokens(), &got.tokens(), ended);
    }

    /// [`same`](Self::same) for the events of a job. With `cut`, something stopped it: they are a
    /// beginning.
    pub fn same_events(&mut self, prompt: &str, expected: &Answer, events: &[Event], cut: bool) {
        let (tokens, got) = (self.plain.tokenize(prompt, true), tokens_of(events));
        let mut expected = expected.tokens();
        let ended = !cut && got.len() < expected.len();
        if cut {
            expected.truncate(got.len());
        }
        self.same(&tokens, &expected, &got, ended);
    }
}

pub fn greedy(prompt: &str, max_tokens: usize) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": max_tokens})
}

/// `request` as it is computed with nothing taken over from others.
pub fn cold(request: &Value) -> Value {
    let mut request = request.clone();
    request["cache_prompt"] = json!(false);
    request
}

/// Prompt tokens that were taken over.
pub fn cached(json: &Value) -> usize {
    let cached = json["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    assert_eq!(json["timings"]["cache_n"].as_u64(), cached, "two names of one number");
    cached.expect("a number") as usize
}

/// The answer to `request`, computed with nothing taken over.
pub fn alone_answer(model: &Model, request: &Value) -> Answer {
    let answer = model.answer(&cold(request));
    assert_eq!(cached(&answer.json), 0);
    answer
}
