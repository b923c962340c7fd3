"""One thread reads the events of all jobs that event loops and queues wait for, and hands each to its reader."""

from __future__ import annotations

import asyncio
import ctypes as c
import os
import threading
from collections import deque
from typing import Any, Callable

from . import _native
from .errors import BusyError
from .event import End, Event, copied

Put = Callable[[Event], None]
Finish = Callable[[int, End], Any]


class Mailbox:
    """The events of one job, for the one task that awaits them."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_awaited = False
        self._lock = threading.Lock()

    def put(self, event: Event) -> None:
        """Called by the thread that reads."""
        with self._lock:
            self._events.append(event)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            try:
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)
            except RuntimeError:
                pass  # the loop is closed; nobody awaits the job any more

    async def get(self) -> Event:
        """The next event."""
        if self._is_awaited:
            raise BusyError("another task awaits this job")
        self._is_awaited = True
        try:
            return await self._get()
        finally:
            self._is_awaited = False

    async def _get(self) -> Event:
        if self._events:
            # A reader that is slower than the job never has to wait: timeouts and other tasks get their turn here.
            await asyncio.sleep(0)
        while True:
            with self._lock:
                if self._events:
                    return self._events.popleft()
                waiter = self._waiter = asyncio.get_running_loop().create_future()
            await waiter


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


# Who reads a job that is not known here.
_NOBODY: tuple[Put, Finish] = (lambda event: None, lambda job, end: None)


class Reader:
    """The thread and its queue. Jobs that it was given it frees behind their end, and nobody else does: an event is
    lent for as long as its job is not freed."""

    def __init__(self) -> None:
        self._lib = _native.library()
        self._queue = _native.new_handle(self._lib.fluid_queue_new)
        self._jobs: dict[int, tuple[Put, Finish]] = {}
        threading.Thread(target=self._read, name="fluid_ai events", daemon=True).start()

    def adopt(self, job: int, put: Put, finish: Finish) -> None:
        """Reads `job` from now on; `finish` is called with its end before `put` is, while the job is still there."""
        self._jobs[job] = (put, finish)
        status = self._lib.fluid_job_attach(job, self._queue)
        # Not in an `except`: Ctrl-C may come when the job is attached already.
        if status < 0:
            del self._jobs[job]
        _native.check(status)

    def _read(self) -> None:
        job = c.c_void_p()
        native = c.POINTER(_native.NativeEvent)()
        while self._lib.fluid_queue_next(self._queue, -1, c.byref(job), c.byref(native)) == _native.OK:
            try:
                self._pass_on(job.value or 0, copied(native.contents))
            except BaseException:  # the other jobs' readers wait for this thread
                _native.logger.exception("an event was lost")

    def _pass_on(self, job: int, event: Event) -> None:
        put, finish = self._jobs.get(job, _NOBODY)
        if isinstance(event, End):
            self._jobs.pop(job, None)
            try:
                finish(job, event)
            finally:
                self._lib.fluid_job_free(job)
        put(event)


_reader: tuple[int, Reader] | None = None
_starting = threading.RLock()


def reader() -> Reader:
    """This process's reader; a forked child has none of its parent's threads and asks for its own."""
    global _reader
    with _starting:
        if _reader is None or _reader[0] != os.getpid():
            _reader = (os.getpid(), Reader())
        return _reader[1]
