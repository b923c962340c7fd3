"""The files of an installation: a path below the prefix, and what lies there."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from system import PAPERS, ROOT, SERVER_PAPERS, Refused, abi_version, version

HERE = Path(__file__).resolve().parent
URL = "https://github.com/FluidInference/libfluid"
DOC = "share/doc/fluid"
SERVER_DOC = "share/doc/fluid-server"


@dataclass(frozen=True)
class File:
    source: Path | str  # a file to copy, or a text
    program: bool = False
    strip: bool = False


@dataclass(frozen=True)
class Link:
    target: str  # the name of a neighbour


def _library(built, system, libdir):
    """The shared library and its links; the path of what programs load, and of what they link with."""
    major, minor = abi_version()
    if system.os == "windows":
        name = "libfluid.dll.a" if system.triple.endswith("-gnu") else "fluid.lib"
        files = {"bin/fluid.dll": File(built.library, program=True), f"{libdir}/{name}": File(built.import_library)}
        return files, "bin/fluid.dll", f"{libdir}/{name}"
    pattern = "libfluid.so{}" if system.os == "linux" else "libfluid{}.dylib"
    real, soname, plain = (pattern.format(part) for part in (f".{major}.{minor}", f".{major}", ""))
    files = {
        f"{libdir}/{real}": File(built.library, program=True, strip=True),
        f"{libdir}/{soname}": Link(real),
        f"{libdir}/{plain}": Link(soname),
    }
    return files, f"{libdir}/{real}", f"{libdir}/{plain}"


def _filled(template, **values):
    text = (HERE / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return File(text)


def _up(folder):
    """From `folder` back to the prefix."""
    return "/".join(".." for _ in Path(folder).parts)


def _pkg_config(libdir, native_libs):
    folder = f"{libdir}/pkgconfig"
    common = {"UP": _up(folder), "LIBDIR": libdir, "URL": URL, "VERSION": version()}
    private = " ".join(native_libs)
    shared = "Libs: -L${libdir} -lfluid" + (f"\nLibs.private: {private}" if private else "")
    files = {f"{folder}/fluid.pc": _filled("fluid.pc.in", NAME="fluid", LIBS=shared, **common)}
    if native_libs:
        static = f"Libs: ${{libdir}}/libfluid.a {private}"
        files[f"{folder}/fluid-static.pc"] = _filled("fluid.pc.in", NAME="fluid-static", LIBS=static, **common)
    return files


def _cmake(system, libdir, shared, linked, native_libs):
    folder = f"{libdir}/cmake/fluid"
    major, _ = abi_version()
    properties = {
        "linux": f'\n    IMPORTED_SONAME "libfluid.so.{major}"',
        "macos": f'\n    IMPORTED_SONAME "@rpath/libfluid.{major}.dylib"',
        "windows": f'\n    IMPORTED_IMPLIB "${{_fluid_prefix}}/{linked}"',
    }[system.os]
    values = {
        "UP": _up(folder),
        "LIBDIR": libdir,
        "SHARED": shared,
        "SHARED_PROPERTIES": properties,
        "NATIVE_LIBS": ";".join(native_libs),
        "VERSION": version(),
    }
    names = ["fluid-config", "fluid-config-version", *(["fluid-static"] if native_libs else [])]
    return {f"{folder}/{name}.cmake": _filled(f"{name}.cmake.in", **values) for name in names}


def files(built, system, libdir="lib", static=None):
    """Path to File or Link. `static` is (libfluid.a, what to link with it)."""
    tree, shared, linked = _library(built, system, libdir)
    tree["include/fluid.h"] = File(ROOT / "include/fluid.h")
    for header in sorted((ROOT / "bindings/cpp").rglob("*.hpp")):
        tree[f"include/{header.relative_to(ROOT / 'bindings/cpp').as_posix()}"] = File(header)
    native_libs = []
    if static:
        tree[f"{libdir}/libfluid.a"], native_libs = File(static[0]), static[1]
    tree |= _pkg_config(libdir, native_libs)
    tree |= _cmake(system, libdir, shared, linked, native_libs)
    tree[f"bin/{built.server.name}"] = File(built.server, program=True, strip=True)
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        tree[f"{DOC}/{name}"] = File(ROOT / name)
    for name in PAPERS:
        tree[f"{DOC}/{name}"] = File(built.folder / name)
        tree[f"{SERVER_DOC}/{name}"] = File(built.folder / SERVER_PAPERS[name])
    return tree


def left_over(tree, prefix, system, libdir):
    """Paths that an earlier installation may have left and `tree` has not: libraries of other releases, of which the
    loader's cache would take the highest, and a static library of another build."""
    major, _ = abi_version()
    name = {"linux": rf"libfluid\.so\.{major}\.\d+", "macos": rf"libfluid\.{major}\.\d+\.dylib"}.get(system.os, "")
    libraries = {f"{libdir}/{file.name}" for file in Path(prefix, libdir).glob("*") if re.fullmatch(name, file.name)}
    static = ("libfluid.a", "pkgconfig/fluid-static.pc", "cmake/fluid/fluid-static.cmake")
    return (libraries | {f"{libdir}/{file}" for file in static}) - set(tree)


def _strip(source, target, system):
    flags = {"linux": ["--strip-unneeded"], "macos": ["-x"]}[system.os]
    done = subprocess.run(["strip", *flags, "-o", target, source], capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise Refused(f"strip {source}: {done.stderr.strip()}")


def _make_folder(path):
    """Makes `path`, for all to read: the umask of whoever installs is meant for their own files."""
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o755)


def lay(tree, prefix, system):
    """Writes the tree below the folder `prefix`. A file that is there is replaced, not written to: a program
    that runs keeps the old one."""
    for path, item in sorted(tree.items()):
        target = Path(prefix, path)
        _make_folder(target.parent)
        new = target.with_name(f".{target.name}.new")
        new.unlink(missing_ok=True)
        if isinstance(item, Link):
            new.symlink_to(item.target)
        elif not isinstance(item.source, Path):
            new.write_text(item.source, encoding="utf-8", newline="\n")
        elif item.strip and system.os != "windows":
            _strip(item.source, new, system)
        else:
            shutil.copyfile(item.source, new)
        if not isinstance(item, Link):
            new.chmod(0o755 if item.program else 0o644)
        os.replace(new, target)


def take_away(paths, prefix):
    """Removes what `lay` wrote, and the folders of our own that are then empty. The others are the system's, and
    what others put into ours stays."""
    for path in paths:
        Path(prefix, path).unlink(missing_ok=True)
    for folder in {Path(prefix, path).parent for path in paths}:
        ours = folder.name in ("fluid", "fluid-server") and folder.is_dir() and not folder.is_symlink()
        if ours and not any(folder.iterdir()):
            folder.rmdir()
