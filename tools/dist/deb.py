#!/usr/bin/env python3
"""Debian packages of what tools/dist/build.sh built, in target/dist: libfluid1 (the library), libfluid-dev (to
compile with it), fluid-server.

    deb.py [--build target/ship/release] [--out target/dist] [--allow-paths]

dpkg-deb alone makes them: a source package would compile all of it once more.
"""

import argparse
import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path

import check
import dist
import tree
from system import PAPERS, ROOT, SERVER_PAPERS, Refused, abi_version, built, commit_time, of_build, version

MAINTAINER = "The libfluid developers <libfluid@users.noreply.github.com>"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Which release of g++ brought a version of its library's symbols.
GXX = {(3, 4, 29): 11, (3, 4, 28): 9, (3, 4, 26): 9, (3, 4, 25): 8}

COMPRESSION = "-Zxz"

SUMMARY = "local language models, speech recognition and embeddings"
TEXTS = {
    "library": ("shared library", "This package has the library that programs load."),
    "dev": ("development files", "This package has the header, and what pkg-config and CMake look for."),
    "server": ("HTTP host", "This package has fluid-server, which speaks OpenAI's protocol."),
}

COPYRIGHT = """\
libfluid, {url}

MIT or Apache-2.0, at your choice. On Debian the Apache license 2.0 is in
/usr/share/common-licenses/Apache-2.0. What is inside the library and the server from others is in
THIRD-PARTY.txt.gz of libfluid1 and of fluid-server, with each licence.

{mit}"""


def debian_version():
    """To Debian 0.2.0-rc.1 is newer than 0.2.0, and 0.2.0~rc.1 is not."""
    return version().replace("-", "~")


def _needs(file):
    """Packages, with versions, that `file` loads; what dpkg-shlibdeps would find on Debian."""
    versions = check.versions(file)
    newest = versions["GLIBCXX"]
    gxx = next((release for number, release in sorted(GXX.items(), reverse=True) if number <= newest), 5)
    glibc = ".".join(map(str, versions["GLIBC"]))
    return f"libc6 (>= {glibc}), libgcc-s1 (>= 4.2), libstdc++6 (>= {gxx})"


# Not "Multi-Arch: same": the library's papers, at one path, name the system it is for.
def _control(name, part, needs, arch, kilobytes):
    title, last = TEXTS[part]
    section = {"library": "libs", "dev": "libdevel", "server": "net"}[part]
    lines = [
        f"Package: {name}", f"Version: {debian_version()}", f"Architecture: {arch}", f"Maintainer: {MAINTAINER}",
        f"Installed-Size: {kilobytes}", f"Depends: {needs}",
        # Downloads believe the system's certificates.
        *([] if part == "dev" else ["Recommends: ca-certificates"]), f"Section: {section}", "Priority: optional",
        *(["Multi-Arch: foreign"] if part == "server" else []), f"Homepage: {tree.URL}",
        f"Description: {SUMMARY} ({title})",
        " libfluid runs GGUF models through llama.cpp, and Whisper through OpenVINO",
        " where that is installed, inside the process that calls it, behind one C",
        " interface.",
        " .", f" {last}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _changelog(name):
    when = format_datetime(datetime.fromtimestamp(commit_time(), timezone.utc))
    title = f"{name} ({debian_version()}) unstable; urgency=medium"
    text = f"{title}\n\n  * See CHANGELOG.md.\n\n -- {MAINTAINER}  {when}\n"
    return gzip.compress(text.encode(), 9, mtime=commit_time())


def _documents(name, folder, inside):
    """Debian keeps each package's licences in a folder of its own. `inside`: texts about what is in the binary."""
    target = folder / "usr/share/doc" / name
    target.mkdir(parents=True)
    mit = (ROOT / "LICENSE-MIT").read_text(encoding="utf-8")
    (target / "copyright").write_text(COPYRIGHT.format(url=tree.URL, mit=mit), encoding="utf-8")
    (target / "changelog.gz").write_bytes(_changelog(name))
    for file, text in inside.items():
        (target / f"{file}.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=commit_time()))


def _md5sums(folder):
    """What `dpkg --verify` compares."""
    files = sorted(path for path in (folder / "usr").rglob("*") if path.is_file() and not path.is_symlink())
    sums = [(hashlib.md5(path.read_bytes()).hexdigest(), path.relative_to(folder).as_posix()) for path in files]
    return "".join(f"{number}  {path}\n" for number, path in sums)


def _finish(folder, control, extra):
    (folder / "DEBIAN").mkdir()
    (folder / "DEBIAN/control").write_text(control, encoding="utf-8")
    for name, text in {**extra, "md5sums": _md5sums(folder)}.items():
        (folder / "DEBIAN" / name).write_text(text, encoding="utf-8")
    # What an umask leaves, and what strip made a program of.
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            runs = path.is_dir() or "/bin/" in str(path)
            path.chmod(0o755 if runs else 0o644)


def _build(folder, target):
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(commit_time())}
    command = ["dpkg-deb", "--root-owner-group", COMPRESSION, "--build", str(folder), str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise Refused(f"dpkg-deb: {done.stderr.strip()}")
    return target


def _parts(found, system, libdir):
    """(package, part, its files, what it needs, its other control files)."""
    major, _ = abi_version()
    files = tree.files(found, system, libdir)
    files = {path: item for path, item in files.items() if not path.startswith(tree.DOC)}
    loaded = {path for path in files if f"libfluid.so.{major}" in path}
    served = {path for path in files if path.startswith("bin/")}
    chosen = {"library": loaded, "server": served, "dev": set(files) - loaded - served}
    name = f"libfluid{major}"
    facts = {
        "library": (name, _needs(found.library), {
            "shlibs": f"libfluid {major} {name} (>= {debian_version()})\n",
            "triggers": "activate-noawait ldconfig\n",
        }),
        "dev": ("libfluid-dev", f"{name} (= {debian_version()})", {}),
        "server": ("fluid-server", _needs(found.server), {}),
    }  # fmt: skip
    for part, paths in chosen.items():
        package, needs, extra = facts[part]
        yield package, part, {path: files[path] for path in paths}, needs, extra


def debs(found, system, out, allow_paths=False):
    """Writes the packages; returns them."""
    dist.refuse(found, system, allow_paths)
    arch, libdir = ARCHITECTURES[system.arch], f"lib/{system.arch}-linux-gnu"
    papers = {"library": {name: name for name in PAPERS}, "server": SERVER_PAPERS, "dev": {}}
    made = []
    out.mkdir(parents=True, exist_ok=True)
    for package, part, files, needs, extra in _parts(found, system, libdir):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, package)
            tree.lay(files, folder / "usr", system)
            inside = {name: (found.folder / file).read_text(encoding="utf-8") for name, file in papers[part].items()}
            _documents(package, folder, inside)
            kilobytes = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) // 1024
            _finish(folder, _control(package, part, needs, arch, kilobytes), extra)
            made.append(_build(folder, out / f"{package}_{version()}_{arch}.deb"))
    dist.sums(out)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "target/ship/release")
    parser.add_argument("--out", type=Path, default=ROOT / "target/dist")
    parser.add_argument("--allow-paths", action="store_true", help="for trying out what tools/build.sh built")
    options = parser.parse_args()
    system = of_build(options.build)
    if system.os != "linux":
        raise Refused("Debian packages are made on Linux")
    for file in debs(built(options.build, system), system, options.out, options.allow_paths):
        print(f"{file.stat().st_size / 1e6:6.1f} MB  {file}")


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError) as why:
        sys.exit(f"deb: {why}")
