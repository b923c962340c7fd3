//! Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}` and an HTTP status.
#![forbid(unsafe_code)]

use axum::http::{header, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::Json;
use fluid::ffi::*;
use serde_json::{json, Value};

use crate::fluid::Failure;

/// An answer that says what went wrong.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// OpenAI's `type`, such as `invalid_request_error`.
    pub(crate) kind: &'static str,
    pub(crate) code: Option<&'static str>,
    /// The field that is wrong.
    pub(crate) param: Option<String>,
    pub(crate) message: String,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u32>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: Option<&'static str>, message: String) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => SERVER,
            _ => INVALID,
        };
        Self { status, kind, code, param: None, message, retry_after: None }
    }

    /// 400, with the field that is wrong.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, None, message.into());
        error.param = Some(param.into());
        error
    }

    /// 404 for a model that is not here.
    pub(crate) fn no_model(message: String) -> Self {
        let mut error = Self::new(StatusCode::NOT_FOUND, Some("model_not_found"), message);
        error.param = Some("model".into());
        error
    }

    /// 503 while a model is being loaded.
    pub(crate) fn loading(message: String) -> Self {
        let code = Some("model_loading");
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        error.retry_after = Some(2);
        error
    }

    /// The object `error` of the answer's body, and of an event in a stream.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

/// The library's messages about a field begin with its path and a colon, such as `messages[0].content: ...`.
fn path_in(message: &str) -> Option<String> {
    let (path, _) = message.split_once(": ")?;
    let of_path = |c: char| c.is_ascii_alphanumeric() || "_.[]".contains(c);
    (path.starts_with(|c: char| c.is_ascii_alphabetic()) && path.chars().all(of_path))
        .then(|| path.to_owned())
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        use StatusCode as Http;
        let (status, code) = match failure.status {
            FLUID_ERROR_INVALID_ARGUMENT
            | FLUID_ERROR_INVALID_UTF8
            | FLUID_ERROR_INVALID_REQUEST => (Http::BAD_REQUEST, None),
            FLUID_ERROR_INVALID_JSON => (Http::BAD_REQUEST, Some("invalid_json")),
            FLUID_ERROR_INVALID_AUDIO => (Http::BAD_REQUEST, Some("invalid_audio")),
            FLUID_ERROR_CONTEXT_OVERFLOW => (Http::BAD_REQUEST, Some("context_length_exceeded")),
            FLUID_ERROR_UNSUPPORTED => (Http::UNPROCESSABLE_ENTITY, Some("unsupported")),
            FLUID_ERROR_UNSUPPORTED_MODEL | FLUID_ERROR_INVALID_MODEL => {
                (Http::UNPROCESSABLE_ENTITY, Some("model_unusable"))
            }
            FLUID_ERROR_NOT_FOUND => (Http::NOT_FOUND, Some("model_not_found")),
            FLUID_ERROR_ACCESS_DENIED => (Http::FORBIDDEN, Some("access_denied")),
            FLUID_ERROR_QUEUE_FULL => (Http::TOO_MANY_REQUESTS, Some("queue_full")),
            FLUID_ERROR_NETWORK => (Http::BAD_GATEWAY, Some("network")),
            FLUID_ERROR_DISK_FULL => (Http::INSUFFICIENT_STORAGE, Some("disk_full")),
            FLUID_ERROR_OUT_OF_MEMORY => (Http::SERVICE_UNAVAILABLE, Some("out_of_memory")),
            FLUID_ERROR_BACKEND_MISSING => (Http::SERVICE_UNAVAILABLE, Some("backend_missing")),
            FLUID_ERROR_BUSY => (Http::SERVICE_UNAVAILABLE, Some("busy")),
            FLUID_CANCELLED => (Http::SERVICE_UNAVAILABLE, Some("cancelled")),
            FLUID_DEADLINE => (Http::GATEWAY_TIMEOUT, Some("deadline")),
            _ => (Http::INTERNAL_SERVER_ERROR, None),
        };
        let param = if status.is_client_error() { path_in(&failure.message) } else { None };
        let mut error = Self::new(status, code, failure.message);
        error.param = param;
        error.retry_after = match failure.status {
            FLUID_ERROR_QUEUE_FULL => Some(1),
            // Others give memory back, or the next server takes over.
            FLUID_ERROR_OUT_OF_MEMORY | FLUID_ERROR_BUSY | FLUID_CANCELLED => Some(2),
            _ => None,
        };
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_says_when_to_try_again() {
        let cases = [
            (FLUID_ERROR_QUEUE_FULL, 429, Some("1")),
            (FLUID_ERROR_OUT_OF_MEMORY, 503, Some("2")),
            (FLUID_ERROR_BUSY, 503, Some("2")),
            (FLUID_CANCELLED, 503, Some("2")),
            // Nothing that passes.
            (FLUID_ERROR_BACKEND_MISSING, 503, None),
            (FLUID_ERROR_INVALID_REQUEST, 400, None),
        ];
        for (of, status, seconds) in cases {
            let failure = Failure { status: of, message: "as the test asks".into() };
            let answer = ApiError::from(failure).into_response();
            let given = answer.headers().get(header::RETRY_AFTER);
            let given = given.map(|value| value.to_str().expect("text"));
            assert_eq!((answer.status().as_u16(), given), (status, seconds), "{of}");
        }
    }
}
