#!/usr/bin/env python3
"""Writes LoRA adapters with random weights, and what else tests of adapters and drafts need.

    tools/make_lora_gguf.py [--seed N] SMOLLM2 TARGET

For each model KIND of make_tiny_gguf.py: KIND-a.gguf and KIND-b.gguf, two adapters, and KIND-merged.gguf, the model with
the first of them merged into its weights. smollm2-a.gguf and smollm2-b.gguf are for SmolLM2. draft.gguf is a tiny
model with SmolLM2's whole vocabulary that knows nothing: a bad draft model.
"""

import argparse
from pathlib import Path

import folders
from folders import Refused, blame, say

TOOLS = ["folders.py", "gguf_file.py", "tiny_gguf.py", "lora_gguf.py", "make_lora_gguf.py"]
SEED = 4  # of the tiny models
ADAPTERS = {"a": 11, "b": 12}
DRAFT_WIDTH, DRAFT_HEAD = 16, 8


def smollm2_shapes(metadata):
    """The weights of SmolLM2 that are changed: rows and columns."""
    key = {name.removeprefix("llama."): value.data for name, value in metadata.items()}
    try:
        width, inner = key["embedding_length"], key["feed_forward_length"]
        keys = width // key["attention.head_count"] * key["attention.head_count_kv"]
        layers = range(key["block_count"])
    except KeyError as why:
        raise Refused(f"it has no key llama.{why}") from why
    shapes = {"attn_q": (width, width), "attn_v": (keys, width), "ffn_down": (width, inner)}
    return {f"blk.{layer}.{name}.weight": shape for layer in layers for name, shape in shapes.items()}


def write_draft(path, metadata, seed):
    """A model of two small layers."""
    import gguf_file
    import tiny_gguf

    vocabulary = {key: value for key, value in metadata.items() if key.startswith("tokenizer.ggml.")}
    weights = tiny_gguf.Weights(seed)
    weights.noise("token_embd.weight", (len(vocabulary["tokenizer.ggml.tokens"].data), DRAFT_WIDTH), 1.0)
    weights.norm("output_norm", DRAFT_WIDTH)
    for layer in ("blk.0", "blk.1"):
        weights.norm(f"{layer}.attn_norm", DRAFT_WIDTH)
        weights.norm(f"{layer}.ffn_norm", DRAFT_WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            weights.matrix(f"{layer}.{name}", DRAFT_WIDTH, DRAFT_WIDTH)
    sizes = {
        "context_length": 2048,
        "embedding_length": DRAFT_WIDTH,
        "block_count": 2,
        "feed_forward_length": DRAFT_WIDTH,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.head_count": DRAFT_WIDTH // DRAFT_HEAD,
        "rope.dimension_count": DRAFT_HEAD,
    }
    general = {"general.architecture": "llama", "general.name": "tiny random draft"}
    keys = general | {f"llama.{key}": value for key, value in sizes.items()}
    gguf_file.write(path, {key: gguf_file.value_of(value) for key, value in keys.items()} | vocabulary, weights.tensors)


def fill(folder, source, seed):
    import gguf_file  # these, and numpy with them, only when there is work
    import lora_gguf
    import tiny_gguf

    with blame(source):
        metadata = gguf_file.read_metadata(source)
        vocabulary = tiny_gguf.cut_vocabulary(metadata)
        shapes = smollm2_shapes(metadata)
    for name, adapter in ADAPTERS.items():
        lora_gguf.write(folder / f"smollm2-{name}.gguf", "llama", shapes, adapter)
    for kind, (architecture, _) in tiny_gguf.MODELS.items():
        keys, tensors = tiny_gguf.build(kind, vocabulary, seed)
        shapes = {name: array.shape for name, array in tensors.items() if lora_gguf.is_changed(name)}
        for name, adapter in ADAPTERS.items():
            lora_gguf.write(folder / f"{kind}-{name}.gguf", architecture, shapes, adapter)
        gguf_file.write(folder / f"{kind}-merged.gguf", keys, lora_gguf.merged(tensors, ADAPTERS["a"]))
    write_draft(folder / "draft.gguf", metadata, seed)


def make(source, target, seed):
    recipe = {"tools": folders.fingerprint(TOOLS), "model": folders.state_of([source]), "seed": seed}

    def work(folder):
        say(f"{target}: random adapters")
        fill(folder, source, seed)

    folders.make(target, recipe, work)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("source", type=Path, metavar="SMOLLM2")
    parser.add_argument("target", type=Path, metavar="TARGET")
    arguments = parser.parse_args()
    folders.run("make_lora_gguf", lambda: make(arguments.source, arguments.target, arguments.seed))


if __name__ == "__main__":
    main()
