//! Why a transcription stops before its end.
#![forbid(unsafe_code)]

use crate::error::Error;

/// Somebody stopped it, or it failed.
pub(super) enum Halt {
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A result, unless the transcription has to stop.
pub(super) type Step<T> = std::result::Result<T, Halt>;

/// Native work answers with nothing when it was stopped.
pub(super) trait OrHalt<T> {
    fn or_halt(self) -> Step<T>;
}

impl<T> OrHalt<T> for Option<T> {
    fn or_halt(self) -> Step<T> {
        self.ok_or(Halt::Stopped)
    }
}

impl OrHalt<()> for bool {
    fn or_halt(self) -> Step<()> {
        self.then_some(()).or_halt()
    }
}
