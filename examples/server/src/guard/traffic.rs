//! What is noted of each request: a line in the log, numbers, and the id that both sides can name.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::MatchedPath;
use axum::http::{HeaderValue, Method, Request};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use crate::app::App;
use crate::log;
use crate::metrics::Counted;

/// The status of requests whose client left before there was an answer, as others note it.
const LEFT: u16 = 499;

/// A request that is being answered; what came of it is noted when it is dropped.
pub(super) struct Seen {
    app: Arc<App>,
    _counted: Counted,
    id: String,
    method: &'static str,
    path: String,
    route: Option<MatchedPath>,
    status: u16,
    /// The answer was sent to its end.
    is_whole: bool,
    started: Instant,
}

impl Seen {
    pub(super) fn new(app: &Arc<App>, request: &Request<Body>) -> Self {
        Self {
            app: Arc::clone(app),
            _counted: app.metrics.request(),
            id: id(),
            method: method(request.method()),
            path: request.uri().path().chars().take(200).collect(),
            route: request.extensions().get().cloned(),
            status: LEFT,
            is_whole: true,
            started: Instant::now(),
        }
    }

    /// The answer, which takes the note along.
    pub(super) fn answer(mut self, response: Response) -> Response {
        self.status = response.status().as_u16();
        let mut response = response;
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert("x-request-id", id);
        }
        if self.method == "HEAD" || response.body().is_end_stream() {
            return response;
        }
        self.is_whole = false;
        response.map(|body| Body::new(Sent { body, seen: self }))
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let (took, status) = (self.started.elapsed(), self.status);
        let route = self.route.as_ref().map_or("other", MatchedPath::as_str);
        self.app.metrics.answered(self.method, route, status, took);
        let left = if self.is_whole && status != LEFT { "" } else { ", the client left" };
        let (method, path, id) = (self.method, &self.path, &self.id);
        let millis = took.as_secs_f64() * 1e3;
        log::info!("{method} {path} {status} {millis:.1} ms{left} ({id})");
    }
}

/// Ids of two runs of the server differ.
fn id() -> String {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("req_{:016x}{:08x}", *SEED, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A name out of few, since it becomes a label.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|name| method.as_str() == *name).unwrap_or("OTHER")
}

/// An answer's body that knows whether all of it was taken.
struct Sent {
    body: Body,
    seen: Seen,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.seen.is_whole = match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            _ => self.seen.is_whole,
        };
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
