"""LoRA adapters with random weights, as GGUF files, and models with such adapters merged into their weights.

Low-rank adaptation (Hu et al. 2021): `alpha / rank * b @ a` is added to a weight. In the file, as llama.cpp's
converter writes it, `a` has the weight's columns and `b` its rows; of the embeddings, whose rows are looked up, `a` has
the rows and `b` the columns.
"""

import zlib

import numpy as np

import gguf_file
import tiny_gguf

RANK, ALPHA = 4, 8.0
CHANGE = 0.3  # of a change, times the root of the columns: weights of the tiny models have 1
EMBEDDING = "token_embd.weight"
CHANGED = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "ssm_in", "ssm_out")


def is_changed(name):
    return name in (EMBEDDING, "output.weight") or name.split(".")[-2] in CHANGED


def halves(name, shape, seed, change=CHANGE):
    """`a` and `b` for a weight of `shape` (rows, columns)."""
    rows, columns = reversed(shape) if name == EMBEDDING else shape
    stream = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    spread = change * RANK**0.5 / ALPHA  # what makes the product as large as is wanted
    a = stream.standard_normal((RANK, columns)) / columns**0.5
    b = stream.standard_normal((rows, RANK)) * spread
    if name == EMBEDDING:
        a, b = a.T * columns**0.5 * tiny_gguf.EMBEDDING, b
    return np.ascontiguousarray(a, "<f4"), np.ascontiguousarray(b, "<f4")


def difference(name, a, b):
    product = a @ b.T if name == EMBEDDING else b @ a
    return product * (ALPHA / RANK)


def write(path, architecture, shapes, seed, change=CHANGE):
    """An adapter for weights of these `shapes` (name to rows and columns)."""
    texts = {"general.type": "adapter", "general.architecture": architecture, "adapter.type": "lora"}
    metadata = {key: gguf_file.value_of(value) for key, value in {**texts, "adapter.lora.alpha": ALPHA}.items()}
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = halves(name, shape, seed, change)
    gguf_file.write(path, metadata, tensors)


def merged(tensors, seed):
    """The weights `tensors` with the adapter of `seed` added."""
    changed = {name: array.astype("f8") for name, array in tensors.items() if is_changed(name)}
    for name, array in changed.items():
        array += difference(name, *halves(name, array.shape, seed))
    return tensors | {name: np.ascontiguousarray(array, "<f4") for name, array in changed.items()}
