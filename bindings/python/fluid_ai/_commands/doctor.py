"""``doctor``: what this installation needs and has."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from .. import Engine, library_path


def add_to(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="what this installation needs and has")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--model-dir", metavar="FOLDER", help="the folder of models to examine")
    parser.add_argument("--no-openvino", action="store_true", help="leave OpenVINO's library alone")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    options = {"model_dir": os.path.abspath(chosen.model_dir)} if chosen.model_dir else {}
    with Engine(options) as engine:
        report = engine.doctor(openvino=not chosen.no_openvino)
    if chosen.json:
        print(json.dumps({**report, "library": library_path()}, indent=2))
    else:
        print(f"libfluid was found at {library_path()}")
        print(report["text"].rstrip())
    return 0 if report["ok"] else 1
