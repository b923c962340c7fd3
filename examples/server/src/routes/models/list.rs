//! `GET /v1/models` and `/v1/models/{id}`: OpenAI's objects with Fluid Server's `model_type`, and what else is known.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::Json;
use serde_json::{json, Value};

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::models::{Entry, Key, Listing, Purpose, State as Loaded};

/// What the library says of an entry, and is passed on as it is.
const PASSED: [&str; 9] = [
    "complete",
    "format",
    "bytes",
    "architecture",
    "quantization",
    "parameters",
    "context_length",
    "runnable",
    "why_not",
];

/// The models that can be loaded, then those that are on their way: in Fluid Server's order, language models
/// first.
pub(super) async fn all(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"object": "list", "data": Catalog::of(&app).await?.all()})))
}

/// One of them, by any of its names, "default" and OpenAI's for speech among them.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> ApiResult<Json<Value>> {
    let meant = app.models.find(&Purpose::ALL, Some(&name)).await;
    let name = meant.map_or(name, |(_, id)| id);
    let catalog = Catalog::of(&app).await?;
    let found = Purpose::ALL.into_iter().find_map(|purpose| {
        let listed = catalog.listing.find(purpose, &name).map(|entry| catalog.entry(entry));
        listed.or_else(|| catalog.held(&(purpose, name.clone())))
    });
    let found = found.or_else(|| {
        let mut downloads = catalog.downloads.iter();
        downloads.find(|download| download["id"] == *name).map(arriving)
    });
    let missing = || {
        let near = catalog.listing.near(&Purpose::ALL, &name);
        ApiError::no_model(format!("model: {name:?} is not here; {near}"))
    };
    found.map(Json).ok_or_else(missing)
}

/// What there is to tell of models.
struct Catalog<'a> {
    app: &'a App,
    listing: Listing,
    states: Vec<(Key, Loaded)>,
    downloads: Vec<Value>,
}

impl<'a> Catalog<'a> {
    async fn of(app: &'a App) -> ApiResult<Self> {
        let listing = app.models.list().await?;
        Ok(Self { app, listing, states: app.models.states(), downloads: app.downloads.all() })
    }

    fn all(&self) -> Vec<Value> {
        let is_shown =
            |entry: &Entry<'_>| entry.is_whole() || self.state(entry.purpose, entry.id()).is_some();
        let entries = self.listing.entries().filter(is_shown).map(|entry| self.entry(entry));
        let mut all: Vec<Value> = entries.collect();
        let is_listed = |key: &Key| self.listing.with_id(key.0, &key.1).is_some();
        let held = self.states.iter().filter(|(key, _)| !is_listed(key));
        all.extend(held.filter_map(|(key, _)| self.held(key)));
        all.extend(self.downloads.iter().map(arriving));
        distinguish(&mut all);
        all
    }

    fn state(&self, purpose: Purpose, id: &str) -> Option<Value> {
        let found = self.states.iter().find(|(key, _)| key.0 == purpose && key.1 == id);
        found.map(|(_, state)| state.describe())
    }

    fn entry(&self, entry: Entry<'_>) -> Value {
        let mut model = json!({
            "id": entry.id(),
            "object": "model",
            "created": entry.value["created"],
            "owned_by": entry.value["owned_by"],
            "model_type": entry.purpose.name(),
        });
        let idle = if entry.is_whole() { "available" } else { "incomplete" };
        let state = self.state(entry.purpose, entry.id());
        add_state(&mut model, state.unwrap_or_else(|| json!({"state": idle})));
        for field in PASSED {
            model[field] = entry.value[field].clone();
        }
        model["repo"] = json!(entry.repo());
        let default = self.app.models.default_name(entry.purpose);
        let default = default.and_then(|name| self.listing.find(entry.purpose, name));
        model["is_default"] = json!(default.is_some_and(|default| default.id() == entry.id()));
        model
    }

    /// A model of the command line's that lies elsewhere, or is on its way.
    fn held(&self, key: &Key) -> Option<Value> {
        let mut model = json!({
            "id": key.1,
            "object": "model",
            "created": crate::routes::stream::now(),
            "owned_by": "local",
            "model_type": key.0.name(),
        });
        add_state(&mut model, self.state(key.0, &key.1)?);
        Some(model)
    }
}

/// Of models of several kinds that are called alike, those after the first are called as Fluid Server does.
fn distinguish(models: &mut [Value]) {
    let mut seen = HashSet::new();
    for model in models {
        let (id, kind) = (model["id"].as_str().unwrap_or_default(), &model["model_type"]);
        if !seen.insert(id.to_owned()) {
            model["id"] = json!(format!("{}-{id}", kind.as_str().unwrap_or_default()));
        }
    }
}

/// Adds `state`, `loaded` and what else is known of a model that is held.
fn add_state(model: &mut Value, state: Value) {
    model["loaded"] = json!(state["state"] == "loaded");
    for (field, value) in state.as_object().into_iter().flatten() {
        model[field] = value.clone();
    }
}

/// A model that a client has the server fetch.
fn arriving(download: &Value) -> Value {
    let mut model = json!({
        "id": download["id"],
        "object": "model",
        "created": crate::routes::stream::now(),
        "owned_by": "downloading",
        "model_type": download["model_type"],
    });
    let mut state = download.clone();
    state["state"] = json!("downloading");
    add_state(&mut model, state);
    model
}
