"""What a running job tells: one class for each kind of event, so that `isinstance` tells them apart."""

from __future__ import annotations

import ctypes as c
import json
from typing import Any, Dict, cast

from ._native import EventKind, NativeEvent


class Event:
    """One thing that happened in a job; a copy, which stays.

    `kind` says what, `text` is always whole Unicode, `json` is the library's JSON or empty. `elapsed` is seconds from
    the start of the job to what the event tells, `age` seconds from then to when it was read.
    """

    __slots__ = (
        "kind", "status", "choice", "token", "logprob", "text", "json", "start", "end", "progress", "elapsed", "age",
    )  # fmt: skip

    def __init__(self, native: NativeEvent) -> None:
        self.kind: int = native.kind
        self.status: int = native.status
        self.choice: int = native.choice
        """Index of the choice, where a request asks for several."""
        self.token: int = native.token
        """Id of the token, or -1."""
        self.logprob: float = native.logprob
        """Log-probability of the token, NaN where it was not asked for; of a segment, the average of its tokens."""
        self.text: str = _text(native.text, native.text_len)
        self.json: str = _text(native.json, native.json_len)
        self.start: float = native.start
        """Where a segment starts, in seconds."""
        self.end: float = native.end
        """Where a segment ends, in seconds."""
        self.progress: float = native.progress
        """How far the job is, from 0 to 1, in a progress event."""
        self.elapsed: float = native.elapsed
        self.age: float = native.age

    @property
    def data(self) -> Dict[str, Any]:
        """`json` as a dict; empty where the event has none."""
        return cast("Dict[str, Any]", json.loads(self.json)) if self.json else {}

    def __repr__(self) -> str:
        words = f"{self.text!r} {self.json}".strip()
        return f"<{type(self).__name__} {words}>"


class Progress(Event):
    """`progress` tells how far a load, a long prompt, a download or a transcription is. Of a download, `data` has
    ``file``, ``bytes``, ``total_bytes`` and ``bytes_per_second``."""

    __slots__ = ()


class Token(Event):
    """The next piece of the answer: `text`, which may be empty while a character or a stop string is undecided."""

    __slots__ = ()


class Reasoning(Event):
    """The next piece of what the model thinks before it answers: `text`."""

    __slots__ = ()


class ToolCall(Event):
    """A call of a tool begins or goes on; `data` is OpenAI's delta."""

    __slots__ = ()

    @property
    def index(self) -> int:
        """Which call of the choice."""
        return int(self.data.get("index", 0))

    @property
    def id(self) -> str | None:
        """The call's id, in its first event."""
        return self.data.get("id")

    @property
    def name(self) -> str | None:
        """The function's name, in the first event of the call."""
        return cast("str | None", self.data.get("function", {}).get("name"))

    @property
    def arguments(self) -> str:
        """The next piece of the arguments, which are JSON when all pieces are together."""
        return str(self.data.get("function", {}).get("arguments") or "")


class Segment(Event):
    """A segment of speech, decided: `text` from `start` to `end` seconds. `data` is it as in "verbose_json"."""

    __slots__ = ()

    @property
    def words(self) -> list[dict[str, Any]]:
        """``word``, ``start``, ``end`` and ``probability`` of each, with ``timestamp_granularities=["word"]``."""
        return list(self.data.get("words") or [])


class Language(Event):
    """The language spoken was detected: `text` is its code, such as "en"; `data` has its ``probability``."""

    __slots__ = ()


class Notice(Event):
    """Something is not as asked, such as the device in use: `text` says what and why. The job goes on."""

    __slots__ = ()


class ModelEvent(Event):
    """Something happened to a model of the engine: see `Engine.events`."""

    __slots__ = ()


class End(Event):
    """The job's one end: `status` tells how; `text` is the error's message, `json` the result."""

    __slots__ = ()


_CLASSES: dict[int, type[Event]] = {
    EventKind.PROGRESS: Progress,
    EventKind.TOKEN: Token,
    EventKind.SEGMENT: Segment,
    EventKind.LANGUAGE: Language,
    EventKind.NOTICE: Notice,
    EventKind.REASONING: Reasoning,
    EventKind.TOOL_CALL: ToolCall,
    EventKind.MODEL: ModelEvent,
    EventKind.END: End,
}


def _text(pointer: int | None, length: int) -> str:
    return c.string_at(pointer, length).decode() if pointer and length else ""


def copied(native: NativeEvent) -> Event:
    """A copy of an event that is lent. Of a kind that is not known here it is a plain `Event`."""
    return _CLASSES.get(native.kind, Event)(native)
