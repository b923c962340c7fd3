//! Reaches a worker thread from outside: wakes it when it waits, interrupts it when it computes.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::backend::Interrupt;

/// The sending side; clones reach the same worker.
#[derive(Debug, Clone)]
pub struct Signal {
    interrupt: Interrupt,
    shutdown: Arc<AtomicBool>,
    wake: Sender<()>,
}

impl Signal {
    /// A signal and what its worker waits on.
    pub fn new() -> (Self, Receiver<()>) {
        // One place: a wake-up that waits to be seen stands for all that follow.
        let (wake, woken) = bounded(1);
        let signal = Self { interrupt: Interrupt::default(), shutdown: Arc::default(), wake };
        (signal, woken)
    }

    /// Wakes the worker if it waits.
    pub fn wake(&self) {
        // Full means that a wake-up waits already; disconnected, that the worker is gone.
        let _ = self.wake.try_send(());
    }

    /// Wakes the worker, and stops its computation so that it looks around.
    pub fn interrupt(&self) {
        self.interrupt.raise();
        self.wake();
    }

    /// Asks the worker to end.
    pub fn shut_down(&self) {
        self.shutdown.store(true, Ordering::Release);
        self.interrupt();
    }

    /// Whether the worker should end.
    pub fn is_shut_down(&self) -> bool {
        self.shutdown.load(Ordering::Acquire)
    }

    /// What stops the worker's computation.
    pub fn interrupt_flag(&self) -> &Interrupt {
        &self.interrupt
    }
}
