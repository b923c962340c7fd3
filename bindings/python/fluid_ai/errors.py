"""One exception for each way a caller can react; all are `FluidError`, most also what Python calls such a thing."""

from __future__ import annotations

from typing import Any


class FluidError(Exception):
    """A call or a job failed.

    `status` is the number and `status_name` the name in the C header, `message` one line with the cause and what
    to do about it.
    """

    def __init__(self, message: str, status: int = 0, status_name: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.status_name = status_name

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:
        return (type(self), (self.message, self.status, self.status_name))


class LibraryNotFoundError(FluidError, ImportError):
    """The native library could not be opened; the message lists every place tried, and why it failed."""


class InvalidArgumentError(FluidError, ValueError):
    """A value is out of range, or a text cannot be UTF-8; mend the call."""


class ClosedError(FluidError, ValueError):
    """The engine, model or job was closed, by itself or with its engine."""


class InvalidRequestError(FluidError, ValueError):
    """A field has a wrong type or range; the message names its path."""


class UnsupportedError(FluidError):
    """A field, a device or an act is known, but this build or model lacks it."""


class ContextOverflowError(FluidError, ValueError):
    """The prompt does not fit into the context; shorten it, or load with a larger ``n_ctx``."""


class NotFoundError(FluidError, FileNotFoundError):
    """A file, a model or a repository is not there."""


class FileAccessError(FluidError, OSError):
    """A file cannot be read or written; check permissions and the disk."""


class InvalidModelError(FluidError, ValueError):
    """A file is not a whole, valid model; fetch it again."""


class UnsupportedModelError(FluidError):
    """The model is of an architecture or version that this build cannot run."""


class UnsupportedCpuError(FluidError):
    """This processor lacks instructions that the build needs."""


class InvalidAudioError(FluidError, ValueError):
    """The audio is of no format this build knows, or broken."""


class InvalidStateError(FluidError, ValueError):
    """The file is no whole saved state, or one of another model or other options."""


class NetworkError(FluidError, ConnectionError):
    """The hub cannot be reached or asks for patience; try again later."""


class AccessDeniedError(FluidError, PermissionError):
    """The hub wants a token, or the repository's conditions were not accepted."""


class DiskFullError(FluidError, OSError):
    """The disk has no room for what is to be written."""


class BusyError(FluidError):
    """The call would wait for itself."""


class QueueFullError(FluidError):
    """Too many jobs wait for the model; try again when some have ended."""


class OutOfMemoryError(FluidError, MemoryError):
    """Memory or threads could not be had; use a smaller model or context."""


class BackendError(FluidError):
    """The model library failed; the message holds its words."""


class BackendMissingError(FluidError):
    """A runtime library that the model needs is not there; the message lists every place looked at."""


class ForkedError(FluidError, RuntimeError):
    """This process is a fork of one that used the library. Start processes with "spawn" or "forkserver"."""


class InternalError(FluidError, RuntimeError):
    """A bug of the library; please report the message."""


class JobStopped(FluidError):
    """A job ended before its time. `result` is what it came to so far, `None` where that is nothing."""

    result: Any = None

    def __reduce__(self) -> Any:
        return (*super().__reduce__(), {"result": self.result})


class JobCancelledError(JobStopped):
    """The job was cancelled, or its model or engine was closed."""


class DeadlineError(JobStopped, TimeoutError):
    """The job's deadline passed."""


_BY_STATUS: dict[int, type[FluidError]] = {
    10: JobCancelledError,
    11: DeadlineError,
    -10: InvalidArgumentError,
    -11: ClosedError,
    -12: InvalidArgumentError,
    -20: InvalidRequestError,
    -21: InvalidRequestError,
    -22: UnsupportedError,
    -23: ContextOverflowError,
    -30: NotFoundError,
    -31: FileAccessError,
    -32: InvalidModelError,
    -33: UnsupportedModelError,
    -34: UnsupportedCpuError,
    -35: InvalidAudioError,
    -36: InvalidStateError,
    -37: NetworkError,
    -38: AccessDeniedError,
    -39: DiskFullError,
    -40: BusyError,
    -41: QueueFullError,
    -50: OutOfMemoryError,
    -51: BackendError,
    -53: BackendMissingError,
    -60: ForkedError,
    -70: InternalError,
}

# Outcomes have no message of their own.
_WORDS = {10: "the job was cancelled", 11: "the job's deadline passed"}


def error_for(status: int, name: str, message: str) -> FluidError:
    """The exception for a status that is no success."""
    return _BY_STATUS.get(status, FluidError)(message or _WORDS.get(status, name), status, name)
