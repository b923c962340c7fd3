"""What the workflows type: goals that the Makefile has, with the set-up that they need; and the papers of a build."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/dist"))

import papers  # noqa: E402
from system import PAPERS, SERVER_PAPERS, TRIPLE, of_build, of_this_machine  # noqa: E402

WORKFLOWS = ROOT / ".github/workflows"


def calls():
    """The goals of each `make` that a workflow types, a matrix's goal among them."""
    for file in sorted(WORKFLOWS.glob("*.yml")):
        text = file.read_text(encoding="utf-8")
        for goals in re.findall(r"run: make (.*)", text) + re.findall(r"\bgoal: ([\w-]+)", text):
            if "${{" not in goals:
                yield goals.split()


def would_run(*goals):
    """The lines that make would run."""
    return subprocess.run(
        ["make", "--no-print-directory", "-n", *goals], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout.splitlines()  # fmt: skip


class Workflows(unittest.TestCase):
    def test_every_goal_is_known(self):
        found = list(calls())
        self.assertGreater(len(found), 5)
        for goals in found:
            self.assertTrue(would_run(*goals), goals)

    def test_what_writes_a_wheel_is_set_up_before(self):
        wheels = [goals for goals in calls() if "dist-wheel" in goals]
        self.assertEqual(len(wheels), 2)
        for goals in wheels:
            lines = would_run(*goals)
            setup = [line for line in lines if "tools/setup.sh" in line]
            self.assertEqual(setup, ["bash tools/setup.sh --wheel"], goals)
            wheel = next(line for line in lines if "build_wheel.py" in line)
            self.assertLess(lines.index(setup[0]), lines.index(wheel))
            # What is packed is loaded once, before anyone gets it.
            self.assertTrue(any("-m fluid_ai doctor" in line for line in lines[lines.index(wheel) :]))
            # The sums are written behind all that they are of.
            self.assertGreater(len(lines) - 1, lines.index(wheel))
            self.assertIn("--sums", lines[-1])
        self.assertIn("--sums", would_run("nuget")[-1])


class MacOS(unittest.TestCase):
    def test_the_oldest_system_is_one_that_a_wheels_name_can_tell(self):
        settings = (ROOT / ".cargo/config.toml").read_text(encoding="utf-8")
        (major,) = re.findall(r'^MACOSX_DEPLOYMENT_TARGET = "(\d+)\.0"$', settings, re.MULTILINE)
        self.assertIn(f"macOS {major} or later", (ROOT / "docs/building.md").read_text(encoding="utf-8"))


class Papers(unittest.TestCase):
    def test_they_are_written_once_and_again_when_something_changed(self):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            self.assertTrue(papers.write(folder))
            written = {name: (folder / name).read_bytes() for name in (*PAPERS, *SERVER_PAPERS.values(), TRIPLE)}
            self.assertFalse(papers.write(folder))
            with mock.patch.dict(os.environ, SOURCE_DATE_EPOCH="1"):
                self.assertTrue(papers.write(folder))
            self.assertIn("1970-01-01T00:00:01Z", (folder / "sbom.cdx.json").read_text(encoding="utf-8"))
            (folder / TRIPLE).unlink()
            self.assertTrue(papers.write(folder))
            changed = [name for name, content in written.items() if (folder / name).read_bytes() != content]
            self.assertEqual(changed, [])
            self.assertEqual(of_build(folder), of_this_machine())

    def test_a_folder_without_a_note_is_for_what_python_runs_on(self):
        machine = of_this_machine()
        with tempfile.TemporaryDirectory() as place:
            self.assertEqual((of_build(place).os, of_build(place).arch), (machine.os, machine.arch))


if __name__ == "__main__":
    unittest.main()
