//! The models that are served: found by name in the model folder, loaded once, shared by requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{json, Value};
use tokio::sync::watch;

use crate::cli::Config;
use crate::error::{ApiError, ApiResult};
use crate::fluid::{Engine, Failure, Job, Kind, Model, Result};
use crate::log;

/// How long a request waits for its model before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names of OpenAI's speech models, which many clients send whatever they talk to.
const SPEECH_ALIASES: [&str; 3] = ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"];

/// What a model is for; the folder it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Llm,
    Whisper,
    Embedding,
}

impl Purpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Whisper => "whisper",
            Self::Embedding => "embedding",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Llm, Self::Whisper, Self::Embedding].into_iter().find(|one| one.name() == name)
    }
}

/// A model's name and purpose: names are unique for each purpose only.
pub(crate) type Key = (Purpose, String);

/// How far a model is.
#[derive(Clone)]
pub(crate) enum State {
    Loading {
        /// From 0 to 1.
        progress: f64,
        /// Of a model that is fetched first, the library's JSON about it.
        download: Option<Value>,
    },
    Ready(Arc<Model>),
    Failed(Failure),
}

/// The models that are loaded or being loaded.
pub(crate) struct Models {
    engine: Engine,
    config: Config,
    held: Mutex<BTreeMap<Key, watch::Receiver<State>>>,
}

impl Models {
    pub(crate) fn new(engine: Engine, config: Config) -> Self {
        Self { engine, config, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, watch::Receiver<State>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each model that is loaded or being loaded.
    pub(crate) fn states(&self) -> Vec<(Key, State)> {
        let held = self.held();
        held.iter().map(|(key, state)| (key.clone(), state.borrow().clone())).collect()
    }

    /// The model that a request names, loaded if it has to be; `purposes` are those that can serve the
    /// request, the first one for requests that name none.
    pub(crate) async fn get(
        self: &Arc<Self>,
        purposes: &[Purpose],
        name: Option<&str>,
    ) -> ApiResult<(String, Arc<Model>)> {
        let key = self.find(purposes, name).await?;
        let id = key.1.clone();
        let state = self.load(key);
        Ok((id, wait(state, PATIENCE).await?))
    }

    /// The default model for a purpose.
    pub(crate) fn default_name(&self, purpose: Purpose) -> Option<&str> {
        match purpose {
            Purpose::Llm => Some(&self.config.llm_model),
            Purpose::Whisper => Some(&self.config.whisper_model),
            Purpose::Embedding => self.config.embedding_model.as_deref(),
        }
    }

    /// Which model a name means. Names of requests lead to what the model folder lists and to what the
    /// command line names, never to a path.
    pub(crate) async fn find(&self, purposes: &[Purpose], name: Option<&str>) -> ApiResult<Key> {
        let first = purposes.first().copied().unwrap_or(Purpose::Llm);
        let name = name.filter(|name| !name.is_empty() && *name != "default");
        let is_alias = |name: &str| first == Purpose::Whisper && SPEECH_ALIASES.contains(&name);
        let listed = self.list().await?;
        let Some(name) = name.filter(|name| !is_alias(name)) else {
            let Some(default) = self.default_name(first) else {
                let message =
                    format!("model: name one; the server has no default {} model", first.name());
                return Err(ApiError::invalid("model", message));
            };
            return Ok((first, listed.id_of(first, default).unwrap_or(default.to_owned())));
        };
        for &purpose in purposes {
            if let Some(id) = listed.id_of(purpose, name) {
                return Ok((purpose, id));
            }
            if self.default_name(purpose) == Some(name) || self.is_held(purpose, name) {
                return Ok((purpose, name.to_owned()));
            }
        }
        Err(ApiError::no_model(listed.not_found(purposes, name)))
    }

    fn is_held(&self, purpose: Purpose, name: &str) -> bool {
        self.held().contains_key(&(purpose, name.to_owned()))
    }

    /// What the model folder holds.
    pub(crate) async fn list(&self) -> ApiResult<Listing> {
        Ok(Listing(self.engine.ask(Engine::models).await?))
    }

    /// Starts to load a model, unless it is loaded or being loaded; tells how far it is.
    pub(crate) fn load(self: &Arc<Self>, key: Key) -> watch::Receiver<State> {
        let mut held = self.held();
        if let Some(state) = held.get(&key) {
            return state.clone();
        }
        let (teller, state) = watch::channel(State::Loading { progress: 0.0, download: None });
        match self.engine.load(&key.1, &self.options(key.0)) {
            Ok(job) => {
                held.insert(key.clone(), state.clone());
                tokio::spawn(Arc::clone(self).follow(key, job, teller));
            }
            Err(failure) => drop(teller.send(State::Failed(failure))),
        }
        state
    }

    /// The library's options for a model.
    fn options(&self, purpose: Purpose) -> Value {
        json!({
            "model_type": purpose.name(),
            "device": self.config.device.name(),
            "n_parallel": self.config.workers,
            "warm_up": !self.config.no_warm_up,
        })
    }

    async fn follow(self: Arc<Self>, key: Key, mut job: Job, teller: watch::Sender<State>) {
        while let Some(event) = job.next().await {
            match event.kind {
                Kind::Progress => {
                    let download = serde_json::from_str(&event.json).ok();
                    teller.send_replace(State::Loading { progress: event.progress, download });
                }
                Kind::Notice => log::warning!("{}: {}", key.1, event.text),
                _ => {}
            }
        }
        let loaded = job.end().await.worked().and_then(|end| {
            let message = "the load was cancelled".into();
            end.model.ok_or(Failure { status: end.status, message })
        });
        let state = match loaded {
            Ok(model) => State::Ready(Arc::new(model)),
            Err(failure) => {
                log::warning!("{} was not loaded: {failure}", key.1);
                // The next request tries again.
                self.held().remove(&key);
                State::Failed(failure)
            }
        };
        teller.send_replace(state);
    }

    /// Forgets a model: its memory is given back when the requests that use it have ended. False: it was not
    /// loaded.
    pub(crate) fn unload(&self, key: &Key) -> bool {
        self.held().remove(key).is_some()
    }
}

/// Waits until a model is loaded, or says what is loading.
async fn wait(mut state: watch::Receiver<State>, patience: Duration) -> ApiResult<Arc<Model>> {
    let ended = |state: &State| !matches!(state, State::Loading { .. });
    let _ = tokio::time::timeout(patience, state.wait_for(ended)).await;
    let now = state.borrow().clone();
    match now {
        State::Ready(model) => Ok(model),
        State::Failed(failure) => Err(failure.into()),
        State::Loading { progress, download } => {
            let what = if download.is_some() { "downloaded" } else { "loaded" };
            let percent = (progress * 100.0).floor();
            Err(ApiError::loading(format!("the model is being {what}, {percent} %: try again")))
        }
    }
}

/// What `fluid_models` says.
pub(crate) struct Listing(Value);

impl Listing {
    /// The entries, as the library describes them.
    pub(crate) fn data(&self) -> &[Value] {
        self.0["data"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The id of the entry that `name` means: by its id, as Fluid Server spells those of speech and
    /// embedding models, or by a short name of its repository.
    fn id_of(&self, purpose: Purpose, name: &str) -> Option<String> {
        let prefixed = name.strip_prefix(purpose.name()).and_then(|rest| rest.strip_prefix('-'));
        let ids = || {
            let of_purpose = |entry: &&Value| entry["type"] == purpose.name();
            self.data().iter().filter(of_purpose).filter_map(|entry| entry["id"].as_str())
        };
        let named = |wanted: &str| ids().find(|id| *id == wanted);
        let found = named(name).or_else(|| prefixed.and_then(named));
        found.map(str::to_owned)
    }

    fn not_found(&self, purposes: &[Purpose], name: &str) -> String {
        let fits = |entry: &&Value| purposes.iter().any(|one| entry["type"] == one.name());
        let ids: Vec<&str> =
            self.data().iter().filter(fits).filter_map(|entry| entry["id"].as_str()).collect();
        let here = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        format!("model: {name:?} is not here (here: {here}); POST /v1/models/download fetches one")
    }
}

/// The result of a call that answers at once, for handlers.
pub(crate) fn api<T>(result: Result<T>) -> ApiResult<T> {
    result.map_err(ApiError::from)
}
