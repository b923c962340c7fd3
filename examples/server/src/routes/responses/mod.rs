//! `/v1/responses`: OpenAI's newer shape of a chat, which the server can keep and go on from.
#![forbid(unsafe_code)]

mod events;
mod items;
mod request;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{json, Value};

use self::events::{Keeper, Output};
use self::request::{renamed, Asked};
use super::body::{given, unexpected, Body};
use super::stream;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::models::Purpose;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/responses", post(create))
        .route("/v1/responses/input_tokens", post(count))
        .route("/v1/responses/{id}", get(retrieve).delete(delete))
        .route("/v1/responses/{id}/cancel", post(cancel))
        .route("/v1/responses/{id}/input_items", get(input_items))
}

async fn create(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let (name, streaming) = (body.model()?, body.streaming()?);
    let mut asked = asked(&app, &body)?;
    let (id, model) = app.models.get(&[Purpose::Llm], name).await?;
    let job = model.generate(&asked.chat).map_err(|failure| renamed(failure.into()))?;
    let items = std::mem::take(&mut asked.items);
    let keeper = asked.store.then(|| Keeper { app: Arc::clone(&app), items });
    let mut output = Output::new(&id, asked, keeper);
    if streaming.is_some() {
        return stream::respond(&app, &id, vec![job], output).await.map_err(renamed);
    }
    stream::written(&app, &id, job, &mut output).await.map_err(renamed)?;
    Ok(Json(output.into_response()).into_response())
}

fn asked(app: &App, body: &Body) -> ApiResult<Asked> {
    let path = "previous_response_id";
    let before = match given(&body.fields, path) {
        None => Vec::new(),
        Some(Value::String(id)) => {
            let Some((response, mut items)) = app.kept.get(id) else {
                let message =
                    format!("{path}: no response {id:?} is kept; send its items as input");
                let code = Some("previous_response_not_found");
                return Err(ApiError { code, ..ApiError::invalid(path, message) });
            };
            items.extend(response["output"].as_array().cloned().unwrap_or_default());
            items
        }
        Some(other) => return Err(unexpected(path, "a string", other)),
    };
    request::read(&body.fields, before)
}

/// What a request's input comes to in tokens.
async fn count(State(app): State<Arc<App>>, body: Body) -> ApiResult<Json<Value>> {
    let asked = asked(&app, &body)?;
    let (_, model) = app.models.get(&[Purpose::Llm], body.model()?).await?;
    let tokens = app.engine.ask(move |_| model.tokenize(&asked.chat)).await;
    let count = tokens.map_err(|failure| renamed(failure.into()))?["count"].take();
    Ok(Json(json!({"object": "response.input_tokens", "input_tokens": count})))
}

fn not_found(id: &str) -> ApiError {
    let message = format!("no response {id:?} is kept: the last ones are, until the server ends");
    let mut error = ApiError::new(StatusCode::NOT_FOUND, Some("response_not_found"), message);
    error.param = Some("id".into());
    error
}

type Options = Query<HashMap<String, String>>;

async fn retrieve(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(options): Options,
) -> ApiResult<Json<Value>> {
    if options.get("stream").is_some_and(|stream| stream == "true") {
        let message = "is not supported: only whole responses are kept; leave it out";
        return Err(items::lacking("stream", message));
    }
    let (response, _) = app.kept.get(&id).ok_or_else(|| not_found(&id))?;
    Ok(Json(response))
}

async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    match app.kept.delete(&id) {
        true => Ok(Json(json!({"id": id, "object": "response", "deleted": true}))),
        false => Err(not_found(&id)),
    }
}

/// Only responses in the background can be cancelled, and there are none.
async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiError {
    match app.kept.get(&id) {
        Some(_) => {
            ApiError::invalid("id", "id: this response is complete; leave a stream to end it")
        }
        None => not_found(&id),
    }
}

/// The conversation that a response answered, a page at a time.
async fn input_items(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(options): Options,
) -> ApiResult<Json<Value>> {
    let (_, items) = app.kept.get(&id).ok_or_else(|| not_found(&id))?;
    Ok(Json(page(items, &options)?))
}

/// `order` "desc" (the default) or "asc", `limit` 1 to 100 (20), and the id `after` which it begins.
fn page(mut items: Vec<Value>, options: &HashMap<String, String>) -> ApiResult<Value> {
    match options.get("order").map(String::as_str) {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(other) => {
            let message = format!("order: {other:?} is not \"asc\" or \"desc\"");
            return Err(ApiError::invalid("order", message));
        }
    }
    let limit = match options.get("limit").map(|limit| limit.parse()) {
        None => 20,
        Some(Ok(limit)) if (1..=100).contains(&limit) => limit,
        Some(_) => return Err(ApiError::invalid("limit", "limit: expected 1 to 100")),
    };
    if let Some(after) = options.get("after") {
        let Some(place) = items.iter().position(|item| item["id"] == after.as_str()) else {
            return Err(ApiError::invalid("after", format!("after: there is no item {after:?}")));
        };
        items.drain(..=place);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    Ok(json!({
        "object": "list",
        "first_id": id(items.first()),
        "last_id": id(items.last()),
        "has_more": has_more,
        "data": items,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_pages() {
        let items = || (0..5).map(|id| json!({"id": id.to_string()})).collect::<Vec<_>>();
        let of = |options: &[(&str, &str)]| {
            let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            page(items(), &options.collect())
        };
        let ids = |page: ApiResult<Value>| {
            let page = page.expect("a page");
            let ids: Vec<String> = page["data"]
                .as_array()
                .expect("data")
                .iter()
                .map(|item| item["id"].as_str().expect("an id").to_owned())
                .collect();
            (ids.concat(), page["has_more"] == true)
        };
        assert_eq!(ids(of(&[])), ("43210".into(), false));
        assert_eq!(ids(of(&[("limit", "2")])), ("43".into(), true));
        assert_eq!(
            ids(of(&[("order", "asc"), ("after", "1"), ("limit", "3")])),
            ("234".into(), false)
        );
        for (name, value) in [("limit", "0"), ("limit", "x"), ("order", "up"), ("after", "9")] {
            assert_eq!(of(&[(name, value)]).expect_err(name).param.as_deref(), Some(name));
        }
    }
}
