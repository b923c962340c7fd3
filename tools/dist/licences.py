"""THIRD-PARTY.txt: whose software is inside the library or the server, under which licence, and each licence's text
once."""

import re
import sys
from pathlib import Path

import crates
from system import ROOT, Refused, of_this_machine, output, version

TEXTS = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
# Texts for crates that were published without one.
STANDARD = {
    "Apache-2.0": ROOT / "LICENSE-APACHE",
    "MPL-2.0": ROOT / "tools/dist/licenses/MPL-2.0.txt",
}

INTRODUCTION = """\
Third-party software inside libfluid {version} ({triple})

libfluid itself is under MIT or Apache-2.0, at your choice; see LICENSE-MIT and LICENSE-APACHE.
{what} contains the software listed here. Each text below is followed by nothing of ours.
"""

WHAT = {"fluid": "The library", "fluid-server": "The program fluid-server, with the library in it,"}

MPL = """\
Software under the Mozilla Public License 2.0

These are used as they were published, without a change. Their source code is what the Rust package registry
has under their names and versions, and is developed at the address beside each:

{crates}
"""


def _shipped_texts(folder):
    """The licence files of a crate, its name and text."""
    return [
        file.read_text(encoding="utf-8", errors="replace")
        for file in sorted(folder.iterdir())
        if file.is_file() and TEXTS.match(file.name)
    ]


def _standard_text(crate):
    for name, file in STANDARD.items():
        if name in re.split(r"[ ()]+", crate.licence):
            return file.read_text(encoding="utf-8")
    raise Refused(f"{crate} has no text of its licence ({crate.licence}); tools/dist/licences.py needs one")


def _opening_comment(file):
    """The comment that a C++ file starts with."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        lines.append(line.lstrip("/").removeprefix(" "))
    return "\n".join(lines)


def _notes(file, pattern):
    return re.search(pattern, file.read_text(encoding="utf-8")).group(0)


def _inside_llama(triple):
    """(who, text) for llama.cpp, ggml, and what they took from others."""
    llama, ggml, folder = crates.llama_cpp(triple)
    kernels = folder / "ggml/src/ggml-cpu"
    yield f"llama.cpp {llama}, ggml {ggml} (inside llama-cpp-sys-2)", (folder / "LICENSE").read_text(encoding="utf-8")
    yield "tinyBLAS (inside ggml)", _opening_comment(kernels / "llamafile/sgemm.cpp")
    yield "YaRN (inside ggml)", _notes(kernels / "ops.cpp", r"MIT licensed\. Copyright .*Jeffrey Quesnelle.*")


def _inside_rust():
    """(who, text) for Rust's standard library, where the toolchain brings its texts."""
    folder = Path(output("rustc", "--print", "sysroot").strip(), "share/doc/rust")
    release = output("rustc", "--version").split()[1]
    names = ("MIT", "Apache-2.0", "LLVM-exception", "Unicode-3.0")
    files = [file for name in names if (file := folder / f"licenses/{name}.txt").is_file()]
    for file in files:
        yield f"Rust's standard library {release}: The Rust Project contributors", file.read_text(encoding="utf-8")
    if not files:
        text = (ROOT / "LICENSE-APACHE").read_text(encoding="utf-8")
        yield f"Rust's standard library {release}: The Rust Project contributors, MIT OR Apache-2.0", text


def _grouped(pairs):
    """text -> who, texts that differ in white space alone taken as one."""
    groups = {}
    for who, text in pairs:
        groups.setdefault(" ".join(text.split()), (text, []))[1].append(who)
    return [(text.strip("\n"), sorted(set(whose))) for text, whose in groups.values()]


def third_party(triple, package="fluid"):
    """The text of THIRD-PARTY.txt, of one package of the workspace."""
    linked = crates.linked(triple, package)
    inside = [crate for crate in linked if crates.checksums().get(crate.key)]
    pairs = [
        (str(crate), text) for crate in inside for text in _shipped_texts(crate.folder) or [_standard_text(crate)]
    ]
    pairs += [*_inside_llama(triple), *_inside_rust()]
    mpl = [f"    {crate}  {crate.repository}" for crate in inside if "MPL-2.0" in crate.licence]
    table = [f"    {str(crate):40} {crate.licence}" for crate in inside]
    introduction = INTRODUCTION.format(version=version(), triple=triple, what=WHAT[package])
    parts = [introduction, "\n".join(table), MPL.format(crates="\n".join(mpl))]
    parts += [f"{chr(10).join(whose)}\n\n{text}" for text, whose in _grouped(pairs)]
    return f"\n\n{'=' * 100}\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    print(third_party(of_this_machine().triple), end="")
