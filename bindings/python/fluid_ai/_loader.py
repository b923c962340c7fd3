"""Finds the library, opens it, and says what it tried: in order, `FLUID_LIBRARY`, the wheel, beside, the system."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

from .errors import LibraryNotFoundError

VARIABLE = "FLUID_LIBRARY"
PACKAGE = Path(__file__).resolve().parent


class Place(NamedTuple):
    """A library that may be there: who says so, and the path or the name to open it by."""

    origin: str
    path: str


def file_names() -> tuple[str, ...]:
    """The library's file names on this system, the one with the major version first."""
    if sys.platform == "win32":
        return ("fluid.dll",)
    if sys.platform == "darwin":
        return ("libfluid.1.dylib", "libfluid.dylib")
    return ("libfluid.so.1", "libfluid.so")


def places() -> Iterator[Place]:
    """Where to look. What `FLUID_LIBRARY` names is the only place then: no other must be taken in silence."""
    named = os.environ.get(VARIABLE)
    if named:
        if os.path.isdir(named):
            yield from (Place(VARIABLE, os.path.join(named, name)) for name in file_names())
        else:
            # A bare name is one that the system's loader searches for.
            yield Place(VARIABLE, os.path.abspath(named) if os.path.exists(named) else named)
        return
    folders = (("in the package", PACKAGE / "lib"), ("in the package", PACKAGE), ("beside the package", PACKAGE.parent))
    for origin, folder in folders:
        yield from (Place(origin, str(folder / name)) for name in file_names())
    yield from (Place("on the system", name) for name in file_names())


def load(major: int, minor: int) -> ctypes.CDLL:
    """Opens the first library that fits the interface. Raises `LibraryNotFoundError` with all that was tried."""
    tried: list[str] = []
    for place in places():
        try:
            return _open(place, major, minor)
        except (OSError, ValueError) as error:
            tried.append(f"  {place.origin}: {place.path}: {_reason(place, error)}")
    raise LibraryNotFoundError(_advice(tried))


def _open(place: Place, major: int, minor: int) -> ctypes.CDLL:
    library = ctypes.CDLL(place.path)
    try:
        library.fluid_abi_version.restype = ctypes.c_uint32
        version = library.fluid_abi_version()
    except AttributeError:
        raise ValueError("is another library: it has no fluid_abi_version") from None
    found = (version >> 16, version & 0xFFFF)
    if found[0] != major or found[1] < minor:
        raise ValueError(
            f"has version {found[0]}.{found[1]} of the binary interface, fluid_ai needs {major}.{minor} "
            f"or a later {major}.x; use the library and the package of one release"
        )
    return library


def _reason(place: Place, error: Exception) -> str:
    if os.path.dirname(place.path) and not os.path.exists(place.path):
        return "not there"
    if isinstance(error, FileNotFoundError) and os.path.exists(place.path):
        # On Windows, of what is there: a library that it needs is missing.
        return "there, but it needs Microsoft's Visual C++ Redistributable (MSVCP140.dll), which is not"
    # The system's loader begins with the path, which stands before it already.
    return str(error).replace(f"{place.path}: ", "", 1)


def _advice(tried: list[str]) -> str:
    return "\n".join(
        [
            f"libfluid was not found for {platform.system()} on {platform.machine()}. Tried:",
            *tried,
            f"Install the wheel for this system (`make wheel` in libfluid's sources makes it), or set {VARIABLE} to the "
            "library's path.",
        ]
    )
