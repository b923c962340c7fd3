//! `POST /v1/tokenize` and `/v1/detokenize`; also under llama-server's paths.
#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use super::body::Body;
use crate::app::App;
use crate::error::ApiResult;
use crate::fluid::{Model, Result};
use crate::models::Purpose;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/tokenize", post(tokenize))
        .route("/tokenize", post(tokenize))
        .route("/v1/detokenize", post(detokenize))
        .route("/detokenize", post(detokenize))
}

async fn tokenize(State(app): State<Arc<App>>, body: Body) -> ApiResult<Json<Value>> {
    ask(&app, body, Model::tokenize).await
}

async fn detokenize(State(app): State<Arc<App>>, body: Body) -> ApiResult<Json<Value>> {
    ask(&app, body, Model::detokenize).await
}

async fn ask(
    app: &App,
    body: Body,
    question: fn(&Model, &str) -> Result<Value>,
) -> ApiResult<Json<Value>> {
    let purposes = [Purpose::Llm, Purpose::Embedding];
    let (_, model) = app.models.get(&purposes, body.model()?).await?;
    // The model may have to be loaded again first, which takes its time.
    Ok(Json(app.engine.ask(move |_| question(&model, &body.text)).await?))
}
