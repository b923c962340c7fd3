//! What the backends see, asked on threads of their own: a driver may take seconds to answer, or never do.
#![forbid(unsafe_code)]

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use crate::backend::device::Device;
use crate::backend::inventory::{self, OpenVino};
use crate::error::Result;
use crate::own_thread::OwnThread;

/// Someone who is asked questions, and may not answer.
struct Asked {
    /// The threads whose answer came too late, or has not come yet.
    late: Mutex<Vec<JoinHandle<()>>>,
}

static LLAMA: Asked = Asked { late: Mutex::new(Vec::new()) };
static OPENVINO: Asked = Asked { late: Mutex::new(Vec::new()) };

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

impl Asked {
    /// The answer to `question`, if it comes within `patience`. Nobody is asked anew before an earlier
    /// answer has come, so that no threads pile up.
    fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> std::result::Result<T, String> {
        {
            let mut late = self.late.lock();
            late.retain(|thread| !thread.is_finished());
            if !late.is_empty() {
                return Err("has not answered an earlier question yet".to_owned());
            }
        }
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
        match receiver.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => {
                self.late.lock().push(thread);
                Err(format!("did not answer in {:.1} s", patience.as_secs_f32()))
            }
            answer => {
                let _ = thread.join();
                answer.map_err(|_| "failed inside; the log has more".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_does_not_answer_is_not_asked_again_until_it_has() {
        static SLOW: Asked = Asked { late: Mutex::new(Vec::new()) };
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
    fn a_panic_is_an_answer_that_did_not_come() {
        static FRAIL: Asked = Asked { late: Mutex::new(Vec::new()) };
        let gone = FRAIL.ask(Duration::from_secs(20), || -> u32 { panic!("on purpose") });
        assert_eq!(gone, Err("failed inside; the log has more".to_owned()));
        assert_eq!(FRAIL.ask(Duration::from_secs(20), || 8), Ok(8));
    }
}
