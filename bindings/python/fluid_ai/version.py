"""Which package this is, and which library it loaded."""

from __future__ import annotations

from importlib import metadata

from . import _native

try:
    __version__ = metadata.version("fluid-ai")
except metadata.PackageNotFoundError:  # the package is used from its sources
    __version__ = "0+unknown"


def version() -> str:
    """The library's version, such as "0.1.0"."""
    text: bytes = _native.library().fluid_version()
    return text.decode()


def abi_version() -> tuple[int, int]:
    """The version of the library's binary interface: major and minor number."""
    number = int(_native.library().fluid_abi_version())
    return number >> 16, number & 0xFFFF


def library_path() -> str:
    """The path, or the name, by which the library was found."""
    return _native.library()._name
