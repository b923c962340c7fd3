"""The declarations for ctypes against include/fluid.h."""

import ctypes
import inspect
import re
import sys
import typing
import unittest

from support import ROOT, fluid_ai

from fluid_ai import _native, errors

HEADER = (ROOT / "include/fluid.h").read_text(encoding="utf-8")
CODE = re.sub(r"//[^\n]*|/\*.*?\*/", "", HEADER, flags=re.DOTALL)
DEFINES = {
    name: int(number) for name, number in re.findall(r"#define FLUID_(\w+) \(?(-?\d+)\)?\s*$", CODE, re.MULTILINE)
}

TYPES = {
    "uint32_t": ctypes.c_uint32,
    "int32_t": ctypes.c_int32,
    "fluid_event_kind": ctypes.c_int32,
    "fluid_audio_kind": ctypes.c_int32,
    "fluid_status": ctypes.c_int32,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "size_t": ctypes.c_size_t,
    "const char *": ctypes.c_void_p,
    "const void *": ctypes.c_void_p,
}


class Annotations(unittest.TestCase):
    @unittest.skipIf(sys.version_info < (3, 10), "no `X | None` there")
    def test_they_can_be_asked_for(self):
        """As those do who make a schema of a function."""
        for name in fluid_ai.__all__:
            thing = getattr(fluid_ai, name)
            members = vars(thing).values() if isinstance(thing, type) else [thing]
            for member in members:
                function = member.fget if isinstance(member, property) else member
                if inspect.isfunction(function):
                    with self.subTest(f"{name}: {function.__qualname__}"):
                        typing.get_type_hints(function)


class Header(unittest.TestCase):
    def test_every_function_is_declared_with_its_arguments(self):
        found = re.findall(r"^[\w ]+[ *](fluid_\w+)\(([^)]*)\);", CODE, re.MULTILINE)
        counts = {name: 0 if said.strip() == "void" else said.count(",") + 1 for name, said in found}
        self.assertEqual(counts, {name: len(arguments) for name, arguments in _native.FUNCTIONS.items()})
        self.assertGreater(len(counts), 40)

    def test_structs_have_the_headers_fields(self):
        for name, struct in (("fluid_event", _native.NativeEvent), ("fluid_audio", _native.NativeAudio)):
            body = re.search(rf"typedef struct {name} \{{(.*?)\}} {name};", CODE, re.DOTALL)[1]
            fields = re.findall(r"^\s*([\w ]+[ *])(\w+);", body, re.MULTILINE)
            self.assertEqual([(name, TYPES[kind.strip()]) for kind, name in fields], struct._fields_)
        self.assertEqual((ctypes.sizeof(_native.NativeEvent), ctypes.sizeof(_native.NativeAudio)), (96, 32))

    def test_constants_are_the_headers(self):
        kinds = {f"EVENT_{kind.name}": kind.value for kind in fluid_ai.EventKind}
        self.assertEqual(kinds, {name: it for name, it in DEFINES.items() if name.startswith("EVENT_")})
        for name in ("OK", "TIMEOUT", "END", "CANCELLED", "DEADLINE", "LOG_ERROR", "LOG_WARN", "LOG_INFO", "LOG_DEBUG"):
            self.assertEqual(getattr(_native, name), DEFINES[name])
        for name in ("PCM_F32", "PCM_I16", "ENCODED", "PATH"):
            self.assertEqual(getattr(_native, name), DEFINES[f"AUDIO_{name}"])
        version = re.search(r"#define FLUID_ABI_VERSION \(\((\d+) << 16\) \| (\d+)\)", HEADER)
        self.assertEqual((_native.ABI_MAJOR, _native.ABI_MINOR), (int(version[1]), int(version[2])))

    def test_every_error_has_its_exception(self):
        # A callback of C++ cannot throw here.
        numbers = {number for name, number in DEFINES.items() if name.startswith("ERROR_")} - {-52}
        self.assertEqual(numbers | {DEFINES["CANCELLED"], DEFINES["DEADLINE"]}, set(errors._BY_STATUS))

    def test_the_library_is_the_one_described(self):
        self.assertGreaterEqual(fluid_ai.abi_version(), (_native.ABI_MAJOR, _native.ABI_MINOR))
        self.assertRegex(fluid_ai.version(), r"^\d+\.\d+\.\d+")
        self.assertEqual(_native.status_name(-30), "FLUID_ERROR_NOT_FOUND")


if __name__ == "__main__":
    unittest.main()
