#!/usr/bin/env python3
"""The C reference: `make docs` turns the comments of include/fluid.h into pages, one for each object, by Doxygen.

    reference.py [--out FOLDER]        default: target/docs

The header stays as cbindgen writes it. A copy of it gets Doxygen's marks: which page an item belongs to, links from
names, headings for errors and duties. A function without a comment, a name without a page and every warning of Doxygen
are errors.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# Pages in the order of the contents: file name, title, which names are on it. The first that fits has a name.
PAGES = [
    ("engine", "Engine", r"fluid_engine(_\w+)?"),
    ("model", "Model", r"fluid_(load_model(_start)?|model|model_info|model_free)"),
    ("generate", "Generate", r"fluid_generate(_start)?"),
    ("transcribe", "Transcribe", r"fluid_transcribe(_start)?|fluid_audio(_kind)?|FLUID_AUDIO_\w+"),
    ("embed", "Embed and rank", r"fluid_(embed|rerank)(_start)?"),
    ("tokenize", "Tokens", r"fluid_(de)?tokenize"),
    ("state", "Saved states", r"fluid_model_(save|restore)_state(_start)?"),
    ("names", "Models by name", r"fluid_(models|estimate|download(_start)?)"),
    ("devices", "Devices and doctor", r"fluid_devices|fluid_doctor"),
    ("job", "Job", r"fluid_job(_\w+)?"),
    ("event", "Events", r"fluid_event(_\w+)?|FLUID_EVENT_\w+"),
    ("queue", "Queue", r"fluid_queue(_\w+)?"),
    ("status", "Statuses and errors",
     r"fluid_(status(_name)?|last_error)|FLUID_(OK|TIMEOUT|END|CANCELLED|DEADLINE|ERROR_\w+)"),
    ("free", "Strings and floats", r"fluid_(string|floats)_free"),
    ("log", "Log", r"fluid_log_\w+|FLUID_LOG_\w+"),
    ("version", "Version", r"fluid_(abi_)?version|FLUID_ABI_VERSION"),
]

COMMENT = re.compile(r"^\s*//(?!/) ?(.*)")
ITEM = re.compile(r"#define (\w+)|typedef struct (\w+)|typedef \w+ (\w+);|\(\*(\w+)\)|\b(fluid_\w+)\(")
FUNCTION = re.compile(r"^[a-z][\w *]*?\b(fluid_\w+)\(", re.M)
CODE = re.compile(r"`((?:fluid|FLUID)_\w+)`")
HEADINGS = {"Errors:": "Errors", "Outcomes:": "Outcomes", "Callers see to it that:": "Callers see to it that"}


class BadHeader(Exception):
    """The header is not as this program reads it."""


def page_of(name: str) -> str:
    for page, _, names in PAGES:
        if re.fullmatch(names, name):
            return page
    raise BadHeader(f"{name} belongs to no page: add it to PAGES in {Path(__file__).name}")


def item_below(lines: list[str]) -> str:
    """The name that the declaration at the beginning of `lines` declares."""
    found = ITEM.search(" ".join(lines[:2]))
    if not found:
        raise BadHeader(f"a comment stands before what is no item: {lines[0]}")
    return next(name for name in found.groups() if name)


def comments(header: str) -> list[tuple[int, int]]:
    """Where comments begin and end, as line numbers from 0; the end is the line behind."""
    runs, start = [], None
    lines = header.splitlines()
    for number, line in enumerate([*lines, ""]):
        is_comment = COMMENT.match(line) is not None
        if is_comment and start is None:
            start = number
        elif not is_comment and start is not None:
            runs.append((start, number))
            start = None
    return runs


def linked(text: str, names: set[str], own: str) -> str:
    """Names of items become links; that of the item itself does not."""
    return CODE.sub(
        lambda found: f"<tt>@ref {found[1]}</tt>" if found[1] in names and found[1] != own else found[0], text
    )


def headed(text: str) -> list[str]:
    """What stands behind a word such as "Errors:" gets that as its heading."""
    out: list[str] = []
    for line in text.split("\n"):
        parts = re.split("(" + "|".join(HEADINGS) + ")", line)
        out.append(parts[0].rstrip())
        for word, rest in zip(parts[1::2], parts[2::2]):
            out += ["", f"@par {HEADINGS[word]}", *filter(None, [rest.strip()])]
    return out


def marked(header: str) -> str:
    """The header with Doxygen's comments in place of its own."""
    lines = header.splitlines()
    runs = comments(header)
    names = {item_below(lines[end:]) for start, end in runs if not lines[start].startswith(" ")}
    out, done = [], 0
    for start, end in runs:
        out += lines[done:start]
        indent = " " * (len(lines[start]) - len(lines[start].lstrip()))
        text = "\n".join(COMMENT.match(line)[1] for line in lines[start:end])  # type: ignore[index]
        own = ""
        if not indent:
            own = item_below(lines[end:])
            out.append(f"/// @ingroup {page_of(own)}")
        out += [f"{indent}/// {line}".rstrip() for line in headed(linked(text, names, own))]
        done = end
    return "\n".join([*out, *lines[done:], ""])


def preamble(header: str) -> list[tuple[str, str]]:
    """The rules at the head of the header: a word and what it says, the text as it stands."""
    block = re.search(r"/\*\n(.*?)\n \*/", header, re.S)
    if not block:
        raise BadHeader("the comment at its head is missing")
    rules: list[tuple[str, str]] = []
    for line in block[1].splitlines():
        line = line.removeprefix(" *").removeprefix(" ")
        found = re.match(r"(Threads)$|([A-Z][a-z]+) +(\S.*)", line)
        if found:
            rules.append((found[1] or found[2], found[3] or ""))
        elif rules:
            word, text = rules[-1]
            # The table of threads keeps its shape.
            rules[-1] = (word, f"{text}\n{line}" if word == "Threads" else f"{text} {line.strip()}")
    return rules


def front_page(header: str, names: list[str]) -> str:
    """The first page: the rules, and which function is on which page."""
    text = [
        "@mainpage The C interface",
        "",
        "One header, `fluid.h`, one library, `libfluid`. Which function for which task, with code: `docs/c-api.md`.",
        "",
        "| page | functions and types |",
        "|---|---|",
    ]
    for page, title, _ in PAGES:
        listed = [f"<tt>@ref {name}</tt>" for name in names if page_of(name) == page and name.islower()]
        text.append(f"| @ref {page} \"{title}\" | {', '.join(listed)} |")
    text += ["", "# What holds everywhere", ""]
    known = set(re.findall(r"\b(?:fluid|FLUID)_\w+", " ".join(names)))
    for word, rule in preamble(header):
        if word == "Threads":
            text += ["# Threads", "", "@verbatim", *rule.strip("\n").split("\n"), "@endverbatim", ""]
        else:
            rule = re.sub(r"\b(?:fluid|FLUID)_\w+", lambda name: f"`{name[0]}`", rule)
            text += [f"@par {word}", linked(rule.strip(), known, ""), ""]
    groups = "".join(f"/// @defgroup {page} {title}\n" for page, title, _ in PAGES)
    return "".join(f"/// {line}".rstrip() + "\n" for line in text) + f"\n{groups}\n"


def contents() -> str:
    """The list of pages that each page has at its side."""
    links = [("index", "The C interface"), *((f"group__{page}", title) for page, title, _ in PAGES)]
    return "\n".join(f'<a href="$relpath^{page}.html">{title}</a>' for page, title in links)


def build(header: str, out: Path) -> None:
    """Writes the pages to `out`/html. Raises `BadHeader`, or `CalledProcessError` where Doxygen complains."""
    source = out / "source"
    shutil.rmtree(out, ignore_errors=True)
    source.mkdir(parents=True)
    lines = header.splitlines()
    names = [item_below(lines[end:]) for start, end in comments(header) if not lines[start].startswith(" ")]
    bare = [name for name in FUNCTION.findall(header) if name not in names]
    if bare:
        raise BadHeader(f"without a comment: {', '.join(bare)}")
    (source / "fluid.h").write_text(front_page(header, names) + marked(header), encoding="utf-8")
    template = (HERE / "page.html").read_text(encoding="utf-8")
    (source / "page.html").write_text(template.replace("$contents", contents()), encoding="utf-8")
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)
    settings = (HERE / "Doxyfile").read_text(encoding="utf-8")
    settings += f'PROJECT_NUMBER = {version[1] if version else ""}\n'
    settings += f'INPUT = "{source}/fluid.h"\nOUTPUT_DIRECTORY = "{out}"\nHTML_HEADER = "{source}/page.html"\n'
    settings += f'HTML_FOOTER = "{HERE}/foot.html"\nHTML_STYLESHEET = "{HERE}/style.css"\n'
    settings += f'LAYOUT_FILE = "{HERE}/layout.xml"\n'
    subprocess.run(["doxygen", "-"], input=settings, text=True, check=True)


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--out", type=Path, default=ROOT / "target/docs")
    out = arguments.parse_args().out.resolve()
    try:
        build((ROOT / "include/fluid.h").read_text(encoding="utf-8"), out)
    except FileNotFoundError as error:
        print(f"reference.py: {error}; Doxygen is a package of its name on all systems", file=sys.stderr)
        return 1
    except (BadHeader, subprocess.CalledProcessError) as error:
        print(f"reference.py: {error}", file=sys.stderr)
        return 1
    print(f"{out}/html/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
