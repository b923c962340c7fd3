#!/usr/bin/env python3
"""Writes all-MiniLM-L6-v2 as GGUF, and a tiny reranker with random weights beside it.

    tools/make_minilm_gguf.py SOURCE TARGET

SOURCE holds model.safetensors, config.json and vocab.txt. TARGET then holds f16.gguf, q8_0.gguf and
tiny-reranker.gguf, which has the same vocabulary. Each time the same bytes.
"""

import argparse
import json
from pathlib import Path

import folders
from folders import Refused, blame, say

SOURCES = ("model.safetensors", "config.json", "vocab.txt")
TOOLS = ("make_minilm_gguf.py", "bert_files.py", "tiny_reranker.py", "gguf_file.py", "folders.py")
GENERAL = {
    "name": "all-MiniLM-L6-v2",
    "organization": "sentence-transformers",
    "license": "apache-2.0",
    "repo_url": "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
}


def convert(source, target):
    for name in SOURCES:
        if not (source / name).is_file():
            raise Refused(f"{source / name} is missing")
    paths = [source / name for name in SOURCES]
    recipe = {"tools": folders.fingerprint(TOOLS), "source": folders.state_of(paths)}

    def fill(folder):
        import bert_files  # these, and numpy with them, only when there is work
        import gguf_file
        import tiny_reranker

        say(f"{target}: converting {source}")
        weights, config, vocabulary = paths[0], json.loads(paths[1].read_text()), bert_files.read_vocabulary(paths[2])
        with blame(weights):
            tensors = bert_files.tensors_of(bert_files.read_safetensors(weights), config["num_hidden_layers"], False)
        for kind, (file_type, name) in {gguf_file.F16_TENSOR: (1, "f16"), gguf_file.Q8_0_TENSOR: (7, "q8_0")}.items():
            metadata = bert_files.metadata_of(config, vocabulary, GENERAL, bert_files.MEAN, file_type)
            gguf_file.write(folder / f"{name}.gguf", metadata, bert_files.packed(tensors, kind))
        tiny_reranker.write(folder / "tiny-reranker.gguf", vocabulary)

    folders.make(target, recipe, fill)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("target", type=Path, metavar="TARGET")
    arguments = parser.parse_args()
    folders.run("make_minilm_gguf", lambda: convert(arguments.source, arguments.target), ValueError)


if __name__ == "__main__":
    main()
