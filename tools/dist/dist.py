#!/usr/bin/env python3
"""Packs what tools/dist/build.sh built: target/dist/fluid-VERSION-OS-ARCH.tar.gz (.zip on Windows), the symbols
that were taken out of it, and SHA256SUMS. The same commit, built with the same tools, gives the same bytes.

    dist.py [--build target/ship/release] [--out target/dist] [--static] [--allow-paths]
    dist.py [--out target/dist] --sums
"""

import argparse
import gzip
import hashlib
import io
import re
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import check
import static_library
import tree
from system import ROOT, Refused, built, commit_time, of_build, output, version

# 9 saves one part in a hundred and takes thrice as long.
LEVEL = 6


def _entries(folder):
    """The files below `folder`, by their paths in it, in one order everywhere."""
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
    return [(name, found[name]) for name in sorted(found) if found[name].is_symlink() or found[name].is_file()]


def _tar(folder, target, when):
    with target.open("wb") as file, gzip.GzipFile("", "wb", LEVEL, file, mtime=when) as zipped:
        with tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, path in _entries(folder):
                entry = archive.gettarinfo(path, f"{folder.name}/{name}")
                entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = when, 0, 0, "root", "root"
                if entry.issym():
                    entry.mode = 0o777
                    archive.addfile(entry)
                else:
                    archive.addfile(entry, io.BytesIO(path.read_bytes()))


def _zip(folder, target, when):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for name, path in _entries(folder):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", time.gmtime(when)[:6])
            entry.external_attr = path.stat().st_mode << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def pack(folder, out, system, when):
    """An archive of `folder` in `out`, named after it."""
    write, ending = (_zip, ".zip") if system.os == "windows" else (_tar, ".tar.gz")
    target = out / (folder.name + ending)
    write(folder, target, when)
    return target


def _symbols(found, folder):
    """What stripping takes, the names of functions, where gdb looks for it by build id after
    `set debug-file-directory` to `folder`."""
    for file in (found.library, found.server):
        build_id = re.search(r"Build ID: ([0-9a-f]+)", output("readelf", "-n", str(file))).group(1)
        target = folder / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
        target.parent.mkdir(parents=True, exist_ok=True)
        output("objcopy", "--only-keep-debug", str(file), str(target))


def sums(out):
    """SHA256SUMS of the packages in `out`."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted(out.iterdir())
        if file.is_file() and file.name != "SHA256SUMS"
    ]
    (out / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def refuse(found, system, allow_paths=False):
    """Refused if check.py finds something."""
    problems = check.problems(found, system)
    if allow_paths:
        problems = [line for line in problems if "paths of the builder" not in line]
    if problems:
        raise Refused("not to be shipped:\n  " + "\n  ".join(problems))


def dist(found, system, out, with_static=False, allow_paths=False):
    """Writes the archives; returns them."""
    refuse(found, system, allow_paths)
    name, when = f"fluid-{version()}-{system.os}-{system.arch}", commit_time()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder, symbols, static = Path(place, name), Path(place, f"{name}-symbols"), None
        if with_static:
            archive = Path(place, "libfluid.a")
            static = archive, static_library.make(found, system, archive)
        tree.lay(tree.files(found, system, static=static), folder, system)
        made = [pack(folder, out, system, when)]
        if system.os == "linux":
            _symbols(found, symbols)
            made.append(pack(symbols, out, system, when))
    sums(out)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "target/ship/release")
    parser.add_argument("--out", type=Path, default=ROOT / "target/dist")
    parser.add_argument("--static", action="store_true", help="libfluid.a too")
    parser.add_argument("--allow-paths", action="store_true", help="for trying out what tools/build.sh built")
    parser.add_argument("--sums", action="store_true", help="only SHA256SUMS, of what lies in --out")
    options = parser.parse_args()
    if options.sums:
        sums(options.out)
        return
    system = of_build(options.build)
    for file in dist(built(options.build, system), system, options.out, options.static, options.allow_paths):
        print(f"{file.stat().st_size / 1e6:6.1f} MB  {file}")


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError) as why:
        sys.exit(f"dist: {why}")
