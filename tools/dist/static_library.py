"""libfluid.a: one object with all of the library, of which other objects see the header's functions alone.

Cargo would build the library once more for a static one. Everything is in target/release already, so rustc
only packs it. Then the linker joins it into one object whose other symbols become local: a program may have
a ggml, or a Rust, of its own.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import abi
from system import Refused, output

# Debris of compilers, and a place each for what lies in tens of thousands of sections.
LAYOUT = """\
SECTIONS
{
  .text 0 : { *(.text .text.*) }
  .rodata 0 : { *(.rodata .rodata.*) }
  .eh_frame 0 : { KEEP(*(.eh_frame)) }
  .gcc_except_table 0 : { *(.gcc_except_table .gcc_except_table.*) }
  .data.rel.ro 0 : { *(.data.rel.ro .data.rel.ro.*) }
  .data 0 : { *(.data .data.*) }
  .tdata 0 : { *(.tdata .tdata.*) }
  .tbss 0 : { *(.tbss .tbss.*) }
  .bss 0 : { *(.bss .bss.* COMMON) }
  /DISCARD/ : { *(.llvmbc .llvmcmd .llvm_addrsig .comment) }
}
"""


def libraries(told):
    """What rustc says that a program has to link, each once. A framework is one word, for CMake too would keep
    but the first of several `-framework`."""
    return list(dict.fromkeys(re.sub(r"-framework (\S+)", r"-Wl,-framework,\1", told).split()))


def _pack(built, target):
    """Everything in one archive; what a program has to link with it."""
    source = target.with_suffix(".rs")
    source.write_text("extern crate fluid as _;\n", encoding="utf-8")
    command = [
        "rustc", "--edition", "2021", "--crate-type", "staticlib", "--crate-name", "fluid_static", str(source),
        "-L", f"dependency={built.folder / 'deps'}", "--extern", f"fluid={built.folder / 'libfluid.rlib'}",
        "--print", "native-static-libs", "-o", str(target),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise Refused(f"the static library could not be packed:\n{done.stderr.strip()}")
    return libraries(re.search(r"native-static-libs: (.*)", done.stderr).group(1))


def _join_on_linux(archive, joined, names):
    folder = joined.parent
    layout, keep, weak = folder / "layout.ld", folder / "keep", folder / "weak.o"
    layout.write_text(LAYOUT, encoding="utf-8")
    keep.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    roots = [word for name in names for word in ("-u", name)]
    # A group of sections that only one of several objects may bring would be shared with the host's.
    # What --wrap is for, build.rs says.
    join = ["ld", "-r", "--gc-sections", "--force-group-allocation", "--wrap=__cxa_atexit", "-T", str(layout)]
    output(*join, *roots, str(archive), "-o", str(weak))
    # Symbols that g++ marks as unique in a process become local only from weak ones.
    output("objcopy", "-w", "--weaken-symbol=_Z*", str(weak))
    output("objcopy", f"--keep-global-symbols={keep}", "--strip-unneeded", str(weak), str(joined))


def _join_on_macos(archive, joined, names):
    keep = joined.parent / "keep"
    keep.write_text("".join(f"_{name}\n" for name in names), encoding="utf-8")
    roots = [word for name in names for word in ("-u", f"_{name}")]
    output("ld", "-r", "-exported_symbols_list", str(keep), *roots, str(archive), "-o", str(joined))


def make(built, system, target):
    """Writes `target`; returns the flags that a program needs to link with it."""
    join = {"linux": _join_on_linux, "macos": _join_on_macos}.get(system.os)
    if join is None:
        raise Refused("a static library is made on Linux and macOS only")
    if not (built.folder / "libfluid.rlib").is_file():
        raise Refused(f"{built.folder / 'libfluid.rlib'} is missing; build it: make server")
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        everything, joined = Path(folder, "all.a"), Path(folder, "fluid.o")
        needed = _pack(built, everything)
        join(everything, joined, sorted(abi.functions()))
        output("ar", "rcsD" if system.os == "linux" else "rcs", str(target), str(joined))
    return needed
