//! Embedding and ranking: from a request to a task for the model's worker.
#![forbid(unsafe_code)]

mod active;
mod batcher;
mod result;
mod task;
mod vector;

use std::sync::Arc;

use crossbeam_channel::Receiver;
use serde_json::{json, Map, Value};

pub(super) use self::batcher::Batcher;
use self::batcher::MOST_JOBS;
pub(super) use self::result::{Embeddings, Ranking};
pub(super) use self::task::EmbedTask;
use self::task::Texts;
use self::vector::Recipe;
use super::intake::Intake;
use super::job::{Job, Outcome};
use super::model::Setup;
use crate::backend::{EmbeddingLimits, LoadedEmbedding, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{EmbedInput, EmbedRequest, RerankRequest};

/// What an embedding model needs to know of itself, and the way to its worker.
pub(super) struct Embedder {
    name: String,
    limits: EmbeddingLimits,
    output: Output,
    n_vocab: usize,
    intake: Intake<EmbedTask>,
}

impl Embedder {
    /// An embedder of so many tokens' vocabulary, and where its worker receives tasks.
    pub(super) fn new(
        loaded: &LoadedEmbedding,
        n_vocab: usize,
        setup: Setup,
    ) -> (Self, Receiver<EmbedTask>) {
        let (intake, tasks) = Intake::new(setup);
        let embedder = Self {
            name: loaded.info.name.clone(),
            limits: loaded.limits,
            output: loaded.output.clone(),
            n_vocab,
            intake,
        };
        (embedder, tasks)
    }

    /// What it does, in the words of model information.
    pub(super) fn capability(&self) -> &'static str {
        match self.output {
            Output::States { .. } => "embed",
            Output::Score(_) => "rerank",
        }
    }

    /// What model information says beside what all models say.
    pub(super) fn describe(&self, info: &mut Map<String, Value>) {
        info.insert("context_length".into(), json!(self.limits.n_ctx));
        info.insert("n_parallel".into(), json!(MOST_JOBS));
        match &self.output {
            Output::States { width, pooling } => {
                info.insert("dimensions".into(), json!(width));
                info.insert("pooling".into(), json!(pooling.name()));
            }
            Output::Score(_) => {
                info.insert("pooling".into(), json!("rank"));
            }
        }
    }

    /// Starts to embed texts.
    pub(super) fn embed(&self, request: EmbedRequest) -> Result<Arc<Job>> {
        let Output::States { width, pooling } = self.output else {
            return Err(self.cannot("it ranks documents; use fluid_rerank"));
        };
        let dimensions = request.dimensions.unwrap_or(width);
        if dimensions > width {
            let message = format!("{dimensions} is more than the model's {width}");
            return Err(Error::invalid_request("dimensions", message));
        }
        self.check_tokens(&request.inputs)?;
        let model = request.model.unwrap_or_else(|| self.name.clone());
        let empty = Embeddings { model: model.clone(), dimensions, ..Embeddings::default() };
        let pooling = request.pooling.unwrap_or(pooling);
        let recipe = Recipe { pooling, dimensions, normalize: request.normalize };
        let job = self.intake.job(Outcome::Embeddings(Box::new(empty)))?;
        let texts = Texts::Vectors { inputs: request.inputs, recipe };
        let task = EmbedTask { job, model, texts, truncate: request.truncate };
        self.intake.send(task, request.deadline)
    }

    /// Starts to rank documents.
    pub(super) fn rerank(&self, request: RerankRequest) -> Result<Arc<Job>> {
        if self.capability() != "rerank" {
            return Err(self.cannot("it turns texts into vectors; rank with a reranker"));
        }
        let model = request.model.unwrap_or_else(|| self.name.clone());
        let empty = Ranking { model: model.clone(), ..Ranking::default() };
        let job = self.intake.job(Outcome::Ranking(Box::new(empty)))?;
        let texts = Texts::Scores {
            query: request.query,
            documents: request.documents,
            top_n: request.top_n,
            return_documents: request.return_documents,
        };
        let task = EmbedTask { job, model, texts, truncate: request.truncate };
        self.intake.send(task, request.deadline)
    }

    fn cannot(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("{}: {what}", self.name))
    }

    /// Token ids reach native code: they must be of this vocabulary.
    fn check_tokens(&self, inputs: &[EmbedInput]) -> Result<()> {
        for (index, input) in inputs.iter().enumerate() {
            let EmbedInput::Tokens(tokens) = input else { continue };
            let Some(place) = tokens.iter().position(|&token| token as usize >= self.n_vocab)
            else {
                continue;
            };
            let path = match inputs.len() {
                1 => format!("input[{place}]"),
                _ => format!("input[{index}][{place}]"),
            };
            let message =
                format!("{} is not one of the model's {} tokens", tokens[place], self.n_vocab);
            return Err(Error::invalid_request(&path, message));
        }
        Ok(())
    }
}
