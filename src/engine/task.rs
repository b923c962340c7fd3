//! A generation on its way from its caller to a slot.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::adapters::AdapterSet;
use super::answers::Answers;
use super::bans::Bans;
use super::completion::Shape;
use super::intake::Work;
use super::job::Job;
use super::speculation::Drafting;
use super::writer::Reading;
use crate::backend::{Infill, Vocab};
use crate::error::{Error, Result};
use crate::grammar::Constraint;
use crate::request::ContextShift;
use crate::sampling::Params;

/// What the prompt is when it reaches the worker.
#[derive(Clone)]
pub(super) enum Input {
    /// A text; `special` lets the model add the tokens it wants around it.
    Text { text: String, special: bool },
    /// Token ids, checked against the vocabulary.
    Tokens(Vec<u32>),
    /// Texts around the one that is asked for, and the tokens that say so.
    Infill { prefix: String, suffix: String, marks: Infill },
}

/// A generation on its way to a slot.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) job: Arc<Job>,
    pub(super) answers: Arc<Answers>,
    /// Which of the answers this is for; at first it stands for all.
    pub(super) choice: usize,
    pub(super) shape: Shape,
    pub(super) input: Input,
    pub(super) params: Params,
    pub(super) seed: u64,
    pub(super) bans: Bans,
    pub(super) min_tokens: usize,
    /// Whose log-probabilities are noted: the token's, and those of so many of the likeliest.
    pub(super) logprobs: Option<usize>,
    /// Whether the text of the prompt comes first.
    pub(super) echo: bool,
    /// That text, once the prompt was read.
    pub(super) prompt_text: Arc<str>,
    pub(super) stop: Vec<String>,
    pub(super) max_tokens: usize,
    pub(super) priority: i32,
    /// What it is computed with.
    pub(super) adapters: AdapterSet,
    /// Whether a prefix that is there is taken over, and what is computed is kept.
    pub(super) cache_prompt: bool,
    /// Whether it is decoded speculatively, and how.
    pub(super) drafting: Option<Drafting>,
    /// What to drop when the context is full; `None` ends the answer.
    pub(super) context_shift: Option<ContextShift>,
    /// What the answer has to look like, once that is compiled.
    pub(super) grammar: Option<Constraint>,
    /// How the answer is read.
    pub(super) reading: Reading,
    /// A file to save the prompt's state to, all but its last token; nothing is generated then.
    pub(super) save: Option<String>,
}

impl Task {
    /// Its prompt's `tokens`, if there are enough of them.
    pub(super) fn check(&self, tokens: Vec<u32>) -> Result<Vec<u32>> {
        if self.save.is_some() && tokens.len() < 2 {
            let message = "has one token; a state is of all but the last, give a longer text";
            return Err(Error::invalid_request("prompt", message));
        }
        Ok(tokens)
    }

    /// Its prompt has become `tokens`; the text is kept only to be repeated.
    pub(super) fn read(&mut self, tokens: &[u32], vocab: &Vocab) {
        self.answers.note_prompt(tokens.len());
        let input = std::mem::replace(&mut self.input, Input::Tokens(Vec::new()));
        if self.echo {
            self.prompt_text = match input {
                Input::Text { text, .. } => text.into(),
                _ => vocab.text(tokens).into(),
            };
        }
    }

    /// The task of one of the answers.
    pub(super) fn for_choice(&self, choice: usize) -> Self {
        Self { choice, seed: self.seed.wrapping_add(choice as u64), ..self.clone() }
    }

    /// Whether the answer begins with the prompt and the scores of its tokens.
    pub(super) fn shows_scores(&self) -> bool {
        self.echo && self.logprobs.is_some()
    }

    /// Whether the tokens of the prompt are scored: by the first answer, for all.
    pub(super) fn scores_prompt(&self) -> bool {
        self.shows_scores() && self.choice == 0
    }
}

impl Work for Task {
    fn job(&self) -> &Arc<Job> {
        &self.job
    }
}
