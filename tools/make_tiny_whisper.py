#!/usr/bin/env python3
"""Writes a tiny Whisper with random weights, of large-v3's kind: 128 mel bins, 100 languages.

    tools/make_tiny_whisper.py [--form stateful|stateless] [--seed N] TOKENIZER TARGET

TOKENIZER is the tokenizer.json of a Whisper with 99 languages; Cantonese is added, which moves every id behind
it. What the model says is noise, and the same noise each time: it serves to test that sizes and ids are read
from the files. Both forms have the same weights.
"""

import argparse
import json
from pathlib import Path

import folders
from folders import Refused, blame, say
from whisper_dims import Dims
from whisper_to_openvino import TOOLS

LANGUAGE, BEFORE = "<|yue|>", "<|translate|>"
DIMS = Dims(
    mels=128,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_heads=2,
    decoder_heads=2,
    ffn=64,
    vocab=51866,
    source_positions=1500,
    target_positions=448,
)


def add_language(text):
    """tokenizer.json with one more language, as large-v3's has it; raises `Refused`."""
    try:
        tokenizer = json.loads(text)
        added = tokenizer["added_tokens"]
        place = next(n for n, token in enumerate(added) if token["content"] == BEFORE)
        template = tokenizer["post_processor"]["special_tokens"]
    except (ValueError, KeyError, TypeError, StopIteration) as why:
        raise Refused(f"it is no Whisper's tokenizer.json ({type(why).__name__})") from why
    if any(token["content"] == LANGUAGE for token in added):
        raise Refused(f"it has {LANGUAGE} already")
    first = added[place]["id"]
    for token in added[place:]:
        token["id"] += 1
    added.insert(place, {**added[place], "id": first, "content": LANGUAGE})
    for special in template.values():
        special["ids"] = [number + (number >= first) for number in special["ids"]]
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()


def generation_facts(ids):
    unsaid = ("startoftranscript", "translate", "transcribe", "startoflm", "startofprev", "nospeech")
    return {
        "alignment_heads": [[0, 1], [1, 0], [1, 1]],
        "suppress_ids": sorted(ids[f"<|{name}|>"] for name in unsaid if f"<|{name}|>" in ids),
        "suppress_ids_begin": [220, ids["<|endoftext|>"]],
    }


def make(tokenizer, target, form, seed):
    recipe = {
        "tools": folders.fingerprint([*TOOLS, "make_tiny_whisper.py", "random_weights.py"]),
        "tokenizer": folders.state_of([tokenizer]),
        "form": form,
        "seed": seed,
    }

    def fill(folder):
        import random_weights  # these, and numpy and OpenVINO with them, only when there is work
        import whisper_files
        import whisper_graph

        say(f"{target}: random weights ({form})")
        with blame(tokenizer):
            text = add_language(tokenizer.read_bytes())
        weights = random_weights.random_weights(DIMS, seed)
        whisper_files.write(folder, weights.dims, text, generation_facts(whisper_files.read_ids(text)))
        whisper_graph.save(folder, weights, form, int8=True)

    folders.make(target, recipe, fill)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--form", choices=("stateful", "stateless"), default="stateful")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("tokenizer", type=Path, metavar="TOKENIZER")
    parser.add_argument("target", type=Path, metavar="TARGET")
    arguments = parser.parse_args()

    def work():
        make(arguments.tokenizer, arguments.target, arguments.form, arguments.seed)

    folders.run("make_tiny_whisper", work, RuntimeError)  # OpenVINO's are RuntimeErrors of many lines


if __name__ == "__main__":
    main()
