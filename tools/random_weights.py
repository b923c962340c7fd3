"""Random weights for a Whisper of any size, the same for the same seed."""

import zlib

import numpy as np

from ctranslate2_weights import Weights, shapes

SMALL = 0.1  # the spread of embeddings: less than what the layers add, or each token would call for itself
GAIN = 1.5


def random_variables(dims, seed):
    """By CTranslate2's names, sized so that what is said depends on the sound and on what was said."""
    variables = {name: draw(name, shape, seed) for name, shape in shapes(dims).items()}
    d = dims.d_model
    for name, array in variables.items():
        # A key has no bias: its share of the fused one is zeros.
        if name.endswith("/self_attention/linear_0/bias"):
            array[d : 2 * d] = 0
        elif name.startswith("decoder/") and name.endswith("/attention/linear_1/bias") and "self" not in name:
            array[:d] = 0
    variables["encoder/num_heads"] = np.array(dims.encoder_heads, np.int16)
    variables["decoder/num_heads"] = np.array(dims.decoder_heads, np.int16)
    return variables


def draw(name, shape, seed):
    if name.endswith(("gamma", "beta")):
        return np.full(shape, name.endswith("gamma"), np.float16)
    # Each name has its own stream: a change of one array leaves the others as they were.
    noise = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())])).standard_normal(shape)
    is_matrix = name.endswith("weight") and "embeddings" not in name
    return (noise * (GAIN / np.sqrt(np.prod(shape[1:])) if is_matrix else SMALL)).astype(np.float16)


def random_weights(dims, seed):
    return Weights(random_variables(dims, seed))
