#!/usr/bin/env python3
"""Writes what tells of a build beside it, so that installing and packing ask neither cargo nor rustc: THIRD-PARTY.txt
and sbom.cdx.json of the library, those of the server, and the triple they are for. What is up to date costs one call
of rustc.

    papers.py target/release
"""

import hashlib
import sys
from pathlib import Path

import licences
import sbom
from system import ROOT, SERVER_PAPERS, TRIPLE, Refused, commit_time, of_this_machine, output

MAKERS = {
    "THIRD-PARTY.txt": licences.third_party,
    "sbom.cdx.json": sbom.bill,
    SERVER_PAPERS["THIRD-PARTY.txt"]: lambda triple: licences.third_party(triple, "fluid-server"),
    SERVER_PAPERS["sbom.cdx.json"]: lambda triple: sbom.bill(triple, "fluid-server"),
    TRIPLE: lambda triple: f"{triple}\n",
}


def _state():
    """A checksum of all that the papers are made of."""
    sum_of = hashlib.sha256(f"{commit_time()} {output('rustc', '-vV')}".encode())
    sources = [ROOT / "Cargo.lock", *ROOT.glob("LICENSE-*"), *ROOT.glob("tools/dist/*.py")]
    for file in sorted([*sources, ROOT / "Cargo.toml", ROOT / "examples/server/Cargo.toml"]):
        sum_of.update(file.read_bytes())
    return sum_of.hexdigest()


def write(folder):
    """Writes what is missing or of another state into `folder`; true if it had to."""
    mark, state = folder / "papers.sha256", _state()
    there = all((folder / name).is_file() for name in MAKERS)
    if there and mark.is_file() and mark.read_text(encoding="utf-8") == state:
        return False
    mark.unlink(missing_ok=True)
    triple = of_this_machine().triple
    for name, make in MAKERS.items():
        (folder / name).write_text(make(triple), encoding="utf-8", newline="\n")
    mark.write_text(state, encoding="utf-8")
    return True


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]))
    except (Refused, OSError) as why:
        sys.exit(f"papers: {why}")
