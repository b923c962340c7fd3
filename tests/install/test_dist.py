"""What `make dist` packs: the archive, what is refused, the bill of materials, the licences, the .deb packages.

The library here is the one that all tests use, which still has paths of this machine; tools/dist/build.sh
builds the one that ships.
"""

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
from system import Refused, built, commit_time, of_this_machine, version  # noqa: E402

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
        self.assertLessEqual(wanted | {"share/doc/fluid/THIRD-PARTY.txt", "share/doc/fluid/sbom.cdx.json"}, found)

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

    def test_the_symbols_belong_to_the_library(self):
        with tarfile.open(self.symbols) as archive:
            names = {Path(entry.name).name for entry in archive.getmembers()}
        self.assertEqual(names, {"libfluid.so.debug", "fluid-server.debug"})

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

    def test_what_has_the_server_inside_says_so(self):
        self.assertNotIn("axum", {name for name, _ in self.inside})
        whole = json.loads((BUILT.folder / "sbom.cdx.json").read_text(encoding="utf-8"))
        scopes = {item["name"]: item["scope"] for item in whole["components"]}
        self.assertEqual((scopes["axum"], scopes["fluid-server"]), ("required", "required"))
        speaking = crates_by_panic_messages(BUILT.server)
        self.assertLessEqual(speaking, {(item["name"], item["version"]) for item in whole["components"]})
        references = {item["bom-ref"] for item in whole["components"]} | {"pkg:cargo/fluid@" + version()}
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


@unittest.skipUnless(FULL, "a minute of xz; FLUID_SOAK=full runs it")
class Debian(unittest.TestCase):
    def test_three_packages_that_dpkg_reads(self):
        with tempfile.TemporaryDirectory() as out:
            packages = deb.debs(BUILT, SYSTEM, Path(out), allow_paths=True)
            told = [subprocess.check_output(["dpkg-deb", "--info", file], text=True) for file in packages]
            files = [subprocess.check_output(["dpkg-deb", "--contents", file], text=True) for file in packages]
        self.assertRegex(told[0], rf"Package: libfluid{abi.major()}\n")
        self.assertRegex(told[0], r"Depends: libc6 \(>= 2\.\d+\), libgcc-s1 \(>= [\d.]+\), libstdc\+\+6 \(>= \d+\)")
        self.assertIn(f"Depends: libfluid{abi.major()} (= {version()})", told[1] + told[2])
        self.assertIn("./usr/bin/fluid-server", "".join(files))


if __name__ == "__main__":
    unittest.main()
