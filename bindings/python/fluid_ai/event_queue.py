"""The events of many jobs for one reader, as a server or a frame loop wants them."""

from __future__ import annotations

import os
import queue
import time
import weakref
from typing import Any, Callable, Iterator

from ._handle import Context, Due, reaper
from ._native import SLICE, library
from .errors import FluidError
from .event import End, Event
from .job import Job


class Queue(Context):
    """Attach jobs, then read their events from here: ``for job, event in queue``, until all of them have ended.

    Each job ends with one `End`; ``job.result()`` then tells how, and does not wait. Any thread may attach jobs and
    read. `close`, the end of a ``with`` block, or dropping the queue cancels the jobs that run. A reader that is slow
    does not pause them: events wait here, as many as come.
    """

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[Job[Any], Event]] = queue.SimpleQueue()
        self._running: set[Job[Any]] = set()
        dropped = weakref.finalize(self, _cancel, reaper(), self._running, os.getpid())
        dropped.atexit = False  # type: ignore[misc, unused-ignore]  # a property, which typeshed does not know

    def attach(self, job: Job[Any]) -> None:
        """Has `job` tell its events here, those that wait included. A job that is dropped lives here until its end."""
        is_new = job not in self._running
        self._running.add(job)
        try:
            job._hand_over(_putter(self._events, job))
        except FluidError:
            if is_new:
                self._running.discard(job)
            raise

    def next(self, timeout: float | None = None) -> tuple[Job[Any], Event] | None:
        """The next event and its job; `None` where none comes within `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = SLICE if until is None else max(until - time.monotonic(), 0)
            try:
                job, event = self._events.get(timeout=min(left, SLICE))
            except queue.Empty:
                if until is not None and left <= SLICE:
                    return None
                continue
            if isinstance(event, End):
                self._running.discard(job)
            return job, job._tell_or_close(job._received(event))

    def __iter__(self) -> Iterator[tuple[Job[Any], Event]]:
        while self._running:
            item = self.next(SLICE)  # another thread may have read the last
            if item is not None:
                yield item

    def __len__(self) -> int:
        """How many jobs have not ended."""
        return len(self._running)

    def close(self) -> None:
        """Cancels the jobs that have not ended."""
        for job in list(self._running):
            job.cancel()


def _putter(events: "queue.SimpleQueue[tuple[Job[Any], Event]]", job: Job[Any]) -> Callable[[Event], None]:
    """What the thread that reads holds: neither the queue nor the job, so that both can be dropped."""
    weak = weakref.ref(job)

    def put(event: Event) -> None:
        found = weak()
        if found is not None:
            events.put((found, event))

    return put


def _cancel(due: "queue.SimpleQueue[Due]", running: set[Job[Any]], pid: int) -> None:
    if pid == os.getpid():
        for job in running:
            due.put((library().fluid_job_cancel, job._handle))
