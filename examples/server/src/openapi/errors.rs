//! Errors, in OpenAI's shape.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// What is wrong with which value, and what would be accepted
    #[schema(example = "temperature: 3 is not from 0 to 2")]
    message: String,
    #[schema(example = "invalid_request_error")]
    r#type: String,
    /// The field that is wrong
    #[schema(example = "temperature")]
    param: Option<String>,
    /// Such as "model_not_found", "model_loading", "context_length_exceeded", "invalid_audio", "queue_full"
    code: Option<String>,
}

/// What any route may answer.
#[derive(IntoResponses)]
pub(super) enum Refusals {
    /// The key is missing or wrong
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// A Host header or an origin that is not allowed
    #[response(status = 403)]
    Forbidden(ErrorBody),
}

/// What a request with a body may be answered with besides. In a stream that has begun, an event with `error` takes
/// the place of the status.
#[derive(IntoResponses)]
pub(super) enum Errors {
    /// The body or one of its fields is wrong; `param` names it
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// The key is missing or wrong
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// A Host header or an origin that is not allowed
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The model is not here
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is of another type than this route takes
    #[response(status = 415)]
    MediaType(ErrorBody),
    /// The model cannot do this, or cannot be used
    #[response(status = 422)]
    Unsupported(ErrorBody),
    /// Too many requests wait already; Retry-After says when to come again
    #[response(status = 429)]
    QueueFull(ErrorBody),
    /// The model is being loaded or downloaded; the message says how far it is, Retry-After when to come again
    #[response(status = 503)]
    Loading(ErrorBody),
}
