//! `GET /`: a page for persons, the main routes for programs. `GET /docs` and `/openapi.json`: the routes explained.
#![forbid(unsafe_code)]

use std::sync::{Arc, LazyLock};

use axum::http::{header, HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::app::App;

static INDEX: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("../page/index.html")));
static DOCS: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("../page/docs.html")));

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(index))
        .route("/docs", get(docs))
        .route("/openapi.json", get(document))
}

async fn index(headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let answer = if accepted.is_some_and(|types| types.contains("text/html")) {
        INDEX.response(&headers)
    } else {
        about().into_response()
    };
    ([(header::VARY, "accept")], answer).into_response()
}

async fn docs(headers: HeaderMap) -> Response {
    DOCS.response(&headers)
}

async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], crate::openapi::document())
}

/// What Fluid Server says here, and where the rest is described.
fn about() -> Json<serde_json::Value> {
    Json(json!({
        "message": "Fluid Server - OpenAI-compatible API",
        "version": crate::fluid::version(),
        "endpoints": {
            "chat": "/v1/chat/completions",
            "transcription": "/v1/audio/transcriptions",
            "embeddings": "/v1/embeddings",
            "models": "/v1/models",
            "health": "/health",
            "docs": "/docs",
            "openapi": "/openapi.json",
        },
    }))
}

/// A page with its script and style inside. They alone may run, whatever a model or a file puts on it.
struct Page {
    html: &'static str,
    etag: String,
    policy: String,
}

impl Page {
    fn new(html: &'static str) -> Self {
        let (script, style) = (digest(inside(html, "script")), digest(inside(html, "style")));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; \
             img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { html, etag: format!("\"{}\"", digest(html)), policy }
    }

    fn response(&'static self, asked: &HeaderMap) -> Response {
        let headers: [(HeaderName, &str); 5] = [
            (header::CONTENT_SECURITY_POLICY, &self.policy),
            (header::ETAG, &self.etag),
            // A new version of the program is seen at the next visit.
            (header::CACHE_CONTROL, "no-cache"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        if asked.get(header::IF_NONE_MATCH).is_some_and(|known| *known == *self.etag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (headers, html, self.html).into_response()
    }
}

/// The text of the page's one element of a kind, as a browser sees it.
fn inside(html: &'static str, tag: &str) -> &'static str {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let inside = html.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    inside.map_or("", |(text, _)| text)
}

fn digest(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_one_script_and_one_style_of_its_own() {
        for page in [&INDEX, &DOCS] {
            // Browsers take \r away before they compare digests.
            assert!(!page.html.contains('\r'));
            for tag in ["<script", "<style"] {
                assert_eq!(page.html.matches(tag).count(), 1, "{tag}");
            }
            for outside in [" src=", "@import", " url(", ":url(", " style=", " onclick="] {
                assert!(!page.html.contains(outside), "{outside}");
            }
            assert!(!page.policy.contains(&digest("")), "{}", page.policy);
        }
    }
}
