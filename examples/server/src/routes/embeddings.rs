//! `/v1/embeddings`, and beside it what Fluid Server has there: `/batch`, `/models`, `/info`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::{json, Map, Value};

use super::body::{self, Body};
use super::chunks::quoted;
use super::stream;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::fluid::{End, Failure};
use crate::models::{Purpose, State as ModelState};

/// A model that generates text can embed too, where its file says how.
const PURPOSES: [Purpose; 2] = [Purpose::Embedding, Purpose::Llm];

/// So many requests in one batch: each is a job, and the queue has its bound.
const MOST_REQUESTS: usize = 128;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/embeddings", post(create))
        .route("/v1/embeddings/batch", post(batch))
        .route("/v1/embeddings/models", get(models))
        .route("/v1/embeddings/info", get(info))
}

fn check_enabled(app: &App) -> ApiResult<()> {
    if app.config.enable_embeddings {
        return Ok(());
    }
    let message = "Embeddings functionality is disabled: set FLUID_ENABLE_EMBEDDINGS=true";
    let code = Some("embeddings_disabled");
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message.into()))
}

async fn create(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    check_enabled(&app)?;
    let answer = embed(&app, &body).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

/// An array of requests, which run side by side, for an array of answers.
async fn batch(State(app): State<Arc<App>>, request: Request) -> ApiResult<Response> {
    check_enabled(&app)?;
    let (_, value) = body::read(request, &app).await?;
    let requests = in_batch(value)?;
    let all = futures_util::future::try_join_all(requests.iter().map(|body| embed(&app, body)));
    let answer = format!("[{}]", all.await?.join(","));
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

fn in_batch(value: Value) -> ApiResult<Vec<Body>> {
    let Value::Array(requests) = value else {
        return Err(body::unexpected("body", "an array of requests", &value));
    };
    if requests.len() > MOST_REQUESTS {
        let message = format!("body: {} requests are more than {MOST_REQUESTS}", requests.len());
        return Err(ApiError::invalid("body", message));
    }
    let each = requests.into_iter().enumerate().map(|(index, request)| match request {
        Value::Object(fields) => {
            Ok(Body { text: Value::Object(fields.clone()).to_string(), fields })
        }
        other => Err(body::unexpected(&format!("[{index}]"), "an object", &other)),
    });
    each.collect()
}

async fn embed(app: &App, body: &Body) -> ApiResult<String> {
    let (id, model) = app.models.get(&PURPOSES, body.model()?).await?;
    let job = model.embed(&body.text).map_err(about_input)?;
    let end = job.end().await.whole().map_err(about_input)?;
    let result: Value = serde_json::from_str(&end.result).unwrap_or_default();
    stream::count(app, &result);
    Ok(answer(
        &id,
        &end,
        &result["usage"],
        body.fields.get("encoding_format") == Some(&json!("base64")),
    ))
}

/// The fields of requests for vectors and rankings.
const FIELDS: [&str; 10] = [
    "deadline_ms",
    "dimensions",
    "documents",
    "encoding_format",
    "input",
    "normalize",
    "pooling",
    "query",
    "top_n",
    "truncate",
];

/// A message begins with the field at fault, or with the name of a model that cannot do what is asked.
pub(super) fn about_input(failure: Failure) -> ApiError {
    let mut error = ApiError::from(failure);
    let is_field = |path: &str| FIELDS.contains(&path.split(['.', '[']).next().unwrap_or_default());
    if error.status == StatusCode::UNPROCESSABLE_ENTITY
        && !error.param.as_deref().is_some_and(is_field)
    {
        error.param = Some("model".into());
    }
    error
}

/// OpenAI's list of vectors, as text: they are most of it.
fn answer(model: &str, end: &End, usage: &Value, as_base64: bool) -> String {
    let mut answer = String::from(r#"{"object":"list","data":["#);
    for (index, vector) in end.floats.chunks_exact(end.dimensions.max(1)).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        answer.push_str(comma);
        answer.push_str(r#"{"object":"embedding","embedding":"#);
        if as_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            answer.push_str(&quoted(&STANDARD.encode(&bytes)));
        } else {
            // Numbers only.
            answer.push_str(&serde_json::to_string(vector).unwrap_or_default());
        }
        answer.push_str(&format!(r#","index":{index}}}"#));
    }
    let usage = json!({
        "prompt_tokens": usage["prompt_tokens"],
        "total_tokens": usage["total_tokens"],
    });
    answer.push_str(&format!(r#"],"model":{},"usage":{usage}}}"#, quoted(model)));
    answer
}

/// The embedding models of the model folder, as `/v1/models` lists them.
async fn models(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let listed = app.models.list().await?;
    let of_purpose = |entry: &&Value| entry["type"] == Purpose::Embedding.name();
    let data = listed.data().iter().filter(of_purpose).map(|entry| {
        json!({
            "id": entry["id"],
            "object": "model",
            "created": entry["created"],
            "owned_by": entry["owned_by"],
            "model_type": "embedding_text",
        })
    });
    Ok(Json(json!({"object": "list", "data": data.collect::<Vec<_>>()})))
}

/// What Fluid Server tells of its embeddings.
async fn info(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let listed = app.models.list().await?;
    let of_purpose = |entry: &&Value| entry["type"] == Purpose::Embedding.name();
    let ids: Vec<&Value> = listed.data().iter().filter(of_purpose).map(|one| &one["id"]).collect();
    let states = app.models.states();
    let (mut loading, mut loaded, mut about) = (Value::Null, Value::Null, Map::new());
    for ((_, name), state) in states.iter().filter(|((of, _), _)| *of == Purpose::Embedding) {
        match state {
            ModelState::Loading { .. } => loading = json!(name),
            ModelState::Ready(model) => {
                loaded = json!(name);
                about.insert("text".into(), model.info()?);
            }
            ModelState::Failed(_) => {}
        }
    }
    Ok(Json(json!({
        "enabled": app.config.enable_embeddings,
        "available_models": {"text": ids},
        "warmup_status": {"in_progress": !loading.is_null(), "current_task": loading},
        "loaded_models": {"text": loaded},
        "runtime_info": about,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_written_as_numbers_or_bytes() {
        let end = End {
            status: 0,
            message: String::new(),
            result: String::new(),
            floats: vec![0.1, -1.0, 2.5, 1e-8],
            dimensions: 2,
            model: None,
        };
        let usage = json!({"prompt_tokens": 3, "total_tokens": 3});
        let floats: Value =
            serde_json::from_str(&answer("a\"b", &end, &usage, false)).expect("JSON");
        assert_eq!(floats["model"], "a\"b");
        assert_eq!(floats["usage"], usage);
        assert_eq!(floats["data"][1]["index"], 1);
        let read = floats["data"][1]["embedding"].as_array().expect("an array");
        let read: Vec<f32> = read.iter().filter_map(Value::as_f64).map(|one| one as f32).collect();
        assert_eq!(read, [2.5, 1e-8]);
        let bytes: Value = serde_json::from_str(&answer("m", &end, &usage, true)).expect("JSON");
        // 0.1 and -1 as Python's base64 and struct have them.
        assert_eq!(bytes["data"][0]["embedding"], "zczMPQAAgL8=");
    }

    #[test]
    fn a_batch_is_an_array_of_objects() {
        let bodies = in_batch(json!([{"input": "a"}, {"input": ["b"]}])).expect("sound");
        assert_eq!(bodies[1].text, r#"{"input":["b"]}"#);
        assert!(in_batch(json!({})).is_err_and(|error| error.message.contains("an array")));
        let error = in_batch(json!([{}, 1])).err().expect("refused");
        assert_eq!(error.param.as_deref(), Some("[1]"));
        assert!(in_batch(json!(vec![json!({}); 129])).is_err());
    }
}
