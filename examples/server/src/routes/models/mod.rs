//! The models: listed, fetched, loaded, unloaded.
#![forbid(unsafe_code)]

mod download;
mod list;
mod load;
mod steps;

use std::sync::Arc;

use axum::routing::{get, post};
use axum::Router;

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::models::Purpose;
use crate::routes::body::{given, unexpected, Body};

/// Also under llama-server's paths.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/models", get(list::all))
        .route("/models", get(list::all))
        .route("/v1/models/{*id}", get(list::one))
        .route("/v1/models/download", post(download::create))
        .route("/v1/models/load", post(load::load))
        .route("/models/load", post(load::load))
        .route("/v1/models/unload", post(load::unload))
        .route("/models/unload", post(load::unload))
}

/// The text `name` of a body; empty counts as left out.
fn text<'a>(body: &'a Body, name: &str) -> ApiResult<Option<&'a str>> {
    match given(&body.fields, name) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            None => Err(unexpected(name, "a string", value)),
        },
    }
}

/// What `model_type` says a model is for.
fn purpose(body: &Body) -> ApiResult<Option<Purpose>> {
    let Some(name) = text(body, "model_type")? else { return Ok(None) };
    Purpose::of(name).map(Some).ok_or_else(|| {
        let message = format!("model_type: expected llm, whisper or embedding, got {name:?}");
        ApiError::invalid("model_type", message)
    })
}
