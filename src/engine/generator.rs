//! The text side of a loaded model: from a request to a task for its worker.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crossbeam_channel::Receiver;
use serde_json::json;
use serde_json::{Map, Value};

use super::completion::{entropy, Completion, Shape};
use super::intake::Intake;
use super::job::{Job, Outcome};
use super::model::Setup;
use super::slot::{Input, Task};
use super::states::{check_target, States};
use crate::backend::{Limits, ModelInfo, SamplingDefaults, Vocab};
use crate::chat::{Template, CHATML};
use crate::error::{Error, Result};
use crate::log::log;
use crate::request::{GenerateRequest, Prompt, SamplingFields};
use crate::sampling::Params;

/// What a text model needs to know of itself, and the way to its worker.
pub(super) struct Generator {
    name: String,
    bos: String,
    sampling: SamplingDefaults,
    limits: Limits,
    vocab: Arc<Vocab>,
    template: Template,
    source: String,
    states: Arc<States>,
    intake: Intake<Task>,
}

impl Generator {
    /// A generator, and where its worker receives tasks.
    pub(super) fn new(
        info: &ModelInfo,
        limits: Limits,
        vocab: Arc<Vocab>,
        template: Option<String>,
        states: Arc<States>,
        setup: Setup,
    ) -> Result<(Self, Receiver<Task>)> {
        let (template, source) = choose_template(info, template)?;
        let (intake, tasks) = Intake::new(setup);
        let generator = Self {
            name: info.name.clone(),
            bos: info.bos.clone(),
            sampling: info.sampling.clone(),
            limits,
            vocab,
            template,
            source,
            states,
            intake,
        };
        Ok((generator, tasks))
    }

    /// What model information says beside what all models say.
    pub(super) fn describe(&self, info: &mut Map<String, Value>) {
        info.insert("context_length".into(), json!(self.limits.n_ctx));
        info.insert("n_parallel".into(), json!(self.limits.n_parallel));
        info.insert("chat_template".into(), json!(self.source));
    }

    /// Starts a generation.
    pub(super) fn generate(&self, request: GenerateRequest) -> Result<Arc<Job>> {
        let deadline = request.deadline;
        let task = self.task(request, None)?;
        self.intake.send(task, deadline)
    }

    /// Starts to save the state of a request's prompt, all but its last token, to `path`.
    pub(super) fn save_state(&self, request: GenerateRequest, path: &str) -> Result<Arc<Job>> {
        check_target(path)?;
        let deadline = request.deadline;
        let task = self.task(request, Some(path.to_owned()))?;
        self.intake.send(task, deadline)
    }

    /// Starts to bring back what [`save_state`](Self::save_state) wrote to `path`.
    pub(super) fn restore_state(&self, path: &str) -> Result<Arc<Job>> {
        let job = self.intake.job(Outcome::Nothing)?;
        self.states.read(path.to_owned(), &job)?;
        Ok(job)
    }

    /// What a generation begins with.
    pub(super) fn prompt(&self, request: &GenerateRequest) -> Result<Input> {
        self.check_tokens(request)?;
        Ok(self.input(&request.prompt)?.0)
    }

    fn task(&self, request: GenerateRequest, save: Option<String>) -> Result<Task> {
        self.check_tokens(&request)?;
        let seed = request.sampling.seed.unwrap_or_else(random_seed);
        let (input, shape) = self.input(&request.prompt)?;
        let name = request.model.unwrap_or_else(|| self.name.clone());
        let completion = Completion::new(shape, name, seed);
        let job = self.intake.job(match save {
            None => Outcome::Completion(Box::new(completion.clone())),
            Some(_) => Outcome::Nothing,
        })?;
        Ok(Task {
            job,
            input,
            params: sampling_params(request.sampling, &self.sampling),
            seed,
            stop: request.stop,
            max_tokens: request.max_tokens.map_or(usize::MAX, |count| count as usize),
            priority: request.priority,
            cache_prompt: request.cache_prompt,
            context_shift: request.context_shift,
            completion,
            save,
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
                let special = self.bos.is_empty() || !text.starts_with(&self.bos);
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

/// The template of the load options, else the model's own, else ChatML; and its source.
fn choose_template(info: &ModelInfo, given: Option<String>) -> Result<(Template, String)> {
    let is_given = given.is_some();
    let source = given.or_else(|| info.chat_template.clone()).unwrap_or_else(|| {
        log!(Warn, "{}: has no chat template; using ChatML", info.name);
        CHATML.to_owned()
    });
    let template =
        Template::new(&source, &info.bos, &info.eos).map_err(|error| match is_given {
            true => Error::invalid_request("chat_template", error.message()),
            false => error,
        })?;
    Ok((template, source))
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
