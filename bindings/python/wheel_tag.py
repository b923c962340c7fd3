"""The platform that a wheel may name, by what the library in it asks of a system."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

# What a manylinux wheel may take from the system (PEP 600 and auditwheel's policy), as far as libfluid could need it.
SYSTEM_LIBRARIES = re.compile(r"(ld-linux[\w-]*|libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+)\.so\.\d+$")

# By the version of glibc: the newest versions of libstdc++'s symbols that every such system has.
LIBSTDCXX = {
    (2, 28): {"GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11)},
    (2, 31): {"GLIBCXX": (3, 4, 28), "CXXABI": (1, 3, 12)},
    (2, 34): {"GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)},
    (2, 35): {"GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13)},
    (2, 39): {"GLIBCXX": (3, 4, 33), "CXXABI": (1, 3, 15)},
}


# By the number in the library's header: CPU_TYPE_..., IMAGE_FILE_MACHINE_...
MACOS_MACHINES = {0x0100_0007: "x86_64", 0x0100_000C: "arm64"}
WINDOWS_TAGS = {0x014C: "win32", 0x8664: "win_amd64", 0xAA64: "win_arm64"}


class Refused(Exception):
    """Every name would promise too much; the message says why."""


def platform_tag(library: Path) -> str:
    """The tag for `library`, built on this machine, such as "manylinux_2_34_x86_64"."""
    if sys.platform == "darwin":
        return macos_tag(_said("otool", "-l", library), macos_machine(library.read_bytes()[:8]))
    if sys.platform == "win32":
        return windows_tag(library.read_bytes()[:4096])
    system = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return linux_tag(_said("objdump", "-p", library), machine=system.split("_", 1)[1])


def macos_tag(commands: str, machine: str) -> str:
    """The tag by what `otool -l` says of a library: the oldest system it was linked for. Python's own name for the
    platform tells what Python was built for instead, often two processors."""
    found = re.search(r"^\s*(?:minos|version) (\d+)\.(\d+)", commands, re.MULTILINE)
    if found is None:
        raise Refused("otool does not say which macOS it is for")
    major, minor = int(found[1]), int(found[2])
    return f"macosx_{major}_{0 if major > 10 else minor}_{machine}"


def macos_machine(header: bytes) -> str:
    """The processor by the first 8 bytes of a Mach-O file. Python's may be another: it runs translated too."""
    magic, processor = struct.unpack("<II", header)
    if magic != 0xFEEDFACF or processor not in MACOS_MACHINES:
        raise Refused("it is no library for one 64-bit processor of a Mac")
    return MACOS_MACHINES[processor]


def windows_tag(header: bytes) -> str:
    """The tag by the first bytes of a DLL, up to the processor in its PE header."""
    try:
        (start,) = struct.unpack_from("<I", header, 0x3C)
        signature, machine = struct.unpack_from("<4sH", header, start)
    except struct.error:
        raise Refused("it is no DLL") from None
    if signature != b"PE\0\0" or machine not in WINDOWS_TAGS:
        raise Refused("it is no DLL for a processor that wheels are named for")
    return WINDOWS_TAGS[machine]


def linux_tag(headers: str, machine: str) -> str:
    """The tag by what `objdump -p` says of a library."""
    strangers = [name for name in needed(headers) if not SYSTEM_LIBRARIES.match(name)]
    if strangers:
        raise Refused(f"it needs {', '.join(strangers)}, which no manylinux system promises")
    enough = [glibc for glibc, limits in sorted(LIBSTDCXX.items()) if _holds(limits, headers)]
    if not enough:
        raise Refused("it needs a newer libstdc++ than any manylinux system promises; build it on an older system")
    major, minor = max([enough[0], *versions(headers, "GLIBC")])[:2]
    return f"manylinux_{major}_{minor}_{machine}"


def _holds(limits: dict[str, tuple[int, int, int]], headers: str) -> bool:
    return all(version <= limit for name, limit in limits.items() for version in versions(headers, name))


def needed(headers: str) -> list[str]:
    """The libraries that have to be there."""
    return re.findall(r"^\s+NEEDED\s+(\S+)$", headers, re.MULTILINE)


def versions(headers: str, name: str) -> list[tuple[int, ...]]:
    """The versions of `name`, such as "GLIBC", that its symbols are asked for in."""
    found = re.findall(rf"\s{name}_(\d+(?:\.\d+)+)$", headers, re.MULTILINE)
    return [tuple(int(part) for part in version.split(".")) for version in found]


def _said(tool: str, flag: str, library: Path) -> str:
    asked = subprocess.run([tool, flag, str(library)], capture_output=True, text=True)
    if asked.returncode:
        raise Refused(f"{tool} cannot read it: {asked.stderr.strip()}")
    return asked.stdout
