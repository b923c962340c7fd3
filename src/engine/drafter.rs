//! Drafts of a draft model, for several jobs at once.
//!
//! It has a sequence for each of the model's. What lies in one is compared with the job's tokens at
//! each draft, so that nobody has to tell it of new jobs, moves, and drafts that went wrong.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::kv::common;
use super::pace::Pace;
use crate::backend::{Backend, BatchToken, Decoded, DraftModel, Limits, Vocab};
use crate::error::Result;

/// Tokens that one turn computes of texts that the draft model has not seen yet, so that
/// streams do not wait for it.
const CATCH_UP: usize = 64;

/// A draft in the making.
pub(super) struct Want<'a> {
    /// The job's sequence.
    pub(super) sequence: u32,
    /// Its tokens, at least one.
    pub(super) tokens: &'a [u32],
    /// Tokens to draft at most, at least one.
    pub(super) most: usize,
    /// The draft ends at a token less likely than this.
    pub(super) p_min: f32,
    /// What came of it, perhaps nothing.
    pub(super) draft: Vec<u32>,
}

/// A draft model at work.
pub(super) struct Drafter {
    backend: Box<dyn Backend>,
    limits: Limits,
    n_vocab: usize,
    /// What lies in each sequence.
    held: Vec<Vec<u32>>,
    batch: Vec<BatchToken>,
    pace: Pace,
}

impl Drafter {
    pub(super) fn new(model: DraftModel) -> Self {
        Self {
            held: vec![Vec::new(); model.limits.n_parallel as usize],
            backend: model.backend,
            limits: model.limits,
            n_vocab: model.n_vocab,
            batch: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// How long a token of a draft takes; `None` before the first.
    pub(super) fn step(&self) -> Option<Duration> {
        self.pace.expect(1)
    }

    /// Drafts for `wants`, whose sequences differ, tokens of `vocab`. On an error it is of no more use.
    pub(super) fn draft(&mut self, wants: &mut [Want<'_>], vocab: &Vocab) -> Result<()> {
        let mut open = self.catch_up(wants)?;
        while !open.is_empty() {
            let mut going = Vec::new();
            for (row, index) in open {
                let want = &mut wants[index];
                let (token, probability) = likeliest(self.backend.logits(row)?);
                // Its vocabulary may have some tokens more.
                let is_known = (token as usize) < vocab.len();
                if !is_known || probability < want.p_min || vocab.is_end_of_generation(token) {
                    continue;
                }
                want.draft.push(token);
                if want.draft.len() < want.most && self.has_room(want) {
                    going.push((self.batch_next(going.len(), want, token), index));
                }
            }
            if !self.compute()? {
                return Ok(());
            }
            open = going;
        }
        Ok(())
    }

    /// Whether the token that `want` drafted last can be computed.
    fn has_room(&self, want: &Want<'_>) -> bool {
        want.tokens.len() + want.draft.len() < self.limits.n_ctx as usize
    }

    /// Puts `token` of `want` into the batch as its entry `row`; returns `row`.
    fn batch_next(&mut self, row: usize, want: &Want<'_>, token: u32) -> usize {
        let position = (want.tokens.len() + want.draft.len() - 1) as u32;
        self.batch.push(BatchToken { token, position, sequence: want.sequence, output: true });
        row
    }

    /// Computes what the draft model has not seen of the jobs' texts, as far as a turn allows. Returns
    /// the rows of those whose next token can be drafted, and their places in `wants`.
    fn catch_up(&mut self, wants: &[Want<'_>]) -> Result<Vec<(usize, usize)>> {
        let mut room = CATCH_UP.min(self.limits.n_batch as usize);
        let mut open = Vec::new();
        for (index, want) in wants.iter().enumerate() {
            let length = want.tokens.len();
            let is_known = want.tokens.iter().all(|&token| (token as usize) < self.n_vocab);
            if length >= self.limits.n_ctx as usize || !is_known {
                continue;
            }
            let held = &mut self.held[want.sequence as usize];
            // The last token is computed again where it is there: its logits are not.
            let mut known = common(held, want.tokens).min(length - 1);
            if known < held.len() && !self.backend.truncate(want.sequence, known as u32) {
                known = 0;
            }
            held.truncate(known);
            let end = length.min(known + room);
            room -= end - known;
            self.batch.extend((known..end).map(|at| BatchToken {
                token: want.tokens[at],
                position: at as u32,
                sequence: want.sequence,
                output: at + 1 == length,
            }));
            if end == length {
                open.push((self.batch.len() - 1, index));
            }
        }
        Ok(if self.compute()? { open } else { Vec::new() })
    }

    /// Computes the batch, which is empty then. False: there was nothing, or it did not come
    /// through.
    fn compute(&mut self) -> Result<bool> {
        if self.batch.is_empty() {
            return Ok(false);
        }
        let begun = Instant::now();
        let decoded = self.backend.decode(&self.batch)?;
        let batch = std::mem::take(&mut self.batch);
        match decoded {
            Decoded::Done => {
                self.pace.note(batch.len(), begun.elapsed());
                for entry in batch {
                    self.held[entry.sequence as usize].push(entry.token);
                }
                return Ok(true);
            }
            // Some of it may be there all the same.
            Decoded::Interrupted => {
                for entry in batch {
                    let count = self.held[entry.sequence as usize].len();
                    self.backend.truncate(entry.sequence, count as u32);
                }
            }
            // Its sequences share too few cells: what the others hold is dropped, too.
            Decoded::Full => {
                for (sequence, held) in (0..).zip(&mut self.held) {
                    held.clear();
                    self.backend.truncate(sequence, 0);
                }
            }
        }
        Ok(false)
    }
}

/// The token with the highest of `logits`, and its probability.
fn likeliest(logits: &[f32]) -> (u32, f32) {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
    let highest = logits.get(best).copied().unwrap_or(0.0);
    let sum: f32 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    (best as u32, 1.0 / sum)
}
