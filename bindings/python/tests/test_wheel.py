"""The wheel: what it is called, what it holds, and that it works where nothing of the repository is."""

import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from support import CHAT_MODEL, PACKAGE, PATIENCE, ROOT, SMALL_SPEECH_MODEL, SPEECH

sys.path.insert(0, str(PACKAGE))

import wheel_tag  # noqa: E402

HEADERS = """
  NEEDED               libstdc++.so.6
  NEEDED               libc.so.6
  NEEDED               ld-linux-x86-64.so.2
  SONAME               libfluid.so.1
    0x0d696913 0x00 39 GLIBC_2.3
    0x069691b4 0x00 10 GLIBC_{glibc}
    0x0297f879 0x00 26 GLIBCXX_{gcc}
"""

PROGRAM = """
import fluid_ai, sys
assert "site-packages" in fluid_ai.__file__, fluid_ai.__file__
assert fluid_ai.library_path().startswith(sys.prefix), fluid_ai.library_path()
assert fluid_ai.__version__ == fluid_ai.version() == sys.argv[4], fluid_ai.__version__
with fluid_ai.Engine() as engine:
    with engine.load_model(sys.argv[1], n_ctx=512) as model:
        print(len(list(model.stream("One, two, three,", max_tokens=4, temperature=0))))
    with engine.load_model(sys.argv[2]) as model:
        print(model.transcribe(sys.argv[3], temperature=0).text)
"""


class Tags(unittest.TestCase):
    def tag(self, glibc="2.34", gcc="3.4.29", more=""):
        return wheel_tag.linux_tag(HEADERS.format(glibc=glibc, gcc=gcc) + more, "x86_64")

    def test_the_newest_glibc_asked_for_is_in_the_tag(self):
        self.assertEqual(self.tag(), "manylinux_2_34_x86_64")
        self.assertEqual(self.tag(glibc="2.36"), "manylinux_2_36_x86_64")
        self.assertEqual(self.tag(glibc="2.9", gcc="3.4.21"), "manylinux_2_28_x86_64")

    def test_a_newer_libstdcxx_moves_the_tag_up(self):
        self.assertEqual(self.tag(gcc="3.4.30"), "manylinux_2_35_x86_64")
        with self.assertRaisesRegex(wheel_tag.Refused, "libstdc"):
            self.tag(gcc="3.4.99")

    def test_macos_is_named_by_what_the_library_was_linked_for(self):
        for said, tag in (
            ("minos 11.3\n      sdk 15.0", "macosx_11_0_arm64"),
            ("version 10.13\n", "macosx_10_13_arm64"),
        ):
            self.assertEqual(wheel_tag.macos_tag(f"cmd LC_BUILD_VERSION\n    {said}", "arm64"), tag)

    def test_the_processor_is_the_librarys(self):
        for number, name in ((0x0100_0007, "x86_64"), (0x0100_000C, "arm64")):
            self.assertEqual(wheel_tag.macos_machine(struct.pack("<II", 0xFEEDFACF, number)), name)
        for number, tag in ((0x8664, "win_amd64"), (0xAA64, "win_arm64")):
            dll = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
            self.assertEqual(wheel_tag.windows_tag(dll.ljust(0x80, b"\0") + struct.pack("<4sH", b"PE\0\0", number)), tag)
        for refuse in (lambda: wheel_tag.macos_machine(b"\x7fELF\2\1\1\0"), lambda: wheel_tag.windows_tag(b"MZ")):
            self.assertRaises(wheel_tag.Refused, refuse)

    def test_a_library_that_no_system_promises_is_refused(self):
        with self.assertRaisesRegex(wheel_tag.Refused, "libgomp.so.1"):
            self.tag(more="  NEEDED               libgomp.so.1\n")


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ein Rad für fluid ")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.others = cls.folder / "fluid_ai-0.0.9-py3-none-macosx_13_0_arm64.whl"
        cls.others.touch()
        command = [sys.executable, str(PACKAGE / "build_wheel.py"), "--build", os.environ["FLUID_LIBRARY"], "--out", folder.name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        cls.wheel = Path(done.stdout.strip())

    def test_its_name_is_true_and_asks_for_no_newer_glibc(self):
        self.assertRegex(self.wheel.name, r"^fluid_ai-\d+\.\d+\.\d+-py3-none-manylinux_2_34_\w+\.whl$")

    def test_other_systems_wheels_stay(self):
        self.assertEqual(sorted(self.folder.glob("*.whl")), sorted([self.wheel, self.others]))

    def test_it_holds_the_stripped_library_and_licences(self):
        with zipfile.ZipFile(self.wheel) as archive:
            names = archive.namelist()
            inside = archive.read("fluid_ai/lib/libfluid.so.1")
            (metadata,) = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
        self.assertNotIn(b".symtab\0", inside)
        for part in (
            "fluid_ai/py.typed",
            "licenses/LICENSE-MIT",
            "licenses/LICENSE-APACHE",
            "licenses/THIRD-PARTY.txt",
            "sbom.cdx.json",
        ):
            self.assertTrue(any(name.endswith(part) for name in names), part)
        self.assertEqual([name for name in names if "test" in name or "hatch" in name], [])
        self.assertIn("Requires-Dist: openvino==2026.4.*; extra == 'openvino'", metadata.replace('"', "'"))
        self.assertEqual(re.findall(r"^Requires-Dist: (?!openvino)", metadata, re.MULTILINE), [])

    def test_it_generates_and_transcribes_in_a_clean_environment(self):
        venv = self.folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        python = venv / "bin/python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", str(self.wheel)]
        done = subprocess.run(pip, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        # The openvino package of the tests' own environment; PYTHONPATH and FLUID_LIBRARY stay out.
        variables = {"PATH": os.environ["PATH"], "VIRTUAL_ENV": str(ROOT / ".venv"), "HOME": self.folder}
        version = re.search(r"^version = \"(.+)\"$", (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        command = [python, "-c", PROGRAM, CHAT_MODEL.resolve(), SMALL_SPEECH_MODEL.resolve(), SPEECH.resolve(), version]
        done = subprocess.run(
            command, capture_output=True, text=True, env=variables, cwd=self.folder, timeout=2 * PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("ask not what your country", done.stdout)


if __name__ == "__main__":
    unittest.main()
