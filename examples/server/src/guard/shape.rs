//! Errors that no route made, in OpenAI's shape: unknown routes, wrong methods, what extractors refuse.
#![forbid(unsafe_code)]

use axum::body::{to_bytes, Body};
use axum::http::{header, HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// A longer text is no message.
const LONGEST: usize = 8 << 10;

/// What a message about a request names.
pub(super) struct Asked {
    method: String,
    path: String,
}

impl Asked {
    pub(super) fn of(request: &Request<Body>) -> Self {
        let path = request.uri().path().chars().take(200).collect();
        Self { method: request.method().to_string(), path }
    }

    /// The answer itself, unless it is an error in another shape.
    pub(super) async fn of_error(&self, response: Response) -> Response {
        let status = response.status();
        let is_error = status.is_client_error() || status.is_server_error();
        if !is_error || has_shape(response.headers()) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let text = to_bytes(body, LONGEST).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // Headers of the error itself, such as Retry-After.
        let mut shaped = self.error(status, &text).into_response();
        for (name, value) in &parts.headers {
            if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
                shaped.headers_mut().insert(name.clone(), value.clone());
            }
        }
        shaped
    }

    fn error(&self, status: StatusCode, text: &str) -> ApiError {
        let (method, path) = (&self.method, &self.path);
        let (code, message) = match status {
            StatusCode::NOT_FOUND if text.is_empty() => {
                let help = "/openapi.json lists what there is";
                (Some("unknown_url"), format!("there is no {method} {path}; {help}"))
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                let help = "the header Allow lists what it takes";
                (Some("method_not_allowed"), format!("{path} takes no {method}: {help}"))
            }
            _ if text.is_empty() => (None, status.to_string()),
            _ => (None, text.to_owned()),
        };
        ApiError::new(status, code, message)
    }
}

fn has_shape(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/json") || kind.starts_with(b"text/html"))
}
