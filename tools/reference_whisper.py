"""Whisper in plain numpy, slow and short: what the tests hold the graphs against; and log-mel for them.

Source: "Robust Speech Recognition via Large-Scale Weak Supervision" (Radford et al., 2022).
"""

import math
import wave

import numpy as np

ERF = np.vectorize(math.erf, otypes=[np.float64])


class Reference:
    """Answers with all tokens at once, without a cache, in f64."""

    def __init__(self, weights):
        self.weights, self.dims = weights, weights.dims

    def get(self, name):
        return np.asarray(self.weights(name), np.float64)

    def linear(self, x, name):
        bias = self.weights(f"{name}.bias")
        return x @ self.get(f"{name}.weight").T + (0 if bias is None else np.asarray(bias, np.float64))

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        return x * self.get(f"{name}.weight") + self.get(f"{name}.bias")

    def attention(self, x, source, name, heads, hidden=None):
        def split(y):
            return y.reshape(len(y), heads, -1).transpose(1, 0, 2)

        q, k, v = (split(self.linear(y, f"{name}.{p}_proj")) for y, p in ((x, "q"), (source, "k"), (source, "v")))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        if hidden is not None:
            scores = np.where(hidden, -np.inf, scores)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        return self.linear((share @ v).transpose(1, 0, 2).reshape(x.shape), f"{name}.out_proj")

    def feed_forward(self, x, layer):
        y = gelu(self.linear(self.norm(x, f"{layer}.final_layer_norm"), f"{layer}.fc1"))
        return x + self.linear(y, f"{layer}.fc2")

    def encode(self, mel):
        """[mels, 3000] -> [positions, d_model]"""
        x = gelu(convolve(mel, self.get("encoder.conv1.weight"), self.get("encoder.conv1.bias"), 1))
        x = gelu(convolve(x, self.get("encoder.conv2.weight"), self.get("encoder.conv2.bias"), 2))
        x = x.T + self.get("encoder.embed_positions.weight")
        for n in range(self.dims.encoder_layers):
            layer = f"encoder.layers.{n}"
            y = self.norm(x, f"{layer}.self_attn_layer_norm")
            x = x + self.attention(y, y, f"{layer}.self_attn", self.dims.encoder_heads)
            x = self.feed_forward(x, layer)
        return self.norm(x, "encoder.layer_norm")

    def decode(self, tokens, encoded):
        """[tokens] and [positions, d_model] -> logits [tokens, vocab]"""
        embedding = self.get("decoder.embed_tokens.weight")
        count = len(tokens)
        x = embedding[tokens] + self.get("decoder.embed_positions.weight")[:count]
        later = np.triu(np.ones((count, count), bool), 1)
        for n in range(self.dims.decoder_layers):
            layer = f"decoder.layers.{n}"
            y = self.norm(x, f"{layer}.self_attn_layer_norm")
            x = x + self.attention(y, y, f"{layer}.self_attn", self.dims.decoder_heads, later)
            y = self.norm(x, f"{layer}.encoder_attn_layer_norm")
            x = x + self.attention(y, encoded, f"{layer}.encoder_attn", self.dims.decoder_heads)
            x = self.feed_forward(x, layer)
        return self.norm(x, "decoder.layer_norm") @ embedding.T


def gelu(x):
    return x * (1 + ERF(x / math.sqrt(2))) / 2


def convolve(x, kernel, bias, stride):
    """[in, time], kernel [out, in, 3] -> [out, time / stride], one zero on each side."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1))), 3, axis=1)[:, ::stride]
    return np.einsum("itk,oik->ot", windows, kernel) + bias[:, None]


# Log-mel, as Whisper was trained on it


def log_mel(samples, mels):
    """16 kHz samples, at most 30 s of them -> [1, mels, 3000]."""
    padded = np.pad(np.pad(samples, (0, 480_000 - len(samples))), 200, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:3000] * np.hanning(401)[:-1]
    power = np.abs(np.fft.rfft(windows, axis=1)) ** 2
    log = np.log10(np.maximum(mel_filters(mels) @ power.T, 1e-10))
    return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)[None]


def mel_filters(mels):
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    top = 15 + math.log(8) / (math.log(6.4) / 27)  # 8 kHz
    points = np.linspace(0, top, mels + 2)
    hertz = np.where(points < 15, points * 200 / 3, 1000 * np.exp((points - 15) * math.log(6.4) / 27))
    width = np.diff(hertz)
    slopes = hertz[:, None] - np.linspace(0, 8000, 201)
    rising, falling = -slopes[:-2] / width[:-1, None], slopes[2:] / width[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (hertz[2:] - hertz[:-2]))[:, None]


def read_wav(path):
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
