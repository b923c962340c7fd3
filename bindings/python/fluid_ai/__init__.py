"""Local language models, speech recognition and embeddings, in this process.

    import fluid_ai

    with fluid_ai.Engine() as engine, engine.load_model("model.gguf") as model:
        for text in model.stream([{"role": "user", "content": "Why is the sky blue?"}], max_tokens=200):
            print(text, end="", flush=True)

`Engine` loads models, `Model` generates, transcribes, embeds and ranks, `Job` is any of that while it runs.
"""

from __future__ import annotations

from . import progress
from ._native import EventKind
from ._request import Prompt
from .audio import Audio
from .engine import Engine, devices, doctor
from .errors import (
    AccessDeniedError,
    BackendError,
    BackendMissingError,
    BusyError,
    ClosedError,
    ContextOverflowError,
    DeadlineError,
    DiskFullError,
    FileAccessError,
    FluidError,
    ForkedError,
    InternalError,
    InvalidArgumentError,
    InvalidAudioError,
    InvalidModelError,
    InvalidRequestError,
    InvalidStateError,
    JobCancelledError,
    JobStopped,
    LibraryNotFoundError,
    NetworkError,
    NotFoundError,
    OutOfMemoryError,
    QueueFullError,
    UnsupportedCpuError,
    UnsupportedError,
    UnsupportedModelError,
)
from .event import End, Event, Language, ModelEvent, Notice, Progress, Reasoning, Segment, Token, ToolCall
from .event_queue import Queue
from .job import Job, OnEvent
from .log import set_log
from .model import Model
from .results import Answer, Embeddings, Ranking, Tokens, Transcript
from .stream import Stream
from .version import __version__, abi_version, library_path, version

__all__ = [
    "AccessDeniedError",
    "Answer",
    "Audio",
    "BackendError",
    "BackendMissingError",
    "BusyError",
    "ClosedError",
    "ContextOverflowError",
    "DeadlineError",
    "DiskFullError",
    "Embeddings",
    "End",
    "Engine",
    "Event",
    "EventKind",
    "FileAccessError",
    "FluidError",
    "ForkedError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidAudioError",
    "InvalidModelError",
    "InvalidRequestError",
    "InvalidStateError",
    "Job",
    "JobCancelledError",
    "JobStopped",
    "Language",
    "LibraryNotFoundError",
    "Model",
    "ModelEvent",
    "NetworkError",
    "NotFoundError",
    "Notice",
    "OnEvent",
    "OutOfMemoryError",
    "Progress",
    "Prompt",
    "Queue",
    "QueueFullError",
    "Ranking",
    "Reasoning",
    "Segment",
    "Stream",
    "Token",
    "Tokens",
    "ToolCall",
    "Transcript",
    "UnsupportedCpuError",
    "UnsupportedError",
    "UnsupportedModelError",
    "__version__",
    "abi_version",
    "devices",
    "doctor",
    "library_path",
    "progress",
    "set_log",
    "version",
]
