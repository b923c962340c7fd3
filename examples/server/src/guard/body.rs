//! How much a request may send, and how slowly.
#![forbid(unsafe_code)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{ready, Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{sleep, Instant, Sleep};

use crate::cli::Config;
use crate::error::ApiError;

/// How long a body may take as a whole: what trickles ends, too.
const WHOLE: Duration = Duration::from_secs(15 * 60);

/// Bytes of bodies that may be held at once.
const ALL: u64 = 1 << 30;

pub(super) struct Limits {
    json: u64,
    upload: u64,
    all: u64,
    patience: Duration,
    pub(super) held: Arc<AtomicU64>,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        let bytes = |mib: u32| u64::from(mib) << 20;
        let (json, upload) = (bytes(config.max_body_mb), bytes(config.max_upload_mb));
        let patience = Duration::from_secs(config.client_timeout.into());
        let all = ALL.max(2 * json.max(upload));
        Self { json, upload, all, patience, held: Arc::default() }
    }

    /// What a request to `path` may send; an error where it says itself that it is more.
    pub(super) fn check(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: &Body,
    ) -> Result<Audit, ApiError> {
        let most = if path.starts_with("/v1/audio/") { self.upload } else { self.json };
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|text| text.to_str().ok()?.parse().ok());
        if length.unwrap_or(body.size_hint().lower()) > most {
            return Err(Reason::Size(most).error());
        }
        let (all, patience) = (self.all, self.patience);
        let held = Held { of_all: Arc::clone(&self.held), own: AtomicU64::new(0) };
        Ok(Audit(Arc::new(State { most, all, patience, held, reason: OnceLock::new() })))
    }
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// It is larger than so many bytes.
    Size(u64),
    /// It came too slowly.
    Time,
    /// Too much is held already.
    Memory,
}

impl Reason {
    fn error(self) -> ApiError {
        let (status, code, message) = match self {
            Self::Size(most) => {
                let text =
                    format!("the body is larger than {} MiB, the server's limit", most >> 20);
                (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text)
            }
            Self::Time => {
                let text = "the body came too slowly, or not at all".to_owned();
                (StatusCode::REQUEST_TIMEOUT, "body_too_slow", text)
            }
            Self::Memory => {
                let text = "the server holds too much of other requests: try again".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "busy", text)
            }
        };
        let mut error = ApiError::new(status, Some(code), message);
        error.retry_after = matches!(self, Self::Memory).then_some(2);
        error
    }
}

/// Bytes that count among all until the request was answered, to the end of what is streamed.
struct Held {
    of_all: Arc<AtomicU64>,
    own: AtomicU64,
}

impl Held {
    /// Adds to both; the sum of all.
    fn add(&self, bytes: u64) -> u64 {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        self.of_all.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.own.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

struct State {
    most: u64,
    all: u64,
    patience: Duration,
    held: Held,
    reason: OnceLock<Reason>,
}

/// What is to be known of one request's body.
pub(super) struct Audit(Arc<State>);

impl Audit {
    /// The body, which fails when it breaks a rule.
    pub(super) fn bound(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let now = Instant::now();
        let timer = Box::pin(sleep(self.0.patience));
        Body::new(Bounded { body, state: Arc::clone(&self.0), timer, since: now, begun: now })
    }

    /// The rule that it broke.
    pub(super) fn verdict(&self) -> Option<ApiError> {
        self.0.reason.get().map(|reason| reason.error())
    }

    /// The answer. One that is streamed takes the count along: the work goes on, with what the request sent.
    pub(super) fn until_sent(self, response: Response) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Holding { body, _held: self.0 }))
    }
}

/// An answer's body whose request still counts.
struct Holding {
    body: Body,
    _held: Arc<State>,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Bounded {
    body: Body,
    state: Arc<State>,
    timer: Pin<Box<Sleep>>,
    /// The last byte.
    since: Instant,
    begun: Instant,
}

impl Bounded {
    fn fail<T>(&self, reason: Reason) -> Poll<Option<Result<T, axum::Error>>> {
        let reason = self.state.reason.get_or_init(|| reason);
        Poll::Ready(Some(Err(axum::Error::new(reason.error().message))))
    }

    /// Ready when the client has taken too long. The timer is set anew only when it has run out, since there are
    /// many frames.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let end = (self.since + self.state.patience).min(self.begun + WHOLE);
            if self.timer.deadline() < end {
                self.timer.as_mut().reset(end);
            }
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
        }
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(reason) = self.state.reason.get() {
            return self.fail(*reason);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.poll_patience(cx));
            return self.fail(Reason::Time);
        };
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        self.since = Instant::now();
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let all = self.state.held.add(bytes);
        if self.state.held.own.load(Ordering::Relaxed) > self.state.most {
            return self.fail(Reason::Size(self.state.most));
        }
        if all > self.state.all {
            return self.fail(Reason::Memory);
        }
        if self.since > self.begun + WHOLE {
            return self.fail(Reason::Time);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
