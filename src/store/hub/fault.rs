//! How one request or one file can fail, by what to do about it.
#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Why something of a download did not work.
#[derive(Debug)]
pub(super) enum Fault {
    /// Somebody stopped it.
    Stopped,
    /// It may work later: after the time the server named, if it did.
    Passing(Error, Option<Duration>),
    /// What came is not what the hub's list says.
    Wrong(Error),
    /// It will not work by itself.
    Failed(Error),
}

impl Fault {
    /// The network or the hub is at fault; trying again may help.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self::Passing(Error::new(ErrorKind::Network, message), None)
    }

    /// A file of ours cannot be read or written.
    pub(super) fn of_file(path: &std::path::Path, error: &io::Error) -> Self {
        use io::ErrorKind as Io;
        let path = path.display();
        let full = [Io::StorageFull, Io::QuotaExceeded, Io::FileTooLarge];
        Self::Failed(if full.contains(&error.kind()) {
            let message =
                format!("{path}: {error}; make room and start again: what is here already is kept");
            Error::new(ErrorKind::DiskFull, message)
        } else {
            Error::new(ErrorKind::Io, format!("{path}: {error}"))
        })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
