"""Names that the scripts of this folder share: the version, the system, what cargo built for it."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAPERS = "THIRD-PARTY.txt", "sbom.cdx.json"  # beside a build: what is inside the library
SERVER_PAPERS = {name: f"fluid-server-{name}" for name in PAPERS}  # and inside the server
TRIPLE = "triple.txt"  # beside a build: what it is for


class Refused(Exception):
    """A reason not to install or to ship, for a person."""


@dataclass(frozen=True)
class System:
    triple: str
    os: str  # linux, macos, windows
    arch: str  # x86_64, aarch64


@dataclass(frozen=True)
class Built:
    folder: Path
    library: Path
    import_library: Path | None  # what programs link with on Windows
    server: Path


def output(*command, cwd=ROOT):
    done = subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise Refused(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def _system(triple):
    names = {"linux": "linux", "darwin": "macos", "windows": "windows"}
    found = [name for part, name in names.items() if part in triple]
    if not found:
        raise Refused(f"{triple}: packages are made for Linux, macOS and Windows")
    return System(triple, found[0], triple.partition("-")[0])


def of_this_machine():
    """What rustc builds for."""
    return _system(re.search(r"^host: (.*)$", output("rustc", "-vV"), re.MULTILINE).group(1))


def of_build(folder):
    """What the build in `folder` is for, as tools/dist/papers.py noted it. Without a note, what Python runs on."""
    note = Path(folder, TRIPLE)
    if note.is_file():
        return _system(note.read_text(encoding="utf-8").strip())
    arch = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    endings = {"Linux": "unknown-linux-gnu", "Darwin": "apple-darwin", "Windows": "pc-windows-msvc"}
    return _system(f"{arch}-{endings.get(platform.system(), platform.system())}")


def built(folder=ROOT / "target/release", system=None, must_exist=True):
    """What cargo leaves in `folder`; Refused if it is not there."""
    system = system or of_build(folder)
    folder = Path(folder).resolve()
    gnu = system.triple.endswith("-gnu")
    names = {
        "linux": ("libfluid.so", None, "fluid-server"),
        "macos": ("libfluid.dylib", None, "fluid-server"),
        "windows": ("fluid.dll", "libfluid.dll.a" if gnu else "fluid.dll.lib", "fluid-server.exe"),
    }
    library, import_library, server = (name and folder / name for name in names[system.os])
    for file in (library, import_library, server, *(folder / name for name in (*PAPERS, *SERVER_PAPERS.values()))):
        if must_exist and file and not file.is_file():
            raise Refused(f"{file} is missing; build it: make server")
    return Built(folder, library, import_library, server)


def version():
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE).group(1)


def abi_version():
    """(major, minor) of FLUID_ABI_VERSION."""
    header = (ROOT / "include/fluid.h").read_text(encoding="utf-8")
    found = re.search(r"^#define FLUID_ABI_VERSION \(\((\d+) << 16\) \| (\d+)\)", header, re.MULTILINE)
    return int(found.group(1)), int(found.group(2))


def commit_time():
    """Seconds since 1970 that packed files get: SOURCE_DATE_EPOCH, or the commit's time; of sources without git,
    that of Cargo.toml."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(told)
    try:
        return int(output("git", "log", "-1", "--format=%ct"))
    except (Refused, FileNotFoundError):
        return int((ROOT / "Cargo.toml").stat().st_mtime)
