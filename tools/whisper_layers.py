"""The layers that Whisper's encoder and decoder share, as OpenVINO nodes, and how weights become int8.

Names of nodes are those of optimum-intel's exports. The CPU plugin keeps u8 weights packed only in the
chain Constant, Convert, Subtract, Multiply, Convert, MatMul.
"""

import numpy as np
from openvino import opset15 as ops

EPSILON = 1e-5
SWAP = (0, 2, 1, 3)  # [batch, time, head, width] <-> [batch, head, time, width]


def quantize(weight):
    """Rounds each row of `weight` [rows, ...] to 255 steps between its extremes (and 0).

    Returns codes u8 and zero points u8, and scales f16: weight = (codes - zero points) * scales, to one
    scale at the extremes and half a scale elsewhere.
    """
    axes = tuple(range(1, weight.ndim))
    low = np.minimum(weight.min(axes, keepdims=True), 0).astype(np.float32)
    high = np.maximum(weight.max(axes, keepdims=True), 0).astype(np.float32)
    scale = ((high - low) / np.float32(255)).astype(np.float16)
    scale[scale == 0] = 1
    step = scale.astype(np.float32)
    zero_point = np.clip(np.rint(-low / step), 0, 255)
    codes = np.rint(weight / step)
    codes += zero_point
    np.clip(codes, 0, 255, out=codes)
    return codes.astype(np.uint8), zero_point.astype(np.uint8), scale


def constant(value, dtype=np.int64):
    return ops.constant(np.asarray(value, dtype=dtype))


def named(node, name):
    node.set_friendly_name(name)
    return node


class Stack:
    """What encoder and decoder are made of.

    `weights(name)` gives a float array, or None where the original has no such parameter (the key's bias).
    `part` is "encoder" or "decoder", `path` the place of the part's modules in the names of nodes.
    """

    def __init__(self, weights, part, path, heads, d_model, int8):
        self.part, self.path = part, path
        self.weights = lambda name: weights(f"{part}.{name}")
        self.heads, self.d_model, self.int8 = heads, d_model, int8
        self.packed = {}  # matrices by name: the token embedding is the last projection too

    def module(self, name):
        return f"__module.{self.path}{name}"

    def floats(self, name, shape=None):
        weight = self.weights(name).astype(np.float32)
        return ops.constant(weight if shape is None else weight.reshape(shape))

    def matrix(self, name):
        if name not in self.packed:
            pack = self._int8_matrix if self.int8 else self.floats
            self.packed[name] = pack(name)
        return self.packed[name]

    def _int8_matrix(self, name):
        codes, zero_point, scale = quantize(self.weights(name).astype(np.float32))
        own = f"self.{self.path}{name}"
        wide = ops.convert(named(ops.constant(codes), own), np.float16)
        zero = ops.convert(named(ops.constant(zero_point), f"{own}/zero_point"), np.float16)
        centred = named(ops.subtract(wide, zero), f"{own}/zero_point/subtract")
        scaled = ops.multiply(centred, named(ops.constant(scale), f"{own}/scale"))
        named(scaled, f"{own}/fq_weights_1")
        return named(ops.convert(scaled, np.float32), f"{own}/fq_weights_1/convert")

    def project(self, x, name):
        """x [.., in] times the matrix [out, in], without the bias."""
        product = ops.matmul(x, self.matrix(f"{name}.weight"), False, True)
        return named(product, f"{self.module(name)}/aten::linear/MatMul")

    def project_out(self, x):
        """The logits: the token embedding, the other way round."""
        logits = ops.matmul(x, self.matrix("embed_tokens.weight"), False, True)
        return named(logits, "__module.proj_out/aten::linear/MatMul")

    def linear(self, x, name):
        product = self.project(x, name)
        if self.weights(f"{name}.bias") is None:
            return product
        bias = self.floats(f"{name}.bias", (1, 1, -1))
        return named(ops.add(product, bias), f"{self.module(name)}/aten::linear/Add")

    def layer_norm(self, x, name):
        path = f"{self.module(name)}/aten::layer_norm"
        x = named(ops.mvn(x, constant([-1], np.int32), True, EPSILON, "inside_sqrt"), f"{path}/MVN")
        x = named(ops.multiply(x, self.floats(f"{name}.weight", (1, 1, -1))), f"{path}/Multiply_1")
        return named(ops.add(x, self.floats(f"{name}.bias", (1, 1, -1))), f"{path}/Add")

    def _split(self, x, name, turn):
        """[batch, time, d_model] -> [batch, head, time, width]; `turn` counts the calls in one attention."""
        suffix = f"_{turn}" if turn else ""
        shape = constant([0, 0, self.heads, self.d_model // self.heads])
        x = named(ops.reshape(x, shape, True), f"{self.module(name)}/aten::view/Reshape{suffix}")
        x = ops.transpose(x, constant(SWAP, np.int32))
        return named(x, f"{self.module(name)}/aten::transpose/Transpose{suffix}")

    def query(self, x, name):
        """The scale of the scores is in the query already; the attention's own is 1."""
        scale = np.float32((self.d_model // self.heads) ** -0.5)
        scaled = ops.multiply(self.project(x, f"{name}.q_proj"), constant([[[scale]]], np.float32))
        bias = self.weights(f"{name}.q_proj.bias").astype(np.float32) * scale
        query = ops.add(scaled, ops.constant(bias.reshape(1, 1, -1)))
        return self._split(named(query, f"{self.module(name)}/aten::mul/Multiply"), name, 0)

    def key(self, x, name):
        return self._split(self.linear(x, f"{name}.k_proj"), name, 1)

    def value(self, x, name):
        return self._split(self.linear(x, f"{name}.v_proj"), name, 2)

    def attention(self, query, key, value, name, mask=None):
        path = f"{self.module(name)}/aten::scaled_dot_product_attention"
        mask = constant(0, np.float32) if mask is None else mask
        x = ops.scaled_dot_product_attention(query, key, value, mask, constant(1, np.float32), False)
        named(x, f"{path}/ScaledDotProductAttention")
        x = named(ops.transpose(x, constant(SWAP, np.int32)), f"{self.module(name)}/aten::transpose/Transpose_3")
        x = ops.reshape(x, constant([0, 0, self.d_model]), True)
        return self.linear(named(x, f"{self.module(name)}/aten::reshape/Reshape"), f"{name}.out_proj")

    def feed_forward(self, x, layer):
        y = self.linear(self.layer_norm(x, f"{layer}.final_layer_norm"), f"{layer}.fc1")
        y = named(ops.gelu(y, "erf"), f"{self.module(layer)}.activation_fn/aten::gelu/Gelu")
        return ops.add(x, self.linear(y, f"{layer}.fc2"))
