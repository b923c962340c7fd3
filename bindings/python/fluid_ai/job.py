"""A long act: its events, and in the end its result. For threads, for frame loops and for asyncio."""

from __future__ import annotations

import ctypes as c
import copy
import os
import threading
import time
from typing import Any, Callable, Generator, Generic, TypeVar

from . import _native
from ._handle import Context, Finalizer
from ._reader import Mailbox, reader
from .errors import BusyError, FluidError, JobStopped, error_for
from .event import End, Event, copied

R = TypeVar("R")

OnEvent = Callable[[Event], Any]
"""Called with each event of a job. Returning `False` cancels the job; so does raising, which the caller then gets."""

Collect = Callable[[int, str], R]
"""Makes the result of a job that has ended: its handle, and its JSON or text."""


class Outcome(Generic[R]):
    """How a job ended: a result, or an error."""

    def __init__(self, collect: Collect[R], job: int, end: End) -> None:
        self.result: R | None = None
        self.error: BaseException | None = None
        if end.status != _native.OK:
            self.error = error_for(end.status, _native.status_name(end.status), end.text)
        try:
            if end.status >= 0:
                self.result = collect(job, end.json)
        except Exception as error:
            # What was stopped may have no result, such as a load.
            self.error = self.error or error.with_traceback(None)
        if isinstance(self.error, JobStopped):
            self.error.result = self.result

    def get(self) -> R:
        """The result; raises the error."""
        if self.error is not None:
            # A copy: what is raised holds the frames it passes, and through them the job and its model.
            raise copy.copy(self.error)
        return self.result  # type: ignore[return-value]


class Job(Context, Generic[R]):
    """A running act.

    - ``job.result()`` waits for the end; ``await job`` does the same without holding up the event loop.
    - ``for event in job`` and ``async for event in job`` give its events as they come, and raise at the end if it
      failed. A reader that is slow pauses the job, but not where it is awaited.
    - ``job.poll()`` looks for an event without waiting, as a frame loop does.

    Each way calls `on_event` with the events it gives; `End` is none of them.

    `cancel`, on any thread, has it end soon with `JobCancelledError`. `close` cancels and frees it, and so does the
    end of a ``with`` block, or dropping the job. Once it was awaited, a job is awaited to its end, by one task of
    an event loop.
    """

    def __init__(self, handle: int, collect: Collect[R], on_event: OnEvent | None = None, keep: Any = None) -> None:
        self._lib = _native.library()
        self._handle = handle
        self._collect = collect
        self._on_event = on_event
        self._keep = keep  # what the job runs on must not be collected before it
        self._outcome: Outcome[R] | None = None
        self._outcomes: list[Outcome[R]] = []
        self._mailbox: Mailbox | None = None
        self._is_handed_over = False
        self._closing = False
        self._pid = os.getpid()
        # Held while an event is lent: what frees the job takes it first. A signal's handler on the thread that reads
        # gets it too, sees that it reads, and leaves the freeing to what it interrupted.
        self._lock = threading.RLock()
        self._is_reading = False
        self._finalizer = Finalizer(self, self._lib.fluid_job_free, handle)
        _native.raise_interrupt()

    # --- any thread ------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Asks the job to stop; returns at once. A job that has ended is left as it is."""
        if self._finalizer.alive:
            # The handle is stale where the job has ended meanwhile, which does no harm.
            self._lib.fluid_job_cancel(self._handle)

    async def aclose(self) -> None:
        """As `close`, for `contextlib.aclosing`."""
        self.close()

    def close(self) -> None:
        """Cancels the job if it runs, and frees it. Threads that wait for it get `JobCancelledError`."""
        self._closing = True
        if self._pid != os.getpid():
            return  # the lock may be held by a thread that a forked child does not have
        self.cancel()
        with self._lock:
            if not self._is_reading:
                self._free()

    def _free(self) -> None:
        if not self._is_handed_over:
            self._finalizer.release()

    @property
    def done(self) -> bool:
        """Whether the job has ended, and its events were read."""
        return self._outcome is not None

    def poll(self, timeout: float = 0) -> Event | None:
        """The next event, or `None` where none comes within `timeout` seconds or the job is done. The last event
        is an `End`, after which `result` tells how the job ended."""
        return self._told(time.monotonic() + timeout)

    def result(self, timeout: float | None = None) -> R:
        """Waits for the end and returns the result. Raises the job's error, or the built-in `TimeoutError` when
        `timeout` seconds pass first, after which the job goes on."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._outcome is None:
            event = self._told(until)
            # What waits when the time is over is still read, but not for ever: more may come, and `on_event` be slow.
            is_late = until is not None and time.monotonic() > until + _native.SLICE
            if self._outcome is None and (event is None or is_late):
                raise TimeoutError(f"the job has not ended within {timeout} s")
        return self._ended().get()

    def __iter__(self) -> "Job[R]":
        return self

    def __next__(self) -> Event:
        event = self._told(None)
        if event is None:
            raise StopIteration
        if isinstance(event, End):
            self._ended().get()
            raise StopIteration
        return event

    def _told(self, until: float | None) -> Event | None:
        """As `_next`; what goes wrong meanwhile, Ctrl-C among it, ends the job."""
        try:
            event = self._next(until)
            return event and self._tell(event)
        except BusyError:
            raise  # who reads the job goes on
        except BaseException:
            self.close()
            raise

    # --- one event loop --------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, R]:
        return self._awaited().__await__()

    async def _awaited(self) -> R:
        while await self._told_awaited() is not None:
            pass
        return self._ended().get()

    def __aiter__(self) -> "Job[R]":
        return self

    async def __anext__(self) -> Event:
        event = await self._told_awaited()
        if event is None:
            raise StopAsyncIteration
        if isinstance(event, End):
            self._ended().get()
            raise StopAsyncIteration
        return event

    async def _told_awaited(self) -> Event | None:
        """As `_told`; a task that is cancelled cancels the job."""
        try:
            if self._outcome is not None:
                return None
            return self._tell(await self._next_awaited())
        except BusyError:
            raise  # who awaits the job goes on
        except BaseException:
            self.close()
            raise

    async def _next_awaited(self) -> Event:
        if self._mailbox is None:
            self._mailbox = Mailbox()
            self._hand_over(self._mailbox.put)
        return self._received(await self._mailbox.get())

    # --- read by the one thread that serves queues and event loops ---------------------------------

    def _hand_over(self, put: Callable[[Event], None]) -> None:
        """From now on `put` gets the job's events, on that thread, which also frees the job."""
        # Another thread that reads has the lock for as long as it waits.
        if not self._lock.acquire(blocking=False):
            raise BusyError("another thread reads this job")
        try:
            if self._is_reading or self._is_handed_over or self._outcome is not None:
                raise BusyError("this job has ended, or a thread, an event loop or a queue reads it")
            self._check_open()
            outcomes, collect = self._outcomes, self._collect
            # Before the reader has the job, for it frees it at any time then.
            self._is_handed_over = True
            self._become(self._lib.fluid_job_cancel)
            try:
                # What the reader gets must not hold the job: one that is dropped is cancelled.
                reader().adopt(self._handle, put, lambda job, end: outcomes.append(Outcome(collect, job, end)))
            except FluidError:
                self._become(self._lib.fluid_job_free)
                self._is_handed_over = False
                raise
        finally:
            self._lock.release()

    def _become(self, act: Callable[[int], Any]) -> None:
        """Has `act` done to the handle when the job is dropped."""
        before, self._finalizer = self._finalizer, Finalizer(self, act, self._handle)
        before.detach()

    def _received(self, event: Event) -> Event:
        if isinstance(event, End):
            self._end(self._outcomes[0])
            self._finalizer.detach()
        return event

    # --- both ------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> Event:
        if self._on_event is not None and not isinstance(event, End) and self._on_event(event) is False:
            self._on_event = None
            self.cancel()
        return event

    def _tell_or_close(self, event: Event) -> Event:
        try:
            return self._tell(event)
        except BaseException:
            self.close()
            raise

    def _end(self, outcome: Outcome[R]) -> None:
        self._outcome = outcome
        # What was needed on the way to it: a job that is kept for its result must not keep its model.
        self._keep = self._on_event = None
        self._collect = _collected

    def _ended(self) -> Outcome[R]:
        assert self._outcome is not None
        return self._outcome

    def _next(self, until: float | None) -> Event | None:
        """The next event before the monotonic clock says `until`; `None` also when the job is done."""
        if not self._locked(until):
            return None
        try:
            if self._is_reading:
                raise BusyError("a signal's handler cannot read the job that it interrupts")
            self._is_reading = True
            try:
                return self._wait(until)
            finally:
                self._is_reading = False
                if self._closing:
                    self._free()
        finally:
            self._lock.release()

    def _locked(self, until: float | None) -> bool:
        """Takes the lock, behind another thread that reads; false where `until` comes first."""
        while True:
            left = _native.SLICE if until is None else until - time.monotonic()
            if self._lock.acquire(timeout=min(max(left, 0), _native.SLICE)):
                return True
            if until is not None and left <= _native.SLICE:
                return False

    def _wait(self, until: float | None) -> Event | None:
        if self._is_handed_over and self._outcome is None:
            raise BusyError("this job is read by an event loop or a queue; ask there")
        while self._outcome is None:
            left = _native.SLICE if until is None else until - time.monotonic()
            event = self._read(min(max(left, 0), _native.SLICE))
            if event is not None:
                return event
            if until is not None and left <= _native.SLICE:
                break
        return None

    def _read(self, seconds: float) -> Event | None:
        self._check_open()
        native = c.POINTER(_native.NativeEvent)()
        status = self._lib.fluid_job_next(self._handle, int(seconds * 1000), c.byref(native))
        if _native.check(status) == _native.END:
            raise error_for(_native.CANCELLED, "FLUID_CANCELLED", "the job has ended, and its end was lost")
        if status != _native.OK:
            return None
        event = copied(native.contents)
        if isinstance(event, End):
            self._end(Outcome(self._collect, self._handle, event))
            self._finalizer.release()
        return event

    def _check_open(self) -> None:
        if self._closing or not self._finalizer.alive:
            raise error_for(_native.CANCELLED, "FLUID_CANCELLED", "the job was closed")


def _collected(_job: int, _text: str) -> Any:
    raise AssertionError("a job ends once")


def run(job: Job[R]) -> R:
    """Waits for a job that nobody else has, and frees it."""
    try:
        return job.result()
    finally:
        job.close()
