//! `POST /v1/rerank`, in Jina's shape; also under the paths that llama-server has it at.
#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{json, Value};

use super::body::Body;
use super::embeddings::about_input;
use super::stream;
use crate::app::App;
use crate::error::ApiResult;
use crate::models::Purpose;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/rerank", post(create))
        .route("/v1/reranking", post(create))
        .route("/rerank", post(create))
        .route("/reranking", post(create))
}

async fn create(State(app): State<Arc<App>>, body: Body) -> ApiResult<Json<Value>> {
    let purposes = [Purpose::Embedding, Purpose::Llm];
    let (id, model) = app.models.get(&purposes, body.model()?).await?;
    let job = model.rerank(&body.text).map_err(about_input)?;
    let end = job.end().await.whole().map_err(about_input)?;
    let result: Value = serde_json::from_str(&end.result).unwrap_or_default();
    stream::count(&app, &result);
    Ok(Json(json!({
        "model": id,
        "object": "list",
        "usage": result["usage"],
        "results": result["results"],
    })))
}
