//! A job: one long act, its events and its one end.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::completion::Completion;
use super::embedder::{Embeddings, Ranking};
use super::event::{Body, Ending, Event};
use super::model::Model;
use super::queue::Queue;
use super::residence::Use;
use super::signal::Signal;
use super::speech::Transcript;
use super::states::StateResult;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Downloaded;

/// Why a job should stop before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// Somebody asked.
    Cancel,
    /// Its time is over.
    Deadline,
}

impl StopCause {
    /// The ending that this cause leads to.
    pub fn ending(self) -> Ending {
        match self {
            StopCause::Cancel => Ending::Cancelled,
            StopCause::Deadline => Ending::Deadline,
        }
    }
}

/// Who can end a job when it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody works on it that must be asked: a stop ends it on the spot. Jobs that wait for
    /// a slot, and loads, whose native part goes on until it notices.
    Loose,
    /// A worker has it in its batch: a stop asks the worker.
    Running,
    /// Its final event is queued or read.
    Ended,
}

/// What a job leaves behind.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing: a load that failed or was stopped.
    Nothing,
    /// A loaded model, until somebody takes it.
    Model(Arc<Model>),
    /// A generation's result, whole or as far as it came.
    Completion(Box<Completion>),
    /// A transcription's result, whole or as far as it came.
    Transcript(Box<Transcript>),
    /// Vectors of texts, all or as far as they came.
    Embeddings(Box<Embeddings>),
    /// Documents in order, all or as far as they came.
    Ranking(Box<Ranking>),
    /// A download's files.
    Download(Box<Downloaded>),
    /// What came of saving a sequence or of bringing one back.
    State(StateResult),
}

/// What a reader gets.
#[derive(Debug)]
pub enum Next {
    /// The next event.
    Event(Event),
    /// None came in time.
    Timeout,
    /// The final event was read before.
    End,
    /// The job was freed while this call waited.
    Closed,
}

struct State {
    phase: Phase,
    stop: Option<StopCause>,
    events: VecDeque<Event>,
    /// The worker paused the job for want of room and waits to be woken.
    starved: bool,
    /// The reader is gone.
    closed: bool,
    /// The event queue's bound is lifted: its reader waits inside its own callback.
    unbounded: bool,
    /// Listed as ready in `queue`.
    listed: bool,
    queue: Option<Arc<Queue>>,
    place: Option<Place>,
    /// The model is in use while it runs.
    model: Option<Use>,
    outcome: Outcome,
}

/// A place among the jobs that wait for a slot of a model; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place if fewer than `limit` are taken in `count`.
    pub fn take(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let more = |taken| (taken < limit).then_some(taken + 1);
        let update = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        update.ok().map(|_| Self(Arc::clone(count)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One long act, shared by its reader and its worker.
pub struct Job {
    started: Instant,
    capacity: usize,
    signal: Signal,
    tag: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("tag", &self.tag()).finish_non_exhaustive()
    }
}

impl Job {
    /// A job whose reader may fall `capacity` events behind; `signal` reaches its worker.
    pub fn new(
        capacity: usize,
        signal: Signal,
        place: Option<Place>,
        outcome: Outcome,
    ) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            capacity,
            signal,
            tag: AtomicU64::new(0),
            state: Mutex::new(State {
                phase: Phase::Loose,
                stop: None,
                events: VecDeque::new(),
                starved: false,
                closed: false,
                unbounded: false,
                listed: false,
                queue: None,
                place,
                model: None,
                outcome,
            }),
            changed: Condvar::new(),
        })
    }

    /// When the job was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// A word of the embedder's own, 0 until set; a queue's reader tells jobs apart by it.
    pub fn tag(&self) -> u64 {
        self.tag.load(Ordering::Acquire)
    }

    /// Sets the embedder's word.
    pub fn set_tag(&self, tag: u64) {
        self.tag.store(tag, Ordering::Release);
    }

    /// Counts as a user of a model until it ends.
    pub(super) fn uses(&self, model: Use) {
        self.state.lock().model = Some(model);
    }

    // --- the worker's side ---

    /// The worker begins with the job, which leaves the queue. False: it ended while it waited.
    pub fn admit(&self) -> bool {
        let prepared = self.prepare();
        self.leave_queue();
        prepared
    }

    /// The worker begins with the job, which keeps its place in the queue. False: it ended while
    /// it waited.
    pub fn prepare(&self) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Loose {
            return false;
        }
        state.phase = Phase::Running;
        true
    }

    /// Gives the place in the queue back.
    pub fn leave_queue(&self) {
        self.state.lock().place = None;
    }

    /// Why the job should stop, once it should.
    pub fn stop_cause(&self) -> Option<StopCause> {
        self.state.lock().stop
    }

    /// How a worker should end what it does for the job, once it should: somebody stopped it, or
    /// it has ended.
    pub fn wanted_end(&self) -> Option<Ending> {
        let state = self.state.lock();
        match (state.stop, state.phase) {
            (Some(cause), _) => Some(cause.ending()),
            (None, Phase::Ended) => Some(Ending::Cancelled),
            (None, _) => None,
        }
    }

    /// Whether the final event is queued or read.
    pub fn is_ended(&self) -> bool {
        self.state.lock().phase == Phase::Ended
    }

    /// Whether there is room for a token's event. If not, the worker is woken when there is.
    pub fn has_room(&self) -> bool {
        let mut state = self.state.lock();
        let room = state.unbounded || state.events.len() < self.capacity;
        state.starved = !room;
        room
    }

    /// Whether half of the queue is free, so that a job that was full is worth a slot again. If
    /// not, the worker is woken when something was read.
    pub fn has_ample_room(&self) -> bool {
        let mut state = self.state.lock();
        let room = state.unbounded || state.events.len() <= self.capacity / 2;
        state.starved = !room;
        room
    }

    /// Events of tokens that there is room for.
    pub fn room(&self) -> usize {
        let state = self.state.lock();
        match state.unbounded {
            true => usize::MAX,
            false => self.capacity.saturating_sub(state.events.len()),
        }
    }

    /// Waits a moment for room; the caller looks after stops. Says whether there is room.
    pub fn wait_for_room(&self, moment: Duration) -> bool {
        let mut state = self.state.lock();
        let is_full = |state: &mut State| !state.unbounded && state.events.len() >= self.capacity;
        if is_full(&mut state) {
            self.changed.wait_for(&mut state, moment);
        }
        !is_full(&mut state)
    }

    /// Queues an event of a running job; [`has_room`](Self::has_room) was asked before, by each of its
    /// answers. What a token decides beside its text, and what was held back, needs no room.
    pub fn push(&self, event: Event) {
        let mut state = self.state.lock();
        if state.phase != Phase::Ended {
            state.events.push_back(event);
            self.announce(&mut state);
        }
    }

    /// Queues how far the job is, 0 to 1. An older report that nobody has read is replaced,
    /// and without room the report is left out.
    pub fn push_progress(&self, progress: f32) {
        self.push_report(Body::Progress(progress));
    }

    /// The same with any body that tells how far the job is.
    pub(super) fn push_report(&self, body: Body) {
        let mut state = self.state.lock();
        if state.phase == Phase::Ended {
            return;
        }
        let event = Event::now(body);
        let room = state.events.len() < self.capacity;
        match state.events.back_mut() {
            Some(last) if matches!(last.body, Body::Progress(_) | Body::Download { .. }) => {
                *last = event;
            }
            _ if room => {
                state.events.push_back(event);
                self.announce(&mut state);
            }
            _ => {}
        }
    }

    /// Queues an event; where the reader has fallen behind, in place of the oldest.
    pub(super) fn push_newest(&self, event: Event) {
        let mut state = self.state.lock();
        if state.phase == Phase::Ended {
            return;
        }
        if state.events.len() >= self.capacity {
            state.events.pop_front();
        }
        state.events.push_back(event);
        self.announce(&mut state);
    }

    /// How the job ended and when, as long as nobody has read it.
    pub(super) fn unread_end(&self) -> Option<(Ending, Instant)> {
        match self.state.lock().events.back() {
            Some(Event { body: Body::End(ending), at }) => Some((ending.clone(), *at)),
            _ => None,
        }
    }

    /// Ends the job, unless it has ended: then false, and `outcome` is dropped.
    pub fn finish(&self, ending: Ending, outcome: Option<Outcome>) -> bool {
        let mut state = self.state.lock();
        if state.phase == Phase::Ended {
            // Dropped only after the lock: a model's drop joins its worker.
            drop(state);
            return false;
        }
        let before = outcome.map(|outcome| std::mem::replace(&mut state.outcome, outcome));
        let orphan = self.end(&mut state, ending);
        drop(state);
        drop((before, orphan));
        true
    }

    /// Ends the job, unless it has ended, for nobody will carry it out any more.
    pub(super) fn abandon(&self) {
        let ending = if std::thread::panicking() {
            let message = "the model's worker thread panicked; load the model again";
            Ending::Failed(Error::new(ErrorKind::Internal, message))
        } else {
            Ending::Cancelled
        };
        self.finish(ending, None);
    }

    /// Queues the final event. Returns what nobody will read any more.
    fn end(&self, state: &mut State, ending: Ending) -> Option<Outcome> {
        state.phase = Phase::Ended;
        (state.place, state.model) = (None, None);
        if let Outcome::Completion(completion) = &mut state.outcome {
            completion.ended(&ending);
        }
        state.events.push_back(Event::now(Body::End(ending)));
        self.announce(state);
        state.closed.then(|| std::mem::replace(&mut state.outcome, Outcome::Nothing))
    }

    fn announce(&self, state: &mut State) {
        if !state.listed && !state.closed {
            if let Some(queue) = &state.queue {
                state.listed = true;
                queue.list(self.tag());
            }
        }
        self.changed.notify_all();
    }

    // --- the reader's side ---

    /// Asks the job to stop; the first cause counts. A job nobody works on ends on the spot.
    pub fn request_stop(&self, cause: StopCause) {
        let mut state = self.state.lock();
        if state.phase == Phase::Ended || state.stop.is_some() {
            return;
        }
        state.stop = Some(cause);
        if state.phase == Phase::Running {
            drop(state);
            self.signal.interrupt();
            return;
        }
        let orphan = self.end(&mut state, cause.ending());
        drop(state);
        drop(orphan);
        // Others' computation goes on.
        self.signal.wake();
    }

    /// The next event, waiting until `deadline`; `None` waits for as long as it takes.
    pub fn next(&self, deadline: Option<Instant>) -> Next {
        let mut state = self.state.lock();
        loop {
            if let Some(next) = self.poll(&mut state) {
                return next;
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        return self.poll(&mut state).unwrap_or(Next::Timeout);
                    }
                }
            }
        }
    }

    fn poll(&self, state: &mut State) -> Option<Next> {
        if state.closed {
            return Some(Next::Closed);
        }
        if let Some(event) = state.events.pop_front() {
            self.changed.notify_all();
            if state.starved && state.events.len() < self.capacity {
                state.starved = false;
                self.signal.wake();
            }
            return Some(Next::Event(event));
        }
        (state.phase == Phase::Ended).then_some(Next::End)
    }

    /// The next event of a job that stands in its queue's list; lists it again if more wait.
    pub fn next_listed(&self) -> Next {
        let mut state = self.state.lock();
        state.listed = false;
        let next = self.poll(&mut state).unwrap_or(Next::Timeout);
        if !state.events.is_empty() {
            self.announce(&mut state);
        }
        next
    }

    /// Lifts the bound of the event queue: its reader is about to wait inside its own callback,
    /// for something that may need this job's slot.
    pub fn lift_bound(&self) {
        let mut state = self.state.lock();
        state.unbounded = true;
        if std::mem::take(&mut state.starved) {
            self.signal.wake();
        }
    }

    /// Has `queue` deliver the events from now on, those that wait included.
    pub fn attach(&self, queue: &Arc<Queue>) -> Result<()> {
        let mut state = self.state.lock();
        if state.queue.as_ref().is_some_and(|queue| !queue.is_closed()) {
            return Err(Error::new(ErrorKind::Busy, "the job is attached to a queue already"));
        }
        state.queue = Some(Arc::clone(queue));
        state.listed = false;
        if !state.events.is_empty() {
            self.announce(&mut state);
        }
        Ok(())
    }

    /// Whether a queue delivers the events.
    pub fn is_attached(&self) -> bool {
        let state = self.state.lock();
        state.queue.as_ref().is_some_and(|queue| !queue.is_closed())
    }

    /// The reader leaves: waiting calls return, and the job stops. Waits for nothing.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let orphan = (state.phase == Phase::Ended)
            .then(|| std::mem::replace(&mut state.outcome, Outcome::Nothing));
        self.changed.notify_all();
        drop(state);
        if let Some(Outcome::Model(model)) = orphan {
            model.leave();
        }
        self.request_stop(StopCause::Cancel);
    }

    /// The loaded model, once.
    pub fn take_model(&self) -> Result<Arc<Model>> {
        let mut state = self.state.lock();
        self.check_ended(&state)?;
        match std::mem::replace(&mut state.outcome, Outcome::Nothing) {
            Outcome::Model(model) => Ok(model),
            other => {
                state.outcome = other;
                Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "the job holds no model: it is no load, failed, or its model was taken",
                ))
            }
        }
    }

    /// The result as JSON; a load has `{}`.
    pub fn json(&self) -> Result<String> {
        let state = self.state.lock();
        self.check_ended(&state)?;
        Ok(match &state.outcome {
            Outcome::Completion(completion) => completion.to_json(),
            Outcome::Transcript(transcript) => transcript.body(),
            Outcome::Embeddings(embeddings) => embeddings.to_json(),
            Outcome::Ranking(ranking) => ranking.to_json(),
            Outcome::Download(files) => files.to_json(),
            Outcome::State(result) => result.to_json(),
            _ => "{}".to_owned(),
        })
    }

    /// The vectors one after the other, and the numbers of each.
    pub fn floats(&self) -> Result<(Arc<Vec<f32>>, usize)> {
        let state = self.state.lock();
        self.check_ended(&state)?;
        match &state.outcome {
            Outcome::Embeddings(embeddings) => Ok(embeddings.values()),
            _ => {
                Err(Error::new(ErrorKind::InvalidArgument, "the job is none of fluid_embed_start"))
            }
        }
    }

    fn check_ended(&self, state: &State) -> Result<()> {
        if state.phase == Phase::Ended {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Busy, "the job still runs; read its events up to the end"))
    }

    /// The instant `timeout` from now, or `None` where that is beyond the clock.
    pub fn deadline_in(timeout: Duration) -> Option<Instant> {
        Instant::now().checked_add(timeout)
    }
}
