"""Where the `openvino` package keeps its libraries, without importing it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

# Whoever sets it has chosen another library.
VARIABLE = "FLUID_OPENVINO_LIB"


def library_folder() -> str | None:
    """The folder with OpenVINO's C library, if the package is installed and the environment names no other."""
    if os.environ.get(VARIABLE):
        return None
    try:
        spec = find_spec("openvino")
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "libs"
        if any(folder.glob("*openvino_c.*")):
            return str(folder)
    return None
