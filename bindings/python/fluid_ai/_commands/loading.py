"""Loads the model that a command line names, with a bar on the terminal."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ..engine import Engine
from ..event import Event, Notice
from ..model import Model
from ..progress import Bar


def add_model_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("model", help=f"{what}: a path, a name in the model folder, or owner/repo of a hub")
    parser.add_argument("--model-dir", metavar="FOLDER", help="where models lie and are fetched to")
    parser.add_argument("--device", metavar="ID", help="AUTO, CPU, GPU, NPU, ...")


def engine_for(chosen: argparse.Namespace) -> Engine:
    return Engine({"model_dir": os.path.abspath(chosen.model_dir)} if chosen.model_dir else {})


def load(engine: Engine, chosen: argparse.Namespace, **options: Any) -> Model:
    if chosen.device:
        options["device"] = chosen.device
    with Bar("loading") as bar:

        def show(event: Event) -> None:
            bar(event)
            if isinstance(event, Notice):
                bar.close()
                print(f"note: {event.text}", file=sys.stderr)

        return engine.load_model(chosen.model, options, on_event=show)
