//! Every way a call can fail, one kind per way a caller can react.
#![forbid(unsafe_code)]

use std::fmt;

/// What a caller can do about a failure; each kind is one `FLUID_ERROR_*` status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument is `NULL` or out of range: mend the call.
    InvalidArgument,
    /// A handle is stale, freed, of another kind or never was one: mend the call.
    InvalidHandle,
    /// A string is not UTF-8: convert it.
    InvalidUtf8,
    /// A text is not JSON: mend it at the position named.
    InvalidJson,
    /// A field has a wrong type or range: mend it at the path named.
    InvalidRequest,
    /// A field or device is known, but this build lacks it: leave it out.
    Unsupported,
    /// The prompt does not fit into the model's context: shorten it.
    ContextOverflow,
    /// A file is not there: check the path.
    NotFound,
    /// A file cannot be read: check permissions and the disk.
    Io,
    /// A file is not a whole, valid model: fetch it again.
    InvalidModel,
    /// A model is of an architecture or version that this build cannot run.
    UnsupportedModel,
    /// This processor lacks instructions that the build needs.
    UnsupportedCpu,
    /// The audio is of no format this build knows, or broken: convert it.
    InvalidAudio,
    /// The file is no whole saved state, or not one of this model: save it again.
    InvalidState,
    /// A hub cannot be reached, or is overloaded: try again later.
    Network,
    /// A hub wants a token, or the user to accept conditions.
    AccessDenied,
    /// The disk has no room for what is to be written: make some.
    DiskFull,
    /// The call would wait for itself or for a call that runs already.
    Busy,
    /// The model's queue is full: try again later.
    QueueFull,
    /// Memory could not be had: use a smaller model or context.
    OutOfMemory,
    /// The model library failed inside a call; the message holds its words.
    Backend,
    /// A runtime library that the model needs is not there: install it or name its path.
    BackendMissing,
    /// The caller's own callback threw a C++ exception; the job was cancelled.
    Callback,
    /// The process is a fork of the one that loaded the library.
    Forked,
    /// A bug of this library.
    Internal,
}

/// A failure: its kind, and one line that names the cause and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// `Result` with this library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of `kind`; line breaks and control characters in `message` become spaces,
    /// so that a hostile file or request cannot forge lines in a host's log.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.chars().any(char::is_control) {
            message = message.replace(char::is_control, " ");
        }
        Self { kind, message }
    }

    /// A request field at `path` (such as `messages[2].role`) that is wrong.
    pub fn invalid_request(path: &str, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidRequest, format!("{path}: {message}"))
    }

    /// A request field at `path` that OpenAI defines and this build lacks.
    pub fn unsupported(path: &str, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{path}: {message}"))
    }

    /// What a caller can react to.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// One line: the cause, the value at fault, what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
