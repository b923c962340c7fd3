#!/usr/bin/env python3
"""Writes tiny GGUF models with random weights: of the kinds that SmolLM2 is not, and of its own.

    tools/make_tiny_gguf.py [--seed N] SMOLLM2 TARGET

mamba.gguf keeps a running state and no keys and values, hybrid.gguf (a Jamba) has layers of both sorts, and in
swa.gguf (a Gemma 3) every other layer sees a window of 64 tokens; llama.gguf is of SmolLM2's own kind, for adapters
to be merged into, and infill.gguf one with tokens that ask for a text between two others. The vocabulary is the start
of SmolLM2's. What they say is noise, the same noise each time, and it depends on all that was said before: a cache
that mixes up its tokens, positions or states shows in the text.
"""

import argparse
from pathlib import Path

import folders
from folders import blame, say

TOOLS = ["folders.py", "gguf_file.py", "tiny_gguf.py", "make_tiny_gguf.py"]
SEED = 4  # the first of which rounding changes none of the texts of tests/tiny_models.rs


def make(source, target, seed):
    recipe = {"tools": folders.fingerprint(TOOLS), "vocabulary": folders.state_of([source]), "seed": seed}

    def fill(folder):
        import gguf_file  # these, and numpy with them, only when there is work
        import tiny_gguf

        say(f"{target}: random weights")
        with blame(source):
            vocabulary = tiny_gguf.cut_vocabulary(gguf_file.read_metadata(source))
        for name in tiny_gguf.MODELS:
            tiny_gguf.write(folder / f"{name}.gguf", name, vocabulary, seed)

    folders.make(target, recipe, fill)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("source", type=Path, metavar="SMOLLM2")
    parser.add_argument("target", type=Path, metavar="TARGET")
    arguments = parser.parse_args()
    folders.run("make_tiny_gguf", lambda: make(arguments.source, arguments.target, arguments.seed))


if __name__ == "__main__":
    main()
