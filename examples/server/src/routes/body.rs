//! JSON bodies: read, checked for what they claim to be, and kept as they came for the library.
#![forbid(unsafe_code)]

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{header, HeaderMap, StatusCode};
use serde_json::{Map, Value};
use tokio::task::block_in_place;

use crate::error::{ApiError, ApiResult};

/// A body that is a JSON object.
pub(super) struct Body {
    /// As it came, for the library.
    pub(super) text: String,
    /// The same, to look at.
    pub(super) fields: Map<String, Value>,
}

/// Bytes from which on reading a body takes so long that other requests would wait for it.
const LARGE: usize = 1 << 18;

/// How an answer is to be streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streaming {
    /// Whether a chunk with the usage comes last.
    pub(super) usage: bool,
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        match read(request, state).await? {
            (text, Value::Object(fields)) => Ok(Self { text, fields }),
            (_, other) => {
                let message = format!("expected a JSON object, got {}", kind(&other));
                Err(ApiError::invalid("body", format!("body: {message}")))
            }
        }
    }
}

/// A body's text and what it says. 415 for another type, 400 for what is no JSON, 413 for too much of it.
pub(super) async fn read<S: Send + Sync>(
    request: Request,
    state: &S,
) -> ApiResult<(String, Value)> {
    check_type(request.headers())?;
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
        let status = rejection.status();
        let code = (status == StatusCode::PAYLOAD_TOO_LARGE).then_some("body_too_large");
        ApiError::new(status, code, format!("body: {}", rejection.body_text()))
    })?;
    let broken = |message: String| ApiError {
        code: Some("invalid_json"),
        ..ApiError::invalid("body", message)
    };
    let text = String::from_utf8(bytes.into())
        .map_err(|error| broken(format!("body: is not UTF-8: {}", error.utf8_error())))?;
    let parse = || serde_json::from_str(&text);
    let value = if text.len() > LARGE { block_in_place(parse) } else { parse() };
    let value = value.map_err(|error| broken(format!("body: is not valid JSON: {error}")))?;
    Ok((text, value))
}

fn check_type(headers: &HeaderMap) -> ApiResult<()> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let given = String::from_utf8_lossy(given.as_bytes()).to_ascii_lowercase();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let is_json = essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json");
    if is_json {
        return Ok(());
    }
    let message = format!("Content-Type: expected application/json, got {essence:?}");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"), message))
}

/// What a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// 400 for a value that is of another type than `path` wants.
pub(super) fn unexpected(path: &str, wanted: &str, got: &Value) -> ApiError {
    ApiError::invalid(path, format!("{path}: expected {wanted}, got {}", kind(got)))
}

/// The field `name`; null counts as left out.
pub(super) fn given<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

impl Body {
    /// The model that is asked for, if one is.
    pub(super) fn model(&self) -> ApiResult<Option<&str>> {
        match given(&self.fields, "model") {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some(name)),
            Some(other) => Err(unexpected("model", "a string", other)),
        }
    }

    /// Whether and how the answer is to be streamed.
    pub(super) fn streaming(&self) -> ApiResult<Option<Streaming>> {
        let stream = flag(&self.fields, "stream", "stream")?.unwrap_or(false);
        let usage = match given(&self.fields, "stream_options") {
            None => false,
            Some(Value::Object(options)) => {
                flag(options, "include_usage", "stream_options.include_usage")?.unwrap_or(false)
            }
            Some(other) => return Err(unexpected("stream_options", "an object", other)),
        };
        Ok(stream.then_some(Streaming { usage }))
    }
}

/// The boolean `name` of the object whose field it is at `path`.
pub(super) fn flag(fields: &Map<String, Value>, name: &str, path: &str) -> ApiResult<Option<bool>> {
    match given(fields, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(unexpected(path, "a boolean", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(of_type: Option<&str>, body: &'static [u8]) -> ApiError {
        let mut request = axum::http::Request::builder();
        if let Some(of_type) = of_type {
            request = request.header(header::CONTENT_TYPE, of_type);
        }
        let request = request.body(axum::body::Body::from(body)).expect("a request");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        match runtime.block_on(Body::from_request(request, &())) {
            Ok(body) => panic!("taken: {}", body.text),
            Err(error) => error,
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        let cases: [(Option<&str>, &'static [u8], u16, &str); 7] = [
            (Some("text/plain"), b"{}", 415, "expected application/json, got \"text/plain\""),
            (Some("application/jsonp"), b"{}", 415, "got \"application/jsonp\""),
            (Some("multipart/form-data; boundary=a"), b"{}", 415, "got \"multipart/form-data\""),
            (None, b"", 400, "is not valid JSON: EOF"),
            (None, b"{\"a\": \xff}", 400, "is not UTF-8"),
            (Some("application/json; charset=utf-8"), b"[1]", 400, "got an array"),
            (Some("Application/JSON"), b"{} x", 400, "trailing characters"),
        ];
        for (of_type, body, status, words) in cases {
            let error = refused(of_type, body);
            assert_eq!(error.status.as_u16(), status, "{}", error.message);
            assert!(error.message.contains(words), "{}", error.message);
        }
    }

    #[test]
    fn streaming_is_read_and_checked() {
        let body = |text: &str| {
            let fields = serde_json::from_str(text).expect("JSON");
            Body { text: text.to_owned(), fields }.streaming()
        };
        assert_eq!(body("{}").expect("sound"), None);
        assert_eq!(body(r#"{"stream": false, "stream_options": null}"#).expect("sound"), None);
        let usage = body(r#"{"stream": true, "stream_options": {"include_usage": true}}"#);
        assert_eq!(usage.expect("sound"), Some(Streaming { usage: true }));
        for (text, path) in [
            (r#"{"stream": "yes"}"#, "stream"),
            (r#"{"stream_options": 1}"#, "stream_options"),
            (r#"{"stream_options": {"include_usage": 1}}"#, "stream_options.include_usage"),
        ] {
            assert_eq!(body(text).expect_err(text).param.as_deref(), Some(path));
        }
    }
}
