//! Encodes windows ahead: while the texts of some are written, the next one is being encoded.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::halt::{Halt, OrHalt, Step};
use crate::audio::LogMel;
use crate::backend::{Encoded, GoOn, SpeechSession};
use crate::error::{Error, ErrorKind};
use crate::speech::windows::Window;
use crate::speech::WINDOW_FRAMES;

/// The encoder's work in order.
pub(super) struct Ahead {
    log_mel: LogMel,
    /// The log-mel of the next window, where one is made.
    mel: Vec<f32>,
    made: bool,
    queue: VecDeque<Window>,
    in_flight: Option<Window>,
    ready: VecDeque<(Window, Encoded)>,
}

impl Ahead {
    pub(super) fn new(n_mels: usize) -> Self {
        Self {
            log_mel: LogMel::new(n_mels),
            mel: vec![0.0; n_mels * WINDOW_FRAMES as usize],
            made: false,
            queue: VecDeque::new(),
            in_flight: None,
            ready: VecDeque::new(),
        }
    }

    /// Queues windows after those that are queued.
    pub(super) fn extend(&mut self, windows: impl IntoIterator<Item = Window>) {
        self.queue.extend(windows);
    }

    /// Windows that were queued and not taken.
    pub(super) fn left(&self) -> usize {
        self.queue.len() + usize::from(self.in_flight.is_some()) + self.ready.len()
    }

    /// Takes what is encoded and begins the next, without waiting; up to `limit` are kept.
    pub(super) fn pump(
        &mut self,
        session: &mut dyn SpeechSession,
        samples: &[f32],
        limit: usize,
    ) -> Step<()> {
        if self.in_flight.is_some() && session.is_encoded()? {
            // It is encoded: nothing is waited for, so there is nothing to stop.
            self.land(session, &|| true)?;
        }
        if self.in_flight.is_none() && self.ready.len() < limit {
            self.begin(session, samples)?;
        }
        Ok(())
    }

    /// The next window, encoded; its successor is begun.
    pub(super) fn next(
        &mut self,
        session: &mut dyn SpeechSession,
        samples: &[f32],
        go_on: GoOn<'_>,
    ) -> Step<(Window, Encoded)> {
        if self.ready.is_empty() {
            if self.in_flight.is_none() {
                self.begin(session, samples)?;
            }
            // Made now, while the encoder computes.
            self.make(samples);
            self.land(session, go_on)?;
            self.begin(session, samples)?;
        }
        let nothing = || Halt::from(Error::new(ErrorKind::Internal, "no window is left"));
        self.ready.pop_front().ok_or_else(nothing)
    }

    /// `window`, encoded before what is queued.
    pub(super) fn encode_now(
        &mut self,
        session: &mut dyn SpeechSession,
        samples: &[f32],
        window: &Window,
        go_on: GoOn<'_>,
    ) -> Step<Encoded> {
        self.land(session, go_on)?;
        self.made = false;
        self.log_mel.window(&samples[window.samples()], &mut self.mel);
        session.begin_encode(&self.mel)?;
        session.finish_encode(go_on)?.or_halt()
    }

    /// Makes the log-mel of the next window.
    fn make(&mut self, samples: &[f32]) {
        if let (Some(window), false) = (self.queue.front(), self.made) {
            self.log_mel.window(&samples[window.samples()], &mut self.mel);
            self.made = true;
        }
    }

    fn begin(&mut self, session: &mut dyn SpeechSession, samples: &[f32]) -> Step<()> {
        self.make(samples);
        if let Some(window) = self.queue.pop_front() {
            session.begin_encode(&self.mel)?;
            (self.made, self.in_flight) = (false, Some(window));
        }
        Ok(())
    }

    /// Waits for the window that was begun. Stopped or failed, the window is lost, and the whole
    /// transcription with it: `Step` ends it there, so that no later window is told after a gap.
    fn land(&mut self, session: &mut dyn SpeechSession, go_on: GoOn<'_>) -> Step<()> {
        if let Some(window) = self.in_flight.take() {
            let encoded = session.finish_encode(go_on)?.or_halt()?;
            self.ready.push_back((window, encoded));
        }
        Ok(())
    }
}
