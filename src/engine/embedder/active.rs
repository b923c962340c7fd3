//! A job whose texts are being computed.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use super::result::{Embeddings, Ranking, Usage};
use super::task::{EmbedTask, Reader, Texts};
use super::vector::Recipe;
use crate::backend::EmbeddingModel;
use crate::engine::event::Ending;
use crate::engine::job::{Outcome, StopCause};
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Active {
    task: EmbedTask,
    admitted: Instant,
    /// Of each text so far.
    tokens: Vec<Vec<u32>>,
    /// Texts that are computed.
    done: usize,
    /// Their vectors, one after the other, or their scores.
    values: Vec<f32>,
    usage: Usage,
    failure: Option<Error>,
}

impl Active {
    pub(super) fn new(task: EmbedTask) -> Self {
        let admitted = Instant::now();
        let usage = Usage { queued: admitted - task.job.started(), ..Usage::default() };
        let (tokens, values) = (Vec::new(), Vec::new());
        Self { task, admitted, tokens, done: 0, values, usage, failure: None }
    }

    pub(super) fn is_tokenised(&self) -> bool {
        self.tokens.len() == self.task.count()
    }

    /// Tokenises texts while there is `room`, bytes, which they take.
    pub(super) fn tokenise(&mut self, reader: &Reader<'_>, room: &mut usize) {
        while *room > 0 && !self.is_tokenised() && self.failure.is_none() {
            let index = self.tokens.len();
            *room = room.saturating_sub(self.task.bytes(index).max(1));
            match self.task.tokens(index, reader) {
                Ok((tokens, was_cut)) => {
                    self.usage.tokens += tokens.len();
                    self.usage.truncated.extend(was_cut.then_some(index));
                    self.tokens.push(tokens);
                }
                Err(error) => self.failure = Some(error),
            }
        }
    }

    /// Tokens of the text that comes after `count` others.
    pub(super) fn length(&self, count: usize) -> Option<usize> {
        self.tokens.get(self.done + count).map(Vec::len)
    }

    /// The next `count` texts to compute.
    pub(super) fn next_texts(&self, count: usize) -> impl Iterator<Item = &[u32]> {
        self.tokens[self.done..self.done + count].iter().map(Vec::as_slice)
    }

    /// Takes what was computed of the next text, number `index` of the batch, whose tokens begin at
    /// `row`; returns how many there are.
    pub(super) fn take(
        &mut self,
        model: &mut dyn EmbeddingModel,
        row: usize,
        index: usize,
    ) -> usize {
        let count = self.tokens[self.done].len();
        let taken = match self.task.texts {
            Texts::Vectors { recipe, .. } => self.take_vector(model, row, count, recipe),
            Texts::Scores { .. } => self.take_score(model, index),
        };
        if let Err(error) = taken {
            self.fail(error);
        }
        // Of one that failed, too: the texts behind it have their rows all the same.
        self.done += 1;
        count
    }

    fn take_vector(
        &mut self,
        model: &mut dyn EmbeddingModel,
        row: usize,
        count: usize,
        recipe: Recipe,
    ) -> Result<()> {
        recipe.make(count, &mut self.values, |token, sum| {
            let state = model.state(row + token)?;
            sum.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
            Ok(())
        })
    }

    fn take_score(&mut self, model: &mut dyn EmbeddingModel, index: usize) -> Result<()> {
        let score = model.score(index)?;
        if !score.is_finite() {
            let message = "the model computed no usable score; the file may be damaged";
            return Err(Error::new(ErrorKind::Backend, message));
        }
        self.values.push(score);
        Ok(())
    }

    pub(super) fn tell_progress(&self) {
        if self.done < self.task.count() {
            self.task.job.push_progress(self.done as f32 / self.task.count() as f32);
        }
    }

    /// It cannot go on; the first reason counts.
    pub(super) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    pub(super) fn stop_cause(&self) -> Option<Ending> {
        self.task.job.stop_cause().map(StopCause::ending)
    }

    pub(super) fn failure(&self) -> Option<Ending> {
        self.failure.clone().map(Ending::Failed)
    }

    /// How it ends, if it ends now.
    pub(super) fn end(&self) -> Option<Ending> {
        let is_done = self.done == self.task.count();
        self.failure().or(is_done.then_some(Ending::Done))
    }

    /// Ends the job, with what was computed.
    pub(super) fn finish(mut self, ending: Ending) {
        self.usage.computed = self.admitted.elapsed();
        let (model, usage) = (std::mem::take(&mut self.task.model), self.usage);
        let outcome = match &mut self.task.texts {
            Texts::Vectors { recipe, .. } => {
                let values = Arc::new(self.values);
                let dimensions = recipe.dimensions;
                Outcome::Embeddings(Box::new(Embeddings { model, values, dimensions, usage }))
            }
            Texts::Scores { documents, top_n, return_documents, .. } => {
                let documents = return_documents.then(|| std::mem::take(documents));
                let (scores, top_n) = (self.values, *top_n);
                Outcome::Ranking(Box::new(Ranking { model, scores, top_n, documents, usage }))
            }
        };
        self.task.job.finish(ending, Some(outcome));
    }
}
