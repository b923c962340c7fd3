"""What this machine is not: the set-up and the demo on macOS and Windows, by programs that say they are those systems'."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

UNAME = '#!/bin/sh\ncase "$1" in -m) echo arm64 ;; *) echo Darwin ;; esac\n'
# macOS' one reads no standard input unless it is named.
PASTE = '#!/bin/sh\nfor last; do :; done\n[ "$last" = - ] || exit 1\nexec /usr/bin/paste "$@"\n'
SAYS_ITS_ARGUMENTS = '#!/bin/sh\nprintf "%s\\n" "$*"\n'
RUST = "#!/bin/sh\necho rustc 9.9.9\n"


class Elsewhere(unittest.TestCase):
    def setUp(self) -> None:
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.tree = Path(held.name, "tree")
        self.programs = Path(held.name, "bin")
        for path in ("Cargo.toml", "tools/setup.sh", "tools/requirements.txt"):
            (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, self.tree / path)
        self.program(self.tree / ".venv/bin/python", SAYS_ITS_ARGUMENTS)
        for name in ("bash", "sh", "sed", "awk", "sort", "head", "tr", "uniq", "dirname", "df", "cp", "cmp"):
            self.program(self.programs / name, f'#!/bin/sh\nexec {shutil.which(name)} "$@"\n')
        for name in ("cc", "c++", "make", "git", "brew", "python3"):
            self.program(self.programs / name, "#!/bin/sh\n")
        for name in ("cargo", "rustc"):
            self.program(self.programs / name, RUST)
        self.program(self.programs / "uname", UNAME)
        self.program(self.programs / "paste", PASTE)

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def set_up(self, goal: str) -> str:
        return subprocess.run(
            [str(self.programs / "bash"), "tools/setup.sh"],
            cwd=self.tree,
            env={"PATH": str(self.programs), "HOME": str(self.tree), "FLUID_GOAL": goal},
            capture_output=True,
            text=True,
        ).stdout

    def test_macos_is_told_what_to_type(self) -> None:
        said = self.set_up("make demo")
        self.assertIn("Missing: cmake.", said)
        self.assertIn("xcode-select --install; brew install cmake\n", said)

    def test_whatever_makes_models_gets_what_makes_them(self) -> None:
        self.program(self.programs / "cmake", "#!/bin/sh\n")
        for goal, wanted in (
            ("make demo", True),
            ("make serve", True),
            ("make serve demo", True),
            ("make test-dotnet", True),
            ("make server", False),
        ):
            with self.subTest(goal):
                (self.tree / ".venv/requirements.txt").unlink(missing_ok=True)
                said = self.set_up(goal)
                self.assertIn("everything the build needs is here", said)
                self.assertEqual("-r tools/requirements.txt" in said, wanted, said)


class Demo(unittest.TestCase):
    def would_run(self, *arguments: str, path: str = "") -> str:
        environment = {**os.environ, "PATH": path + os.environ["PATH"]}
        command = ["make", "-n", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    def test_macos_finds_the_library_beside_the_program(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "uname").write_text(UNAME, encoding="utf-8")
            Path(folder, "uname").chmod(0o755)
            for goal in ("demo", "doctor"):
                self.assertIn("-rpath,'@loader_path/../release'", self.would_run(goal, path=f"{folder}:"))
        self.assertIn("-rpath,'$ORIGIN/../release'", self.would_run("demo"))

    def test_windows_needs_no_compiler_of_c(self) -> None:
        for goal, program in (("demo", "examples/python/chat.py"), ("doctor", "-m fluid_ai doctor")):
            lines = self.would_run(goal, "OS=Windows_NT")
            self.assertIn(program, lines)
            self.assertNotIn("cc ", lines)


if __name__ == "__main__":
    unittest.main()
