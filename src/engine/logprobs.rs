//! Log-probabilities of tokens, and OpenAI's two shapes for them.
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::completion::Shape;
use crate::backend::Vocab;
use crate::sampling::LogProbs;

/// What stands for minus infinity, which JSON does not have; as in OpenAI's API.
const LEAST: f32 = -9999.0;

/// A token's text and its log-probability.
#[derive(Debug, Clone)]
struct Part {
    bytes: Vec<u8>,
    logprob: f32,
}

/// A token of an answer, or of a prompt that is part of one.
#[derive(Debug, Clone)]
pub struct Logprob {
    bytes: Vec<u8>,
    /// `None` for the first token of a prompt, which nothing comes before.
    logprob: Option<f32>,
    /// The likeliest in its place, likeliest first.
    top: Vec<Part>,
    /// Characters of the text before it.
    offset: usize,
}

impl Logprob {
    /// The token's log-probability, NaN where it has none.
    pub(super) fn value(&self) -> f32 {
        self.logprob.unwrap_or(f32::NAN)
    }
}

/// Computes the log-probabilities of one answer, from raw logits.
pub(super) struct Scorer {
    probs: LogProbs,
    /// How many of the likeliest tokens are named.
    count: usize,
    /// A copy of the logits before sampling changes them.
    raw: Vec<f32>,
    /// Characters that began in the tokens so far.
    offset: usize,
}

impl Scorer {
    pub(super) fn new(count: usize) -> Self {
        Self { probs: LogProbs::default(), count, raw: Vec::new(), offset: 0 }
    }

    /// Keeps `logits` until a token was drawn from them.
    pub(super) fn keep(&mut self, logits: &[f32]) {
        self.raw.clear();
        self.raw.extend_from_slice(logits);
    }

    /// `token`, drawn from the logits kept.
    pub(super) fn drawn(&mut self, token: u32, vocab: &Vocab) -> Logprob {
        let raw = std::mem::take(&mut self.raw);
        let scored = self.score(&raw, token, vocab);
        self.raw = raw;
        scored
    }

    /// `token`, of whose place `logits` are.
    pub(super) fn score(&mut self, logits: &[f32], token: u32, vocab: &Vocab) -> Logprob {
        let log_sum = LogProbs::log_sum(logits);
        let of = |token: u32| (logits[token as usize] - log_sum).max(LEAST);
        let top = self.probs.top(logits, self.count);
        let part = |token: u32| Part { bytes: vocab.piece(token).to_vec(), logprob: of(token) };
        let top = top.map(part).collect();
        self.entry(vocab.piece(token), Some(of(token)), top)
    }

    /// The first token of a prompt.
    pub(super) fn first(&mut self, token: u32, vocab: &Vocab) -> Logprob {
        self.entry(vocab.piece(token), None, Vec::new())
    }

    fn entry(&mut self, bytes: &[u8], logprob: Option<f32>, top: Vec<Part>) -> Logprob {
        let offset = self.offset;
        // Bytes that go on with a character begin none.
        self.offset += bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Logprob { bytes: bytes.to_vec(), logprob, top, offset }
    }

    /// Goes on behind a text of so many characters.
    pub(super) fn skip(&mut self, characters: usize) {
        self.offset += characters;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// OpenAI's `logprobs` for `tokens`.
pub(super) fn to_json(tokens: &[Logprob], shape: Shape) -> Value {
    match shape {
        Shape::Chat => {
            let content: Vec<Value> = tokens.iter().map(chat_entry).collect();
            json!({"content": content, "refusal": null})
        }
        Shape::Text => {
            let all = |part: &dyn Fn(&Logprob) -> Value| tokens.iter().map(part).collect::<Value>();
            json!({
                "tokens": all(&|token| text(&token.bytes).into()),
                "token_logprobs": all(&|token| json!(token.logprob)),
                "top_logprobs": all(&text_top),
                "text_offset": all(&|token| token.offset.into()),
            })
        }
    }
}

fn chat_entry(token: &Logprob) -> Value {
    let part = |bytes: &[u8], logprob: Option<f32>| json!({"token": text(bytes), "logprob": logprob, "bytes": bytes});
    let top = token.top.iter().map(|top| part(&top.bytes, Some(top.logprob)));
    let mut entry = part(&token.bytes, token.logprob);
    entry["top_logprobs"] = top.collect();
    entry
}

/// The likeliest tokens by their texts, the token itself in any case, as OpenAI gives them.
fn text_top(token: &Logprob) -> Value {
    if token.logprob.is_none() {
        return Value::Null;
    }
    let mut map = Map::new();
    for top in &token.top {
        // Tokens of the same text: the likeliest counts.
        map.entry(text(&top.bytes)).or_insert_with(|| json!(top.logprob));
    }
    map.entry(text(&token.bytes)).or_insert_with(|| json!(token.logprob));
    Value::Object(map)
}
