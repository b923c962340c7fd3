"""``chat``: a conversation on the terminal. Ctrl-C ends the answer, not the program."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import ContextOverflowError, JobCancelledError
from ..event import Reasoning, Token
from ..model import Model
from ..stream import Stream
from .loading import add_model_arguments, engine_for, load

HELP = "Ctrl-C ends an answer, Ctrl-D the program; /new begins a new conversation, /help shows this."


def add_to(commands: Any) -> None:
    parser = commands.add_parser("chat", help="talk with a language model", description=HELP)
    add_model_arguments(parser, "a language model")
    parser.add_argument("-p", "--prompt", help="ask this one question and exit")
    parser.add_argument("-s", "--system", help="what the model is told of its task")
    parser.add_argument("--n-ctx", type=int, metavar="N", help="tokens of context")
    parser.add_argument("--threads", dest="n_threads", type=int, metavar="N", help="threads that compute")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="tokens of an answer at most")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 for the likeliest answer")
    parser.add_argument("--seed", type=int, metavar="N", help="the same one gives the same answer")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    options = {"n_parallel": 1, **_given(chosen, "n_ctx", "n_threads")}
    with engine_for(chosen) as engine, load(engine, chosen, **options) as model:
        talk = Conversation(model, chosen.system, _given(chosen, "max_tokens", "temperature", "seed"))
        if chosen.prompt is not None:
            return 0 if talk.answer(chosen.prompt) else 130
        print(HELP, file=sys.stderr)
        return _converse(talk)


def _given(chosen: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}


def _converse(talk: "Conversation") -> int:
    _edit_lines()
    while True:
        try:
            said = input("> ").strip()
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print("\n(Ctrl-D ends the program)")
            continue
        if said == "/new":
            talk.begin()
        elif said == "/help":
            print(HELP)
        elif said:
            talk.answer(said)


def _edit_lines() -> None:
    try:
        import readline  # noqa: F401  # `input` uses it once it is there
    except ImportError:
        pass


class Conversation:
    """The messages so far, and how the model answers the next one."""

    def __init__(self, model: Model, system: str | None, fields: dict[str, Any]) -> None:
        self._model = model
        self._system = system
        self._fields = fields
        self.begin()

    def begin(self) -> None:
        """Forgets what was said."""
        self.messages: list[dict[str, Any]] = []
        if self._system:
            self.messages.append({"role": "system", "content": self._system})

    def answer(self, question: str) -> bool:
        """Streams the answer to stdout. Returns whether it was not interrupted."""
        asked = [*self.messages, {"role": "user", "content": question}]
        stream = self._model.stream(asked, **self._fields)
        pieces: list[str] = []
        whole = True
        try:
            self._print(stream, pieces)
        except ContextOverflowError as error:
            print(f"({error}; /new begins a new conversation)", file=sys.stderr)
            return True
        except (KeyboardInterrupt, JobCancelledError):
            whole = False
        print(flush=True)
        # What was interrupted is part of the conversation too: the model is to know what it said.
        self.messages = [*asked, {"role": "assistant", "content": "".join(pieces)}]
        return whole

    def _print(self, stream: Stream[str, Any], pieces: list[str]) -> None:
        is_thinking = False
        for event in stream.events():
            if not isinstance(event, (Reasoning, Token)) or not event.text:
                continue
            if isinstance(event, Reasoning) != is_thinking:
                is_thinking = not is_thinking
                sys.stdout.write("(thinking: " if is_thinking else ")\n")
            if isinstance(event, Token):
                pieces.append(event.text)
            sys.stdout.write(event.text)
            sys.stdout.flush()
