//! `POST /v1/completions`, the older shape: one prompt, or several that run side by side.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::future::try_join_all;
use serde_json::{Map, Value};

use super::body::{given, Body};
use super::chat::choices;
use super::chunks::{whole, Chunks, Shape};
use super::stream;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::fluid::Job;
use crate::models::Purpose;

/// So many prompts in one request; each is a job, and the queue has its bound.
const MOST_PROMPTS: usize = 128;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/completions", post(create))
}

async fn create(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let requests = requests(&body)?;
    let (name, streaming) = (body.model()?, body.streaming()?);
    let (id, model) = app.models.get(&[Purpose::Llm], name).await?;
    let jobs: Result<Vec<Job>, _> =
        requests.iter().map(|request| model.generate(request)).collect();
    let jobs = jobs?;
    if let Some(streaming) = streaming {
        let n = choices(&body.fields);
        let chunks = Chunks::new(Shape::Text, &id, streaming, jobs.len(), n);
        return stream::respond(&app, &id, jobs, chunks).await;
    }
    let results = try_join_all(jobs.into_iter().map(|job| stream::awaited(&app, &id, job))).await?;
    Ok(Json(whole(Shape::Text, &id, results)).into_response())
}

/// A request for each prompt.
fn requests(body: &Body) -> ApiResult<Vec<Cow<'_, str>>> {
    let refused = |message: String| Err(ApiError::invalid("prompt", format!("prompt: {message}")));
    if given(&body.fields, "messages").is_some() {
        let message = "messages: belong to /v1/chat/completions; give a prompt";
        return Err(ApiError::invalid("messages", message));
    }
    let prompts = match given(&body.fields, "prompt") {
        None => return refused("is missing; give a text or token ids".into()),
        Some(Value::Array(prompts)) if prompts.is_empty() => {
            return refused("is empty; give a text or token ids".into())
        }
        Some(Value::Array(prompts)) if !prompts[0].is_number() => prompts,
        Some(_) => return Ok(vec![Cow::Borrowed(&body.text)]),
    };
    if prompts.len() > MOST_PROMPTS {
        return refused(format!("{} prompts are more than {MOST_PROMPTS}", prompts.len()));
    }
    let mut others = Map::new();
    for (name, value) in body.fields.iter().filter(|(name, _)| *name != "prompt") {
        others.insert(name.clone(), value.clone());
    }
    let each = prompts.iter().enumerate().map(|(index, prompt)| match prompt {
        Value::String(_) | Value::Array(_) => Ok(Cow::Owned(with_prompt(&others, prompt))),
        other => {
            let path = format!("prompt[{index}]");
            Err(super::body::unexpected(&path, "a string or an array of token ids", other))
        }
    });
    each.collect()
}

fn with_prompt(others: &Map<String, Value>, prompt: &Value) -> String {
    let mut fields = others.clone();
    fields.insert("prompt".into(), prompt.clone());
    Value::Object(fields).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ApiResult<Vec<String>> {
        let fields = serde_json::from_str(text).expect("JSON");
        let body = Body { text: text.to_owned(), fields };
        Ok(requests(&body)?.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn each_prompt_is_a_request() {
        for one in [r#"{"prompt": "a"}"#, r#"{"prompt": [1, 2]}"#, r#"{"prompt": 3}"#] {
            assert_eq!(of(one).expect(one), [one]);
        }
        let several = of(r#"{"prompt":["a",[1,2]],"seed":7}"#).expect("sound");
        assert_eq!(several, [r#"{"seed":7,"prompt":"a"}"#, r#"{"seed":7,"prompt":[1,2]}"#]);
    }

    #[test]
    fn bad_prompts_are_named() {
        let many = format!("{{\"prompt\": [{}\"a\"]}}", "\"a\",".repeat(MOST_PROMPTS));
        for (text, path, words) in [
            ("{}", "prompt", "is missing"),
            (r#"{"prompt": []}"#, "prompt", "is empty"),
            (r#"{"prompt": ["a", 1]}"#, "prompt[1]", "expected a string"),
            (r#"{"messages": [], "prompt": "a"}"#, "messages", "/v1/chat/completions"),
            (&many, "prompt", "129 prompts are more than 128"),
        ] {
            let error = of(text).expect_err(text);
            assert_eq!(error.param.as_deref(), Some(path));
            assert!(error.message.contains(words), "{}", error.message);
        }
    }
}
