"""Progress bars as `on_event`: one of tqdm's, and a plain one that needs nothing."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from ._handle import Context
from .event import Event, Progress


class Bar(Context):
    """A bar on the terminal: ``with Bar("loading") as bar: engine.load_model(path, on_event=bar)``.

    Where `file`, by default stderr, is no terminal, nothing is drawn.
    """

    WIDTH = 30

    def __init__(self, label: str, file: TextIO | None = None) -> None:
        self._label = label
        self._file = sys.stderr if file is None else file
        # Programs without a console, such as those of pythonw.exe, have no stderr.
        self._is_shown = self._file is not None and self._file.isatty()
        self._drawn = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.update(event.progress, _rate(event))

    def update(self, fraction: float, note: str = "") -> None:
        """Shows `fraction`, from 0 to 1, and a short note behind it."""
        full = round(self.WIDTH * min(max(fraction, 0), 1))
        line = f"{self._label} [{'#' * full}{'.' * (self.WIDTH - full)}] {fraction:4.0%} {note}".rstrip()
        if self._is_shown and line != self._drawn:
            self._file.write("\r" + line.ljust(len(self._drawn)))
            self._file.flush()
            self._drawn = line

    def close(self) -> None:
        """Ends the line."""
        if self._drawn:
            self._file.write("\n")
            self._file.flush()
            self._drawn = ""


def _rate(event: Progress) -> str:
    rate = event.data.get("bytes_per_second")
    return f"{rate / 1e6:.1f} MB/s" if rate else ""


class TqdmBar(Context):
    """A bar of tqdm's as `on_event`; see `tqdm`."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self._shown = 0.0

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Progress):
            return
        self.bar.update(max(event.progress - self._shown, 0))
        self._shown = max(event.progress, self._shown)
        rate = _rate(event)
        if rate:
            self.bar.set_postfix_str(rate)

    def close(self) -> None:
        self.bar.close()


def tqdm(desc: str | None = None, **options: Any) -> TqdmBar:
    """A bar of tqdm's: ``with progress.tqdm("loading") as bar: engine.load_model(path, on_event=bar)``.

    `options` are tqdm's. In a notebook it is a notebook's bar. Raises `ImportError` where tqdm is not installed.
    """
    from tqdm.auto import tqdm as make  # type: ignore[import-untyped, unused-ignore]

    shape = {"total": 1.0, "bar_format": "{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]"}
    return TqdmBar(make(desc=desc, **{**shape, **options}))
