//! A loaded model as callers hold it: what is known of it, and the way to its worker.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicUsize;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde_json::{json, Map, Value};

use super::completion::{entropy, Completion, Shape};
use super::job::{Job, Outcome, Place, StopCause};
use super::signal::Signal;
use super::slot::{Input, Task};
use super::timer::Timer;
use super::worker::Worker;
use crate::audio;
use crate::backend::{Limits, ModelInfo, SamplingDefaults, Vocab};
use crate::chat::{Template, CHATML};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::request::{EngineOptions, GenerateRequest, Prompt, SamplingFields, TranscribeRequest};
use crate::sampling::Params;

/// How long a start waits for its worker to take over what is in the channel.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a model takes over from its engine.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) options: EngineOptions,
    pub(super) timer: Arc<Timer>,
    pub(super) signal: Signal,
}

/// A loaded model. Dropping it cancels its jobs and waits until its memory is given back.
pub struct Model {
    info: ModelInfo,
    limits: Limits,
    vocab: Arc<Vocab>,
    template: Template,
    setup: Setup,
    waiting: Arc<AtomicUsize>,
    tasks: Sender<Task>,
    worker: Arc<Worker>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.info.name).finish_non_exhaustive()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Model {
    pub(super) fn new(
        mut info: ModelInfo,
        limits: Limits,
        vocab: Arc<Vocab>,
        template: Option<String>,
        setup: Setup,
        tasks: Sender<Task>,
        worker: Arc<Worker>,
    ) -> Result<Arc<Self>> {
        let template = choose_template(&mut info, template)?;
        Ok(Arc::new(Self {
            info,
            limits,
            vocab,
            template,
            setup,
            waiting: Arc::default(),
            tasks,
            worker,
        }))
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
        info.insert("name".into(), json!(self.info.name));
        info.extend(self.info.details.clone());
        info.insert("context_length".into(), json!(self.limits.n_ctx));
        info.insert("n_parallel".into(), json!(self.limits.n_parallel));
        info.insert("chat_template".into(), json!(self.info.chat_template));
        Ok(Value::Object(info).to_string())
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
        self.check_alive()?;
        let deadline = request.deadline;
        let task = self.task(request)?;
        let job = Arc::clone(&task.job);
        // The task has its place; the channel is full only until the worker has looked around.
        if self.tasks.send_timeout(task, PATIENCE).is_err() {
            self.check_alive()?;
            return Err(self.queue_full());
        }
        // The worker may have emptied the channel for the last time before this task came.
        if self.setup.signal.is_shut_down() {
            job.request_stop(StopCause::Cancel);
        }
        if let Some(limit) = deadline {
            if let Err(error) = self.setup.timer.watch(&job, limit) {
                job.close();
                return Err(error);
            }
        }
        Ok(job)
    }

    /// Starts a transcription.
    pub fn transcribe(&self, audio: audio::Input, request: TranscribeRequest) -> Result<Arc<Job>> {
        self.check_alive()?;
        drop((audio, request));
        let name = &self.info.name;
        let message = format!("{name}: this model generates text; transcribe with a speech model");
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    fn queue_full(&self) -> Error {
        let limit = self.setup.options.max_queue;
        let message =
            format!("{limit} jobs wait for this model already; try again when some have ended");
        Error::new(ErrorKind::QueueFull, message)
    }

    fn task(&self, request: GenerateRequest) -> Result<Task> {
        self.check_tokens(&request)?;
        let seed = request.sampling.seed.unwrap_or_else(random_seed);
        let (input, shape) = self.input(&request.prompt)?;
        let name = request.model.unwrap_or_else(|| self.info.name.clone());
        let completion = Completion::new(shape, name, seed);
        let place = Place::take(&self.waiting, self.setup.options.max_queue);
        let place = place.ok_or_else(|| self.queue_full())?;
        let job = Job::new(
            self.setup.options.event_queue,
            self.setup.signal.clone(),
            Some(place),
            Outcome::Completion(Box::new(completion.clone())),
        );
        Ok(Task {
            job,
            input,
            params: sampling_params(request.sampling, &self.info.sampling),
            seed,
            stop: request.stop,
            max_tokens: request.max_tokens.map_or(usize::MAX, |count| count as usize),
            completion,
        })
    }

    fn input(&self, prompt: &Prompt) -> Result<(Input, Shape)> {
        Ok(match prompt {
            Prompt::Tokens(tokens) => (Input::Tokens(tokens.clone()), Shape::Text),
            Prompt::Text(text) => {
                let text = text.clone();
                (Input::Text { text, special: true }, Shape::Text)
            }
            Prompt::Chat { messages, variables } => {
                let text = self.template.render(messages, None, true, variables)?;
                // A template that writes the begin token itself must not get a second one.
                let special = self.info.bos.is_empty() || !text.starts_with(&self.info.bos);
                (Input::Text { text, special }, Shape::Chat)
            }
        })
    }

    /// Token ids reach native code: they must be of this vocabulary.
    fn check_tokens(&self, request: &GenerateRequest) -> Result<()> {
        let outside = |token: u32| token as usize >= self.vocab.len();
        let size = self.vocab.len();
        if let Prompt::Tokens(tokens) = &request.prompt {
            if let Some(index) = tokens.iter().position(|&token| outside(token)) {
                let message = format!("{} is not one of the model's {size} tokens", tokens[index]);
                return Err(Error::invalid_request(&format!("prompt[{index}]"), message));
            }
        }
        match request.sampling.logit_bias.iter().find(|(token, _)| outside(*token)) {
            None => Ok(()),
            Some((token, _)) => Err(Error::invalid_request(
                &format!("logit_bias.{token}"),
                format!("is not one of the model's {size} tokens"),
            )),
        }
    }
}

/// Within 53 bits, so that every JSON reader can hand the result's `seed` back unchanged.
fn random_seed() -> u64 {
    entropy() >> 11
}

/// The template of the load options, else the model's own, else ChatML; `info` then holds it.
fn choose_template(info: &mut ModelInfo, given: Option<String>) -> Result<Template> {
    let is_given = given.is_some();
    let source = given.or_else(|| info.chat_template.take()).unwrap_or_else(|| {
        log!(Warn, "{}: has no chat template; using ChatML", info.name);
        CHATML.to_owned()
    });
    let template =
        Template::new(&source, &info.bos, &info.eos).map_err(|error| match is_given {
            true => Error::invalid_request("chat_template", error.message()),
            false => error,
        })?;
    info.chat_template = Some(source);
    Ok(template)
}

fn sampling_params(fields: SamplingFields, defaults: &SamplingDefaults) -> Params {
    let base = Params::default();
    Params {
        temperature: fields.temperature.or(defaults.temperature).unwrap_or(base.temperature),
        top_p: fields.top_p.or(defaults.top_p).unwrap_or(base.top_p),
        top_k: fields.top_k.or(defaults.top_k).unwrap_or(base.top_k),
        min_p: fields.min_p.or(defaults.min_p).unwrap_or(base.min_p),
        repeat_penalty: fields
            .repeat_penalty
            .or(defaults.repeat_penalty)
            .unwrap_or(base.repeat_penalty),
        repeat_last_n: fields
            .repeat_last_n
            .or(defaults.repeat_last_n)
            .map_or(base.repeat_last_n, |n| n as usize),
        presence_penalty: fields.presence_penalty.unwrap_or(base.presence_penalty),
        frequency_penalty: fields.frequency_penalty.unwrap_or(base.frequency_penalty),
        logit_bias: fields.logit_bias,
    }
}
