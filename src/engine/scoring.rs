//! The log-probabilities of a prompt's own tokens, for answers that repeat the prompt.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::logprobs::{Logprob, Scorer};
use super::slot::Slot;
use crate::backend::Vocab;

/// What is known of a prompt so far.
pub(super) struct Scoring {
    scorer: Scorer,
    scores: Vec<Logprob>,
}

impl Scoring {
    /// For a prompt that begins with `first`; each token is scored beside the `count` likeliest.
    pub(super) fn new(count: usize, first: u32, vocab: &Vocab) -> Self {
        let mut scorer = Scorer::new(count);
        let scores = vec![scorer.first(first, vocab)];
        Self { scorer, scores }
    }
}

impl Slot {
    /// Whether tokens of the prompt are still to be scored.
    pub(super) fn is_scored(&self) -> bool {
        self.scoring.as_ref().is_some_and(|scoring| scoring.scores.len() < self.n_prompt)
    }

    /// Whether the logits at `position` are wanted, to score the token behind it.
    pub(super) fn wants_score(&self, position: usize) -> bool {
        let scored = self.scoring.as_ref().map_or(usize::MAX, |scoring| scoring.scores.len());
        (scored..self.n_prompt).contains(&(position + 1))
    }

    /// Scores the next token of the prompt by the `logits` before it.
    pub(super) fn score(&mut self, logits: &[f32], vocab: &Vocab) {
        if let Some(Scoring { scorer, scores }) = &mut self.scoring {
            let token = self.tokens[scores.len()];
            scores.push(scorer.score(logits, token, vocab));
        }
    }

    /// Its tokens as far as it may take them over from others: what is to be scored is computed.
    pub(super) fn shareable(&self) -> &[u32] {
        match &self.scoring {
            Some(scoring) if self.is_scored() => &self.tokens[..scoring.scores.len()],
            _ => &self.tokens,
        }
    }

    /// The prompt is computed, `at`: the answer begins.
    pub(super) fn begin(&mut self, at: Instant) {
        let task = &self.task;
        if task.choice == 0 {
            let scores = self.scoring.take().map(|scoring| scoring.scores);
            task.answers.prompt_done(at - self.admitted, scores.unwrap_or_default());
        }
        if task.echo {
            self.writer.echo(task.prompt_text.clone(), task.answers.prompt_scores());
        }
    }
}
