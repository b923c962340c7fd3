"""The binary interface: what the library exports, and whether it is still what abi/fluid.abi says."""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/dist"))

import abi  # noqa: E402
from system import built  # noqa: E402


class Interface(unittest.TestCase):
    def test_is_as_committed_or_has_more(self):
        print(abi.check(), end="", file=sys.stderr)

    def test_the_library_exports_the_functions_of_the_header(self):
        self.assertEqual(abi.symbols(built().library), set(abi.functions()))

    def test_the_dump_has_every_function_and_constant(self):
        dump = abi.DUMP.read_text(encoding="utf-8")
        for name in abi.functions():
            self.assertIn(f"elf-symbol-id='{name}'", dump)
        self.assertGreater(len(abi.constants()), 40)
        for name in abi.constants():
            self.assertIn(f"enumerator name='IS_{name}'", dump)


class ChangedHeaders(unittest.TestCase):
    """Changes on a copy of the header, against a dump of the header as it is."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.header = abi.HEADER.read_text(encoding="utf-8")
        cls.dump = Path(cls.folder.name, "old.abi")
        abi.dump(abi.HEADER, cls.dump)

    def compare(self, old, new):
        """What abi.compare says once `new` stands where `old` stood."""
        self.assertEqual(self.header.count(old), 1, old)
        changed = Path(self.folder.name, "fluid.h")
        changed.write_text(self.header.replace(old, new), encoding="utf-8")
        return abi.compare(changed, self.dump)

    def breaks(self, old, new):
        told, _ = self.compare(old, new)
        self.assertNotEqual(told, "", f"{old!r} -> {new!r}")
        return told

    def only_adds(self, old, new):
        breaks, additions = self.compare(old, new)
        self.assertEqual(breaks, "")
        return additions

    def test_a_removed_function_is_a_break(self):
        self.assertIn("fluid_version", self.breaks("const char *fluid_version(void);", ""))

    def test_another_parameter_is_a_break(self):
        old = "const char *fluid_status_name(fluid_status status);"
        self.assertIn("fluid_status_name", self.breaks(old, old.replace(")", ", int32_t language)")))

    def test_another_type_of_a_result_is_a_break(self):
        self.assertIn("fluid_abi_version", self.breaks("uint32_t fluid_abi_version(", "uint64_t fluid_abi_version("))

    def test_a_field_in_the_middle_is_a_break(self):
        told = self.breaks("  int32_t choice;", "  int32_t choice;\n  int32_t lane;")
        self.assertIn("fluid_event", told)

    def test_a_removed_last_field_is_a_break(self):
        self.assertIn("age", self.breaks("  double age;\n", ""))

    def test_another_type_of_a_field_is_a_break(self):
        self.assertIn("logprob", self.breaks("  float logprob;", "  int32_t logprob;"))

    def test_another_value_of_a_constant_is_a_break(self):
        told = self.breaks("#define FLUID_CANCELLED 10", "#define FLUID_CANCELLED 12")
        self.assertIn("FLUID_CANCELLED", told)

    def test_a_removed_constant_is_a_break(self):
        self.assertIn("FLUID_CANCELLED", self.breaks("#define FLUID_CANCELLED 10", ""))

    def test_more_functions_and_constants_are_told_and_no_break(self):
        old = "const char *fluid_version(void);"
        self.assertIn("fluid_more", self.only_adds(old, f"{old}\nint32_t fluid_more(int32_t wanted);"))
        old = "#define FLUID_CANCELLED 10"
        self.assertIn("FLUID_MORE", self.only_adds(old, f"{old}\n#define FLUID_MORE 77"))

    def test_structs_may_grow_at_their_end(self):
        self.assertIn("more", self.only_adds("  double age;", "  double age;\n  double more;"))
        self.assertIn("more", self.only_adds("  uint32_t channels;", "  uint32_t channels;\n  uint64_t more;"))

    def test_a_changed_struct_that_also_grew_is_a_break(self):
        fields = "  double age;"
        self.assertIn("age", self.breaks(fields, "  float age;\n  double more;"))

    def test_a_higher_minor_version_is_no_break(self):
        major, minor = re.search(r"FLUID_ABI_VERSION \(\((\d+) << 16\) \| (\d+)\)", self.header).groups()
        value = f"FLUID_ABI_VERSION (({major} << 16) | "
        self.assertEqual(self.only_adds(f"{value}{minor})", f"{value}{int(minor) + 1})"), "")

    def test_additions_to_what_was_released_need_a_higher_number(self):
        root = Path(self.folder.name, "repository")
        for path, source in ((abi.HEADER, abi.HEADER), (abi.DUMP, self.dump)):
            file = root / path.relative_to(abi.ROOT)
            file.parent.mkdir(parents=True)
            shutil.copy(source, file)
        header = root / "include/fluid.h"
        known = "const char *fluid_version(void);"
        more = self.header.replace(known, f"{known}\nint fluid_more(void);")
        higher = re.sub(r"(FLUID_ABI_VERSION .* \| )\d+", r"\g<1>999", more)

        def git(*words):
            who = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)

        git("init")
        git("add", ".")
        git("commit", "--message", "to be released")
        header.write_text(more, encoding="utf-8")
        abi.check_number(header, root)  # no release yet
        git("tag", "v0.1.0")
        with self.assertRaisesRegex(abi.Broken, "fluid_more(?s:.*)Raise its minor number"):
            abi.check_number(header, root)
        for good in (higher, self.header):
            header.write_text(good, encoding="utf-8")
            abi.check_number(header, root)
        shutil.rmtree(root / ".git")
        header.write_text(more, encoding="utf-8")
        abi.check_number(header, root)


if __name__ == "__main__":
    unittest.main()
