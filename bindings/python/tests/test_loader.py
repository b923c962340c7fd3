"""How the library is found, and what is said where it is not."""

import os
import pickle
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from support import environment, fluid_ai

from fluid_ai import _loader

HELD = os.path.realpath(os.path.join(os.environ["FLUID_LIBRARY"], "libfluid.so"))


class Loader(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name, "fluid_ai")
        self.folder.mkdir()

    def load(self, package=None, variable="", major=1, minor=1):
        with mock.patch.dict(os.environ, {"FLUID_LIBRARY": str(variable)}):
            with mock.patch.object(_loader, "PACKAGE", package or self.folder):
                return _loader.load(major, minor)

    def refusal(self, **how):
        with self.assertRaises(fluid_ai.LibraryNotFoundError) as caught:
            self.load(**how)
        return str(caught.exception)

    def test_a_variable_that_names_the_file_or_its_folder_is_obeyed(self):
        named = self.folder / "here.so"
        named.symlink_to(HELD)
        self.assertEqual(self.load(variable=named)._name, str(named))
        (self.folder / "libfluid.so.1").symlink_to(HELD)
        self.assertEqual(self.load(variable=self.folder)._name, str(self.folder / "libfluid.so.1"))

    def test_a_variable_may_name_a_file_of_this_folder(self):
        (self.folder / "here.so").symlink_to(HELD)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.assertEqual(self.load(variable="here.so")._name, os.path.join(os.getcwd(), "here.so"))

    def test_the_wheels_library_comes_before_the_one_beside(self):
        (self.folder / "lib").mkdir()
        for place in ("lib/libfluid.so.1", "libfluid.so"):
            (self.folder / place).symlink_to(HELD)
        self.assertEqual(self.load()._name, str(self.folder / "lib/libfluid.so.1"))
        # Another folder: glibc goes on to know a library by the path it had.
        beside = self.folder / "beside"
        beside.mkdir()
        (beside / "libfluid.so").symlink_to(HELD)
        self.assertEqual(self.load(package=beside)._name, str(beside / "libfluid.so"))
        self.assertEqual(self.load(package=beside / "fluid_ai")._name, str(beside / "libfluid.so"))

    def test_what_was_tried_is_listed_with_reasons_and_advice(self):
        (self.folder / "lib").mkdir()
        (self.folder / "lib/libfluid.so.1").write_text("no library")
        # A process of its own: this one may have opened the library, and then has it by its name.
        program = "import sys, fluid_ai._loader as it; it.PACKAGE = it.Path(sys.argv[1]); it.load(1, 1)"
        said = subprocess.run(
            [sys.executable, "-c", program, str(self.folder)],
            env={**environment(), "FLUID_LIBRARY": ""},
            capture_output=True,
            text=True,
        ).stderr
        for part in (
            "lib/libfluid.so.1: ",
            "too short",
            "lib/libfluid.so: not there",
            "on the system: libfluid.so.1: ",
            "cannot open shared object file",
            "make wheel",
            "FLUID_LIBRARY",
        ):
            self.assertIn(part, said)
        # The name is nobody's in PyPI yet: whoever takes it must not be run by our own advice.
        self.assertNotIn("pip install", said)

    def test_on_windows_what_the_library_lacks_is_named(self):
        there = self.folder / "fluid.dll"
        there.touch()
        told = FileNotFoundError(f"Could not find module '{there}' (or one of its dependencies).")
        with mock.patch.object(_loader.ctypes, "CDLL", side_effect=told):
            self.assertIn("fluid.dll: there, but it needs Microsoft's Visual C++", self.refusal(variable=there))

    def test_a_named_library_that_is_missing_is_not_replaced(self):
        (self.folder / "libfluid.so.1").symlink_to(HELD)
        said = self.refusal(variable=self.folder / "gone.so")
        self.assertIn("gone.so: not there", said)
        self.assertNotIn("libfluid.so.1", said)

    def test_another_interface_is_refused_by_its_numbers(self):
        said = self.refusal(variable=HELD, major=2, minor=0)
        self.assertIn("has version 1.", said)
        self.assertIn("needs 2.0", said)
        self.assertIn("needs 1.999", self.refusal(variable=HELD, minor=999))

    def test_a_library_of_that_name_that_is_another_is_passed_over(self):
        source = self.folder / "other.c"
        source.write_text("int fluid_other(void) { return 0; }\n")
        other = self.folder / "libfluid.so.1"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(other), str(source)], check=True)
        (self.folder / "libfluid.so").symlink_to(HELD)
        self.assertEqual(self.load()._name, str(self.folder / "libfluid.so"))
        self.assertIn("is another library", self.refusal(variable=other))

    def test_names_are_the_systems(self):
        for platform, names in (("win32", ("fluid.dll",)), ("darwin", ("libfluid.1.dylib", "libfluid.dylib"))):
            with mock.patch.object(_loader.sys, "platform", platform):
                self.assertEqual(_loader.file_names(), names)


class Exceptions(unittest.TestCase):
    def test_they_are_what_python_calls_such_things_and_can_be_pickled(self):
        for error, builtin in (
            (fluid_ai.NotFoundError, FileNotFoundError),
            (fluid_ai.InvalidRequestError, ValueError),
            (fluid_ai.DeadlineError, TimeoutError),
            (fluid_ai.OutOfMemoryError, MemoryError),
            (fluid_ai.NetworkError, ConnectionError),
            (fluid_ai.AccessDeniedError, PermissionError),
            (fluid_ai.LibraryNotFoundError, ImportError),
        ):
            made = error("why", -1, "FLUID_ERROR_X")
            self.assertIsInstance(made, builtin)
            copy = pickle.loads(pickle.dumps(made))
            self.assertEqual(
                (type(copy), str(copy), copy.status, copy.status_name), (error, "why", -1, "FLUID_ERROR_X")
            )

    def test_the_partial_result_is_pickled_too(self):
        stopped = fluid_ai.DeadlineError("late", 11)
        stopped.result = fluid_ai.Answer(choices=[{"text": "so far"}])
        self.assertEqual(pickle.loads(pickle.dumps(stopped)).result.text, "so far")


if __name__ == "__main__":
    unittest.main()
