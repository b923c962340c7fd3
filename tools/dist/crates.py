"""The Rust crates inside the library, as cargo chooses them for a system: no tests, no macros' own code."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from system import ROOT, output


@dataclass(frozen=True)
class Crate:
    name: str
    version: str
    licence: str  # an SPDX expression
    repository: str
    authors: tuple
    folder: Path
    needs: frozenset = field(compare=False)  # (name, version) of each crate it uses

    @property
    def key(self):
        return self.name, self.version

    def __str__(self):
        return f"{self.name} {self.version}"


def _chosen(packages, triple, edges):
    """(name, version) of what `cargo tree` lists below these of the workspace."""
    listed = output(
        "cargo", "tree", "--locked", *(f"--package={name}" for name in packages), "--target", triple,
        "--edges", edges, "--prefix", "none", "--format", "{p}",
    )  # fmt: skip
    # An empty line stands between packages.
    return {(line.split()[0], line.split()[1].lstrip("v")) for line in listed.splitlines() if line}


@cache
def _metadata(triple):
    return json.loads(output("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple))


@cache
def checksums():
    """SHA-256 of each crate's source package, from Cargo.lock."""
    text = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    found = re.findall(r'name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"', text)
    return {(name, version): checksum for name, version, checksum in found}


def _all(triple):
    metadata = _metadata(triple)
    keys = {package["id"]: (package["name"], package["version"]) for package in metadata["packages"]}
    needs = {
        keys[node["id"]]: frozenset(keys[dependency["pkg"]] for dependency in node["deps"])
        for node in metadata["resolve"]["nodes"]
    }
    return {
        keys[package["id"]]: Crate(
            *keys[package["id"]],
            # Before SPDX, a slash stood for OR.
            (package["license"] or "").replace("/", " OR "),
            package["repository"] or "",
            tuple(package["authors"]),
            Path(package["manifest_path"]).parent,
            needs.get(keys[package["id"]], frozenset()),
        )
        for package in metadata["packages"]
    }


def _crates(keys, triple):
    known = _all(triple)
    return sorted((known[key] for key in keys), key=Crate.key.fget)


def linked(triple, *packages):
    """What is inside these packages of the workspace, themselves included."""
    return _crates(_chosen(packages, triple, "normal,no-proc-macro"), triple)


def used_to_build(triple, *packages):
    """What ran while they were built: macros, build scripts and what they use."""
    return _crates(
        _chosen(packages, triple, "normal,build") - _chosen(packages, triple, "normal,no-proc-macro"), triple
    )


def one(triple, name):
    return next(crate for crate in _all(triple).values() if crate.name == name)


def llama_cpp(triple):
    """(version of llama.cpp, of ggml, folder of their sources): what llama-cpp-sys-2 brings."""
    folder = one(triple, "llama-cpp-sys-2").folder / "llama.cpp"

    def read(file, name):
        text = (folder / file).read_text(encoding="utf-8")
        parts = ("MAJOR", "MINOR", "PATCH")
        return ".".join(re.search(rf"set\({name}_VERSION_{part} (\d+)\)", text).group(1) for part in parts)

    return read("CMakeLists.txt", "LLAMA"), read("ggml/CMakeLists.txt", "GGML"), folder
