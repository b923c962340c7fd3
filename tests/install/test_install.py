"""`make install` into a prefix with a space and an umlaut, and programs built against it as a user would."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/dist"))

import abi  # noqa: E402
import check  # noqa: E402
import install  # noqa: E402
from system import PAPERS, SERVER_PAPERS, TRIPLE, built, version  # noqa: E402

PROJECT = Path(__file__).resolve().parent / "project"
MODEL = Path(os.environ.get("FLUID_MODELS", ROOT / "models")).resolve() / "tiny-random-gguf/llama.gguf"
LINUX = sys.platform == "linux"


def run(*command, **variables):
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=os.environ | variables, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def make(goal, prefix, *variables):
    return run("make", "-s", goal, f"PREFIX={prefix}", *variables)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = tempfile.TemporaryDirectory(prefix="für libfluid ")
        cls.addClassCleanup(place.cleanup)
        cls.place = Path(place.name)
        make("install", cls.place / "first", "STATIC=1")
        # What works after a move has no path of the prefix inside.
        cls.prefix = cls.place / "moved"
        (cls.place / "first").rename(cls.prefix)

    def answers(self, program, **variables):
        self.assertRegex(run(program, MODEL, **variables), r"^libfluid \d+\.\d+\.\d+, [1-8] tokens\n$")

    def compile(self, package, target):
        """program.c with what pkg-config says, taken apart as a shell does."""
        flags = f'PKG_CONFIG_PATH="{self.prefix}/lib/pkgconfig" pkg-config --cflags --libs {package}'
        strict = "-std=c99 -Wall -Wextra -Wpedantic -Werror"
        run("sh", "-ec", f'eval "cc {strict} \\"$1\\" -o \\"$2\\" $({flags})"', "sh", PROJECT / "program.c", target)

    def cmake(self, build, *variables):
        run("cmake", "-S", PROJECT, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", *variables)

    def test_header_library_links_and_papers_are_there(self):
        found = {file.relative_to(self.prefix).as_posix() for file in self.prefix.rglob("*") if not file.is_dir()}
        wanted = {"include/fluid.h", "bin/fluid-server", "lib/libfluid.a", "lib/pkgconfig/fluid.pc"}
        wanted |= {f"lib/cmake/fluid/fluid-config{part}.cmake" for part in ("", "-version")}
        headers = ROOT / "bindings/cpp"
        wanted |= {f"include/{file.relative_to(headers).as_posix()}" for file in headers.rglob("*.hpp")}
        wanted |= {f"share/doc/fluid/{name}" for name in ("LICENSE-MIT", "LICENSE-APACHE", *PAPERS)}
        self.assertLessEqual(wanted | {f"share/doc/fluid-server/{name}" for name in PAPERS}, found)

    @unittest.skipUnless(LINUX, "names of Linux")
    def test_the_library_is_found_by_its_major_version_and_is_stripped(self):
        library = self.prefix / "lib/libfluid.so"
        self.assertEqual(os.readlink(library), f"libfluid.so.{abi.major()}")
        self.assertEqual(os.readlink(self.prefix / f"lib/libfluid.so.{abi.major()}"), library.resolve().name)
        self.assertIn(f"[libfluid.so.{abi.major()}]", run("readelf", "-d", library))
        for file in (library, self.prefix / "bin/fluid-server"):
            self.assertNotIn(".symtab", run("readelf", "-SW", file))

    def test_the_server_starts(self):
        self.assertRegex(run(self.prefix / "bin/fluid-server", "--version"), r"\d+\.\d+\.\d+")

    def test_a_program_by_pkg_config(self):
        program = self.place / "by-pkg-config"
        self.compile("fluid", program)
        self.answers(program, LD_LIBRARY_PATH=str(self.prefix / "lib"))
        if LINUX:
            self.assertIn(f"[libfluid.so.{abi.major()}]", run("readelf", "-d", program))

    def test_the_cpp_headers_stand_alone_where_they_are(self):
        strict = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-x", "c++"]
        run("c++", *strict, "-I", self.prefix / "include", self.prefix / "include/fluid.hpp")

    def test_a_static_program_by_pkg_config(self):
        program = self.place / "static-by-pkg-config"
        self.compile("fluid-static", program)
        self.answers(program)
        if LINUX:
            self.assertNotIn("libfluid", run("readelf", "-d", program))

    def test_programs_by_cmake(self):
        build = self.place / "by-cmake"
        self.cmake(build)
        run("cmake", "--build", build)
        self.answers(build / "shared")
        self.answers(build / "headers")
        self.answers(build / "static")

    def test_cmake_finds_it_by_a_link_to_its_libraries(self):
        root = self.place / "merged"
        shutil.copytree(self.prefix, root / "usr", symlinks=True)
        (root / "lib").symlink_to("usr/lib")
        build = self.place / "by-a-link"
        run("cmake", "-S", PROJECT, "-B", build, f"-DCMAKE_PREFIX_PATH={root}")
        self.assertIn(f"{root}/lib/cmake/fluid", (build / "CMakeCache.txt").read_text(encoding="utf-8"))
        run("cmake", "--build", build, "--target", "shared")
        self.answers(build / "shared")

    def test_cmake_refuses_another_major_and_a_newer_version(self):
        for wanted in ("1.0", "0.999"):
            with self.assertRaisesRegex(AssertionError, r"compatible\s+with requested"):
                self.cmake(self.place / f"not-{wanted}", f"-DWANTED={wanted}")

    def test_cmake_takes_a_version_in_a_range(self):
        for wanted in (f"0.0.1...{version()}", "0.0.1...<0.999", f"{version()}...0.999"):
            self.cmake(self.place / "in-range", f"-DWANTED={wanted}")
        for wanted in (f"0.0.1...<{version()}", "0.0.1...0.0.9", "0.998...0.999"):
            with self.assertRaisesRegex(AssertionError, r"compatible\s+with requested"):
                self.cmake(self.place / f"not-{wanted}", f"-DWANTED={wanted}")

    def test_the_static_library_shows_its_functions_alone(self):
        lines = run("nm", "-g", "--defined-only", self.prefix / "lib/libfluid.a").splitlines()
        names = {line.split()[-1].removeprefix("" if LINUX else "_") for line in lines if len(line.split()) == 3}
        self.assertEqual(names, set(abi.functions()))

    def test_uninstall_leaves_what_is_not_ours(self):
        prefix = self.place / "short"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "elsewhere").mkdir()
        (prefix / "include").symlink_to("elsewhere")
        make("install", prefix)
        (prefix / "lib/other").write_text("not ours", encoding="utf-8")
        make("uninstall", prefix)
        self.assertEqual([file.name for file in prefix.rglob("*") if file.is_file()], ["other"])
        self.assertTrue((prefix / "bin").is_dir() and (prefix / "include").is_dir())
        self.assertEqual([file for file in prefix.rglob("fluid*")], [])

    def test_everyone_may_read_it_whatever_the_umask(self):
        prefix = self.place / "masked"
        run("sh", "-c", 'umask 077 && make -s install "PREFIX=$1"', "sh", prefix)
        for path in [prefix, *prefix.rglob("*")]:
            mode = 0o755 if path.is_dir() or "bin" in path.parts else 0o444
            self.assertEqual(path.stat().st_mode & mode, mode, path)

    @unittest.skipUnless(LINUX, "names of Linux")
    def test_libraries_of_other_releases_go(self):
        prefix, major = self.place / "downgraded", abi.major()
        others, kept = [f"libfluid.so.{major}.{minor}" for minor in (998, 999)], f"libfluid.so.{major + 1}.0"
        make("install", prefix)
        ours = {file.name for file in (prefix / "lib").glob("libfluid*")}
        for name in (*others, kept):
            (prefix / "lib" / name).touch()
        make("install", prefix)
        self.assertEqual({file.name for file in (prefix / "lib").glob("libfluid*")}, ours | {kept})
        (prefix / "lib" / others[0]).touch()
        make("uninstall", prefix)
        self.assertEqual({file.name for file in (prefix / "lib").glob("libfluid*")}, {kept})

    def test_an_install_without_the_static_library_takes_an_older_one_away(self):
        prefix = self.place / "no-longer-static"
        shutil.copytree(self.prefix, prefix, symlinks=True)
        make("install", prefix)
        self.assertEqual(list(prefix.rglob("*static*")) + list(prefix.rglob("*.a")), [])
        build = self.place / "shared-alone"
        run("cmake", "-S", PROJECT, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
        targets = run("cmake", "--build", build, "--target", "help").split()
        self.assertEqual([name for name in ("shared", "static") if name in targets], ["shared"])
        make("install", prefix, "STATIC=1")
        make("uninstall", prefix)
        self.assertEqual([file for file in prefix.rglob("*") if not file.is_dir()], [])

    def test_the_tests_own_library_is_not_installed(self):
        ships = built()
        build = self.place / "scripted"
        build.mkdir()
        for name in (ships.server.name, TRIPLE, *PAPERS, *SERVER_PAPERS.values()):
            (build / name).symlink_to(ships.folder / name)
        (build / ships.library.name).write_bytes(b"..." + check.SCRIPTED + b"...")
        with self.assertRaisesRegex(AssertionError, "scripted backend .*make server"):
            run(sys.executable, "tools/dist/install.py", "--prefix", self.place / "no", "--build", build)
        self.assertFalse((self.place / "no").exists())

    @unittest.skipUnless(LINUX, "the loader of Linux")
    def test_the_loaders_cache_is_renewed_where_it_is_ours(self):
        def renewed(prefix, destdir="", user=0):
            with mock.patch("os.geteuid", lambda: user), mock.patch("subprocess.run") as called:
                install.renew_loader_cache(prefix, destdir)
            return called.called

        self.assertTrue(renewed("/usr/local") and renewed("/usr/local/") and renewed("/usr"))
        self.assertFalse(renewed("/opt/fluid") or renewed("/usr", "/tmp/package") or renewed("/usr/local", user=1000))

    def test_root_needs_neither_cargo_nor_rustc(self):
        system = self.place / "system"
        system.mkdir()
        # What is on the PATH of a root whose Rust is another account's.
        for folder in ("/usr/bin", "/bin"):
            for file in Path(folder).iterdir():
                link = system / file.name
                if not file.name.startswith(("cargo", "rustc", "rustup")) and not link.is_symlink():
                    link.symlink_to(file)
        account = {"PATH": str(system), "CARGO_HOME": "/nonexistent", "HOME": "/nonexistent"}
        prefix = self.place / "by-root"
        run("make", "-s", "install", f"PREFIX={prefix}", **account)
        for name in ("THIRD-PARTY.txt", "sbom.cdx.json"):
            paper = Path("share/doc/fluid", name)
            self.assertEqual((prefix / paper).read_bytes(), (self.prefix / paper).read_bytes())
        run("make", "-s", "uninstall", f"PREFIX={prefix}", **account)
        self.assertFalse(any(file.is_file() for file in prefix.rglob("*")))

    def test_destdir_libdir_and_what_they_may_not_be(self):
        make("install", "/usr", f"DESTDIR={self.place / 'root'}", "LIBDIR=lib/x86_64-linux-gnu")
        folder = self.place / "root/usr/lib/x86_64-linux-gnu"
        self.assertIn("prefix=${pcfiledir}/../../..", (folder / "pkgconfig/fluid.pc").read_text(encoding="utf-8"))
        for prefix, libdir in (("here", "lib"), ("/usr", "/usr/lib"), ("/usr", "../lib")):
            with self.assertRaisesRegex(AssertionError, "install: (PREFIX|LIBDIR)="):
                make("install", prefix, f"DESTDIR={self.place / 'no'}", f"LIBDIR={libdir}")


if __name__ == "__main__":
    unittest.main()
