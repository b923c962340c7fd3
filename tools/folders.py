"""Makes a folder of model files whole or not at all, and knows one that is up to date by a few stats."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

STAMP = ".made.json"
LOCK = ".lock"
TOOLS = Path(__file__).resolve().parent


class Refused(Exception):
    """What was asked can't be done; the message says why, in one line."""


@contextlib.contextmanager
def blame(path):
    """Names the file that a refusal inside is about."""
    try:
        yield
    except Refused as why:
        raise Refused(f"{path}: {why}") from why


def say(text):
    print(text, flush=True)


def run(program, work, *also):
    """Does `work`, and ends the program with one line where that fails; `also` are further kinds of failure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a polite end clears up
    try:
        work()
    except (Refused, OSError, ImportError, *also) as why:
        sys.exit(f"{program}: {' '.join(str(why).split())}")
    except KeyboardInterrupt:
        sys.exit(f"{program}: interrupted; the next run starts over")


def fingerprint(files):
    """Of the tools that make a folder: a folder made by others is made anew."""
    digest = hashlib.sha256()
    for file in files:
        digest.update((TOOLS / file).read_bytes())
    return digest.hexdigest()


def state_of(paths):
    """Name, size and time of each file."""
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}


def is_current(target, recipe):
    try:
        stamp = json.loads((target / STAMP).read_text())
        return stamp["recipe"] == recipe and stamp["files"] == state_of(target / name for name in stamp["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def make(target, recipe, fill):
    """Calls `fill(folder)` unless `target` was made by the same `recipe` (anything that JSON can say)."""
    if is_current(target, recipe):
        return say(f"{target} is there")
    target.parent.mkdir(parents=True, exist_ok=True)
    with take_lock(target.parent):
        if is_current(target, recipe):  # made by another run while this one waited
            return say(f"{target} is there")
        if target.exists() and any(target.iterdir()) and not (target / STAMP).exists():
            raise Refused(f"{target} holds files that this tool did not make; name another folder or remove it")
        remove_leftovers(target)
        fill_and_rename(target, recipe, fill)


def fill_and_rename(target, recipe, fill):
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    beside.chmod(0o755)
    try:
        new, old = beside / "new", beside / "old"
        new.mkdir()
        fill(new)
        stamp = {"recipe": recipe, "files": state_of(sorted(new.iterdir()))}
        (new / STAMP).write_text(json.dumps(stamp))
        flush(new)
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    size = sum(path.stat().st_size for path in target.iterdir())
    say(f"{target}: made, {size / 1e6:.0f} MB")


def flush(folder):
    """To the disk, before a name promises that it is all there."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def remove_leftovers(target):
    """Of runs that were killed; called with the lock held."""
    for left in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(left, ignore_errors=True)


def take_lock(folder):
    """One tool at a time fetches or makes what is in `folder`."""
    lock = open(folder / LOCK, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"another run is at work in {folder}; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
