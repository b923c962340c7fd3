//! Loading and unloading by hand: also llama-server's routes.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::Json;
use serde_json::{json, Value};
use tokio::time::sleep;

use super::steps::{respond, streamed, Steps};
use super::{purpose, text};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::fluid::Model;
use crate::models::{failed, Key, Progress, Purpose, State as Loaded};
use crate::routes::body::Body;

/// How long requests that use a model may take to end, before it goes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long its memory may take to come back after that.
const FREEING: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// A model on its way into memory. Who leaves does not stop it.
struct Loading {
    key: Key,
    state: Progress,
    is_first: bool,
}

pub(super) async fn load(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let streamed = streamed(&headers, &body)?;
    let (purposes, name) = named(&body)?;
    let (key, state) = app.models.begin(&purposes, Some(name)).await?;
    respond(streamed, Loading { key, state, is_first: true }).await
}

/// The model that a body names, and what it can be for.
fn named(body: &Body) -> ApiResult<(Vec<Purpose>, &str)> {
    let purposes = purpose(body)?.map_or(Purpose::ALL.to_vec(), |purpose| vec![purpose]);
    let name = text(body, "model")?;
    let missing = || ApiError::invalid("model", "model: name one; GET /v1/models lists them");
    Ok((purposes, name.ok_or_else(missing)?))
}

impl Steps for Loading {
    async fn next(&mut self) -> Option<Value> {
        if !std::mem::take(&mut self.is_first) {
            self.state.changed().await.ok()?;
        }
        let now = self.state.borrow_and_update().clone();
        let mut told = match now {
            Loaded::Loading { .. } => now.describe(),
            _ => return None,
        };
        let is_download = told["state"] == "downloading";
        told["phase"] = json!(if is_download { "download" } else { "load" });
        told["model"] = json!(self.key.1);
        Some(told)
    }

    async fn end(self) -> ApiResult<Value> {
        let now = self.state.borrow().clone();
        match &now {
            Loaded::Failed(failure) => Err(failed(failure.clone())),
            Loaded::Loading { .. } => Err(ApiError::loading("model: its load was given up".into())),
            Loaded::Ready(_) => {
                let mut model = now.describe();
                (model["id"], model["model_type"]) = (json!(self.key.1), json!(self.key.0.name()));
                Ok(json!({
                    "phase": "done",
                    "success": true,
                    "message": format!("{} is loaded", self.key.1),
                    "model": model,
                }))
            }
        }
    }
}

/// Answers when the memory is given back. Requests that use the model have 30 seconds to end, then they are
/// cancelled; new ones load it again.
pub(super) async fn unload(State(app): State<Arc<App>>, body: Body) -> ApiResult<Json<Value>> {
    let (purposes, name) = named(&body)?;
    let key = app.models.find(&purposes, Some(name)).await?;
    let message = match app.models.unload(&key) {
        None => format!("{} was not loaded", key.1),
        Some(state) => {
            if let Loaded::Ready(model) = state {
                free(&app, model).await;
            }
            format!("{} is unloaded", key.1)
        }
    };
    Ok(Json(json!({"success": true, "message": message})))
}

async fn free(app: &App, model: Arc<Model>) {
    let path = model.info().unwrap_or_default()["path"].take();
    let is_busy = || model.info().is_ok_and(|info| info["residence"]["jobs"] != 0);
    until(PATIENCE, || !is_busy()).await;
    model.free();
    drop(model);
    let is_gone = || {
        let engine = app.engine.info().unwrap_or_default();
        let mut models = engine["models"].as_array().into_iter().flatten();
        !models.any(|model| model["path"] == path)
    };
    until(FREEING, is_gone).await;
}

async fn until(patience: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() && begun.elapsed() < patience {
        sleep(LOOK).await;
    }
}
