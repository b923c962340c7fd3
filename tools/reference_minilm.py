#!/usr/bin/env python3
"""BERT and its tokenizer in plain numpy, slow and short: what tests/embed.rs holds the library against.

    tools/reference_minilm.py SOURCE >tests/data/minilm.json

SOURCE holds model.safetensors, config.json and vocab.txt of all-MiniLM-L6-v2. The vectors are the mean of the
last layer's states, of length 1, as sentence-transformers makes them; the scores are those of tiny_reranker.py.
Source: "BERT" (Devlin et al., 2018), and google-research/bert for the tokenizer's rules.
"""

import json
import math
import sys
import unicodedata
from pathlib import Path

import numpy as np

import bert_files
import tiny_reranker

ERF = np.vectorize(math.erf, otypes=[np.float64])
CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
LONGEST_WORD = 100

TEXTS = [
    "The cat sits on the mat.",
    "A kitten is resting on a rug.",
    "Stock markets fell sharply on Monday.",
    "How do I bake sourdough bread?",
    "A recipe for bread with wild yeast and a long fermentation",
    "Don't stop -- it's 3.14159, isn't it?!",
    "Größe, naïve façade, São Paulo, Škoda",
    "東京は日本の首都です。",
    "emoji 😀 and symbols ∑ → € §",
    "UPPER lower MiXeD 12345 foo_bar@example.com https://example.com/a?b=c",
    "a",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "It was the best of times, it was the worst of times, it was the age of wisdom. " * 12,
]
QUERY = "how do I bake bread"
DOCUMENTS = [
    "Mix flour, water and salt, let the dough rise, and bake it.",
    "The train to Vienna leaves at noon.",
    "",
    "bread",
    "Größe 東京 😀",
]


class Tokenizer:
    """WordPiece without case and accents."""

    def __init__(self, vocabulary):
        self.ids = {token: id for id, token in enumerate(vocabulary)}

    def __call__(self, text):
        return [self.ids[piece] for word in words(text) for piece in self.pieces(word)]

    def pieces(self, word):
        """The longest known beginning, then of the rest, and so on; nothing known makes it unknown."""
        if len(word) > LONGEST_WORD:
            return ["[UNK]"]
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self.ids)
            end = next(ends, None)
            if end is None:
                return ["[UNK]"]
            pieces.append(mark + word[start:end])
            start = end
        return pieces

    def special(self, *texts):
        """[CLS] text [SEP], for a pair of texts [CLS] first [SEP] second [SEP]."""
        ids = [self.ids["[CLS]"]]
        for text in texts:
            ids += [*self(text), self.ids["[SEP]"]]
        return ids


def words(text):
    text = "".join(f" {c} " if is_alone(c) else c for c in text if not is_dropped(c))
    plain = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in plain if unicodedata.category(c) != "Mn").split()


def is_dropped(c):
    return c not in "\t\n\r" and (ord(c) in (0, 0xFFFD) or unicodedata.category(c).startswith("C"))


def is_alone(c):
    code = ord(c)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_mark or unicodedata.category(c).startswith("P") or any(a <= code <= b for a, b in CJK)


class Bert:
    """In f64, from weights by BERT's names."""

    def __init__(self, weights, config):
        self.weights, self.config = weights, config

    def get(self, name):
        return np.asarray(self.weights[name], np.float64)

    def linear(self, x, name):
        return x @ self.get(f"{name}.weight").T + self.get(f"{name}.bias")

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return x * self.get(f"{name}.weight") + self.get(f"{name}.bias")

    def attention(self, x, name):
        heads = self.config["num_attention_heads"]
        split = lambda y: y.reshape(len(y), heads, -1).transpose(1, 0, 2)
        q, k, v = (split(self.linear(x, f"{name}.self.{part}")) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        y = self.linear((share @ v).transpose(1, 0, 2).reshape(x.shape), f"{name}.output.dense")
        return self.norm(x + y, f"{name}.output.LayerNorm")

    def states(self, ids):
        """[tokens, width]; all tokens are of the first type, also a second text's, as in llama.cpp."""
        x = self.get("embeddings.word_embeddings.weight")[ids]
        x = x + self.get("embeddings.position_embeddings.weight")[: len(ids)]
        x = self.norm(x + self.get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{number}"
            x = self.attention(x, f"{layer}.attention")
            y = self.linear(x, f"{layer}.intermediate.dense")
            y = self.linear(y * (1 + ERF(y / math.sqrt(2))) / 2, f"{layer}.output.dense")
            x = self.norm(x + y, f"{layer}.output.LayerNorm")
        return x

    def vector(self, ids):
        mean = self.states(ids).mean(0)
        return mean / np.sqrt(mean @ mean)

    def score(self, ids):
        return self.linear(np.tanh(self.linear(self.states(ids)[0], "pooler.dense")), "classifier")[0]


def table(source):
    config = json.loads((source / "config.json").read_text())
    vocabulary = bert_files.read_vocabulary(source / "vocab.txt")
    tokenizer = Tokenizer(vocabulary)
    minilm = Bert(bert_files.read_safetensors(source / "model.safetensors"), config)
    reranker = Bert(tiny_reranker.weights_of(len(vocabulary)), tiny_reranker.CONFIG)
    texts = [{"text": text, "tokens": tokenizer.special(text)} for text in TEXTS]
    for entry in texts:
        entry["vector"] = [round(value, 5) for value in minilm.vector(entry["tokens"])]
    pairs = [tokenizer.special(QUERY, document) for document in DOCUMENTS]
    scores = [round(float(reranker.score(ids)), 5) for ids in pairs]
    rerank = {"query": QUERY, "documents": DOCUMENTS, "scores": scores}
    return {"origin": "tools/reference_minilm.py", "texts": texts, "rerank": rerank}


def main():
    made = table(Path(sys.argv[1]))
    rows = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in made["texts"])
    rerank = json.dumps(made["rerank"], ensure_ascii=False)
    print(f'{{"origin": "{made["origin"]}",\n"texts": [\n{rows}\n],\n"rerank": {rerank}}}')


if __name__ == "__main__":
    main()
