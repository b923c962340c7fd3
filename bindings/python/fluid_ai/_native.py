"""The C interface as ctypes sees it: structs, functions and statuses; and how Python calls it and waits for it."""

from __future__ import annotations

import ctypes as c
import logging
import threading
from concurrent.futures import Future, wait
from enum import IntEnum
from typing import Any, Callable, TypeVar

from . import _loader
from .errors import error_for

T = TypeVar("T")

logger = logging.getLogger("fluid_ai")

ABI_MAJOR, ABI_MINOR = 1, 1

# Seconds that a signal such as Ctrl-C waits at most while a native call does.
SLICE = 0.05

OK, TIMEOUT, END, CANCELLED, DEADLINE = 0, 1, 2, 10, 11


class EventKind(IntEnum):
    """What an event tells: ``FLUID_EVENT_...``."""

    PROGRESS = 1
    TOKEN = 2
    SEGMENT = 3
    LANGUAGE = 4
    NOTICE = 5
    REASONING = 6
    TOOL_CALL = 7
    MODEL = 8
    END = 100


PCM_F32, PCM_I16, ENCODED, PATH = 1, 2, 3, 4
LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG = 1, 2, 3, 4


class NativeEvent(c.Structure):
    """``fluid_event``. A newer library's may be longer; it is only ever read through a pointer."""

    _fields_ = [
        ("struct_size", c.c_uint32),
        ("kind", c.c_int32),
        ("status", c.c_int32),
        ("choice", c.c_int32),
        ("token", c.c_int32),
        ("logprob", c.c_float),
        ("text", c.c_void_p),
        ("text_len", c.c_size_t),
        ("json", c.c_void_p),
        ("json_len", c.c_size_t),
        ("start", c.c_double),
        ("end", c.c_double),
        ("progress", c.c_double),
        ("elapsed", c.c_double),
        ("age", c.c_double),
    ]


class NativeAudio(c.Structure):
    """``fluid_audio``."""

    _fields_ = [
        ("struct_size", c.c_uint32),
        ("kind", c.c_int32),
        ("data", c.c_void_p),
        ("bytes", c.c_size_t),
        ("rate", c.c_uint32),
        ("channels", c.c_uint32),
    ]


EventFn = c.CFUNCTYPE(c.c_int32, c.POINTER(NativeEvent), c.c_void_p)
LogFn = c.CFUNCTYPE(None, c.c_int32, c.c_char_p, c.c_void_p)

_HANDLE, _TEXT, _DATA = c.c_void_p, c.c_char_p, c.c_void_p
_OUT = c.POINTER(c.c_void_p)
_OUT_SIZE = c.POINTER(c.c_size_t)
_OUT_EVENT = c.POINTER(c.POINTER(NativeEvent))
_AUDIO = c.POINTER(NativeAudio)

# Of the functions that return no status. Texts to own come by pointers, for ctypes would copy and lose them.
_RESULTS: dict[str, Any] = {
    "fluid_abi_version": c.c_uint32,
    "fluid_version": _TEXT,
    "fluid_status_name": _TEXT,
    "fluid_last_error": _TEXT,
    "fluid_string_free": None,
    "fluid_floats_free": None,
}

# Every function of the header. The blocking acts are not called: Python has to look after signals while it
# waits, so it starts jobs and reads their events.
FUNCTIONS: dict[str, list[Any]] = {
    "fluid_abi_version": [],
    "fluid_version": [],
    "fluid_status_name": [c.c_int32],
    "fluid_last_error": [],
    "fluid_string_free": [_DATA],
    "fluid_floats_free": [_DATA],
    "fluid_engine_new": [_TEXT, _OUT],
    "fluid_engine_info": [_HANDLE, _OUT],
    "fluid_engine_events": [_HANDLE, _OUT],
    "fluid_engine_trim": [_HANDLE, _OUT],
    "fluid_engine_free": [_HANDLE],
    "fluid_devices": [_HANDLE, _OUT],
    "fluid_doctor": [_HANDLE, _TEXT, _OUT],
    "fluid_download": [_HANDLE, _TEXT, _TEXT, EventFn, _DATA, _OUT],
    "fluid_download_start": [_HANDLE, _TEXT, _TEXT, _OUT],
    "fluid_load_model": [_HANDLE, _TEXT, _TEXT, EventFn, _DATA, _OUT],
    "fluid_load_model_start": [_HANDLE, _TEXT, _TEXT, _OUT],
    "fluid_model_info": [_HANDLE, _OUT],
    "fluid_model_free": [_HANDLE],
    "fluid_models": [_HANDLE, _TEXT, _OUT],
    "fluid_estimate": [_HANDLE, _TEXT, _TEXT, _OUT],
    "fluid_generate": [_HANDLE, _TEXT, EventFn, _DATA, _OUT],
    "fluid_generate_start": [_HANDLE, _TEXT, _OUT],
    "fluid_transcribe": [_HANDLE, _AUDIO, _TEXT, EventFn, _DATA, _OUT],
    "fluid_transcribe_start": [_HANDLE, _AUDIO, _TEXT, _OUT],
    "fluid_embed": [_HANDLE, _TEXT, EventFn, _DATA, _OUT, _OUT_SIZE, _OUT_SIZE, _OUT],
    "fluid_embed_start": [_HANDLE, _TEXT, _OUT],
    "fluid_rerank": [_HANDLE, _TEXT, EventFn, _DATA, _OUT],
    "fluid_rerank_start": [_HANDLE, _TEXT, _OUT],
    "fluid_tokenize": [_HANDLE, _TEXT, _OUT],
    "fluid_detokenize": [_HANDLE, _TEXT, _OUT],
    "fluid_model_save_state": [_HANDLE, _TEXT, _TEXT, EventFn, _DATA, _OUT],
    "fluid_model_save_state_start": [_HANDLE, _TEXT, _TEXT, _OUT],
    "fluid_model_restore_state": [_HANDLE, _TEXT, EventFn, _DATA, _OUT],
    "fluid_model_restore_state_start": [_HANDLE, _TEXT, _OUT],
    "fluid_job_next": [_HANDLE, c.c_int32, _OUT_EVENT],
    "fluid_job_cancel": [_HANDLE],
    "fluid_job_json": [_HANDLE, _OUT],
    "fluid_job_floats": [_HANDLE, _OUT, _OUT_SIZE, _OUT_SIZE],
    "fluid_job_take_model": [_HANDLE, _OUT],
    "fluid_job_attach": [_HANDLE, _HANDLE],
    "fluid_job_free": [_HANDLE],
    "fluid_queue_new": [_OUT],
    "fluid_queue_next": [_HANDLE, c.c_int32, _OUT, _OUT_EVENT],
    "fluid_queue_free": [_HANDLE],
    "fluid_log_set": [LogFn, _DATA, c.c_int32],
}


class InLog(threading.local):
    """Whether this thread is in the log callback, where what would wait is refused by the library."""

    here = False
    interrupt: KeyboardInterrupt | None = None
    """Came inside the callback, where nothing can be raised: the call that logged raises it when it has returned."""


in_log = InLog()
_library: c.CDLL | None = None
_loading = threading.RLock()


def library() -> c.CDLL:
    """The library, which the first call looks for and opens. Raises `LibraryNotFoundError`."""
    global _library
    if _library is None:
        with _loading:
            if _library is None:
                _library = _declared(_loader.load(ABI_MAJOR, ABI_MINOR))
    return _library


def _declared(library: c.CDLL) -> c.CDLL:
    for name, arguments in FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _RESULTS.get(name, c.c_int32)
    return library


def raise_interrupt() -> None:
    """Raises the Ctrl-C that came in a log handler on this thread."""
    if in_log.interrupt is not None and not in_log.here:
        interrupt, in_log.interrupt = in_log.interrupt, None
        raise interrupt


def check(status: int) -> int:
    """`status`, if it is no error; else raises what this thread's last call failed with."""
    raise_interrupt()
    if status < 0:
        lib = library()
        message = (lib.fluid_last_error() or b"").decode("utf-8", "replace")
        raise error_for(status, status_name(status), message)
    return status


def status_name(status: int) -> str:
    """The status's name in the header, such as ``FLUID_ERROR_NOT_FOUND``."""
    name: bytes = library().fluid_status_name(status)
    return name.decode()


def new_handle(function: Any, *arguments: Any) -> int:
    """The handle that `function` writes to its last argument. Who wraps it calls `raise_interrupt` behind that."""
    out = c.c_void_p()
    status = function(*arguments, c.byref(out))
    if status < 0:
        check(status)
    return out.value or 0


def waited(act: Callable[[], T]) -> T:
    """What `act` returns: a native call that may take seconds and that nothing stops. On the main thread Ctrl-C comes
    through meanwhile; the call then ends unseen."""
    if threading.current_thread() is not threading.main_thread() or in_log.here:
        return act()
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(act())
        except BaseException as error:
            future.set_exception(error)

    try:
        threading.Thread(target=work, name="fluid_ai call", daemon=True).start()
    except RuntimeError:
        return act()  # at the interpreter's exit there are no new threads
    while not wait([future], SLICE).done:
        pass
    return future.result()


def owned_text(function: Any, *arguments: Any) -> str:
    """The text that `function` writes to its last argument, to be freed by its caller."""
    out = c.c_void_p()
    status = function(*arguments, c.byref(out))
    try:
        check(status)
        return c.string_at(out.value or 0).decode()
    finally:
        library().fluid_string_free(out)
