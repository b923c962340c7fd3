//! `POST /v1/chat/completions`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Map, Value};

use super::body::{given, Body};
use super::chunks::{whole, Chunks, Shape};
use super::stream;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::models::Purpose;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/chat/completions", post(create))
}

async fn create(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    if given(&body.fields, "messages").is_none() {
        return Err(ApiError::invalid(
            "messages",
            "messages: is missing; give an array of messages",
        ));
    }
    let (name, streaming) = (body.model()?, body.streaming()?);
    let (id, model) = app.models.get(&[Purpose::Llm], name).await?;
    let job = model.generate(&body.text)?;
    if let Some(streaming) = streaming {
        let chunks = Chunks::new(Shape::Chat, &id, streaming, 1, choices(&body.fields));
        return stream::respond(&app, &id, vec![job], chunks).await;
    }
    let result = stream::awaited(&app, &id, job).await?;
    Ok(Json(whole(Shape::Chat, &id, vec![result])).into_response())
}

/// How many answers a request asks for; the library has checked it.
pub(super) fn choices(fields: &Map<String, Value>) -> usize {
    fields.get("n").and_then(Value::as_u64).map_or(1, |n| n.clamp(1, 128) as usize)
}
