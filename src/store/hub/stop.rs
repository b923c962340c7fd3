//! Ends what the threads of one act wait for.
#![forbid(unsafe_code)]

use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender, TryRecvError};
use parking_lot::Mutex;

/// Nothing is ever sent: the channel is closed, which wakes all who wait.
enum Never {}

/// Raised once, seen by all threads.
pub(super) struct Stop {
    sender: Mutex<Option<Sender<Never>>>,
    raised: Receiver<Never>,
}

impl Stop {
    pub(super) fn new() -> Self {
        let (sender, raised) = bounded(0);
        Self { sender: Mutex::new(Some(sender)), raised }
    }

    pub(super) fn raise(&self) {
        *self.sender.lock() = None;
    }

    pub(super) fn is_raised(&self) -> bool {
        matches!(self.raised.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits; false as soon as the stop is raised.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        matches!(self.raised.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// What `answer` brings; `None` as soon as the stop is raised, or where nobody will send.
    pub(super) fn wait<T>(&self, answer: &Receiver<T>) -> Option<T> {
        crossbeam_channel::select! {
            recv(answer) -> answer => answer.ok(),
            recv(self.raised) -> _ => None,
        }
    }
}
