//! `POST /v1/rerank`, in Jina's shape; also under the paths that llama-server has it at.
#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{json, Value};

use super::body::Body;
use crate::app::App;
use crate::error::ApiResult;
use crate::models::Purpose;

pub(super) fn routes() -> Router<Arc<App>> {
    let paths = ["/v1/rerank", "/v1/reranking", "/rerank", "/reranking"];
    paths.iter().fold(Router::new(), |router, path| router.route(path, post(create)))
}

async fn create(State(app): State<Arc<App>>, body: Body) -> ApiResult<Json<Value>> {
    let purposes = [Purpose::Embedding, Purpose::Llm];
    let (id, model) = app.models.get(&purposes, body.model()?).await?;
    let result = model.rerank(&body.text)?.end().await.worked()?.result;
    let result: Value = serde_json::from_str(&result).unwrap_or_default();
    Ok(Json(json!({
        "model": id,
        "object": "list",
        "usage": result["usage"],
        "results": result["results"],
    })))
}
