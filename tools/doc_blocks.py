"""The documentation as the tests read it: its pages, their code blocks, links and headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)


class Block(NamedTuple):
    """A code block: where it begins, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """All pages that persons read."""
    roots = [path for path in ROOT.glob("*.md")]
    bindings = [path for path in ROOT.glob("bindings/*/README.md")]
    return sorted([*roots, *ROOT.glob("docs/*.md"), *bindings])


def blocks(*languages: str, of: list[Path] | None = None) -> Iterator[Block]:
    """The code blocks in these languages, page by page."""
    for page in pages() if of is None else of:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found[2] in languages:
                yield Block(page, text.count("\n", 0, found.start()) + 2, found[2], found[3])


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names by which headings can be linked to, as GitHub makes them."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return {word.strip().replace(" ", "-") for word in words}
