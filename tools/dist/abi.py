#!/usr/bin/env python3
"""The binary interface of include/fluid.h, as abidw writes it, and what broke since abi/fluid.abi was written.

The types are read from a C file that defines each function of the header, not from the library: Rust's
debug information names Rust's types, while the header is what programs are compiled with. That the
library exports these functions and no others, `symbols` tells.

    abi.py check    what is missing or other than in abi/fluid.abi; additions are only told
    abi.py write    write abi/fluid.abi; refused where it would hide a break within a major version, or has
                    more than the last release under the same number
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include/fluid.h"
DUMP = ROOT / "abi/fluid.abi"

# Structs grow at their end, so their size is no part of the interface: each field is looked at for itself.
FIELDS_ALONE = "[suppress_type]\nname_regexp = ^fluid_[a-z_]+$\ntype_kind = struct\n"

# abidiff's exit code is a set of bits; these say that it could not compare.
FAILED = 1 | 2


class Broken(Exception):
    """The interface is not what abi/fluid.abi says."""


def run(*command):
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout + done.stderr


def run_or_fail(*command):
    code, output = run(*command)
    if code:
        raise RuntimeError(f"{command[0]} ended with {code}:\n{output}")
    return output


def compiler():
    return os.environ.get("CC", "cc")


def functions(header=HEADER):
    """Name to declaration of each function."""
    text = run_or_fail(compiler(), "-E", "-P", str(header))
    found = re.findall(r"^(?!typedef)(\w[\w \t*]*?\b(fluid_\w+)\s*\([^;{}]*\))\s*;", text, re.MULTILINE)
    return {name: declaration for declaration, name in found}


def constants(header=HEADER):
    """Names of the macros with a value, but for the version, which may go up."""
    text = run_or_fail(compiler(), "-E", "-dD", str(header))
    found = re.findall(r"^#define (FLUID_\w+) \S", text, re.MULTILINE)
    return sorted(set(found) - {"FLUID_ABI_VERSION"})


def fields(header=HEADER):
    """(struct, field) of each field."""
    text = run_or_fail(compiler(), "-E", "-P", str(header))
    structs = re.findall(r"typedef struct (\w+) \{(.*?)\}", text, re.DOTALL)
    return [(name, field) for name, body in structs for field in re.findall(r"(\w+);", body)]


def numbers(header=HEADER):
    """(major, minor) of FLUID_ABI_VERSION."""
    text = Path(header).read_text(encoding="utf-8")
    found = re.search(r"^#define FLUID_ABI_VERSION \(\((\d+) << 16\) \| (\d+)\)", text, re.MULTILINE)
    return int(found.group(1)), int(found.group(2))


def major(header=HEADER):
    return numbers(header)[0]


def unit(header):
    """C that defines all of the header, so that its debug information has all of it. A macro leaves no trace
    there; an enumeration with its value does."""
    lines = [f'#include "{Path(header).resolve()}"']

    def number(name, value):
        lines.append(f"enum number_{name} {{ IS_{name} = {value} }};")
        lines.append(f"enum number_{name} value_of_{name} = IS_{name};")

    for declaration in functions(header).values():
        body = "" if declaration.startswith("void fluid_") else " return 0; "
        lines.append(f"{declaration} {{{body}}}")
    for name in constants(header):
        number(name, name)
    for struct, field in fields(header):
        number(f"{struct}_{field}", f"(int) offsetof({struct}, {field})")
        lines.append(f"__typeof__((({struct} *) 0)->{field}) type_of_{struct}_{field};")
    return "\n".join(lines) + "\n"


def dump(header, target):
    """Writes the interface of `header` to the file `target`, the same bytes on every 64-bit machine."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "fluid.c"), Path(folder, "fluid.so")
        source.write_text(unit(header), encoding="utf-8")
        soname = f"-Wl,-soname,libfluid.so.{major(header)}"
        run_or_fail(compiler(), "-g", "-O0", "-fPIC", "-shared", soname, str(source), "-o", str(library))
        places = ["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed"]
        run_or_fail("abidw", *places, "--out-file", str(target), str(library))
    text = Path(target).read_text(encoding="utf-8")
    # By which compiler, and for which processor, is no part of it.
    text = re.sub(r"(<abi-instr [^>]*)\bpath='[^']*' language='[^']*'", r"\1path='fluid.c' language='LANG_C11'", text)
    text = re.sub(r" architecture='[^']*'", "", text, count=1)
    Path(target).write_text(text, encoding="utf-8")


def differences(old, new, rules, *options):
    """What abidiff tells of the files `old` and `new`; empty if nothing."""
    code, output = run("abidiff", "--suppressions", str(rules), *options, str(old), str(new))
    if code & FAILED:
        raise RuntimeError(f"abidiff ended with {code}:\n{output}")
    return output if code else ""


def compare(header=HEADER, old=DUMP):
    """(breaks, additions) since the dump `old`, as text."""
    with tempfile.TemporaryDirectory() as folder:
        new, rules = Path(folder, "new.abi"), Path(folder, "rules.abignore")
        dump(header, new)
        rules.write_text(FIELDS_ALONE, encoding="utf-8")
        return differences(old, new, rules, "--no-added-syms"), differences(old, new, rules)


def check(header=HEADER):
    breaks, additions = compare(header)
    if breaks:
        raise Broken(
            f"programs compiled with the committed interface break:\n{breaks}\n"
            "Take it back; or, in a release that may break them, raise the major number of FLUID_ABI_VERSION"
            " (src/ffi/version.rs), `make header`, remove abi/fluid.abi, `make abi`."
        )
    return f"additions since abi/fluid.abi was written; commit them with `make abi`:\n{additions}" if additions else ""


def _released(root, folder):
    """(header, dump) of the last release, written into `folder`; None where git knows of none."""
    try:
        tag = run_or_fail("git", "-C", str(root), "describe", "--tags", "--abbrev=0", "--match", "v*").strip()
        for path in (HEADER, DUMP):
            text = run_or_fail("git", "-C", str(root), "show", f"{tag}:{path.relative_to(ROOT).as_posix()}")
            Path(folder, path.name).write_text(text, encoding="utf-8")
    except (RuntimeError, FileNotFoundError):
        return None
    return Path(folder, HEADER.name), Path(folder, DUMP.name)


def check_number(header=HEADER, root=ROOT):
    """Broken if `header` has more than the last release and the same number: who needs the addition could not tell
    by the number whether it is there."""
    with tempfile.TemporaryDirectory() as folder:
        released = _released(root, folder)
        if released is None or numbers(header) > numbers(released[0]):
            return
        _, additions = compare(header, released[1])
    if additions:
        raise Broken(
            f"this is more than the last release has, under the same FLUID_ABI_VERSION:\n{additions}\n"
            "Raise its minor number (src/ffi/version.rs), `make header`, then `make abi` again."
        )


def write():
    if DUMP.exists():
        check()
    check_number()
    DUMP.parent.mkdir(exist_ok=True)
    dump(HEADER, DUMP)


def symbols(library):
    """What the shared library at `library` exports."""
    lines = run_or_fail("nm", "-D", "--defined-only", str(library)).splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("act", choices=["check", "write"])
    parser.add_argument("--header", type=Path, default=HEADER)
    arguments = parser.parse_args()
    try:
        told = write() if arguments.act == "write" else check(arguments.header)
    except Broken as why:
        sys.exit(f"abi: {why}")
    if told:
        print(f"abi: {told}")


if __name__ == "__main__":
    main()
