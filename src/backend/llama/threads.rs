//! The threads that compute: one pool for each model, and turns among models where cores are few.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::time::Duration;

use llama_cpp_sys_2 as sys;
use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex};

use super::native::report;
use super::shim;
use crate::backend::Interrupt;
use crate::error::{Error, ErrorKind, Result};

/// How often a model that waits for its turn looks whether it should stop.
const LOOK_AROUND: Duration = Duration::from_millis(5);

/// ggml's own threads for one context.
pub(super) struct Threads {
    pointer: NonNull<sys::ggml_threadpool>,
    count: u32,
}

thread_local! {
    static OF_THIS_THREAD: RefCell<Weak<Threads>> = const { RefCell::new(Weak::new()) };
}

impl Threads {
    /// The pool of `count` threads that all contexts on the calling thread share: a model and the one
    /// that drafts for it compute by turns, and a pool of each would spin while the other computes.
    pub(super) fn shared(count: u32) -> Result<Rc<Self>> {
        OF_THIS_THREAD.with_borrow_mut(|known| {
            if let Some(pool) = known.upgrade().filter(|pool| pool.count == count) {
                return Ok(pool);
            }
            let pool = Rc::new(Self::new(count)?);
            *known = Rc::downgrade(&pool);
            Ok(pool)
        })
    }

    /// A pool of `count` threads, the calling one included, whose priority and affinity they
    /// inherit.
    fn new(count: u32) -> Result<Self> {
        // SAFETY: takes a number and returns a pool or null.
        let made = shim::call(|out| unsafe { shim::fluid_llama_new_threads(count as i32, out) });
        // ggml asserts that each thread could be made.
        let pointer = made.ok().and_then(NonNull::new).ok_or_else(|| {
            let message = format!("cannot start {count} compute threads; use a smaller n_threads");
            Error::new(ErrorKind::OutOfMemory, message)
        })?;
        Ok(Self { pointer, count })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::ggml_threadpool {
        self.pointer.as_ptr()
    }

    /// Waits until the machine has cores for them. `None`: interrupted before; it then stands
    /// behind the others that wait.
    pub(super) fn wait_for_cores(&self, interrupt: &Interrupt) -> Option<CoreTurn> {
        CORES.take(self.count, interrupt)
    }

    /// Gives the cores back. A pool that has just computed spins for a while, so it is sent to
    /// sleep where others want them.
    pub(super) fn give_back(&self, turn: CoreTurn) {
        if turn.others_wait() {
            // SAFETY: the pool is alive and computes nothing.
            unsafe { sys::ggml_threadpool_pause(self.as_ptr()) };
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: made by ggml, freed once, after the context it was attached to.
        let freed = shim::call(|out| unsafe { shim::fluid_llama_free_threads(self.as_ptr(), out) });
        report(freed, "stopping compute threads");
    }
}

/// The cores of this machine, shared by all models of the process: two that compute at once on
/// the same cores take far longer than one after the other, for ggml's threads spin at barriers.
struct Cores {
    state: Mutex<Share>,
    changed: Condvar,
}

struct Share {
    busy: u32,
    tickets: u64,
    waiting: VecDeque<u64>,
}

static CORES: Cores = Cores {
    state: Mutex::new(Share { busy: 0, tickets: 0, waiting: VecDeque::new() }),
    changed: Condvar::new(),
};

/// Logical cores of this process, counted once: the answer depends on the calling thread's
/// affinity, and takes reading files.
pub(super) fn count_cores() -> u32 {
    static COUNT: OnceCell<u32> = OnceCell::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, |all| all.get() as u32))
}

/// Cores in use, given back when dropped.
pub(super) struct CoreTurn {
    count: u32,
}

impl Cores {
    /// Waits, first come first served, until `count` cores are free, or all of them.
    fn take(&'static self, count: u32, interrupt: &Interrupt) -> Option<CoreTurn> {
        let all = count_cores();
        let mut share = self.state.lock();
        share.tickets += 1;
        let ticket = share.tickets;
        share.waiting.push_back(ticket);
        loop {
            let fits = share.busy == 0 || share.busy + count <= all;
            if fits && share.waiting.front() == Some(&ticket) {
                share.waiting.pop_front();
                share.busy += count;
                // There may be cores for the next one too.
                self.changed.notify_all();
                return Some(CoreTurn { count });
            }
            if interrupt.is_raised() {
                share.waiting.retain(|&waiting| waiting != ticket);
                self.changed.notify_all();
                return None;
            }
            self.changed.wait_for(&mut share, LOOK_AROUND);
        }
    }
}

impl CoreTurn {
    fn others_wait(&self) -> bool {
        !CORES.state.lock().waiting.is_empty()
    }
}

impl Drop for CoreTurn {
    fn drop(&mut self) {
        CORES.state.lock().busy -= self.count;
        CORES.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn models_that_want_all_cores_compute_in_turn() {
        static INSIDE: AtomicU32 = AtomicU32::new(0);
        let all = std::thread::available_parallelism().map_or(1, |all| all.get() as u32);
        let work = move || {
            for _ in 0..50 {
                let turn = CORES.take(all, &Interrupt::default()).expect("nobody interrupts");
                assert_eq!(INSIDE.fetch_add(1, Ordering::SeqCst), 0);
                std::thread::sleep(Duration::from_micros(100));
                INSIDE.fetch_sub(1, Ordering::SeqCst);
                drop(turn);
            }
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(work)).collect();
        for thread in threads {
            thread.join().expect("no two at once");
        }
        // One that should stop does not wait, and is forgotten.
        let turn = CORES.take(all, &Interrupt::default());
        let interrupt = Interrupt::default();
        interrupt.raise();
        assert!(CORES.take(1, &interrupt).is_none());
        assert!(turn.is_some_and(|turn| !turn.others_wait()));
    }
}
