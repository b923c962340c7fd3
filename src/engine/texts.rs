//! Texts of a request that mean tokens: biased ones, and those that DRY sees no repeats over.
#![forbid(unsafe_code)]

use super::tokens::Words;
use crate::backend::Vocab;
use crate::error::Result;
use crate::sampling::{Breakers, Params};

/// One bias for each token: the sum.
fn merge(biases: &mut Vec<(u32, f32)>) {
    biases.sort_by_key(|&(token, _)| token);
    biases.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        kept.1 += if is_same { next.1 } else { 0.0 };
        is_same
    });
}

/// Puts the tokens of the biased texts and of the breakers into `params`. It goes through the whole
/// vocabulary for each breaker: not for a thread that others wait for.
pub(super) fn resolve(
    words: &Words,
    vocab: &Vocab,
    bias_texts: Vec<(String, f32)>,
    breakers: &[String],
    params: &mut Params,
) -> Result<()> {
    for (text, bias) in bias_texts {
        let tokens = words.tokenize(&text, false, true, "logit_bias")?;
        params.logit_bias.extend(tokens.into_iter().map(|token| (token, bias)));
    }
    merge(&mut params.logit_bias);
    if params.dry.is_on() {
        let tokenize = |text: &str| words.tokenize(text, false, true, "dry_sequence_breakers");
        let count = vocab.len() as u32;
        params.dry.breakers = Breakers::new(breakers, |id| vocab.piece(id), count, tokenize)?;
    }
    Ok(())
}
