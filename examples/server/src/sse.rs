//! Streams of events (`text/event-stream`).

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;

/// Comments go out as often while nothing else does: proxies and clients take silence for an end.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An answer whose events come from `events`. Dropped by the client, the stream is dropped with all it owns.
pub(crate) fn response(events: impl Stream<Item = String> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let events = events.map(|data| Ok::<_, Infallible>(Event::default().data(data)));
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([("x-accel-buffering", "no")], sse).into_response()
}
