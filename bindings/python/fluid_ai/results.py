"""What jobs come to: OpenAI's objects as dicts, with names for what is looked at most."""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, Any, Dict, Iterator, Sequence

if TYPE_CHECKING:
    from numpy import ndarray

    Vector = array[float]
    Matrix = ndarray[Any, Any]
else:
    # For who asks for the annotations: numpy need not be there, and `array` has no parameters before Python 3.12.
    Vector, Matrix = array, Any


class Answer(Dict[str, Any]):
    """OpenAI's object of a chat completion or a completion, with `usage`, `seed` and `timings`."""

    @property
    def choices(self) -> list[dict[str, Any]]:
        """All answers, where the request asked for several."""
        return list(self["choices"])

    @property
    def message(self) -> dict[str, Any]:
        """The first choice's message, to be appended to the next request's; empty of a completion."""
        return dict(self["choices"][0].get("message") or {})

    @property
    def text(self) -> str:
        """The first choice's text, without reasoning; empty where it only calls tools."""
        choice = self["choices"][0]
        return str(choice.get("text") or self.message.get("content") or "")

    @property
    def reasoning(self) -> str:
        """What the model thought before it answered."""
        return str(self.message.get("reasoning_content") or "")

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls of tools, in OpenAI's shape."""
        return list(self.message.get("tool_calls") or [])

    @property
    def finish_reason(self) -> str:
        """ "stop", "length", "tool_calls", "cancelled" or "deadline"."""
        return str(self["choices"][0]["finish_reason"])

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens of the prompt and of the answer."""
        return dict(self["usage"])


class Transcript(Dict[str, Any]):
    """OpenAI's object of a transcription; of the formats "text", "srt" and "vtt" `text` alone."""

    @property
    def text(self) -> str:
        """All that was said, or the subtitles where they were asked for."""
        return str(self["text"])

    @property
    def segments(self) -> list[dict[str, Any]]:
        """``start`` and ``end`` in seconds, ``text`` and more; empty where the format has none."""
        return list(self.get("segments") or [])

    @property
    def words(self) -> list[dict[str, Any]]:
        """``word``, ``start`` and ``end``, with ``timestamp_granularities=["word"]``."""
        return list(self.get("words") or [])

    @property
    def language(self) -> str | None:
        """The language spoken."""
        return self.get("language")

    @property
    def duration(self) -> float | None:
        """Seconds of audio."""
        return self.get("duration")

    def __str__(self) -> str:
        return self.text


class Ranking(Dict[str, Any]):
    """The documents by how well they answer the query."""

    @property
    def results(self) -> list[dict[str, Any]]:
        """``index`` and ``relevance_score`` of each, the best first."""
        return list(self["results"])


class Tokens(Dict[str, Any]):
    """The tokens of a text or a prompt."""

    @property
    def tokens(self) -> list[Any]:
        """Ids; with ``with_pieces`` dicts of ``id`` and ``piece``."""
        return list(self["tokens"])

    @property
    def count(self) -> int:
        """How many."""
        return int(self["count"])

    @property
    def prompt(self) -> str | None:
        """What the model's template makes of the messages."""
        return self.get("prompt")


class Embeddings(Sequence[Vector]):
    """The vectors of some texts, in their order: 32-bit floats, each an `array.array`.

    `info` has ``model``, ``usage``, ``truncated`` and ``timings``.
    """

    def __init__(self, data: Vector, dimensions: int, info: dict[str, Any]) -> None:
        self.data = data
        """All numbers, one vector after the other."""
        self.dimensions = dimensions
        self.info = info

    def __len__(self) -> int:
        return len(self.data) // self.dimensions if self.dimensions else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} vectors")
        start = index % len(self) * self.dimensions
        return self.data[start : start + self.dimensions]

    def __iter__(self) -> Iterator[Vector]:
        return (self[i] for i in range(len(self)))

    def numpy(self) -> Matrix:
        """The vectors as a float32 array of [texts, dimensions], without a copy. Needs numpy."""
        import numpy

        vectors: Matrix = numpy.frombuffer(self.data, dtype=numpy.float32)
        return vectors.reshape(len(self), self.dimensions)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Matrix:
        # `copy` is numpy 2's: True asks for one, False forbids it, None makes one where it has to be.
        vectors = self.numpy()
        if dtype is None or dtype == vectors.dtype:
            return vectors.copy() if copy else vectors
        if copy is False:
            raise ValueError(f"the vectors are {vectors.dtype}: {dtype} needs a copy")
        converted: Matrix = vectors.astype(dtype)
        return converted

    def __repr__(self) -> str:
        return f"<Embeddings of {len(self)} texts, {self.dimensions} dimensions>"


def answer(_job: int, text: str) -> Answer:
    return Answer(json.loads(text))


def ranking(_job: int, text: str) -> Ranking:
    return Ranking(json.loads(text))


def plain(_job: int, text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def transcript(_job: int, text: str) -> Transcript:
    return Transcript(json.loads(text))


def subtitles(_job: int, text: str) -> Transcript:
    return Transcript(text=text)
