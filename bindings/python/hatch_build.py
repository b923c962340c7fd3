"""Hatchling's hook: a wheel that holds the library is one for its platform, one without is for all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from wheel_tag import platform_tag  # noqa: E402  # this file is run by its path


class LibraryHook(BuildHookInterface):
    """Names the platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        libraries = sorted(Path(self.root, "fluid_ai/lib").glob("*fluid*"))
        if libraries and version != "editable":
            build_data["pure_python"] = False
            build_data["sbom_files"] = ["sbom.cdx.json"]
            build_data["tag"] = f"py3-none-{platform_tag(libraries[0])}"
