//! A loaded model as callers hold it: what is known of it, and the way to its worker.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use serde_json::{json, Map, Value};

use super::budget::Budget;
use super::embedder::Embedder;
use super::generator::Generator;
use super::job::Job;
use super::residence::Residence;
use super::signal::Signal;
use super::speech::Transcriber;
use super::task::Input;
use super::timer::Timer;
use super::tokens::Words;
use super::warm_up::WarmUp;
use super::worker::Worker;
use crate::audio;
use crate::backend::ModelInfo;
use crate::error::{Error, ErrorKind, Result};
use crate::request::{
    DetokenizeRequest, EmbedRequest, EngineOptions, GenerateRequest, RerankRequest, TokenizeInput,
    TokenizeRequest, TranscribeRequest,
};

/// What a model takes over from its engine.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) options: EngineOptions,
    pub(super) timer: Arc<Timer>,
    pub(super) signal: Signal,
    pub(super) residence: Arc<Residence>,
    pub(super) budget: Arc<Budget>,
}

/// What a model can do.
pub(super) enum Skill {
    /// It continues texts.
    Text(Box<Generator>),
    /// It writes down speech.
    Speech(Box<Transcriber>),
    /// It turns texts into vectors or scores.
    Embedding(Box<Embedder>),
}

impl Skill {
    /// What callers may ask for, in the words of model information.
    fn capabilities(&self) -> Vec<&'static str> {
        match self {
            Skill::Text(_) => vec!["generate", "tokenize"],
            Skill::Speech(_) => vec!["transcribe"],
            Skill::Embedding(embedder) => vec![embedder.capability(), "tokenize"],
        }
    }

    /// What to use in place of what it cannot do.
    fn advice(&self) -> &'static str {
        match self {
            Skill::Text(_) => {
                "this model is loaded to generate text; use fluid_generate, or load it with {\"embedding\": true}"
            }
            Skill::Speech(_) => "this model transcribes speech; use fluid_transcribe",
            Skill::Embedding(embedder) if embedder.capability() == "rerank" => {
                "this model ranks documents; use fluid_rerank"
            }
            Skill::Embedding(_) => "this model turns texts into vectors; use fluid_embed",
        }
    }
}

impl Skill {
    /// The least that has all parts of the native state used. What comes of it nobody reads.
    fn first_use(&self) -> Result<Arc<Job>> {
        match self {
            Skill::Text(generator) => {
                let request = r#"{"prompt": "Hello", "max_tokens": 1, "cache_prompt": false, "priority": -1000}"#;
                generator.generate(GenerateRequest::parse(request)?)
            }
            Skill::Speech(transcriber) => {
                let rate = audio::SAMPLE_RATE;
                let samples = vec![0.0; rate as usize];
                let silence = audio::Input::F32 { samples, rate, channels: 1 };
                transcriber.transcribe(silence, TranscribeRequest::parse(r#"{"temperature": 0}"#)?)
            }
            Skill::Embedding(embedder) if embedder.capability() == "rerank" => {
                let request = r#"{"query": "Hello", "documents": ["Hello"]}"#;
                embedder.rerank(RerankRequest::parse(request)?)
            }
            Skill::Embedding(embedder) => {
                embedder.embed(EmbedRequest::parse(r#"{"input": "Hello"}"#)?)
            }
        }
    }
}

/// A loaded model. Dropping it cancels its jobs and waits until its memory is given back.
pub struct Model {
    name: String,
    details: Map<String, Value>,
    skill: Skill,
    words: Option<Words>,
    setup: Setup,
    warm_up: WarmUp,
    worker: Arc<Worker>,
    /// Nobody waits for its end.
    left: AtomicBool,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if !*self.left.get_mut() {
            self.stop();
        }
    }
}

impl Model {
    pub(super) fn new(
        info: ModelInfo,
        skill: Skill,
        words: Option<Words>,
        setup: Setup,
        worker: Arc<Worker>,
    ) -> Arc<Self> {
        let ModelInfo { name, details, .. } = info;
        let (warm_up, left) = (WarmUp::default(), AtomicBool::new(false));
        Arc::new(Self { name, details, skill, words, setup, warm_up, worker, left })
    }

    /// Has the model used once, behind whatever else there is to do.
    pub(super) fn warm_up(&self) {
        let started = self.skill.first_use();
        if let Ok(job) = &started {
            // Nobody reads its events.
            job.lift_bound();
        }
        self.warm_up.set(started);
    }

    /// Whether `timer` is that of the model's engine, which is the engine's own.
    pub(super) fn has_timer(&self, timer: &Arc<Timer>) -> bool {
        Arc::ptr_eq(&self.setup.timer, timer)
    }

    /// Cancels the jobs and waits until the native memory is given back.
    pub fn stop(&self) {
        self.worker.stop();
    }

    /// What `fluid_model_info` says, as JSON.
    pub fn info_json(&self) -> Result<String> {
        self.check_alive()?;
        let mut info = Map::new();
        info.insert("name".into(), json!(self.name));
        info.insert("capabilities".into(), json!(self.skill.capabilities()));
        info.insert("path".into(), json!(self.setup.residence.path()));
        info.extend(self.details.clone());
        info.insert("residence".into(), self.setup.residence.describe());
        info.insert("warm_up".into(), self.warm_up.describe());
        match &self.skill {
            Skill::Text(generator) => generator.describe(&mut info),
            Skill::Speech(transcriber) => transcriber.describe(&mut info),
            Skill::Embedding(embedder) => embedder.describe(&mut info),
        }
        Ok(Value::Object(info).to_string())
    }

    /// Has the jobs cancelled and the native memory given back, and waits for neither, nor will its drop. The engine
    /// waits, when it is freed.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        self.worker.ask();
    }

    fn check_alive(&self) -> Result<()> {
        if self.worker.has_failed() {
            let message = "the model's worker thread panicked; free the model and load it again";
            return Err(Error::new(ErrorKind::Backend, message));
        }
        if self.setup.signal.is_shut_down() {
            let message = "the model or its engine was freed";
            return Err(Error::new(ErrorKind::InvalidHandle, message));
        }
        Ok(())
    }

    /// Starts a generation.
    pub fn generate(&self, request: GenerateRequest) -> Result<Arc<Job>> {
        self.generator()?.generate(request)
    }

    /// Starts to save the KV cache's state of a request's prompt, all but its last token, to a
    /// file at `path`.
    pub fn save_state(&self, request: GenerateRequest, path: &str) -> Result<Arc<Job>> {
        self.generator()?.save_state(request, path)
    }

    /// Starts to bring back a state that was saved to `path`, for jobs that will begin alike.
    pub fn restore_state(&self, path: &str) -> Result<Arc<Job>> {
        self.generator()?.restore_state(path)
    }

    fn generator(&self) -> Result<&Generator> {
        self.check_alive()?;
        match &self.skill {
            Skill::Text(generator) => Ok(generator),
            _ => Err(self.cannot()),
        }
    }

    /// Starts a transcription of `audio`.
    pub fn transcribe(&self, audio: audio::Input, request: TranscribeRequest) -> Result<Arc<Job>> {
        self.check_alive()?;
        match &self.skill {
            Skill::Speech(transcriber) => transcriber.transcribe(audio, request),
            _ => Err(self.cannot()),
        }
    }

    /// Starts to turn texts into vectors.
    pub fn embed(&self, request: EmbedRequest) -> Result<Arc<Job>> {
        self.embedder()?.embed(request)
    }

    /// Starts to rank documents.
    pub fn rerank(&self, request: RerankRequest) -> Result<Arc<Job>> {
        self.embedder()?.rerank(request)
    }

    fn embedder(&self) -> Result<&Embedder> {
        self.check_alive()?;
        match &self.skill {
            Skill::Embedding(embedder) => Ok(embedder),
            _ => Err(self.cannot()),
        }
    }

    /// The tokens of a text, or of the prompt that a generation begins with, as JSON.
    pub fn tokenize(&self, request: &TokenizeRequest) -> Result<String> {
        let words = self.words()?;
        match &request.input {
            TokenizeInput::Content { text, add_special, parse_special } => {
                let tokens = words.tokenize(text, *add_special, *parse_special, "content")?;
                words.json(&tokens, None, request.with_pieces)
            }
            TokenizeInput::Prompt(_) if !matches!(self.skill, Skill::Text(_)) => {
                let message = "this model does not generate, so it has no prompts; give content";
                Err(Error::unsupported("messages", message))
            }
            TokenizeInput::Prompt(prompt) => match self.generator()?.prompt(prompt)? {
                Input::Tokens(tokens) => words.json(&tokens, None, request.with_pieces),
                Input::Text { text, special } => {
                    let tokens = words.tokenize(&text, special, true, "prompt")?;
                    words.json(&tokens, Some(&text), request.with_pieces)
                }
                Input::Infill { prefix, suffix, marks } => {
                    let prefix = words.tokenize(&prefix, false, true, "prompt")?;
                    let suffix = words.tokenize(&suffix, false, true, "suffix")?;
                    words.json(&marks.around(&prefix, &suffix), None, request.with_pieces)
                }
            },
        }
    }

    /// The text of tokens, as JSON.
    pub fn detokenize(&self, request: &DetokenizeRequest) -> Result<String> {
        self.words()?.detokenize(request)
    }

    fn words(&self) -> Result<&Words> {
        self.check_alive()?;
        self.words.as_ref().ok_or_else(|| self.cannot())
    }

    fn cannot(&self) -> Error {
        let message = format!("{}: {}", self.name, self.skill.advice());
        Error::new(ErrorKind::Unsupported, message)
    }
}
