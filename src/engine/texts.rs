//! Texts of a request that mean tokens: biased ones, and those that DRY sees no repeats over.
#![forbid(unsafe_code)]

use super::task::Task;
use crate::backend::{Backend, Vocab};
use crate::error::Result;
use crate::sampling::Breakers;

/// One bias for each token: the sum.
fn merge(biases: &mut Vec<(u32, f32)>) {
    biases.sort_by_key(|&(token, _)| token);
    biases.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        kept.1 += if is_same { next.1 } else { 0.0 };
        is_same
    });
}

/// Puts the tokens of the texts of `task` into its sampling parameters.
pub(super) fn resolve(backend: &mut dyn Backend, vocab: &Vocab, task: &mut Task) -> Result<()> {
    for (text, bias) in std::mem::take(&mut task.bias_texts) {
        let tokens = backend.tokenize(&text, false)?;
        task.params.logit_bias.extend(tokens.into_iter().map(|token| (token, bias)));
    }
    merge(&mut task.params.logit_bias);
    let texts = std::mem::take(&mut task.dry_breakers);
    if task.params.dry.is_on() {
        let tokenize = |text: &str| backend.tokenize(text, false);
        let count = vocab.len() as u32;
        task.params.dry.breakers = Breakers::new(&texts, |id| vocab.piece(id), count, tokenize)?;
    }
    Ok(())
}
