"""A tiny BERT with random weights that gives a query and a document one score."""

import zlib

import numpy as np

import bert_files
import gguf_file

SEED = 1
CONFIG = {
    "max_position_embeddings": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
}
GENERAL = {"name": "tiny random reranker"}


def weights_of(n_vocab):
    """By BERT's names, f32; large enough that each token tells in the score."""
    width, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    weights = {}

    def noise(name, shape, spread):
        stream = np.random.Generator(np.random.PCG64([SEED, zlib.crc32(name.encode())]))
        weights[name] = ((stream.random(shape) * 2 - 1) * spread).astype("<f4")

    def linear(name, rows, columns):
        noise(f"{name}.weight", (rows, columns), 2 / columns**0.5)
        noise(f"{name}.bias", rows, 0.1)

    def norm(name):
        weights[f"{name}.weight"] = np.ones(width, "<f4")
        weights[f"{name}.bias"] = np.zeros(width, "<f4")

    rows = {"word": n_vocab, "position": CONFIG["max_position_embeddings"], "token_type": CONFIG["type_vocab_size"]}
    for kind, count in rows.items():
        noise(f"embeddings.{kind}_embeddings.weight", (count, width), 1.0)
    norm("embeddings.LayerNorm")
    for number in range(CONFIG["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", width, width)
        linear(f"{layer}.attention.output.dense", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", inner, width)
        linear(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", width, width)
    linear("classifier", 1, width)
    return weights


def write(path, vocabulary):
    tensors = bert_files.tensors_of(weights_of(len(vocabulary)), CONFIG["num_hidden_layers"], True)
    metadata = bert_files.metadata_of(CONFIG, vocabulary, GENERAL, bert_files.RANK, file_type=0)
    gguf_file.write(path, metadata, tensors)
