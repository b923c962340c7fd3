//! Which threads are ours, asked without the standard library's handle of the current thread: at
//! the end of a process that handle is gone before our exit handler runs.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    // Without a destructor, so it can be read for as long as the thread runs.
    static OWN: Cell<u64> = const { Cell::new(0) };
}

/// The number of a thread of ours; 0 before it runs.
#[derive(Debug, Default)]
pub(crate) struct OwnThread(AtomicU64);

impl OwnThread {
    /// Said by the thread itself, first of all.
    pub(crate) fn enter(&self) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        OWN.set(number);
        self.0.store(number, Ordering::Release);
    }

    /// Whether the calling thread is this one.
    pub(crate) fn is_current(&self) -> bool {
        let own = OWN.get();
        own != 0 && own == self.0.load(Ordering::Acquire)
    }
}

/// Whether the calling thread is one of ours.
pub(crate) fn is_ours() -> bool {
    OWN.get() != 0
}
