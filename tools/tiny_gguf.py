"""Tiny GGUF models with random weights: their sizes, keys, tensors and vocabulary."""

import zlib

import numpy as np

import gguf_file
from folders import Refused

N_VOCAB, N_CTX, N_LAYER = 4096, 2048, 4
WIDTH, INNER, FFN = 64, 128, 128
HEADS, HEADS_KV, HEAD = 4, 2, 16
CONV, STATE, RANK = 4, 16, 4
WINDOW = 64
GAIN = 1.0
EMBEDDING = 0.1
ATTENDED = 0.5  # what attention adds is kept low: f16 caches round it by turns up and down, batch by batch
LOGIT = 5.0  # the spread of the logits of tokens that can be said
SAID = 64  # one token in so many: few rivals have wide gaps between them, which rounding does not turn around


class Weights:
    """Tensors by name, each from its own stream: a change of one leaves the others as they were."""

    def __init__(self, seed):
        self.seed, self.tensors = seed, {}

    def set(self, name, array):
        self.tensors[name] = np.ascontiguousarray(array, "<f4")

    def noise(self, name, shape, spread):
        """Uniform numbers around 0 with the standard deviation `spread`."""
        stream = np.random.Generator(np.random.PCG64([self.seed, zlib.crc32(name.encode())]))
        self.set(name, (stream.random(shape) * 2 - 1) * (spread * 3**0.5))

    def matrix(self, name, rows, columns, gain=GAIN):
        """Takes `columns` numbers to `rows` numbers, `gain` times as large."""
        self.noise(f"{name}.weight", (rows, columns), gain / columns**0.5)

    def norm(self, name, length, weight=1.0):
        self.set(f"{name}.weight", np.full(length, weight))

    def embeddings(self):
        self.noise("token_embd.weight", (N_VOCAB, WIDTH), EMBEDDING)
        self.norm("output_norm", WIDTH)
        self.matrix("output", N_VOCAB, WIDTH, gain=LOGIT)
        # The others, and with them all that end a text, have the logit 0, which is never the greatest.
        self.tensors["output.weight"][np.arange(N_VOCAB) % SAID != SAID - 1] = 0

    def attention(self, layer):
        self.matrix(f"{layer}.attn_q", HEADS * HEAD, WIDTH)
        self.matrix(f"{layer}.attn_k", HEADS_KV * HEAD, WIDTH)
        self.matrix(f"{layer}.attn_v", HEADS_KV * HEAD, WIDTH)
        self.matrix(f"{layer}.attn_output", WIDTH, HEADS * HEAD, gain=ATTENDED)

    def feed_forward(self, layer):
        self.norm(f"{layer}.ffn_norm", WIDTH)
        self.matrix(f"{layer}.ffn_gate", FFN, WIDTH)
        self.matrix(f"{layer}.ffn_up", FFN, WIDTH)
        self.matrix(f"{layer}.ffn_down", WIDTH, FFN)

    def state_space(self, layer):
        """A Mamba layer: some channels forget within a few tokens, some after a few hundred."""
        self.matrix(f"{layer}.ssm_in", 2 * INNER, WIDTH)
        self.matrix(f"{layer}.ssm_conv1d", INNER, CONV)
        self.set(f"{layer}.ssm_conv1d.bias", np.zeros(INNER))
        self.matrix(f"{layer}.ssm_x", RANK + 2 * STATE, INNER)
        self.matrix(f"{layer}.ssm_dt", INNER, RANK, gain=0.3)
        # The step is softplus of this, from 0.01 to 0.3.
        self.set(f"{layer}.ssm_dt.bias", np.log(np.expm1(np.geomspace(0.01, 0.3, INNER))))
        self.set(f"{layer}.ssm_a", np.tile(-np.arange(1, STATE + 1) / 4, (INNER, 1)))
        self.set(f"{layer}.ssm_d", np.full(INNER, 0.5))
        self.matrix(f"{layer}.ssm_out", WIDTH, INNER)


def mamba(weights):
    for layer in layers():
        weights.norm(f"{layer}.attn_norm", WIDTH)
        weights.state_space(layer)
    return {**state_space_keys(), "attention.head_count": 0}


def hybrid(weights):
    heads_kv = [HEADS_KV if number % 2 else 0 for number in range(N_LAYER)]
    for layer, attends in zip(layers(), heads_kv):
        weights.norm(f"{layer}.attn_norm", WIDTH)
        if attends:
            weights.attention(layer)
        else:
            weights.state_space(layer)
            for name, length in (("dt", RANK), ("b", STATE), ("c", STATE)):
                weights.norm(f"{layer}.ssm_{name}_norm", length)
        weights.feed_forward(layer)
    return {**state_space_keys(), "attention.head_count": HEADS, "attention.head_count_kv": heads_kv}


def sliding(weights):
    for layer in layers():
        weights.norm(f"{layer}.attn_norm", WIDTH)
        weights.attention(layer)
        for name in ("attn_q_norm", "attn_k_norm"):
            weights.norm(f"{layer}.{name}", HEAD)
        weights.feed_forward(layer)
        weights.norm(f"{layer}.post_attention_norm", WIDTH, ATTENDED)
        weights.norm(f"{layer}.post_ffw_norm", WIDTH)
    return {
        "attention.head_count": HEADS,
        "attention.head_count_kv": HEADS_KV,
        "attention.key_length": HEAD,
        "attention.value_length": HEAD,
        "attention.sliding_window": WINDOW,
        "attention.sliding_window_pattern": 2,
        "rope.freq_base": 10000.0,
    }


def plain(weights):
    for layer in layers():
        weights.norm(f"{layer}.attn_norm", WIDTH)
        weights.attention(layer)
        weights.feed_forward(layer)
    return {"attention.head_count": HEADS, "attention.head_count_kv": HEADS_KV, "rope.dimension_count": HEAD}


MODELS = {
    "mamba": ("mamba", mamba),
    "hybrid": ("jamba", hybrid),
    "swa": ("gemma3", sliding),
    "llama": ("llama", plain),
    "infill": ("llama", plain),
}
MARKS = {"fim_pre": 8, "fim_suf": 9, "fim_mid": 10}  # special tokens of the vocabulary, for models that fill in


def layers():
    return [f"blk.{number}" for number in range(N_LAYER)]


def state_space_keys():
    return {
        "ssm.conv_kernel": CONV,
        "ssm.inner_size": INNER,
        "ssm.state_size": STATE,
        "ssm.time_step_rank": RANK,
    }


def cut_vocabulary(metadata):
    """The tokenizer of a GGUF file with byte pairs, cut down to its first tokens; raises `Refused`."""
    prefix = "tokenizer.ggml."
    cut = {key: value for key, value in metadata.items() if key.startswith(prefix)}
    try:
        tokens, types, merges = (cut[prefix + name] for name in ("tokens", "token_type", "merges"))
    except KeyError as why:
        raise Refused(f"it has no key {why}") from why
    if len(tokens.data) < N_VOCAB:
        raise Refused(f"it has {len(tokens.data)} tokens; {N_VOCAB} are needed")
    known = set(tokens.data[:N_VOCAB])
    kept = [merge for merge in merges.data if known.issuperset([*merge.split(b" "), merge.replace(b" ", b"")])]
    lists = {"tokens": tokens.data[:N_VOCAB], "token_type": types.data[:N_VOCAB], "merges": kept}
    return {**cut, **{prefix + name: cut[prefix + name]._replace(data=data) for name, data in lists.items()}}


def write(path, name, vocabulary, seed):
    gguf_file.write(path, *build(name, vocabulary, seed))


def build(name, vocabulary, seed):
    """The metadata and the tensors of the model `name`."""
    architecture, fill = MODELS[name]
    weights = Weights(seed)
    weights.embeddings()
    sizes = {
        "context_length": N_CTX,
        "embedding_length": WIDTH,
        "block_count": N_LAYER,
        "feed_forward_length": FFN,
        "attention.layer_norm_rms_epsilon": 1e-6,
        **fill(weights),
    }
    general = {"architecture": architecture, "name": f"tiny random {name}", "file_type": 0}
    metadata = {f"general.{key}": gguf_file.value_of(value) for key, value in general.items()}
    metadata |= {f"{architecture}.{key}": gguf_file.value_of(value) for key, value in sizes.items()}
    if name == "infill":
        marks = {f"tokenizer.ggml.{mark}_token_id": gguf_file.value_of(token) for mark, token in MARKS.items()}
        vocabulary = vocabulary | marks
    return metadata | vocabulary, weights.tensors
