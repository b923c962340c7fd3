#!/usr/bin/env python3
"""Minutes of a meeting: writes down a recording and has a language model summarise it, all on this machine.

    meeting.py talk.mp3 --llm model.gguf --whisper whisper-base -o minutes.md

The transcript is summarised part by part, as much at a time as the model's context holds, and the parts' notes
together once more. Ctrl-C while it summarises keeps what is done so far, as does an error.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Callable, TextIO

import fluid_ai

NOTES = (
    "Below is a part of the transcript of a recording. Write short notes of what is said in it, as a list. "
    "Leave out what is not in the text.\n\n"
)
SUMMARY = (
    "Below are notes of a recording. Write a summary in a few sentences, then, if there are any, the decisions and "
    "who does what until when, as lists. Leave out what is not in the notes.\n\n"
)


class Bar:
    """A line on the terminal that says how far a step is; without a terminal, when it begins and ends."""

    def __init__(self, label: str, screen: TextIO = sys.stderr) -> None:
        self.label, self.screen = label, screen
        self.begun = time.monotonic()
        self.drawn = -1

    def show(self, share: float) -> None:
        percent = int(100 * min(max(share, 0), 1))
        if self.screen.isatty() and percent != self.drawn:
            bar = ("█" * (percent * 30 // 100)).ljust(30, "░")
            print(f"\r{self.label:<14} {bar} {percent:3} %", end="", file=self.screen, flush=True)
            self.drawn = percent

    def on_event(self, event: fluid_ai.Event) -> None:
        if isinstance(event, fluid_ai.Progress):
            self.show(event.progress)

    def __enter__(self) -> Bar:
        self.show(0)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            self.show(1)
        start = "\r\033[K" if self.screen.isatty() else ""
        took = f"{time.monotonic() - self.begun:.1f} s"
        print(f"{start}{self.label:<14} {took if error is None else 'stopped'}", file=self.screen, flush=True)


def load(engine: fluid_ai.Engine, name: str, label: str, **options: Any) -> fluid_ai.Model:
    with Bar(label) as bar:
        return engine.load_model(name, options, on_event=bar.on_event)


def look(engine: fluid_ai.Engine, name: str, options: dict[str, Any]) -> None:
    """Fails for a model that cannot be loaded, before hours went into the recording; fetches one of a hub."""
    try:
        engine.estimate(name, options)
    except fluid_ai.NotFoundError:
        with Bar("fetching pen") as bar:
            engine.download(name, on_event=bar.on_event)


def listen(engine: fluid_ai.Engine, chosen: argparse.Namespace) -> fluid_ai.Transcript:
    with load(engine, chosen.whisper, "loading ears") as whisper, Bar("listening") as bar:
        language = {"language": chosen.language} if chosen.language else {}
        return whisper.transcribe(chosen.recording, on_event=bar.on_event, **language)


def parts(text: str, fits: Callable[[str], bool]) -> list[str]:
    """`text` cut at sentences into parts that fit; one sentence too long for that is cut in the middle."""
    made: list[str] = []
    for sentence in text.replace("? ", "?\n").replace("! ", "!\n").replace(". ", ".\n").splitlines():
        joined = f"{made[-1]} {sentence}" if made else sentence
        if made and fits(joined):
            made[-1] = joined
        elif fits(sentence):
            made.append(sentence)
        else:
            half = len(sentence) // 2
            made += parts(sentence[:half], fits) + parts(sentence[half:], fits)
    return made


class Writer:
    """The language model, which knows how much it can read at a time."""

    def __init__(self, model: fluid_ai.Model) -> None:
        self.model = model
        self.context = int(model.info()["context_length"])
        # Tokens of an answer; a part of the transcript gets what they and the question leave, which is more.
        self.answer = min(300, self.context // 4)
        # Of the parts that are done, for whoever is interrupted.
        self.notes: list[str] = []

    def fits(self, text: str) -> bool:
        return self.model.tokenize(self.messages(NOTES, text)).count + self.answer <= self.context or len(text) < 100

    @staticmethod
    def messages(task: str, text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": task + text}]

    def write(self, task: str, text: str, tell: Callable[[float], Any]) -> str:
        """The answer; `tell` gets the share of it that is written."""
        pieces: list[str] = []
        how = {"max_tokens": self.answer, "temperature": 0.2, "repeat_penalty": 1.1}
        for piece in self.model.stream(self.messages(task, text), **how):
            pieces.append(piece)
            tell(len(pieces) / self.answer)
        return "".join(pieces).strip()

    def shortened(self, text: str, tell: Callable[[float], Any]) -> str:
        """`text`, noted down once more until it fits; what does not shrink is cut."""
        while not self.fits(text):
            cut = parts(text, self.fits)
            shorter = "\n".join(self.write(NOTES, part, tell) for part in cut)
            text = shorter if len(shorter) < len(text) else cut[0]
        return text

    def summarise(self, text: str) -> str:
        """A summary; `notes` has those on each part where there were several."""
        cut = parts(text, self.fits)
        with Bar("summarising") as bar:
            steps = len(cut) + 1 if len(cut) > 1 else 1

            def tell(share: float) -> None:
                bar.show((len(self.notes) + share) / steps)

            for part in cut if len(cut) > 1 else []:
                self.notes.append(self.write(NOTES, part, tell))
            gathered = "\n".join(self.notes) if self.notes else text
            return self.write(SUMMARY, self.shortened(gathered, tell), tell)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def minutes(chosen: argparse.Namespace, heard: fluid_ai.Transcript, summary: str, notes: list[str]) -> str:
    """All of it as Markdown."""
    lines = [f"# {Path(chosen.recording).stem}", "", f"{clock(heard.duration or 0)}, {heard.language}", ""]
    lines += ["## Summary", "", summary, ""]
    for number, note in enumerate(notes, 1):
        lines += [f"## Notes, part {number}", "", note, ""]
    lines += ["## Transcript", ""]
    lines += [f"- [{clock(segment['start'])}] {segment['text'].strip()}" for segment in heard.segments]
    return "\n".join(lines) + "\n"


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", help="a WAV, FLAC, MP3, OGG, M4A or AAC file")
    parser.add_argument("--llm", required=True, metavar="MODEL", help="who summarises: a GGUF file, or owner/repo")
    parser.add_argument("--whisper", required=True, metavar="MODEL", help="who listens: the folder of a Whisper model")
    parser.add_argument("--model-dir", metavar="FOLDER", help="where models lie by name, and are fetched to")
    parser.add_argument("--language", metavar="CODE", help="the language spoken, such as en; else it is detected")
    parser.add_argument("--n-ctx", type=int, default=4096, metavar="N", help="tokens of context (%(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that the one who summarises computes with")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the minutes there; else they are printed")
    return parser.parse_args()


def main() -> int:
    chosen = command_line()
    options = {"model_dir": str(Path(chosen.model_dir).absolute())} if chosen.model_dir else {}
    how = {"n_ctx": chosen.n_ctx, "n_parallel": 1, "n_threads": chosen.threads}
    if chosen.output:
        open(chosen.output, "a").close()  # what cannot be written fails now, not when all is done
    with fluid_ai.Engine(options) as engine:
        look(engine, chosen.llm, how)
        heard = listen(engine, chosen)
        summary, code = "(not finished)", 0
        notes: list[str] = []
        try:
            with load(engine, chosen.llm, "loading pen", **how) as model:
                writer = Writer(model)
                notes = writer.notes
                summary = writer.summarise(heard.text) if heard.text.strip() else "Nothing is said."
        except KeyboardInterrupt:
            code = 130
        except fluid_ai.FluidError as error:
            print(f"meeting.py: {error}", file=sys.stderr)
            code = 1
    text = minutes(chosen, heard, summary, notes)
    if chosen.output:
        Path(chosen.output).write_text(text, encoding="utf-8")
        print(f"{chosen.output} is written", file=sys.stderr)
    else:
        print(text, end="")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (fluid_ai.FluidError, OSError) as error:
        sys.exit(f"meeting.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
