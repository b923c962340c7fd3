"""The library's log in Python's `logging`, under the logger "fluid_ai"."""

from __future__ import annotations

import atexit
import logging
import os
from typing import Any

from . import _native

logger = _native.logger
logger.addHandler(logging.NullHandler())

_LEVELS = {
    _native.LOG_ERROR: logging.ERROR,
    _native.LOG_WARN: logging.WARNING,
    _native.LOG_INFO: logging.INFO,
    _native.LOG_DEBUG: logging.DEBUG,
}


def set_log(level: int | str | None = logging.INFO) -> None:
    """Passes the library's log lines of `level` and above, such as `logging.INFO` or "DEBUG", to the logger
    "fluid_ai"; `None` makes the library silent again, as it is at first.

    Lines come on any thread. What a handler calls of this package while it handles one, is not logged, and what would
    wait raises `BusyError`. Raises `BusyError` inside of a handler.
    """
    lib = _native.library()
    if level is None:
        _native.check(lib.fluid_log_set(_native.LogFn(), None, _native.LOG_ERROR))
    else:
        _native.check(lib.fluid_log_set(_CALLBACK, None, _native_level(level)))
        atexit.unregister(_stop)
        atexit.register(_stop, os.getpid())


def _native_level(level: int | str) -> int:
    wanted = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(wanted, int):
        raise ValueError(f"unknown level {level!r}")
    fitting = [native for native, python in _LEVELS.items() if python >= wanted]
    return max(fitting, default=_native.LOG_ERROR)


def _write(level: int, line: bytes, _user_data: Any) -> None:
    _native.in_log.here = True
    try:
        logger.log(_LEVELS.get(level, logging.INFO), "%s", line.decode("utf-8", "replace"))
    except KeyboardInterrupt as error:
        _native.in_log.interrupt = error
    except BaseException:
        pass  # it cannot pass through the library; `logging` tells of broken handlers itself
    finally:
        _native.in_log.here = False


# One for ever: the library calls it on any thread, at any time until it is told another.
_CALLBACK = _native.LogFn(_write)


def _stop(pid: int) -> None:
    """A native thread must not call into an interpreter that is being taken down."""
    if pid == os.getpid():
        _native.library().fluid_log_set(_native.LogFn(), None, _native.LOG_ERROR)
