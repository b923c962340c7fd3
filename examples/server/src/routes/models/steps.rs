//! What takes long and is told step by step, as events if the client wants them.
#![forbid(unsafe_code)]

use std::future::Future;

use axum::http::{header, HeaderMap};
use axum::response::{IntoResponse, Response};
use axum::Json;
use futures_util::stream::unfold;
use serde_json::Value;

use crate::error::ApiResult;
use crate::routes::body::{flag, Body};
use crate::sse;

/// A long act. Dropped, it is given up, as far as nobody else wants it.
pub(super) trait Steps: Send + 'static {
    /// What there is to tell next; `None` when it has ended.
    fn next(&mut self) -> impl Future<Output = Option<Value>> + Send;
    /// What it came to.
    fn end(self) -> impl Future<Output = ApiResult<Value>> + Send;
}

/// Answers when all is done, or with an event for each step, the outcome (an error too) as the last but
/// `[DONE]`.
pub(super) async fn respond(streamed: bool, mut steps: impl Steps) -> ApiResult<Response> {
    if streamed {
        return Ok(sse::response(unfold(Some(Stage::Running(steps)), next)));
    }
    while steps.next().await.is_some() {}
    Ok(Json(steps.end().await?).into_response())
}

/// Whether a client wants events: it says `"stream": true`, or accepts them and no JSON.
pub(super) fn streamed(headers: &HeaderMap, body: &Body) -> ApiResult<bool> {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let accepts = accepted
        .is_some_and(|types| types.contains("text/event-stream") && !types.contains("json"));
    Ok(flag(&body.fields, "stream", "stream")?.unwrap_or(accepts))
}

enum Stage<S> {
    Running(S),
    Ended,
}

async fn next<S: Steps>(stage: Option<Stage<S>>) -> Option<(String, Option<Stage<S>>)> {
    let Stage::Running(mut steps) = stage? else { return Some(("[DONE]".into(), None)) };
    if let Some(step) = steps.next().await {
        return Some((step.to_string(), Some(Stage::Running(steps))));
    }
    let end = steps.end().await.unwrap_or_else(|error| error.body());
    Some((end.to_string(), Some(Stage::Ended)))
}
