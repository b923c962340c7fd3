//! A transcription's job as its thread sees it: whether to go on, and where to tell what was heard.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::halt::{OrHalt, Step};
use super::Inbox;
use crate::engine::event::{Body, Event};
use crate::engine::job::Job;
use crate::engine::signal::Signal;

/// The share of the progress that reading the audio has: it is much faster than what follows.
const READING: f32 = 0.05;
/// How long to wait for a slow reader before looking for stops again.
const MOMENT: Duration = Duration::from_millis(20);
/// How long others wait for a thread or its memory before one that waits for its reader goes on without.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Watch<'a> {
    pub(super) job: Arc<Job>,
    /// Who waits for this thread.
    pub(super) inbox: &'a Inbox<'a>,
    pub(super) signal: &'a Signal,
}

impl Watch<'_> {
    pub(super) fn goes_on(&self) -> bool {
        self.job.stop_cause().is_none() && !self.signal.is_shut_down()
    }

    /// Queues an event, as soon as its reader has room for it, or another job has waited long enough.
    pub(super) fn push(&self, body: Body) -> Step<()> {
        let mut needed: Option<Instant> = None;
        while !self.job.wait_for_room(MOMENT) {
            self.goes_on().or_halt()?;
            needed = self.inbox.is_needed().then(|| needed.unwrap_or_else(Instant::now));
            if needed.is_some_and(|since| since.elapsed() >= PATIENCE) {
                // Nobody may ever read, and the thread is needed. The result holds the segments
                // anyway: their events are as much again.
                self.job.lift_bound();
            }
        }
        self.job.push(Event::now(body));
        Ok(())
    }

    /// Tells the share of the audio that is read.
    pub(super) fn tell_read(&self, share: f32) {
        self.job.push_progress(READING * share.min(1.0));
    }

    /// Tells the share of the audio that is done, once it is read.
    pub(super) fn tell_done(&self, share: f32) {
        self.job.push_progress(READING + (1.0 - READING) * share.min(1.0));
    }
}
