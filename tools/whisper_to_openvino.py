#!/usr/bin/env python3
"""Turns Whisper in CTranslate2's format into an OpenVINO folder like optimum-intel's exports.

    tools/whisper_to_openvino.py [--form stateful|stateless] [--weights int8|fp16] SOURCE TARGET

SOURCE holds model.bin (float16 or float32), config.json and tokenizer.json. A TARGET that is up to date
costs a few stats; one that is not there whole is not there at all.
"""

import argparse
import json
import time
from pathlib import Path

import folders
from folders import Refused, blame, say

SOURCES = ("model.bin", "config.json", "tokenizer.json")
TOOLS = (
    "whisper_to_openvino.py",
    "ctranslate2_weights.py",
    "whisper_dims.py",
    "whisper_files.py",
    "whisper_graph.py",
    "whisper_layers.py",
)


def read_facts(path):
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as why:
        raise Refused(f"it is no JSON ({why})") from why
    if not isinstance(facts, dict):
        raise Refused("it is no JSON object")
    return facts


def convert(source, target, form, int8):
    for name in SOURCES:
        if not (source / name).is_file():
            raise Refused(f"{source / name} is missing")
    recipe = {
        "tools": folders.fingerprint(TOOLS),
        "source": folders.state_of(source / name for name in SOURCES),
        "form": form,
        "int8": int8,
    }

    def fill(folder):
        import ctranslate2_weights  # these, and with them numpy and OpenVINO, only when there is work
        import whisper_files
        import whisper_graph

        began = time.monotonic()
        say(f"{target}: converting {source} ({form}, {'int8' if int8 else 'fp16'})")
        model, config, tokenizer = (source / name for name in SOURCES)
        with blame(config):
            facts = read_facts(config)
        with blame(model):
            weights = ctranslate2_weights.Weights.open(model)
        with blame(tokenizer):
            whisper_files.write(folder, weights.dims, tokenizer.read_bytes(), facts)
        with blame(model):
            whisper_graph.save(folder, weights, form, int8)
        say(f"  {time.monotonic() - began:.1f} s")

    folders.make(target, recipe, fill)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--form", choices=("stateful", "stateless"), default="stateful")
    parser.add_argument("--weights", choices=("int8", "fp16"), default="int8")
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("target", type=Path, metavar="TARGET")
    arguments = parser.parse_args()

    def work():
        convert(arguments.source, arguments.target, arguments.form, arguments.weights == "int8")

    folders.run("whisper_to_openvino", work, RuntimeError)  # OpenVINO's are RuntimeErrors of many lines


if __name__ == "__main__":
    main()
