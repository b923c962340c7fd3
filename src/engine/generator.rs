//! The text side of a loaded model: from a request to a task for its worker.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crossbeam_channel::Receiver;
use serde_json::json;
use serde_json::{Map, Value};

use super::adapters::Adapters;
use super::answers::Answers;
use super::bans::Bans;
use super::completion::{entropy, Completion, Shape};
use super::conversation::{Chat, Conversation, Prepared};
use super::event::{Body, Event};
use super::grammars::Grammars;
use super::intake::Intake;
use super::job::{Job, Outcome};
use super::model::Setup;
use super::speculation::Drafts;
use super::states::{check_target, States};
use super::task::{Input, Task};
use super::texts;
use super::tokens::Words;
use super::writer::Reading;
use crate::backend::{Infill, Limits, ModelInfo, SamplingDefaults, Vocab};
use crate::error::{Error, Result};
use crate::grammar::Grammar;
use crate::request::{GenerateRequest, Prompt, SamplingFields};
use crate::sampling::Params;

/// What a text model knows of itself beside its information.
pub(super) struct Parts {
    pub(super) limits: Limits,
    pub(super) vocab: Arc<Vocab>,
    pub(super) adapters: Arc<Adapters>,
    pub(super) drafts: Drafts,
    pub(super) conversation: Conversation,
    pub(super) states: Arc<States>,
    pub(super) grammars: Arc<Grammars>,
    pub(super) words: Words,
}

/// The text side of a model, and the way to its worker.
pub(super) struct Generator {
    name: String,
    bos: String,
    infill: Option<Infill>,
    sampling: SamplingDefaults,
    parts: Parts,
    intake: Arc<Intake<Task>>,
}

impl Generator {
    /// A generator, and where its worker receives tasks.
    pub(super) fn new(info: &ModelInfo, parts: Parts, setup: Setup) -> (Self, Receiver<Task>) {
        let (intake, tasks) = Intake::new(setup);
        let generator = Self {
            name: info.name.clone(),
            bos: info.bos.clone(),
            infill: info.infill,
            sampling: info.sampling.clone(),
            parts,
            intake: Arc::new(intake),
        };
        (generator, tasks)
    }

    /// What model information says beside what all models say.
    pub(super) fn describe(&self, info: &mut Map<String, Value>) {
        info.insert("context_length".into(), json!(self.parts.limits.n_ctx));
        info.insert("n_parallel".into(), json!(self.parts.limits.n_parallel));
        self.parts.conversation.describe(info);
        info.insert("lora".into(), self.parts.adapters.to_json());
    }

    /// Starts a generation.
    pub(super) fn generate(&self, request: GenerateRequest) -> Result<Arc<Job>> {
        let deadline = request.deadline;
        let (task, grammar) = self.task(request, None)?;
        let Some(grammar) = grammar else { return self.intake.send(task, deadline) };
        let job = Arc::clone(&task.job);
        // Compiling counts.
        self.intake.watch(&job, deadline)?;
        self.parts.grammars.send(task, grammar, &self.intake)?;
        Ok(job)
    }

    /// Starts to save the state of a request's prompt, all but its last token, to `path`.
    pub(super) fn save_state(&self, request: GenerateRequest, path: &str) -> Result<Arc<Job>> {
        check_target(path)?;
        let deadline = request.deadline;
        let (task, _) = self.task(request, Some(path.to_owned()))?;
        self.intake.send(task, deadline)
    }

    /// Starts to bring back what [`save_state`](Self::save_state) wrote to `path`.
    pub(super) fn restore_state(&self, path: &str) -> Result<Arc<Job>> {
        let job = self.intake.job(Outcome::Nothing)?;
        self.parts.states.read(path.to_owned(), &job)?;
        Ok(job)
    }

    /// What a generation begins with.
    pub(super) fn prompt(&self, request: &GenerateRequest) -> Result<Input> {
        self.check_tokens(request)?;
        match &request.output.suffix {
            None => Ok(self.asked(request)?.input),
            Some(suffix) => self.infill(&request.prompt, suffix.clone()),
        }
    }

    /// The worker's task, and the grammar that it still has to get.
    fn task(
        &self,
        mut request: GenerateRequest,
        save: Option<String>,
    ) -> Result<(Task, Option<Grammar>)> {
        self.check_tokens(&request)?;
        let adapters = self.parts.adapters.choose(request.lora.as_deref())?;
        let drafting = self.parts.drafts.choose(request.speculative)?;
        // A state is of tokens that are there, not of guesses.
        let drafting = drafting.filter(|_| save.is_none());
        let seed = request.sampling.seed.unwrap_or_else(random_seed);
        let Asked { input, shape, grammar, reading } = match request.output.suffix.take() {
            None => self.asked(&request)?,
            Some(suffix) => raw(self.infill(&request.prompt, suffix)?, &request),
        };
        let bias_texts = std::mem::take(&mut request.sampling.bias_texts);
        let breakers = std::mem::take(&mut request.sampling.dry_breakers);
        let mut params = sampling_params(request.sampling, &self.sampling);
        texts::resolve(&self.parts.words, &self.parts.vocab, bias_texts, &breakers, &mut params)?;
        let name = request.model.unwrap_or_else(|| self.name.clone());
        let count = if save.is_some() { 1 } else { request.output.n };
        let completion = Completion::new(shape, name, seed, count);
        let job = self.intake.job(match save {
            None => Outcome::Completion(Box::new(completion.clone())),
            Some(_) => Outcome::Nothing,
        })?;
        if drafting.is_some() && !self.parts.drafts.possible && request.speculative.is_some() {
            job.push(Event::now(Body::Notice(Drafts::NOTICE.to_owned())));
        }
        let task = Task {
            answers: Answers::new(Arc::clone(&job), completion),
            choice: 0,
            shape,
            job,
            input,
            params,
            seed,
            bans: Bans::new(&request.bans, &self.parts.vocab),
            min_tokens: request.bans.min_tokens,
            logprobs: request.output.logprobs,
            echo: request.output.echo,
            prompt_text: "".into(),
            stop: request.stop,
            max_tokens: request.max_tokens.map_or(usize::MAX, |count| count as usize),
            priority: request.priority,
            adapters,
            drafting: drafting.filter(|_| self.parts.drafts.possible),
            cache_prompt: request.cache_prompt,
            context_shift: request.context_shift,
            grammar: None,
            reading,
            save,
        };
        Ok((task, grammar))
    }

    /// What the request says to the worker: prompt, form of the result, and for a chat what calls
    /// may look like and how the answer is read.
    fn asked(&self, request: &GenerateRequest) -> Result<Asked> {
        let (messages, variables) = match &request.prompt {
            Prompt::Tokens(tokens) => return Ok(raw(Input::Tokens(tokens.clone()), request)),
            Prompt::Text(text) => {
                let text = text.clone();
                return Ok(raw(Input::Text { text, special: true }, request));
            }
            Prompt::Chat { messages, variables } => (messages, variables),
        };
        let chat = Chat {
            messages,
            variables,
            tools: request.tools.as_ref(),
            reasoning: &request.reasoning,
            has_grammar: request.grammar.is_some(),
        };
        let Prepared { prompt: text, grammar, reading } = self.parts.conversation.prepare(&chat)?;
        // A template that writes the begin token itself must not get a second one.
        let special = self.bos.is_empty() || !text.starts_with(&self.bos);
        let input = Input::Text { text, special };
        let grammar = grammar.or_else(|| request.grammar.clone());
        Ok(Asked { input, shape: Shape::Chat, grammar, reading })
    }

    fn infill(&self, prompt: &Prompt, suffix: String) -> Result<Input> {
        let marks = self.infill.ok_or_else(|| {
            let message = "the model has no tokens for a text between two others";
            Error::unsupported("suffix", message)
        })?;
        match prompt {
            Prompt::Text(prefix) => Ok(Input::Infill { prefix: prefix.clone(), suffix, marks }),
            _ => Err(Error::unsupported("suffix", "needs a prompt that is a text")),
        }
    }

    /// Token ids reach native code: they must be of this vocabulary.
    fn check_tokens(&self, request: &GenerateRequest) -> Result<()> {
        let outside = |token: u32| token as usize >= self.parts.vocab.len();
        let size = self.parts.vocab.len();
        if let Prompt::Tokens(tokens) = &request.prompt {
            if let Some(index) = tokens.iter().position(|&token| outside(token)) {
                let message = format!("{} is not one of the model's {size} tokens", tokens[index]);
                return Err(Error::invalid_request(&format!("prompt[{index}]"), message));
            }
        }
        match request.sampling.params.logit_bias.iter().find(|(token, _)| outside(*token)) {
            None => Ok(()),
            Some((token, _)) => Err(Error::invalid_request(
                &format!("logit_bias.{token}"),
                format!("is not one of the model's {size} tokens"),
            )),
        }
    }
}

/// A request, as far as it concerns what is said.
struct Asked {
    input: Input,
    shape: Shape,
    grammar: Option<Grammar>,
    reading: Reading,
}

/// A prompt that is taken as it stands.
fn raw(input: Input, request: &GenerateRequest) -> Asked {
    let grammar = request.grammar.clone();
    Asked { input, shape: Shape::Text, grammar, reading: Reading::default() }
}

/// Within 53 bits, so that every JSON reader can hand the result's `seed` back unchanged.
fn random_seed() -> u64 {
    entropy() >> 11
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
        ..fields.params
    }
}
