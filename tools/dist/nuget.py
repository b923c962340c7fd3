#!/usr/bin/env python3
"""Makes NuGet's package Fluid.Native out of the archives of `make dist`, of as many systems as lie in one folder.

    nuget.py [--archives target/dist] [--out target/dist]

Needs the .NET SDK. Where there is none, tools/make_nuget.py packs what Mono compiled, for Mono and .NET Framework.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from system import ROOT, Refused, abi_version, version
from tree import DOC

PROJECT = ROOT / "bindings/csharp"
STAGE = ROOT / "target/nuget"
OPERATING_SYSTEMS = {"linux": "linux", "macos": "osx", "windows": "win"}
# What has to go with the library, whoever hands it on.
LICENSES = ("LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt", "sbom.cdx.json")
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def library_of(os):
    """The file in an archive that holds the library, and its name in the package."""
    major, minor = abi_version()
    return {
        "linux": (f"lib/libfluid.so.{major}.{minor}", f"libfluid.so.{major}"),
        "macos": (f"lib/libfluid.{major}.{minor}.dylib", f"libfluid.{major}.dylib"),
        "windows": ("bin/fluid.dll", "fluid.dll"),
    }[os]


def content(archive, name):
    """The bytes of one file of an archive."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            return packed.read(name)
    with tarfile.open(archive) as packed:
        return packed.extractfile(name).read()


def natives(archives, stage):
    """Lays runtimes/RID/native/LIBRARY and licenses/RID/* below `stage` for each archive of this version; returns
    the RIDs."""
    found = []
    for os, rid_os in OPERATING_SYSTEMS.items():
        for arch, rid_arch in ARCHITECTURES.items():
            top = f"fluid-{version()}-{os}-{arch}"
            archive = archives / f"{top}{'.zip' if os == 'windows' else '.tar.gz'}"
            if not archive.is_file():
                continue
            packed, name = library_of(os)
            rid = f"{rid_os}-{rid_arch}"
            files = {f"runtimes/{rid}/native/{name}": packed}
            files |= {f"licenses/{rid}/{text}": f"{DOC}/{text}" for text in LICENSES}
            for target, source in files.items():
                (stage / target).parent.mkdir(parents=True, exist_ok=True)
                (stage / target).write_bytes(content(archive, f"{top}/{source}"))
            found.append(rid)
    if not found:
        raise Refused(f"{archives} has no fluid-{version()}-*.tar.gz or .zip; make them: make dist")
    return found


def check(package, stage):
    """Each staged file is in the package, under the path it is staged by: what NuGet makes of folders is its own."""
    staged = {path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file()}
    with zipfile.ZipFile(package) as packed:
        missing = staged - set(packed.namelist())
    if missing:
        raise Refused(f"{package} lacks {', '.join(sorted(missing))}")


def pack(stage, out):
    """Has the SDK write the package; returns its path."""
    if not shutil.which("dotnet"):
        raise Refused("the .NET SDK (dotnet) is missing; install it, or use tools/make_nuget.py for Mono")
    folders = [f"-p:FluidNatives={stage / 'runtimes'}", f"-p:FluidLicenses={stage / 'licenses'}"]
    properties = [*folders, f"-p:Version={version()}"]
    command = ["dotnet", "pack", str(PROJECT), "--configuration", "Release", "--output", str(out), *properties]
    if subprocess.run(command, check=False).returncode:
        raise Refused("dotnet pack failed; its reason is above")
    return out / f"Fluid.Native.{version()}.nupkg"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=Path, default=ROOT / "target/dist")
    parser.add_argument("--out", type=Path, default=ROOT / "target/dist")
    options = parser.parse_args()
    shutil.rmtree(STAGE, ignore_errors=True)
    print("libraries for", ", ".join(natives(options.archives.resolve(), STAGE)), flush=True)
    check(pack(STAGE, options.out.resolve()), STAGE)


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError) as why:
        sys.exit(f"nuget: {why}")
