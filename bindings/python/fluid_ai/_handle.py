"""What every object with a native handle shares: it is freed once, by `close`, by `with`, or by the collector.

The collector runs anywhere: while its thread holds locks that a log handler waits for, or between a call that failed
and the question why. So it frees nothing itself, but leaves that to a thread, a reaper. There are two: what frees
models and engines may wait for native work, and no job is to go on for that long.
"""

from __future__ import annotations

import os
import threading
import weakref
from queue import SimpleQueue
from typing import Any, Callable, Tuple, TypeVar

from . import _native

Self = TypeVar("Self", bound="Context")


Free = Callable[[int], Any]
Due = Tuple[Free, int]

# Of those that Python has, the one queue that a collection in the middle of its own calls may put to.
_reapers: dict[tuple[int, bool], "SimpleQueue[Due]"] = {}
_starting = threading.RLock()


def reaper(waits: bool = False) -> "SimpleQueue[Due]":
    """What is put here a thread of this process calls soon, or, if it is something that `waits`, when it can. Not for
    finalizers: the first call starts the thread."""
    key = (os.getpid(), waits)
    with _starting:
        if key not in _reapers:
            due: SimpleQueue[Due] = SimpleQueue()
            try:
                threading.Thread(target=_reap, args=(due,), name="fluid_ai reaper", daemon=True).start()
            except RuntimeError:
                return due  # at the interpreter's exit there are no new threads, and the process's end frees faster
            _reapers[key] = due
        return _reapers[key]


def _reap(due: "SimpleQueue[Due]") -> None:
    while True:
        free, handle = due.get()
        free(handle)


class Finalizer:
    """Frees `handle` once: at once when `release` is called, soon when `owner` is collected."""

    def __init__(self, owner: object, free: Free, handle: int, waits: bool = False) -> None:
        self._due = (free, handle)
        self._pid = os.getpid()
        self._collected = weakref.finalize(owner, _collected, reaper(waits), self._due, self._pid)
        # At the interpreter's exit the process's end frees faster.
        self._collected.atexit = False  # type: ignore[misc, unused-ignore]  # a property, which typeshed does not know

    @property
    def alive(self) -> bool:
        """Whether the handle was neither freed nor left to others."""
        return self._collected.alive

    def detach(self) -> bool:
        """Leaves the handle to others; false where that, or freeing it, was done before."""
        return self._collected.detach() is not None

    def release(self) -> None:
        """Frees the handle, if nobody did."""
        # In a forked child the handle means nothing, and the library's locks may be held by threads that are gone.
        if self.detach() and self._pid == os.getpid():
            free, handle = self._due
            free(handle)


def _collected(due: "SimpleQueue[Due]", what: Due, pid: int) -> None:
    if pid == os.getpid():
        due.put(what)


class Context:
    """Something whose `close` the end of a ``with`` block calls."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Closing(Context):
    """A handle of what native work may hold up. `close` frees it; twice is fine."""

    def __init__(self, handle: int, free: Free) -> None:
        self._handle = handle
        self._finalizer = Finalizer(self, free, handle, waits=True)
        _native.raise_interrupt()

    def close(self) -> None:
        """Frees what this object holds in the library. Safe while other threads use it: their calls end. Ctrl-C does
        not wait for native work that cannot be stopped, and leaves that to end unseen."""
        _native.waited(self._finalizer.release)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive
