#!/usr/bin/env python3
"""Installs what `make server` built, or takes it away again.

    install.py --prefix /usr/local [--destdir DIR] [--libdir lib] [--static]
    install.py --prefix /usr/local [--destdir DIR] [--libdir lib] --uninstall
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

import check
import static_library
import tree
from system import ROOT, Refused, built, of_build


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", default="/usr/local", help="where it will be used")
    parser.add_argument("--destdir", default="", help="a folder in front of it, for packagers")
    parser.add_argument("--libdir", default="lib", help="below the prefix: lib, lib64, lib/x86_64-linux-gnu")
    parser.add_argument("--build", type=Path, default=ROOT / "target/release", help="what cargo left")
    parser.add_argument("--static", action="store_true", help="libfluid.a too")
    parser.add_argument("--uninstall", action="store_true")
    return parser.parse_args()


def target_folder(destdir, prefix):
    if not Path(prefix).is_absolute():
        raise Refused(f"PREFIX={prefix} is no absolute path")
    return Path(destdir + prefix) if destdir else Path(prefix)


def relative(libdir):
    path = PurePosixPath(libdir)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise Refused(f"LIBDIR={libdir} is no path below the prefix, such as lib64")
    return str(path)


def renew_loader_cache(prefix, destdir):
    """The system's loader finds libraries by a cache, where it is ours to renew."""
    system = os.path.normpath(prefix) in ("/usr", "/usr/local")
    if sys.platform == "linux" and not destdir and os.geteuid() == 0 and system:
        subprocess.run(["ldconfig"], check=False)


def install(options, prefix, libdir, system):
    found, static = built(options.build, system), None
    if told := check.scripted(found):
        raise Refused(f"{', '.join(told)}; build what ships: make server")
    with tempfile.TemporaryDirectory() as folder:
        if options.static:
            archive = Path(folder, "libfluid.a")
            static = archive, static_library.make(found, system, archive)
        files = tree.files(found, system, libdir, static)
        tree.lay(files, prefix, system)
        tree.take_away(tree.left_over(files, prefix, system, libdir), prefix)


def uninstall(options, prefix, libdir, system):
    files = tree.files(built(options.build, system, must_exist=False), system, libdir)
    tree.take_away([*files, *tree.left_over(files, prefix, system, libdir)], prefix)


def main():
    options = arguments()
    act = uninstall if options.uninstall else install
    prefix = target_folder(options.destdir, options.prefix)
    act(options, prefix, relative(options.libdir), of_build(options.build))
    renew_loader_cache(options.prefix, options.destdir)
    print(f"{'removed from' if options.uninstall else 'installed into'} {prefix}")


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError) as why:
        sys.exit(f"install: {why}")
