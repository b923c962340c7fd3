"""The items of a running job as they come: pieces of an answer, segments of speech."""

from __future__ import annotations

from typing import Any, Callable, Generator, Generic, TypeVar

from ._handle import Context
from .event import Event, Segment, Token
from .job import Job

Item = TypeVar("Item")
R = TypeVar("R")


class Stream(Context, Generic[Item, R]):
    """An iterator, for ``for`` and for ``async for``.

    Breaking off and dropping it cancels the job, as do `close` and the end of a ``with`` block. `result` waits for the
    rest and returns the whole; it is also there when the loop has come to its end. `events` gives everything that the
    job tells in place of the items: reasoning, calls of tools, progress.
    """

    def __init__(self, job: Job[R], pick: Callable[[Event], Item | None]) -> None:
        self.job = job
        self._pick = pick

    def __iter__(self) -> "Stream[Item, R]":
        return self

    def __next__(self) -> Item:
        for event in self.job:
            item = self._pick(event)
            if item is not None:
                return item
        raise StopIteration

    def __aiter__(self) -> "Stream[Item, R]":
        return self

    async def __anext__(self) -> Item:
        async for event in self.job:
            item = self._pick(event)
            if item is not None:
                return item
        raise StopAsyncIteration

    def events(self) -> Job[R]:
        """The job, whose iteration, sync or async, gives all events."""
        return self.job

    def result(self, timeout: float | None = None) -> R:
        """The whole; waits for the end, `timeout` seconds at most. Raises the job's error."""
        return self.job.result(timeout)

    def __await__(self) -> Generator[Any, None, R]:
        return self.job.__await__()

    def cancel(self) -> None:
        """Asks the job to stop; the iteration then ends with `JobCancelledError`. Any thread may call this."""
        self.job.cancel()

    def close(self) -> None:
        """Cancels the job if it runs, and frees it."""
        self.job.close()

    async def aclose(self) -> None:
        """As `close`, for `contextlib.aclosing`."""
        self.close()


def content(event: Event) -> str | None:
    """The text of the first choice's answer."""
    return event.text or None if isinstance(event, Token) and event.choice == 0 else None


def segment(event: Event) -> Segment | None:
    return event if isinstance(event, Segment) else None
