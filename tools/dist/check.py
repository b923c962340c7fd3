"""What a shipped library may not have: symbols of others, a need for newer systems, paths of who built it, the
scripted backend of the tests."""

import os
import re
from pathlib import Path

import abi
from system import ROOT, output

# What RHEL 9 and Ubuntu 22.04 have.
NEWEST = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (7, 0, 0)}

# What src/backend/fake.rs alone says.
SCRIPTED = b"the fake script asks for"


def exports(library, system):
    if system.os == "windows":
        return set()  # its tools are not at hand everywhere; rustc exports what it is told to
    flags = ["-D", "--defined-only"] if system.os == "linux" else ["-gU"]
    names = {line.split()[-1].partition("@")[0] for line in output("nm", *flags, str(library)).splitlines() if line}
    return {name.removeprefix("_") if system.os == "macos" else name for name in names}


def versions(file):
    """Library to the newest version asked for, as a tuple: {"GLIBC": (2, 34)}."""
    newest = {}
    for name, number in re.findall(r"\b([A-Z]+)_(\d[\d.]*)", output("objdump", "-T", str(file))):
        newest[name] = max(newest.get(name, ()), tuple(map(int, number.split("."))))
    return newest


def builders_folders():
    """Folders that would tell who built it and where."""
    home = Path.home()
    cargo = os.environ.get("CARGO_HOME", home / ".cargo")
    return sorted({str(folder) for folder in (home, cargo, ROOT) if len(Path(folder).parts) > 1})


def paths(file):
    """Paths of the builder's folders inside `file`."""
    content = Path(file).read_bytes()
    return [folder for folder in builders_folders() if re.search(re.escape(folder.encode()) + rb"[/\\]", content)]


def _too_new(file):
    for name, number in versions(file).items():
        if name in NEWEST and number > NEWEST[name]:
            have, most = (".".join(map(str, each)) for each in (number, NEWEST[name]))
            yield f"{file.name} asks for {name}_{have}; {most} is the newest that may be"


def scripted(built):
    """Reasons not even to install, one line each."""
    files = [file for file in (built.library, built.server) if SCRIPTED in file.read_bytes()]
    return [f"{file.name} has the scripted backend of the tests inside" for file in files]


def problems(built, system):
    """Reasons not to ship, one line each."""
    found = scripted(built)
    if system.os != "windows":
        declared = set(abi.functions())
        exported = exports(built.library, system)
        found += [f"{built.library.name} exports {name}" for name in sorted(exported - declared)]
        found += [f"{built.library.name} does not export {name}" for name in sorted(declared - exported)]
    for file in (built.library, built.server):
        if system.os == "linux":
            found += _too_new(file)
        # Visual Studio's projects name C++ sources with their folders, and tools/dist/build.sh cannot change that.
        if system.os != "windows":
            found += [f"{file.name} holds paths of the builder: {folder}" for folder in paths(file)]
    return found
