"""BERT as sentence-transformers keeps it, read; and as GGUF for llama.cpp: names, keys, vocabulary."""

import json
import struct

import numpy as np

import gguf_file
from folders import Refused
from gguf_file import Value, value_of

TYPES = {"F32": "<f4", "F16": "<f2"}
I32, TEXT = 5, 8
NORMAL, CONTROL = 1, 3
MEAN, RANK = 1, 4
SPACE = "\u2581"  # what llama.cpp has before a word; BERT has ## before what is none
SPECIAL = {"bos": "[CLS]", "cls": "[CLS]", "seperator": "[SEP]", "unknown": "[UNK]", "padding": "[PAD]", "mask": "[MASK]"}

# Parts of a model, ours and GGUF's; {} is a layer. What is left out (the pooler of MiniLM) is not used.
NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "encoder.layer.{}.attention.self.query": "blk.{}.attn_q",
    "encoder.layer.{}.attention.self.key": "blk.{}.attn_k",
    "encoder.layer.{}.attention.self.value": "blk.{}.attn_v",
    "encoder.layer.{}.attention.output.dense": "blk.{}.attn_output",
    "encoder.layer.{}.attention.output.LayerNorm": "blk.{}.attn_output_norm",
    "encoder.layer.{}.intermediate.dense": "blk.{}.ffn_up",
    "encoder.layer.{}.output.dense": "blk.{}.ffn_down",
    "encoder.layer.{}.output.LayerNorm": "blk.{}.layer_output_norm",
}
CLASSIFIER = {"pooler.dense": "cls", "classifier": "cls.output"}
# llama.cpp adds these to f32 numbers, which takes f32; of rows it looks up, the positions are few.
WHOLE = ("token_types", "position_embd")


def read_safetensors(path):
    """The arrays of a file by name; raises `Refused`."""
    data = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        head = json.loads(data[8 : 8 + length])
        head.pop("__metadata__", None)
        return {name: read_array(data, 8 + length, entry) for name, entry in head.items() if entry["dtype"] in TYPES}
    except (struct.error, ValueError, KeyError, TypeError) as why:
        raise Refused(f"it is no whole safetensors file ({why})") from why


def read_array(data, start, entry):
    kind = np.dtype(TYPES[entry["dtype"]])
    first, end = entry["data_offsets"]
    array = np.frombuffer(data, kind, (end - first) // kind.itemsize, start + first)
    return array.reshape(entry["shape"]).astype("<f4")


def read_vocabulary(path):
    return path.read_text(encoding="utf-8").splitlines()


def tensors_of(weights, layers, ranks):
    """`weights`, by BERT's names, as GGUF's tensors in f32."""
    names = NAMES | (CLASSIFIER if ranks else {})
    tensors = {}
    for ours, theirs in names.items():
        for layer in range(layers if "{}" in ours else 1):
            for part in ("weight", "bias"):
                array = weights.get(f"{ours.format(layer)}.{part}")
                if array is not None:
                    tensors[f"{theirs.format(layer)}.{part}"] = array
    return tensors


def packed(tensors, kind):
    """The matrices as `kind` of gguf_file, the rest as it is."""
    whole = lambda name, array: array.ndim < 2 or name.startswith(WHOLE)
    return {name: array if whole(name, array) else gguf_file.PACK[kind](array) for name, array in tensors.items()}


def metadata_of(config, vocabulary, general, pooling, file_type):
    sizes = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "block_count": config["num_hidden_layers"],
        "attention.head_count": config["num_attention_heads"],
        "attention.layer_norm_epsilon": float(config["layer_norm_eps"]),
        "pooling_type": pooling,
    }
    metadata = {f"general.{key}": value_of(value) for key, value in general.items()}
    metadata |= {"general.architecture": value_of("bert"), "general.file_type": value_of(file_type)}
    metadata |= {f"bert.{key}": value_of(value) for key, value in sizes.items()}
    metadata["bert.attention.causal"] = Value(7, False)
    return metadata | tokenizer_of(config, vocabulary)


def tokenizer_of(config, vocabulary):
    ids = {token: id for id, token in enumerate(vocabulary)}
    special = set(SPECIAL.values())
    kinds = [CONTROL if token in special else NORMAL for token in vocabulary]
    keys = {
        "model": value_of("bert"),
        "token_type_count": value_of(config["type_vocab_size"]),
        "tokens": Value(TEXT, [spelled(token, special).encode() for token in vocabulary], True),
        "token_type": Value(I32, kinds, True),
    }
    try:
        keys |= {f"{name}_token_id": value_of(ids[token]) for name, token in SPECIAL.items()}
    except KeyError as why:
        raise Refused(f"its vocabulary has no {why}") from why
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def spelled(token, special):
    if token in special:
        return token
    return token[2:] if token.startswith("##") else SPACE + token
