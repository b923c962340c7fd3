//! What the backends see, asked on threads of their own: a driver may take seconds to answer, or never do.
#![forbid(unsafe_code)]

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use crate::backend::device::Device;
use crate::backend::inventory::{self, OpenVino};
use crate::error::Result;
use crate::own_thread::OwnThread;

/// How often the end of the process looks at threads that have not answered in time.
const LOOK: Duration = Duration::from_millis(5);

/// Someone who is asked questions, and may not answer.
struct Asked {
    /// Held by the one whose question is being answered, or waited for. Whether no more are allowed.
    turn: Mutex<bool>,
    /// The threads whose answer came too late, or has not come yet.
    late: Mutex<Vec<JoinHandle<()>>>,
}

static LLAMA: Asked = Asked::new();
static OPENVINO: Asked = Asked::new();

/// The devices that llama.cpp can use; `None` where this build has no llama.cpp. An error says in a few
/// words why there is no answer.
pub fn llama(patience: Duration) -> std::result::Result<Option<Result<Vec<Device>>>, String> {
    LLAMA.ask(patience, inventory::llama)
}

/// What there is of OpenVINO, whose library is opened if it was not; `None` where this build has no use
/// for it. `explicit` is the library or a folder that holds it. An error says why there is no answer.
pub fn openvino(
    explicit: Option<&str>,
    patience: Duration,
) -> std::result::Result<Option<OpenVino>, String> {
    let explicit = explicit.map(str::to_owned);
    OPENVINO.ask(patience, move || inventory::openvino(explicit.as_deref()))
}

/// Waits until nobody is asked any more, up to `until`; from then on nobody will be. For the end of the
/// process, which takes from native libraries what they work with.
pub fn close(until: Instant) {
    // First, for its static objects do go, llama.cpp's not on every system.
    OPENVINO.close(until);
    LLAMA.close(until);
}

impl Asked {
    const fn new() -> Self {
        Self { turn: Mutex::new(false), late: Mutex::new(Vec::new()) }
    }

    /// The answer to `question`, if it comes within `patience`. Nobody is asked anew before an earlier
    /// answer has come, so that no threads pile up; those who ask at the same time take turns.
    fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> std::result::Result<T, String> {
        const LATE: &str = "has not answered an earlier question yet";
        let until = Instant::now() + patience;
        let closed = self.turn.try_lock_until(until).ok_or(LATE)?;
        if Instant::now() >= until {
            return Err(LATE.to_owned());
        }
        if *closed {
            return Err("is not asked any more, for the process ends".to_owned());
        }
        {
            let mut late = self.late.lock();
            late.retain(|thread| !thread.is_finished());
            if !late.is_empty() {
                return Err(LATE.to_owned());
            }
        }
        let asked = Instant::now();
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let work = move || {
            OwnThread::default().enter();
            // A panic is in the log; it drops the sender.
            if let Ok(answer) = catch_unwind(AssertUnwindSafe(question)) {
                let _ = sender.send(answer);
            }
        };
        let thread = std::thread::Builder::new().name("fluid-survey".into()).spawn(work);
        let thread = thread.map_err(|error| format!("cannot be asked: {error}"))?;
        match receiver.recv_deadline(until) {
            Err(RecvTimeoutError::Timeout) => {
                self.late.lock().push(thread);
                Err(format!("did not answer in {:.1} s", asked.elapsed().as_secs_f32()))
            }
            answer => {
                let _ = thread.join();
                answer.map_err(|_| "failed inside; the log has more".to_owned())
            }
        }
    }

    fn close(&self, until: Instant) {
        let Some(mut closed) = self.turn.try_lock_until(until) else { return };
        *closed = true;
        let mut late = self.late.lock();
        while late.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        for thread in late.drain(..).filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_does_not_answer_is_not_asked_again_until_it_has() {
        static SLOW: Asked = Asked::new();
        let soon = Duration::from_millis(20);
        assert_eq!(SLOW.ask(soon, || 7), Ok(7));
        let (answer, question) = crossbeam_channel::bounded::<()>(0);
        let begin = Instant::now();
        let late = SLOW.ask(soon, move || question.recv().is_ok());
        assert_eq!(late, Err("did not answer in 0.0 s".to_owned()));
        let still = SLOW.ask(soon, || 7);
        assert_eq!(still, Err("has not answered an earlier question yet".to_owned()));
        assert!(begin.elapsed() < Duration::from_secs(5));
        answer.send(()).expect("it waits for this");
        while SLOW.late.lock().iter().any(|thread| !thread.is_finished()) {
            assert!(begin.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(SLOW.ask(soon, || 8), Ok(8));
    }

    #[test]
    fn who_has_no_time_left_asks_nothing() {
        static WELL: Asked = Asked::new();
        let late = WELL.ask(Duration::ZERO, || 7);
        assert_eq!(late, Err("has not answered an earlier question yet".to_owned()));
        assert!(WELL.late.lock().is_empty());
    }

    #[test]
    fn of_many_who_ask_at_once_one_waits_for_an_answer() {
        static HUNG: Asked = Asked::new();
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, question) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (asked, question) = (Arc::clone(&asked), question.clone());
                scope.spawn(move || {
                    let late = HUNG.ask(Duration::from_millis(50), move || {
                        asked.fetch_add(1, Ordering::SeqCst);
                        question.recv().is_ok()
                    });
                    assert!(late.is_err(), "{late:?}");
                });
            }
        });
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        answer.send(()).expect("it waits for this");
    }

    #[test]
    fn the_end_waits_for_answers_but_not_for_ever() {
        static LATE: Asked = Asked::new();
        let soon = Duration::from_millis(20);
        let (answer, question) = crossbeam_channel::bounded::<()>(1);
        let (said, heard) = crossbeam_channel::bounded::<()>(1);
        let late = LATE.ask(soon, move || {
            let _ = question.recv();
            std::thread::sleep(Duration::from_millis(100));
            let _ = said.send(());
        });
        assert!(late.is_err(), "{late:?}");
        answer.send(()).expect("it waits for this");
        LATE.close(Instant::now() + Duration::from_secs(20));
        assert!(heard.try_recv().is_ok(), "it was not waited for");
        let closed = LATE.ask(soon, || 7);
        assert!(closed.as_ref().is_err_and(|why| why.contains("process ends")), "{closed:?}");

        static HUNG: Asked = Asked::new();
        let (never, question) = crossbeam_channel::bounded::<()>(0);
        let late = HUNG.ask(soon, move || question.recv().is_ok());
        assert!(late.is_err(), "{late:?}");
        HUNG.close(Instant::now() + soon);
        drop(never);
    }

    #[test]
    fn a_panic_is_an_answer_that_did_not_come() {
        static FRAIL: Asked = Asked::new();
        let gone = FRAIL.ask(Duration::from_secs(20), || -> u32 { panic!("on purpose") });
        assert_eq!(gone, Err("failed inside; the log has more".to_owned()));
        assert_eq!(FRAIL.ask(Duration::from_secs(20), || 8), Ok(8));
    }
}
