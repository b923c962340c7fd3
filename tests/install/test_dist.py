"""What `make dist` packs: the archive, what is refused, the bill of materials, the licences, the .deb packages.

The library here is the one that all tests use, which still has paths of this machine; tools/dist/build.sh
builds the one that ships.
"""

import gzip
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/dist"))

import abi  # noqa: E402
import check  # noqa: E402
import deb  # noqa: E402
import dist  # noqa: E402
import licences  # noqa: E402
import nuget  # noqa: E402
import sbom  # noqa: E402
import static_library  # noqa: E402
from system import PAPERS, SERVER_PAPERS, Refused, built, commit_time, of_this_machine, version  # noqa: E402

SYSTEM = of_this_machine()
BUILT = built()
FULL = os.environ.get("FLUID_SOAK") == "full"


def crates_by_panic_messages(library):
    """Crates whose code is in the library, as its own messages name them."""
    found = re.findall(rb"/registry/src/[^/]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+)/", library.read_bytes())
    return {(name.decode(), number.decode()) for name, number in found}


class Archive(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(place.cleanup)
        cls.out = Path(place.name)
        cls.archive, cls.symbols = dist.dist(BUILT, SYSTEM, cls.out, allow_paths=True)
        with tarfile.open(cls.archive) as archive:
            cls.entries = {entry.name: entry for entry in archive.getmembers()}

    def test_its_name_and_folder_tell_version_and_system(self):
        name = f"fluid-{version()}-{SYSTEM.os}-{SYSTEM.arch}"
        self.assertEqual(self.archive.name, f"{name}.tar.gz")
        self.assertEqual({path.split("/")[0] for path in self.entries}, {name})

    def test_it_holds_the_tree_of_an_installation(self):
        found = {path.partition("/")[2] for path in self.entries}
        wanted = {"include/fluid.h", "lib/libfluid.so", "lib/pkgconfig/fluid.pc", "bin/fluid-server"}
        papers = {f"share/doc/{part}/{name}" for part in ("fluid", "fluid-server") for name in PAPERS}
        self.assertLessEqual(wanted | papers, found)

    def test_nothing_in_it_tells_who_packed_it_or_when(self):
        for entry in self.entries.values():
            self.assertEqual((entry.uid, entry.gid, entry.mtime), (0, 0, commit_time()), entry.name)
        self.assertEqual(list(self.entries), sorted(self.entries))

    def test_the_sums_are_those_of_the_files(self):
        lines = (self.out / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        expected = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (self.archive, self.symbols)
        }
        self.assertEqual({line.split("  ")[1]: line.split("  ")[0] for line in lines}, expected)

    def test_its_library_goes_into_nugets_package(self):
        stage = self.out / "nuget"
        (rid,) = nuget.natives(self.out, stage)
        (library,) = (stage / "runtimes" / rid / "native").iterdir()
        self.assertIn(library.name, ("libfluid.so.1", "libfluid.1.dylib"))
        with tarfile.open(self.archive) as archive:
            names = [name for name, entry in self.entries.items() if entry.isfile() and "/lib/libfluid." in name]
            self.assertEqual([archive.extractfile(name).read() for name in names], [library.read_bytes()])

    def test_the_licences_go_with_it(self):
        stage = self.out / "nuget-licences"
        (rid,) = nuget.natives(self.out, stage)
        top = next(iter(self.entries)).split("/")[0]
        with tarfile.open(self.archive) as archive:
            for name in ("LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt", "sbom.cdx.json"):
                packed = archive.extractfile(f"{top}/share/doc/fluid/{name}").read()
                self.assertEqual((stage / "licenses" / rid / name).read_bytes(), packed)

    def test_without_archives_there_is_no_package(self):
        with tempfile.TemporaryDirectory() as empty, self.assertRaisesRegex(Refused, "make dist"):
            nuget.natives(Path(empty), Path(empty))

    def test_the_symbols_lie_where_gdb_looks_for_them(self):
        with tarfile.open(self.symbols) as archive:
            found = {entry.name.partition("/")[2]: archive.extractfile(entry).read() for entry in archive.getmembers()}
        wanted = set()
        for file in (BUILT.library, BUILT.server):
            notes = subprocess.check_output(["readelf", "-n", file], text=True)
            number = re.search(r"Build ID: (\w+)", notes).group(1)
            wanted.add(f".build-id/{number[:2]}/{number[2:]}.debug")
        self.assertEqual(set(found), wanted)
        for content in found.values():
            debug = self.out / "one.debug"
            debug.write_bytes(content)
            self.assertIn("llama_decode", subprocess.check_output(["nm", debug], text=True))

    def test_the_same_files_give_the_same_bytes(self):
        made = []
        for when, order in ((1_000_000, "ab"), (2_000_000, "ba")):
            folder = self.out / f"at-{when}" / "tree"
            for name in order:
                file = folder / name / "file"
                file.parent.mkdir(parents=True)
                file.write_text(name, encoding="utf-8")
                os.utime(file, (when, when))
            (folder / "link").symlink_to("a/file")
            out = folder.parent / "out"
            out.mkdir()
            for system in (SYSTEM, replace(SYSTEM, os="windows")):
                made.append(dist.pack(folder, out, system, commit_time()).read_bytes())
        self.assertEqual(made[:2], made[2:])


class Refusals(unittest.TestCase):
    def library(self, source, *flags):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        code, target = Path(place.name, "library.c"), Path(place.name, "library.so")
        code.write_text(source, encoding="utf-8")
        subprocess.run(["cc", "-shared", "-fPIC", str(code), "-o", str(target), *flags], check=True)
        return replace(BUILT, library=target, server=target)

    def problems(self, source, *flags):
        return "\n".join(check.problems(self.library(source, *flags), SYSTEM))

    def test_the_library_has_no_fault_but_the_paths_that_another_build_takes_out(self):
        others = [line for line in check.problems(BUILT, SYSTEM) if "paths of the builder" not in line]
        self.assertEqual(others, [])

    def test_the_library_runs_on_glibc_2_34(self):
        self.assertLessEqual(check.versions(BUILT.library)["GLIBC"], (2, 34))

    def test_functions_of_others_and_missing_ones(self):
        told = self.problems("int ggml_init(void) { return 0; }\nint fluid_version(void) { return 0; }\n")
        self.assertIn("exports ggml_init", told)
        self.assertIn("does not export fluid_generate", told)
        self.assertNotIn("fluid_version", told)

    def test_a_newer_system(self):
        source = "#include <string.h>\nvoid *fluid_copy(void *to, void *from) { return memcpy(to, from, 1000); }\n"
        with mock.patch.dict(check.NEWEST, {"GLIBC": (2, 2)}):
            self.assertRegex(self.problems(source, "-fno-builtin"), r"asks for GLIBC_2\.\d+.*; 2\.2 is the newest")

    def test_paths_of_the_builder(self):
        told = self.problems(f'const char *fluid_place = "{ROOT}/src/lib.rs";\n')
        self.assertIn(f"holds paths of the builder: {ROOT}", told)
        self.assertNotIn("paths of the builder", self.problems('const char *fluid_place = "/crates/a/lib.rs";\n'))

    def test_paths_of_the_system_tell_of_nobody(self):
        """Debian's Rust lies in /usr, and its standard library names sources there."""
        source = 'const char *fluid_place = "/usr/src/rustc-1.96.0/library/core/src/fmt/mod.rs";\n'
        with tempfile.TemporaryDirectory() as folder:
            rustc = Path(folder, "rustc")
            rustc.write_text("#!/bin/sh\necho /usr\n", encoding="utf-8")
            rustc.chmod(0o755)
            with mock.patch.dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}"):
                self.assertNotIn("paths of the builder", self.problems(source))

    def test_paths_in_libraries_for_windows_are_passed_over(self):
        library = self.library(f'const char *fluid_place = "{ROOT}/src/lib.rs";\n')
        self.assertEqual(check.problems(library, replace(SYSTEM, os="windows")), [])

    def test_the_scripted_backend_of_the_tests(self):
        words = check.SCRIPTED.decode()
        self.assertIn(words, (ROOT / "src/backend/fake.rs").read_text(encoding="utf-8"))
        self.assertIn("library.so has the scripted backend", self.problems(f'const char *fluid_error = "{words}";\n'))

    def test_they_stop_the_packing(self):
        with tempfile.TemporaryDirectory() as out, self.assertRaisesRegex(Refused, "exports other"):
            dist.dist(self.library("int other(void) { return 0; }\n"), SYSTEM, Path(out))
        self.assertFalse(Path(out).exists())


class Contents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bill = json.loads(sbom.bill(SYSTEM.triple))
        cls.inside = {
            (item["name"], item["version"]) for item in cls.bill["components"] if item["scope"] == "required"
        }

    def test_the_bill_is_valid_by_the_official_schema(self):
        import jsonschema
        import referencing

        (package,) = importlib.util.find_spec("cyclonedx").submodule_search_locations
        folder = Path(package, "schema/_res")
        names = {
            "bom-1.6": "bom-1.6.SNAPSHOT.schema.json",
            "spdx": "spdx.SNAPSHOT.schema.json",
            "jsf-0.82": "jsf-0.82.SNAPSHOT.schema.json",
        }
        schemas = {name: json.loads((folder / file).read_text(encoding="utf-8")) for name, file in names.items()}
        resources = [
            (schema["$id"], referencing.Resource.from_contents(schema)) for schema in schemas.values()
        ]
        validator = jsonschema.Draft7Validator(
            schemas["bom-1.6"], registry=referencing.Registry().with_resources(resources)
        )
        self.assertEqual([error.message for error in validator.iter_errors(self.bill)], [])
        # That it looks at all: a bill that it must refuse.
        self.assertTrue(list(validator.iter_errors(self.bill | {"components": [{"name": 1}]})))

    def test_the_bill_names_every_crate_that_the_library_speaks_of(self):
        speaking = crates_by_panic_messages(BUILT.library)
        self.assertGreater(len(speaking), 20)
        self.assertLessEqual(speaking, self.inside)

    def test_the_bill_names_what_is_no_crate_and_no_tool_of_the_tests(self):
        names = {name for name, _ in self.inside}
        self.assertLessEqual({"llama.cpp", "ggml", "rust-std", "symphonia-core", "ring", "tokenizers"}, names)
        everything = {item["name"] for item in self.bill["components"]}
        self.assertIn("cc", everything - names)
        self.assertNotIn("cbindgen", everything)
        references = {item["bom-ref"] for item in self.bill["components"]} | {"pkg:cargo/fluid@" + version()}
        self.assertEqual({item["ref"] for item in self.bill["dependencies"]}, references)

    def test_library_and_server_have_papers_of_their_own(self):
        library = json.loads((BUILT.folder / "sbom.cdx.json").read_text(encoding="utf-8"))
        self.assertEqual(library["components"], self.bill["components"])
        self.assertNotIn("axum", {name for name, _ in self.inside})
        self.assertNotIn("\n    axum ", (BUILT.folder / "THIRD-PARTY.txt").read_text(encoding="utf-8"))
        whole = json.loads((BUILT.folder / SERVER_PAPERS["sbom.cdx.json"]).read_text(encoding="utf-8"))
        self.assertEqual(whole["metadata"]["component"]["name"], "fluid-server")
        scopes = {item["name"]: item["scope"] for item in whole["components"]}
        self.assertEqual((scopes["axum"], scopes["fluid"]), ("required", "required"))
        text = (BUILT.folder / SERVER_PAPERS["THIRD-PARTY.txt"]).read_text(encoding="utf-8")
        for name, number in crates_by_panic_messages(BUILT.server):
            self.assertIn((name, number), {(item["name"], item["version"]) for item in whole["components"]})
            self.assertIn(f"\n    {name} {number} ", text)
        references = {item["bom-ref"] for item in whole["components"]} | {"pkg:cargo/fluid-server@" + version()}
        self.assertEqual({item["ref"] for item in whole["dependencies"]}, references)

    def test_the_bill_is_the_same_each_time(self):
        self.assertEqual(sbom.bill(SYSTEM.triple), sbom.bill(SYSTEM.triple))

    def test_licences_of_all_that_is_inside(self):
        text = licences.third_party(SYSTEM.triple)
        for name, number in self.inside - {("rust-std", next(n for c, n in self.inside if c == "rust-std"))}:
            self.assertIn(f"{name} {number}", text)
        self.assertIn("Rust's standard library", text)
        for words in ("Mozilla Public License Version 2.0", "ggml authors", "Mozilla Foundation", "Jeffrey Quesnelle"):
            self.assertIn(words, text)
        self.assertRegex(text, r"symphonia-core 0\.\d+\.\d+  https://\S+Symphonia")


class StaticLibrary(unittest.TestCase):
    def test_every_framework_of_a_mac_is_named(self):
        told = "-lc++ -framework Security -framework Metal -lSystem -framework Metal -lSystem"
        wanted = ["-lc++", "-Wl,-framework,Security", "-Wl,-framework,Metal", "-lSystem"]
        self.assertEqual(static_library.libraries(told), wanted)


class Debian(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(place.cleanup)
        # xz takes a minute.
        with mock.patch.object(deb, "COMPRESSION", deb.COMPRESSION if FULL else "-Znone"):
            packages = deb.debs(BUILT, SYSTEM, Path(place.name), allow_paths=True)
        cls.folders = {file.name.partition("_")[0]: file.with_suffix("") for file in packages}
        for file in packages:
            subprocess.run(["dpkg-deb", "--raw-extract", file, file.with_suffix("")], check=True)

    def control(self, package, file="control"):
        return (self.folders[package] / "DEBIAN" / file).read_text(encoding="utf-8")

    def test_three_packages(self):
        library = f"libfluid{abi.major()}"
        self.assertEqual(set(self.folders), {library, "libfluid-dev", "fluid-server"})
        needs = r"Depends: libc6 \(>= 2\.\d+\), libgcc-s1 \(>= [\d.]+\), libstdc\+\+6 \(>= \d+\)\n"
        self.assertRegex(self.control(library), needs)
        self.assertIn(f"Depends: {library} (= {version()})\n", self.control("libfluid-dev"))
        self.assertTrue((self.folders["fluid-server"] / "usr/bin/fluid-server").is_file())

    def test_what_downloads_recommends_certificates(self):
        for package in self.folders:
            self.assertEqual("ca-certificates" in self.control(package), package != "libfluid-dev", package)

    def test_dpkg_can_verify_every_file(self):
        for package, folder in self.folders.items():
            subprocess.run(["md5sum", "--quiet", "--check", "DEBIAN/md5sums"], cwd=folder, check=True)
            files = {path.relative_to(folder).as_posix() for path in (folder / "usr").rglob("*") if path.is_file()}
            links = {path for path in files if (folder / path).is_symlink()}
            listed = {line.split("  ")[1] for line in self.control(package, "md5sums").splitlines()}
            self.assertEqual(listed, files - links, package)

    def test_each_says_what_is_inside(self):
        for package, there in ((f"libfluid{abi.major()}", False), ("fluid-server", True)):
            for name in PAPERS:
                packed = self.folders[package] / f"usr/share/doc/{package}/{name}.gz"
                self.assertEqual(b"axum" in gzip.decompress(packed.read_bytes()), there, packed)

    def test_a_pre_release_is_older_than_the_release(self):
        with mock.patch.object(deb, "version", lambda: "0.2.0-rc.1"):
            before = deb.debian_version()
        for older, newer in ((before, "0.2.0"), ("0.1.9", before)):
            self.assertEqual(subprocess.run(["dpkg", "--compare-versions", older, "lt", newer]).returncode, 0)


if __name__ == "__main__":
    unittest.main()
