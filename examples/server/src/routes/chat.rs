//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::Router;
use serde_json::{json, Value};

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::fluid::{Event, Job, Kind};
use crate::models::Purpose;
use crate::sse;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/chat/completions", post(create))
}

async fn create(State(app): State<Arc<App>>, body: Bytes) -> ApiResult<Response> {
    let body = std::str::from_utf8(&body)
        .map_err(|error| ApiError::invalid("", format!("the body is not UTF-8: {error}")))?;
    let request: Value = serde_json::from_str(body)
        .map_err(|error| ApiError::invalid("", format!("the body is not JSON: {error}")))?;
    let (id, model) = app.models.get(&[Purpose::Llm], request["model"].as_str()).await?;
    let job = model.generate(body)?;
    if request["stream"] == true {
        let usage = request["stream_options"]["include_usage"] == true;
        return Ok(sse::response(Chunks::new(id, usage).of(job)));
    }
    let result = job.end().await.worked()?.result;
    Ok(([(header::CONTENT_TYPE, "application/json")], result).into_response())
}

/// Makes OpenAI's chunks of a job's events.
struct Chunks {
    id: String,
    model: String,
    created: u64,
    usage: bool,
}

impl Chunks {
    fn new(model: String, usage: bool) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("chatcmpl-{:x}", since.as_nanos());
        Self { id, model, created: since.as_secs(), usage }
    }

    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created,
            "model": self.model, "choices": choices,
        });
        if self.usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn of_event(&self, event: &Event) -> Option<String> {
        let delta = match event.kind {
            Kind::Token if event.text.is_empty() => return None,
            Kind::Token => json!({"content": event.text}),
            Kind::Reasoning => json!({"reasoning_content": event.text}),
            _ => return None,
        };
        let choice = json!([{"index": event.choice, "delta": delta, "finish_reason": null}]);
        Some(self.chunk(choice).to_string())
    }

    fn of(self, job: Job) -> impl futures_util::Stream<Item = String> {
        futures_util::stream::unfold((self, Some(job)), |(chunks, job)| async move {
            let mut job = job?;
            while let Some(event) = job.next().await {
                if let Some(chunk) = chunks.of_event(&event) {
                    return Some((chunk, (chunks, Some(job))));
                }
            }
            Some(("[DONE]".to_owned(), (chunks, None)))
        })
    }
}
