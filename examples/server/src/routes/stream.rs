//! From jobs to a streamed answer: errors that come first are the answer's status, later ones are events.
#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::response::Response;
use fluid::ffi::{FLUID_CANCELLED, FLUID_DEADLINE};
use futures_util::stream::{select_all, unfold, BoxStream};
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::fluid::{End, Event, Failure, Job, Kind};
use crate::log;
use crate::sse;

/// So long the status waits for what comes first: then the client gets the answer's head, and signs of life.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events that are ready to go out.
pub(super) type Out = VecDeque<sse::Event>;

/// Makes the events of an answer of what its jobs say.
pub(super) trait Writer: Send + 'static {
    /// The answer begins.
    fn begin(&mut self, _out: &mut Out) {}
    /// One of the jobs said something.
    fn event(&mut self, job: usize, event: Event, out: &mut Out);
    /// One of the jobs has ended well, with this result.
    fn end(&mut self, job: usize, result: &Value, out: &mut Out);
    /// The answer ends with an error.
    fn fail(&mut self, error: ApiError, out: &mut Out);
    /// All jobs have ended.
    fn finish(&mut self, _out: &mut Out) {}
}

/// What a job says.
enum Said {
    Event(Event),
    End(ApiResult<Value>),
}

/// Answers with the events that `writer` makes of `jobs`, which run side by side. Where the client leaves, the
/// jobs are dropped, which frees their slots.
pub(super) async fn respond(
    app: &Arc<App>,
    model: &str,
    jobs: Vec<Job>,
    mut writer: impl Writer,
) -> ApiResult<Response> {
    let all = jobs.into_iter().enumerate();
    let mut said = select_all(all.map(|(index, job)| of(app, job, index, model.to_owned())));
    let first = tokio::time::timeout(PATIENCE, said.next()).await.ok().flatten();
    let mut ready = Out::new();
    if let Some((_, Said::End(Err(error)))) = first {
        return Err(error);
    }
    writer.begin(&mut ready);
    let mut answer = Answer { said: Some(said), writer, ready };
    if let Some((job, first)) = first {
        answer.write(job, first);
    }
    Ok(sse::events(unfold(answer, |mut answer| async move {
        answer.next().await.map(|event| (event, answer))
    })))
}

/// What `job` says, up to its end. Notices go to the log.
fn of(app: &Arc<App>, job: Job, index: usize, model: String) -> BoxStream<'static, (usize, Said)> {
    let state = Some((Arc::clone(app), job, model));
    let said = unfold(state, move |state| async move {
        let (app, mut job, model) = state?;
        while let Some(event) = job.next().await {
            match event.kind {
                Kind::Notice => log::warning!("{model}: {}", event.text),
                // It says nothing, and what is wrong may come next.
                Kind::Progress if event.progress == 0.0 => {}
                _ => return Some(((index, Said::Event(event)), Some((app, job, model)))),
            }
        }
        Some(((index, Said::End(result(&app, job.end().await))), None))
    });
    said.boxed()
}

/// Waits for the result of a job whose events nobody wants.
pub(super) async fn awaited(app: &App, model: &str, job: Job) -> ApiResult<Value> {
    result(app, ended(model, job).await)
}

/// As [`awaited`], of a job whose result may be plain text.
pub(super) async fn awaited_text(model: &str, job: Job) -> ApiResult<String> {
    text(ended(model, job).await)
}

async fn ended(model: &str, mut job: Job) -> End {
    while let Some(event) = job.next().await {
        if event.kind == Kind::Notice {
            log::warning!("{model}: {}", event.text);
        }
    }
    job.end().await
}

/// Has `writer` make of a job what nobody waits for event by event.
pub(super) async fn written(
    app: &App,
    model: &str,
    mut job: Job,
    writer: &mut impl Writer,
) -> ApiResult<()> {
    let mut out = Out::new();
    while let Some(event) = job.next().await {
        match event.kind {
            Kind::Notice => log::warning!("{model}: {}", event.text),
            _ => writer.event(0, event, &mut out),
        }
        out.clear();
    }
    writer.end(0, &result(app, job.end().await)?, &mut out);
    Ok(())
}

fn result(app: &App, end: End) -> ApiResult<Value> {
    let status = end.status;
    let result: Value = serde_json::from_str(&text(end)?).unwrap_or_default();
    if status == FLUID_DEADLINE && result["usage"]["completion_tokens"] == 0 {
        let message = "deadline_ms: it passed before anything was said";
        return Err(Failure { status, message: message.into() }.into());
    }
    count(app, &result);
    Ok(result)
}

fn text(end: End) -> ApiResult<String> {
    if end.status == FLUID_CANCELLED {
        let message = "the request was cancelled: its model is unloaded, or the server ends";
        return Err(Failure { status: end.status, message: message.into() }.into());
    }
    Ok(end.worked()?.result)
}

/// Counts the tokens of a result.
pub(super) fn count(app: &App, result: &Value) {
    let tokens = |name: &str| result["usage"][name].as_u64().unwrap_or(0);
    app.metrics.tokens(tokens("prompt_tokens"), tokens("completion_tokens"));
}

struct Answer<S, W> {
    /// `None` when all is written.
    said: Option<S>,
    writer: W,
    ready: Out,
}

impl<S: Stream<Item = (usize, Said)> + Unpin, W: Writer> Answer<S, W> {
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match self.said.as_mut()?.next().await {
                Some((job, said)) => self.write(job, said),
                None => {
                    self.writer.finish(&mut self.ready);
                    self.said = None;
                }
            }
        }
    }

    fn write(&mut self, job: usize, said: Said) {
        match said {
            Said::Event(event) => self.writer.event(job, event, &mut self.ready),
            Said::End(Ok(result)) => self.writer.end(job, &result, &mut self.ready),
            Said::End(Err(error)) => {
                self.writer.fail(error, &mut self.ready);
                self.said = None;
            }
        }
    }
}

/// An id that no other answer has.
pub(super) fn new_id(prefix: &str) -> String {
    // The standard library keys each RandomState anew, from the system's random numbers.
    let random = || RandomState::new().build_hasher().finish();
    format!("{prefix}{:016x}{:016x}", random(), random())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
