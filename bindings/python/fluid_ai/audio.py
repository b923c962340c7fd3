"""Recordings as the library takes them: a path, the bytes of a file, or samples of anything with a buffer."""

from __future__ import annotations

import ctypes as c
import os
import sys
from array import array
from typing import Any, Union

from . import _native
from ._request import encode_path
from .errors import InvalidArgumentError

Audio = Union[str, os.PathLike[str], bytes, bytearray, memoryview, Any]
"""What can be transcribed:

- a path, `str` or `os.PathLike`, of a WAV, FLAC, MP3, OGG Vorbis, M4A or AAC file;
- the bytes of such a file;
- samples, with their ``rate``: anything with a buffer of 32-bit floats or doubles from -1 to 1, or of 16-bit integers,
  such as numpy's arrays and `array.array`. One dimension is mono, two are [frames, channels].
"""

_KINDS = {"f": _native.PCM_F32, "h": _native.PCM_I16}

# Before a buffer's format: the byte order, where it is this machine's.
_NATIVE = "=@<" if sys.byteorder == "little" else "=@>!"


class NativeRecording:
    """A filled `fluid_audio`, and what its pointer needs to stay alive."""

    def __init__(self, kind: int, data: Any, size: int, rate: int = 0, channels: int = 0) -> None:
        self._data = data
        # Not a cast of an array: it makes a cycle, which holds the caller's buffer until a collection.
        pointer = c.addressof(data) if isinstance(data, c.Array) else c.cast(data, c.c_void_p)
        self.struct = _native.NativeAudio(c.sizeof(_native.NativeAudio), kind, pointer, size, rate, channels)


def recording(audio: Audio, rate: int | None) -> NativeRecording:
    """Describes `audio` to the library. Raises `TypeError` for what is no audio at all."""
    if isinstance(audio, (str, os.PathLike)):
        path = encode_path(audio)
        return NativeRecording(_native.PATH, path, len(path))
    try:
        view = memoryview(audio)
    except TypeError:
        raise TypeError(f"audio is a path, bytes or samples in a buffer, not {type(audio).__name__}") from None
    form = (view.format or "").lstrip(_NATIVE)
    if form not in ("B", "b", "c"):
        return _samples(view, form, rate)
    if rate is not None:
        raise InvalidArgumentError(
            "bytes are a file, which says its own rate; samples come in a buffer of floats or 16-bit integers: "
            "`memoryview(data).cast('h')` where bytes hold such"
        )
    return NativeRecording(_native.ENCODED, *((audio, len(audio)) if isinstance(audio, bytes) else _pointer(view)))


def _samples(view: memoryview, form: str, rate: int | None) -> NativeRecording:
    if rate is None:
        raise InvalidArgumentError("samples need rate=, their frames per second, such as 16000")
    shape = view.shape or ()
    if form == "d":
        view, form = memoryview(array("f", memoryview(view.tobytes()).cast("d"))), "f"
    kind = _KINDS.get(form)
    if kind is None:
        raise TypeError(f"samples are 32-bit floats, doubles or 16-bit integers, not of the format {view.format!r}")
    if len(shape) not in (1, 2):
        raise InvalidArgumentError(f"samples have one dimension or two, [frames, channels], not {len(shape)}")
    channels = shape[1] if len(shape) == 2 else 1
    if channels > 64:
        raise InvalidArgumentError(f"samples come as [frames, channels], and there are {channels} channels: transpose")
    return NativeRecording(kind, *_pointer(view), rate, channels)


def _pointer(view: memoryview) -> tuple[Any, int]:
    """Something that ctypes points to, and its bytes; a copy only where the buffer has gaps or is read-only."""
    if view.readonly or not view.c_contiguous or view.nbytes == 0:
        copy = view.tobytes()
        return copy, len(copy)
    return (c.c_char * view.nbytes).from_buffer(view), view.nbytes
