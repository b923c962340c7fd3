//! Who awaits a job: what it has said goes there, as far as somebody takes it.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluid::ffi::{FLUID_CANCELLED, FLUID_ERROR_BUSY};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

use super::event::{End, Event, Kind, Said};

/// Bytes of events that may wait for the task that awaits them; a plain token is about 150.
const BACKLOG: usize = 4 << 20;

/// What an event takes beside its texts, about.
const EVENT: usize = size_of::<Said>() + 32;

const TOO_SLOW: &str =
    "the answer is read too slowly: too much of it waits; read on while it comes, or ask for \
                        fewer tokens";
pub(super) const ENDING: &str = "the server is ending: try again when it is back";

/// The reader's side.
pub(super) struct Task {
    to: UnboundedSender<Said>,
    waiting: Arc<AtomicUsize>,
    started: Instant,
    has_spoken: bool,
    /// Why nothing but the end is passed on any more.
    stopped: Option<&'static str>,
}

/// The side of the task that awaits the job.
pub(super) struct Saying {
    from: UnboundedReceiver<Said>,
    waiting: Arc<AtomicUsize>,
}

impl Task {
    pub(super) fn new() -> (Self, Saying) {
        let (to, from) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let saying = Saying { from, waiting: Arc::clone(&waiting) };
        let task = Self { to, waiting, started: Instant::now(), has_spoken: false, stopped: None };
        (task, saying)
    }

    /// How long the job took to say something, when this is it.
    pub(super) fn first_words(&mut self, event: &Event) -> Option<Duration> {
        let are_words = match event.kind {
            Kind::Token | Kind::Reasoning | Kind::Segment => !event.text.is_empty(),
            Kind::ToolCall => true,
            _ => false,
        };
        let is_first = are_words && !self.has_spoken;
        self.has_spoken |= are_words;
        is_first.then(|| self.started.elapsed())
    }

    /// Passes an event on. False: so much waits that the job should stop.
    pub(super) fn pass(&mut self, event: Event) -> bool {
        if self.stopped.is_some() {
            return true;
        }
        let size = size(&event);
        if self.waiting.fetch_add(size, Ordering::Relaxed) + size > BACKLOG {
            self.stop(TOO_SLOW);
            return false;
        }
        // Where nobody awaits it any more it is being cancelled.
        let _ = self.to.send(Said::Event(event));
        true
    }

    /// Passes nothing on but the end, which tells `why`.
    pub(super) fn stop(&mut self, why: &'static str) {
        self.stopped.get_or_insert(why);
    }

    pub(super) fn finish(self, mut end: Box<End>) {
        if let (Some(why), FLUID_CANCELLED) = (self.stopped, end.status) {
            end.status = FLUID_ERROR_BUSY;
            end.message = why.to_owned();
        }
        let _ = self.to.send(Said::End(end));
    }
}

impl Saying {
    /// What the job says next; none where it was lost.
    pub(super) async fn next(&mut self) -> Option<Said> {
        let said = self.from.recv().await;
        if let Some(Said::Event(event)) = &said {
            self.waiting.fetch_sub(size(event), Ordering::Relaxed);
        }
        said
    }
}

fn size(event: &Event) -> usize {
    EVENT + event.text.len() + event.json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Event {
        let (text, json) = (text.to_owned(), String::new());
        Event { kind: Kind::Token, choice: 0, text, json, progress: 0.0 }
    }

    fn end(status: i32) -> Box<End> {
        let (message, result) = (String::new(), String::new());
        Box::new(End { status, message, result, floats: Vec::new(), dimensions: 0, model: None })
    }

    #[tokio::test]
    async fn who_does_not_read_has_the_job_stopped_and_is_told() {
        let (mut task, mut saying) = Task::new();
        let long = "x".repeat(1 << 20);
        let passed = (0..10).take_while(|_| task.pass(token(&long))).count();
        assert_eq!(passed, 3, "4 MiB and their envelopes are too much");
        assert!(task.pass(token("more")), "it was told once");
        task.finish(end(FLUID_CANCELLED));
        for _ in 0..passed {
            assert!(matches!(saying.next().await, Some(Said::Event(_))));
        }
        let Some(Said::End(end)) = saying.next().await else { panic!("an end") };
        assert_eq!((end.status, end.message.as_str()), (FLUID_ERROR_BUSY, TOO_SLOW));
    }

    #[tokio::test]
    async fn who_reads_is_never_too_slow() {
        let (mut task, mut saying) = Task::new();
        let long = "x".repeat(1 << 20);
        for _ in 0..100 {
            assert!(task.pass(token(&long)));
            assert!(matches!(saying.next().await, Some(Said::Event(_))));
        }
    }

    #[test]
    fn only_the_first_words_are_timed() {
        let (mut task, _saying) = Task::new();
        assert!(task.first_words(&token("")).is_none());
        assert!(task.first_words(&token("a")).is_some());
        assert!(task.first_words(&token("b")).is_none());
    }
}
