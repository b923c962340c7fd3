"""``transcribe``: what is said in a recording, as text, subtitles or JSON. Ctrl-C ends it with what was heard so far."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from ..errors import JobCancelledError
from ..event import Event, Language, Notice, Segment
from ..job import Job
from ..progress import Bar
from ..results import Transcript
from .loading import add_model_arguments, engine_for, load

FORMATS = {"text": "text", "txt": "text", "srt": "srt", "vtt": "vtt", "json": "verbose_json"}


def add_to(commands: Any) -> None:
    parser = commands.add_parser("transcribe", help="write down what is said in a recording")
    add_model_arguments(parser, "a Whisper model in OpenVINO's format")
    parser.add_argument("audio", help="a WAV, FLAC, MP3, OGG, M4A or AAC file; - reads one from stdin")
    parser.add_argument("-f", "--format", choices=sorted(FORMATS), help="text unless the output's name says more")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to this file")
    parser.add_argument("-l", "--language", help="the language spoken, such as en; else it is detected")
    parser.add_argument("--translate", action="store_true", help="into English")
    parser.add_argument("--words", action="store_true", help="times of words, in JSON")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    if chosen.output:
        open(chosen.output, "a").close()  # what cannot be written fails now, not when all is heard
    is_shown = chosen.output is None and _format(chosen) == "text"
    with engine_for(chosen) as engine, load(engine, chosen) as model, Bar("listening") as bar:
        audio = sys.stdin.buffer.read() if chosen.audio == "-" else Path(chosen.audio)
        job = model.transcribe_async(audio, on_event=_Shown(bar, is_shown), **_request(chosen))
        heard, code = _heard(job)
    if heard is not None and not is_shown:
        _write(_body(heard), chosen.output)
    return code


def _heard(job: Job[Transcript]) -> tuple[Transcript | None, int]:
    """The transcript, and the exit code."""
    before = signal.signal(signal.SIGINT, lambda *_: job.cancel())
    try:
        return job.result(), 0
    except JobCancelledError as stopped:
        return stopped.result, 130
    finally:
        signal.signal(signal.SIGINT, before)


class _Shown:
    """Shows progress on the bar, the text on stdout if it goes there, and the rest beside it."""

    def __init__(self, bar: Bar, text: bool) -> None:
        self._bar = bar
        self._has_bar = True
        self._text = text

    def __call__(self, event: Event) -> None:
        if self._has_bar:
            self._bar(event)
        if self._text and isinstance(event, Segment):
            self._bar.close()
            self._has_bar = not sys.stdout.isatty()  # there the text itself tells how far it is
            print(event.text.strip(), flush=True)
        if isinstance(event, (Language, Notice)):
            self._bar.close()
            said = f"language: {event.text}" if isinstance(event, Language) else f"note: {event.text}"
            print(said, file=sys.stderr)


def _format(chosen: argparse.Namespace) -> str:
    ending = Path(chosen.output or "").suffix.lstrip(".").lower()
    return FORMATS[chosen.format or (ending if ending in FORMATS else "text")]


def _request(chosen: argparse.Namespace) -> dict[str, Any]:
    request: dict[str, Any] = {"response_format": _format(chosen)}
    if chosen.language:
        request["language"] = chosen.language
    if chosen.translate:
        request["task"] = "translate"
    if chosen.words:
        request["timestamp_granularities"] = ["segment", "word"]
    return request


def _body(heard: Transcript) -> str:
    is_json = set(heard) != {"text"}
    return json.dumps(heard, ensure_ascii=False, indent=2) if is_json else heard.text.strip()


def _write(body: str, output: str | None) -> None:
    if output is None:
        print(body)
        return
    try:
        Path(output).write_text(body + "\n", encoding="utf-8")
    except OSError:
        print(body)  # for it may have taken hours
        raise
