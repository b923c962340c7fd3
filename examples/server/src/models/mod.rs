//! The models that are served: found by name in the model folder, loaded once, shared by requests.
#![forbid(unsafe_code)]

mod listing;
mod loading;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{json, Value};
use tokio::sync::watch;

pub(crate) use self::listing::{Entry, Listing};
pub(crate) use self::loading::{failed, Progress, State};
use self::loading::{follow, wait, BEGUN};
use crate::cli::Config;
use crate::error::{ApiError, ApiResult};
use crate::fluid::{Engine, Job, Model, Result};
use crate::log;

/// How long a request waits for its model before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names of OpenAI's speech models, which many clients send whatever they talk to.
const SPEECH_ALIASES: [&str; 3] = ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"];

/// Questions that are remembered of a held model.
const MOST_QUESTIONS: usize = 32;

/// What a model is for; the folder it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Llm,
    Whisper,
    Embedding,
}

impl Purpose {
    pub(crate) const ALL: [Self; 3] = [Self::Llm, Self::Whisper, Self::Embedding];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Whisper => "whisper",
            Self::Embedding => "embedding",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// A model's id and purpose: ids are unique for each purpose only.
pub(crate) type Key = (Purpose, String);

/// What is loaded under a key.
struct Target {
    key: Key,
    /// What the library is told to load: a path of the listing, or the operator's words.
    source: String,
    /// Whether the operator names it, so that it may be fetched.
    may_fetch: bool,
}

/// A model that is loaded or being loaded.
struct Held {
    state: Progress,
    /// Names that it was found by, and among what, so that the next request needs no listing.
    questions: Vec<(Vec<Purpose>, String)>,
}

impl Held {
    fn answers(&self, purposes: &[Purpose], name: &str) -> bool {
        self.questions.iter().any(|asked| asked.0 == purposes && asked.1 == name)
    }

    fn remember(&mut self, purposes: &[Purpose], name: &str) {
        if self.questions.len() < MOST_QUESTIONS && !self.answers(purposes, name) {
            self.questions.push((purposes.to_vec(), name.to_owned()));
        }
    }
}

/// The models that are loaded or being loaded.
pub(crate) struct Models {
    engine: Engine,
    config: Config,
    held: Mutex<BTreeMap<Key, Held>>,
}

impl Models {
    pub(crate) fn new(engine: Engine, config: Config) -> Self {
        Self { engine, config, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each model that is loaded or being loaded. Loaded ones may have given their memory back until they are
    /// used again.
    pub(crate) fn states(&self) -> Vec<(Key, State)> {
        let held = self.held();
        held.iter().map(|(key, held)| (key.clone(), held.state.borrow().clone())).collect()
    }

    /// The model that a request names, loaded if it has to be; `purposes` are those that can serve the
    /// request, the first one for requests that name none.
    pub(crate) async fn get(
        self: &Arc<Self>,
        purposes: &[Purpose],
        name: Option<&str>,
    ) -> ApiResult<(String, Arc<Model>)> {
        let (key, state) = self.begin(purposes, name).await?;
        let model = wait(&key.1, state, PATIENCE).await?;
        Ok((key.1, model))
    }

    /// Begins to load the model that a request names, unless that was done before; tells how far it is. A load
    /// that nobody follows goes on, since the model is held; only [`unload`](Self::unload) ends it.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        purposes: &[Purpose],
        name: Option<&str>,
    ) -> ApiResult<(Key, Progress)> {
        let name = self.meant(purposes, name)?;
        if let Some(known) = self.known(purposes, &name) {
            return Ok(known);
        }
        let target = self.target(&self.list().await?, purposes, &name)?;
        let key = target.key.clone();
        Ok((key, self.load(target, purposes, &name)))
    }

    /// Loads the default model for a purpose, however long that takes.
    pub(crate) async fn load_default(self: &Arc<Self>, purpose: Purpose) -> ApiResult<()> {
        let (key, state) = self.begin(&[purpose], None).await?;
        wait(&key.1, state, Duration::MAX).await.map(drop)
    }

    /// Which model a request means, whether it is loaded or not. Names of requests lead to what the model folder
    /// lists and to what the command line names, never to a path.
    pub(crate) async fn find(&self, purposes: &[Purpose], name: Option<&str>) -> ApiResult<Key> {
        let name = self.meant(purposes, name)?;
        if let Some((key, _)) = self.known(purposes, &name) {
            return Ok(key);
        }
        Ok(self.target(&self.list().await?, purposes, &name)?.key)
    }

    /// The default model for a purpose.
    pub(crate) fn default_name(&self, purpose: Purpose) -> Option<&str> {
        match purpose {
            Purpose::Llm => Some(&self.config.llm_model),
            Purpose::Whisper => Some(&self.config.whisper_model),
            Purpose::Embedding => self.config.embedding_model.as_deref(),
        }
    }

    /// The name itself, or the default's for requests that leave the choice to the server.
    fn meant(&self, purposes: &[Purpose], name: Option<&str>) -> ApiResult<String> {
        let purpose = match name {
            None | Some("" | "default") => purposes.first().copied().unwrap_or(Purpose::Llm),
            Some(name)
                if SPEECH_ALIASES.contains(&name) && purposes.contains(&Purpose::Whisper) =>
            {
                Purpose::Whisper
            }
            Some(name) => return Ok(name.to_owned()),
        };
        self.default_name(purpose).map(str::to_owned).ok_or_else(|| {
            let kind = purpose.name();
            let message = format!("model: name one; the server has no default {kind} model");
            ApiError::invalid("model", message)
        })
    }

    /// A model that is held and was found by this name before.
    fn known(&self, purposes: &[Purpose], name: &str) -> Option<(Key, Progress)> {
        let mut held = self.held();
        let found = held.iter().find(|(_, held)| held.answers(purposes, name));
        let (key, state) = found.map(|(key, held)| (key.clone(), held.state.clone()))?;
        if state.borrow().is_broken() {
            log::warning!("{} is loaded again: it can do no more", key.1);
            held.remove(&key);
            return None;
        }
        Some((key, state))
    }

    fn target(&self, listing: &Listing, purposes: &[Purpose], name: &str) -> ApiResult<Target> {
        let found = purposes.iter().find_map(|&purpose| self.target_of(listing, purpose, name));
        found.ok_or_else(|| {
            let near = listing.near(purposes, name);
            let message = format!(
                "model: {name:?} is not here; {near}; GET /v1/models lists all, POST /v1/models/download \
                 fetches one"
            );
            ApiError::no_model(message)
        })
    }

    fn target_of(&self, listing: &Listing, purpose: Purpose, name: &str) -> Option<Target> {
        let default = self.default_name(purpose);
        let of_default = |id: &str| Target {
            key: (purpose, id.to_owned()),
            source: default.unwrap_or_default().to_owned(),
            may_fetch: true,
        };
        let Some(entry) = listing.find(purpose, name) else {
            return (default == Some(name)).then(|| of_default(name));
        };
        let of_name = default.filter(|default| {
            listing.find(purpose, default).is_some_and(|found| found.id() == entry.id())
        });
        if let Some((key, _)) = of_name.and_then(|default| self.known(&[purpose], default)) {
            // It may be held by another id, from before it was fetched.
            return Some(of_default(&key.1));
        }
        if of_name.is_some() && !entry.is_whole() {
            return Some(of_default(entry.id()));
        }
        let (key, source) = ((purpose, entry.id().to_owned()), entry.path().to_owned());
        Some(Target { key, source, may_fetch: false })
    }

    /// What the model folder holds.
    pub(crate) async fn list(&self) -> ApiResult<Listing> {
        Ok(Listing::new(self.engine.ask(Engine::models).await?))
    }

    /// Starts to load a model, unless it is loaded or being loaded; remembers that `name` means it.
    fn load(self: &Arc<Self>, target: Target, purposes: &[Purpose], name: &str) -> Progress {
        let mut held = self.held();
        let own = [target.key.0];
        if let Some(held) = held.get_mut(&target.key) {
            held.remember(purposes, name);
            held.remember(&own, name);
            return held.state.clone();
        }
        let (teller, state) = watch::channel(BEGUN);
        match self.engine.load(&target.source, &self.options(&target)) {
            Ok(job) => {
                let mut new = Held { state: state.clone(), questions: Vec::new() };
                new.remember(purposes, name);
                new.remember(&own, name);
                new.remember(&own, &target.key.1);
                held.insert(target.key.clone(), new);
                tokio::spawn(Arc::clone(self).look_after(target, job, teller));
            }
            Err(failure) => drop(teller.send(State::Failed(failure))),
        }
        state
    }

    /// The library's options for a model.
    fn options(&self, target: &Target) -> Value {
        let mut options = json!({
            "model_type": target.key.0.name(),
            "device": self.config.device.name(),
            "n_parallel": self.config.workers,
            "warm_up": !self.config.no_warm_up,
            "download": target.may_fetch && !self.config.offline,
        });
        if let (Some(n_ctx), Purpose::Llm) = (self.config.n_ctx, target.key.0) {
            options["n_ctx"] = json!(n_ctx);
        }
        options
    }

    async fn look_after(self: Arc<Self>, target: Target, job: Job, teller: watch::Sender<State>) {
        let Some(loaded) = follow(&target.key.1, job, &teller).await else { return };
        let state = self.settled(&target, loaded, &teller.subscribe()).await;
        teller.send_replace(state);
    }

    /// What a load has come to, noted before it is told: a model that failed is tried again by the next request,
    /// one that was fetched is held by the id that the listing has for it now.
    async fn settled(&self, target: &Target, loaded: Result<Model>, own: &Progress) -> State {
        let key = &target.key;
        match loaded {
            Ok(model) => {
                if target.may_fetch {
                    self.rename(key, own).await;
                }
                State::Ready(Arc::new(model))
            }
            Err(failure) => {
                log::warning!("{} was not loaded: {failure}", key.1);
                let mut held = self.held();
                if is_own(&held, key, own) {
                    held.remove(key);
                }
                State::Failed(failure)
            }
        }
    }

    async fn rename(&self, key: &Key, own: &Progress) {
        let Ok(listing) = self.list().await else { return };
        let Some(entry) = listing.find(key.0, &key.1) else { return };
        let new = (key.0, entry.id().to_owned());
        let mut held = self.held();
        if held.contains_key(&new) || !is_own(&held, key, own) {
            return;
        }
        if let Some(mut model) = held.remove(key) {
            model.remember(&[new.0], &new.1);
            held.insert(new, model);
        }
    }

    /// Holds a model no longer: what is being loaded is cancelled if no request waits for it, what is loaded
    /// is freed with the last request that uses it. None: it was not held.
    pub(crate) fn unload(&self, key: &Key) -> Option<State> {
        let held = self.held().remove(key)?;
        let state = held.state.borrow().clone();
        Some(state)
    }
}

/// Whether `key` holds the same load, and not one after it.
fn is_own(held: &BTreeMap<Key, Held>, key: &Key, own: &Progress) -> bool {
    held.get(key).is_some_and(|held| held.state.same_channel(own))
}
