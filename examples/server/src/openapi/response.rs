//! OpenAI's responses.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::errors::Errors;

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"model": "default", "input": "Name three rivers.", "max_output_tokens": 64}))]
struct ResponseRequest {
    model: Option<String>,
    /// A text, or items
    input: Value,
    /// What the model is told first
    instructions: Option<String>,
    /// The response that this one goes on from
    previous_response_id: Option<String>,
    /// Keep it for later requests
    store: Option<bool>,
    /// Answer in events (SSE), from `response.created` to `response.completed`
    stream: Option<bool>,
    max_output_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    /// `format` as of `response_format` in chats
    text: Option<Value>,
    /// `effort`
    reasoning: Option<Value>,
}

#[derive(Serialize, ToSchema)]
struct Response {
    id: String,
    /// "response"
    object: String,
    created_at: u64,
    /// "in_progress", "completed", "incomplete" or "failed"
    status: String,
    model: String,
    /// Items: messages, reasoning, calls of functions
    output: Vec<Value>,
    usage: Option<Value>,
    error: Option<Value>,
    incomplete_details: Option<Value>,
}

/// An event of a stream, as OpenAI has them.
#[derive(Serialize, ToSchema)]
struct ResponseEvent {
    /// Such as "response.output_text.delta"
    r#type: String,
    sequence_number: u64,
    delta: Option<String>,
    response: Option<Response>,
}

/// Create a response
#[utoipa::path(post, path = "/v1/responses", tag = "Responses", request_body = ResponseRequest, responses(
    (status = 200, description = "The response; with `stream` events", content(
        (Response = "application/json"), (ResponseEvent = "text/event-stream"))),
    Errors,
))]
pub(super) fn create_response() {}

#[derive(Serialize, ToSchema)]
struct InputTokens {
    /// "response.input_tokens"
    object: String,
    input_tokens: u64,
}

/// Count tokens
///
/// What the prompt of a response would be, without one.
#[utoipa::path(post, path = "/v1/responses/input_tokens", tag = "Responses", request_body = ResponseRequest,
    responses((status = 200, description = "Their number", body = InputTokens), Errors))]
pub(super) fn count_input_tokens() {}

/// Get a response
#[utoipa::path(get, path = "/v1/responses/{id}", tag = "Responses", params(("id" = String, Path, description = "A response that was kept")),
    responses((status = 200, description = "The response", body = Response), Errors))]
pub(super) fn get_response() {}

#[derive(Serialize, ToSchema)]
struct Deleted {
    id: String,
    object: String,
    deleted: bool,
}

/// Forget a response
#[utoipa::path(delete, path = "/v1/responses/{id}", tag = "Responses", params(("id" = String, Path, description = "A response that was kept")),
    responses((status = 200, description = "It is forgotten", body = Deleted), Errors))]
pub(super) fn delete_response() {}

/// Stop a response
///
/// Of those made in the background, which are none here: the answer is an error that says how to stop the others.
#[utoipa::path(post, path = "/v1/responses/{id}/cancel", tag = "Responses", params(("id" = String, Path, description = "A response that was kept")),
    responses(Errors))]
pub(super) fn cancel_response() {}

#[derive(Serialize, ToSchema)]
struct Items {
    /// "list"
    object: String,
    data: Vec<Value>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// What a response was made of
#[utoipa::path(get, path = "/v1/responses/{id}/input_items", tag = "Responses", params(
    ("id" = String, Path, description = "A response that was kept"),
    ("order" = Option<String>, Query, description = "\"desc\" (where nothing is said) or \"asc\""),
    ("limit" = Option<u32>, Query, description = "At most so many, 1 to 100; 20 where nothing is said"),
    ("after" = Option<String>, Query, description = "The id of the item behind which the list begins")),
    responses((status = 200, description = "The items of its input", body = Items), Errors))]
pub(super) fn list_input_items() {}
