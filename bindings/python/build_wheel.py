#!/usr/bin/env python3
"""Makes the wheel that holds the library: `make wheel`. Needs pip and hatchling, and nothing from the network.

build_wheel.py [--build FOLDER] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# As deep below the root as bindings/python: pyproject.toml reads the version from ../../Cargo.toml.
STAGE = ROOT / "target/wheel"
SOURCES = ("pyproject.toml", "README.md", "hatch_build.py", "wheel_tag.py", "fluid_ai")

# What tells of everything inside the library, and who writes it.
PAPERS = {"THIRD-PARTY.txt": "licences.py", "sbom.cdx.json": "sbom.py"}

# By platform: what cargo builds, and its name in the wheel, which has the major version where file names do.
LIBRARIES = {
    "linux": ("libfluid.so", "libfluid.so.1"),
    "darwin": ("libfluid.dylib", "libfluid.1.dylib"),
    "win32": ("fluid.dll", "fluid.dll"),
}


def stage(library: Path) -> None:
    """Lays out what goes into the wheel."""
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    for name in SOURCES:
        if (HERE / name).is_dir():
            shutil.copytree(HERE / name, STAGE / name, ignore=shutil.ignore_patterns("__pycache__", "lib"))
        else:
            shutil.copy(HERE / name, STAGE)
    for text in ROOT.glob("LICENSE-*"):
        shutil.copy(text, STAGE)
    for paper, script in PAPERS.items():
        with open(STAGE / paper, "w", encoding="utf-8") as file:
            subprocess.run([sys.executable, str(ROOT / "tools/dist" / script)], stdout=file, check=True)
    held = STAGE / "fluid_ai/lib" / LIBRARIES[sys.platform][1]
    held.parent.mkdir()
    shutil.copy(library, held)
    strip(held)


def strip(library: Path) -> None:
    """Takes out what only a debugger reads."""
    if sys.platform != "win32":
        how = "-x" if sys.platform == "darwin" else "--strip-unneeded"
        subprocess.run(["strip", how, str(library)], check=True)


def build(out: Path) -> Path:
    """Has pip build the wheel, and returns it."""
    made = STAGE / "made"
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--no-cache-dir"]
    subprocess.run([sys.executable, *command, "--wheel-dir", str(made), str(STAGE)], check=True)
    (wheel,) = made.glob("*.whl")
    out.mkdir(parents=True, exist_ok=True)
    # The ones before it. Other machines' are gathered in the same folder.
    for old in out.glob(f"fluid_ai-*-{wheel.stem.rpartition('-')[2]}.whl"):
        old.unlink()
    return Path(shutil.copy(wheel, out))


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the wheel that holds the library.")
    parser.add_argument("--build", type=Path, default=ROOT / "target/release", help="what cargo left")
    parser.add_argument("--out", type=Path, default=ROOT / "target/wheels")
    chosen = parser.parse_args()
    library = (chosen.build / LIBRARIES[sys.platform][0]).resolve()
    if not library.is_file():
        parser.error(f"{library} is not there; `make build` makes it")
    try:
        stage(library)
        wheel = build(chosen.out)
    except subprocess.CalledProcessError:
        return 1  # who failed has said why
    shutil.rmtree(STAGE)
    print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
