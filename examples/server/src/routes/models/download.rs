//! `POST /v1/models/download`: Fluid Server's fields, and progress as events.
//!
//! Each request fetches by itself. Who asks for what another one is fetching waits for that, and finds its files;
//! a client that leaves stops its own request alone, and whoever waits goes on from what there is.
#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use fluid::ffi::FLUID_OK;
use serde_json::{json, Value};

use super::steps::{respond, streamed, Steps};
use super::{purpose, text};
use crate::app::App;
use crate::downloads::Ticket;
use crate::error::{ApiError, ApiResult};
use crate::fluid::{Failure, Job, Kind};
use crate::models::{Listing, Purpose};
use crate::routes::body::Body;

/// What a request asks for.
struct Wish {
    name: String,
    purpose: Purpose,
    local_name: Option<String>,
    revision: Option<String>,
}

/// A download on its way.
struct Fetch {
    app: Arc<App>,
    wish: Wish,
    job: Job,
    ticket: Ticket,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let streamed = streamed(&headers, &body)?;
    let listing = app.models.list().await?;
    let wish = Wish::read(&body, &listing)?;
    if let Some(here) = wish.here(&listing) {
        return respond(streamed, Here(here)).await;
    }
    if app.config.offline {
        let message = "the server was started with --offline: it fetches nothing".to_owned();
        return Err(ApiError::new(StatusCode::FORBIDDEN, Some("offline"), message));
    }
    let job =
        app.engine.download(&wish.name, &wish.options()).map_err(|error| refused(error.into()))?;
    let ticket = app.downloads.add(wish.purpose, &wish.name);
    respond(streamed, Fetch { app, wish, job, ticket }).await
}

impl Wish {
    fn read(body: &Body, listing: &Listing) -> ApiResult<Self> {
        let Some(name) = text(body, "repo_id")? else {
            let message = "repo_id: name a repository, such as \"unsloth/Qwen3-0.6B-GGUF\"";
            return Err(ApiError::invalid("repo_id", message));
        };
        check(name)?;
        let purpose = purpose(body)?.unwrap_or_else(|| of_short_name(listing, name));
        let own = |field| text(body, field).map(|text| text.map(str::to_owned));
        let (local_name, revision) = (own("local_name")?, own("revision")?);
        Ok(Self { name: name.to_owned(), purpose, local_name, revision })
    }

    /// What is answered where the model is here: only then no hub is asked.
    fn here(&self, listing: &Listing) -> Option<Value> {
        let entry = match &self.local_name {
            Some(local) => listing.with_id(self.purpose, local)?,
            None => listing.find(self.purpose, &self.name)?,
        };
        (entry.is_whole() && self.revision.is_none()).then(|| {
            json!({
                "success": true,
                "message": format!("Model already exists at {}", entry.path()),
                "local_path": entry.path(),
                "model_id": entry.id(),
            })
        })
    }

    /// The library's options. With a revision it looks for no file of the name's own, which may be any in the
    /// folder that the server was started in.
    fn options(&self) -> Value {
        let named = self
            .name
            .split_once('@')
            .map(|(_, rest)| rest.split([':', '/']).next().unwrap_or_default());
        let mut options = json!({
            "model_type": self.purpose.name(),
            "revision": self.revision.as_deref().or(named).unwrap_or("main"),
        });
        if let Some(name) = &self.local_name {
            options["local_name"] = json!(name);
        }
        options
    }
}

/// Only what can be a repository, a file of one or a short name: never a path.
fn check(name: &str) -> ApiResult<()> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.@:".contains(c);
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains("..")
            && part.chars().all(is_word)
    };
    // A drive's letter.
    let is_absolute = name.as_bytes().get(1) == Some(&b':');
    if name.split('/').all(is_part) && !is_absolute && name.len() <= 512 {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    let message = format!(
        "repo_id: {shown:?} is no repository; expected \"OWNER/NAME\", \"OWNER/NAME:QUANTISATION\", \
         \"OWNER/NAME/FILE.gguf\" or a short name"
    );
    Err(ApiError::invalid("repo_id", message))
}

/// What a short name is for; Fluid Server's default for all others.
fn of_short_name(listing: &Listing, name: &str) -> Purpose {
    let mut short = listing.short_names().iter();
    let short = short.find(|short| short["name"] == name);
    short.and_then(|short| Purpose::of(short["type"].as_str()?)).unwrap_or(Purpose::Llm)
}

/// Errors name the field of this route.
fn refused(mut error: ApiError) -> ApiError {
    let is_own = |param: &str| matches!(param, "local_name" | "revision" | "model_type");
    if error.status.is_client_error() && !error.param.as_deref().is_some_and(is_own) {
        error.param = Some("repo_id".into());
    }
    error
}

impl Steps for Fetch {
    async fn next(&mut self) -> Option<Value> {
        loop {
            let event = self.job.next().await?;
            match event.kind {
                Kind::Progress => {
                    let mut told: Value = serde_json::from_str(&event.json).unwrap_or_default();
                    told["progress"] = json!(event.progress);
                    self.ticket.note(&told);
                    return Some(told);
                }
                Kind::Notice => {
                    let told = json!({"phase": "waiting", "message": event.text});
                    self.ticket.note(&told);
                    return Some(told);
                }
                _ => {}
            }
        }
    }

    async fn end(self) -> ApiResult<Value> {
        let end = self.job.end().await;
        if end.status != FLUID_OK {
            let cancelled = || "the download was stopped: the server is ending".to_owned();
            let message =
                Some(end.message).filter(|text| !text.is_empty()).unwrap_or_else(cancelled);
            return Err(refused(Failure { status: end.status, message }.into()));
        }
        let mut result: Value = serde_json::from_str(&end.result).unwrap_or_default();
        let listing = self.app.models.list().await?;
        let of_path = listing.entries().find(|entry| result["path"] == entry.path());
        let path = result["path"].take();
        let mut answer = json!({
            "phase": "done",
            "success": true,
            "message": format!("Successfully downloaded {}", self.wish.name),
            "local_path": path,
            "model_id": of_path.map(|entry| entry.id()),
        });
        for field in ["repo", "revision", "files", "bytes", "downloaded_bytes"] {
            answer[field] = result[field].take();
        }
        Ok(answer)
    }
}

/// There is nothing to do.
struct Here(Value);

impl Steps for Here {
    async fn next(&mut self) -> Option<Value> {
        None
    }

    async fn end(self) -> ApiResult<Value> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn repositories_are_no_paths() {
        let sound = [
            "unsloth/gemma-3-4b-it-GGUF",
            "a/b:Q4_K_M",
            "a/b@v1.0",
            "a/b/c/d.gguf",
            "whisper-tiny",
        ];
        for name in sound {
            check(name).expect(name);
        }
        let hostile = [
            "/etc/passwd",
            "../a",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "C:/x",
            "c:x",
            "a/b%2e",
            "~/x",
            "a b/c",
            "a/.git",
            "a\0b",
            "ä/b",
            "file:///etc",
            "a/b?x=1",
            "a/b#c",
        ];
        for name in hostile {
            let error = check(name).expect_err(name);
            assert_eq!(error.param.as_deref(), Some("repo_id"));
        }
        check(&"a".repeat(513)).expect_err("long");
    }
}
