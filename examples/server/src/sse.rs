//! Streams of events (`text/event-stream`).
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};

pub(crate) use axum::response::sse::Event;

/// Comments go out as often while nothing else does: proxies and clients take silence for an end.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An answer whose events have the data that `data` yields. Dropped by the client, the stream is dropped with
/// all it owns.
pub(crate) fn response(data: impl Stream<Item = String> + Send + 'static) -> Response {
    events(data.map(self::data))
}

/// The same, of events that may have names.
pub(crate) fn events(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let sse = Sse::new(events.map(Ok::<_, Infallible>));
    let sse = sse.keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([("x-accel-buffering", "no")], sse).into_response()
}

/// An event without a name.
pub(crate) fn data(data: String) -> Event {
    Event::default().data(data)
}

/// An event with a name, as its data has it as `type`.
pub(crate) fn named(name: &str, data: String) -> Event {
    Event::default().event(name).data(data)
}
