"""Whisper as OpenVINO models, node by node: the inputs, outputs and names of optimum-intel's exports.

Others count on these patterns: the CPU plugin fuses ReadValue, Gather, Concat and
ScaledDotProductAttention into attention with a cache; libfluid finds the cross-attention by its name.

Source: "Robust Speech Recognition via Large-Scale Weak Supervision" (Radford et al., 2022), with the names
and shapes of Hugging Face's `WhisperForConditionalGeneration`.
"""

import numpy as np
import openvino as ov
from openvino import opset15 as ops
from openvino.op.util import Variable, VariableInfo

from folders import say
from whisper_dims import FRAMES
from whisper_layers import Stack, constant, named

MASKED = -65504  # the score of a token that is hidden: the lowest float16


def save(folder, weights, form, int8):
    """Writes the models of one form, "stateful" or "stateless", one after the other to save memory.

    `weights(name)` gives a float array by Hugging Face's name ("decoder.layers.0.fc1.weight"), or None where
    the original has no such parameter (the bias of a key); `weights.dims` the sizes.
    """
    dims = weights.dims
    kinds = {"openvino_decoder_model": StatefulCache if form == "stateful" else EmptyCache}
    if form == "stateless":
        kinds["openvino_decoder_with_past_model"] = PassedCache
    save_one(folder, "openvino_encoder_model", encoder(weights, dims, int8))
    for name, kind in kinds.items():
        save_one(folder, name, decoder(weights, dims, int8, kind))


def save_one(folder, name, model):
    # What is not int8 is stored as f16, which is what the weights were.
    ov.save_model(model, folder / f"{name}.xml", compress_to_fp16=True)
    say(f"  {name}: {(folder / name).with_suffix('.bin').stat().st_size / 1e6:.1f} MB")


def parameter(name, shape, dtype):
    node = ops.parameter(ov.PartialShape(shape), dtype, name)
    node.output(0).set_names({name})
    return node


def result(node, name):
    node.output(0).add_names({name})
    return ops.result(node)


# The encoder


def encoder(weights, dims, int8):
    """`input_features` [batch, mels, 3000] f32 -> `last_hidden_state` [batch, positions, d_model] f32."""
    stack = Stack(weights, "encoder", "", dims.encoder_heads, dims.d_model, int8)
    features = parameter("input_features", [-1, -1, FRAMES], np.float32)
    x = convolve(stack, features, "conv1", stride=1)
    x = convolve(stack, x, "conv2", stride=2)
    x = ops.transpose(x, constant([0, 2, 1]))
    x = ops.add(x, stack.floats("embed_positions.weight", (1, dims.source_positions, dims.d_model)))
    for n in range(dims.encoder_layers):
        layer = f"layers.{n}"
        name = f"{layer}.self_attn"
        y = stack.layer_norm(x, f"{name}_layer_norm")
        y = stack.attention(stack.query(y, name), stack.key(y, name), stack.value(y, name), name)
        x = stack.feed_forward(ops.add(x, y), layer)
    x = stack.layer_norm(x, "layer_norm")
    return ov.Model([result(x, "last_hidden_state")], [features], "encoder")


def convolve(stack, x, name, stride):
    path = f"{stack.module(name)}/aten::_convolution"
    x = ops.convolution(x, stack.floats(f"{name}.weight"), [stride], [1], [1], [1])
    x = ops.add(named(x, f"{path}/Convolution"), stack.floats(f"{name}.bias", (1, -1, 1)))
    return ops.gelu(named(x, f"{path}/Add"), "erf")


# The decoder, and three places for the keys and values of earlier tokens


class StatefulCache:
    """In variables of the inference request; `beam_idx` [batch] i32 says which row each row goes on from."""

    path = "model.decoder."

    def __init__(self, ids, dims):
        beams = parameter("beam_idx", [-1], np.int32)
        self.inputs, self.results, self.sinks = [beams], [], []
        self.variables, self.past = {}, {}
        batch = ops.gather(ops.shape_of(ids), constant([0]), constant(0))
        shape = ops.concat([batch, constant([dims.decoder_heads, 0, dims.width])], 0)
        nothing = ops.broadcast(constant(0, np.float32), shape)
        for n in range(dims.decoder_layers):
            for what in ("key", "value"):
                variable = make_variable(n, f"decoder.{what}", [-1, dims.decoder_heads, -1, dims.width])
                self.variables[n, what] = variable
                self.past[n, what] = ops.gather(ops.read_value(nothing, variable), beams, constant(0))
        self.past_length = length(self.past[0, "key"])

    def own(self, stack, n, what, new):
        """Self-attention: `new` keys or values behind those of the earlier tokens."""
        both = append(stack, n, what, self.past[n, what], new)
        self.sinks.append(ops.assign(both, self.variables[n, what]))
        return both

    def cross(self, stack, n, what, encoded):
        """Cross-attention: computed by a request's first run, and kept."""
        computed = keys_or_values(stack, n, what, encoded)
        variable = make_variable(n, f"encoder.{what}", computed.get_output_partial_shape(0))
        kept = ops.read_value(computed, variable)
        self.sinks.append(ops.assign(kept, variable))
        return kept


class EmptyCache:
    """The first run of the stateless form: nothing comes in, everything goes out."""

    path = "model.model.decoder."

    def __init__(self, ids, dims):
        self.inputs, self.results, self.sinks = [], [], []
        self.past_length = constant(0)

    def own(self, stack, n, what, new):
        self.results.append(result(new, f"present.{n}.decoder.{what}"))
        return new

    def cross(self, stack, n, what, encoded):
        computed = keys_or_values(stack, n, what, encoded)
        self.results.append(result(computed, f"present.{n}.encoder.{what}"))
        return computed


class PassedCache:
    """Later runs of the stateless form: all comes in, what grew goes out."""

    path = "model.decoder."

    def __init__(self, ids, dims):
        self.results, self.sinks = [], []
        shape = [-1, dims.decoder_heads, -1, dims.width]
        names = [
            f"past_key_values.{n}.{side}.{what}"
            for n in range(dims.decoder_layers)
            for side in ("decoder", "encoder")
            for what in ("key", "value")
        ]
        self.inputs = [parameter(name, shape, np.float32) for name in names]
        self.past = dict(zip(names, self.inputs))
        self.past_length = length(self.inputs[0])

    def own(self, stack, n, what, new):
        both = append(stack, n, what, self.past[f"past_key_values.{n}.decoder.{what}"], new)
        self.results.append(result(both, f"present.{n}.decoder.{what}"))
        return both

    def cross(self, stack, n, what, encoded):
        return self.past[f"past_key_values.{n}.encoder.{what}"]


def make_variable(n, what, shape):
    info = VariableInfo()
    info.data_shape, info.data_type = ov.PartialShape(shape), ov.Type.f32
    info.variable_id = f"past_key_values.{n}.{what}present.{n}.{what}"
    return Variable(info)


def append(stack, n, what, past, new):
    turn = "" if what == "key" else "_1"
    path = stack.module(f"layers.{n}.self_attn")
    return named(ops.concat([past, new], -2), f"{path}/aten::cat/Concat{turn}")


def keys_or_values(stack, n, what, encoded):
    make = stack.key if what == "key" else stack.value
    return make(encoded, f"layers.{n}.encoder_attn")


def length(keys):
    """Of keys [batch, head, time, width]: time."""
    return ops.gather(ops.shape_of(keys), constant(2), constant(0))


def decoder(weights, dims, int8, cache_kind):
    """`input_ids` [batch, tokens] i64, `encoder_hidden_states` [batch, positions, d_model] f32 and what the
    cache wants -> `logits` [batch, tokens, vocab] f32 and what the cache gives.
    """
    ids = parameter("input_ids", [-1, -1], np.int64)
    encoded = parameter("encoder_hidden_states", [-1, -1, dims.d_model], np.float32)
    cache = cache_kind(ids, dims)
    stack = Stack(weights, "decoder", cache.path, dims.decoder_heads, dims.d_model, int8)
    tokens = ops.gather(ops.shape_of(ids), constant(1), constant(0))
    end = ops.add(cache.past_length, tokens)
    positions = ops.unsqueeze(ops.range(cache.past_length, end, constant(1), "i64"), constant(0))
    mask = causal_mask(positions, end)
    x = embed(stack, ids, positions)
    for n in range(dims.decoder_layers):
        x = decoder_layer(stack, cache, x, encoded, mask, n)
    x = stack.layer_norm(x, "layer_norm")
    logits = stack.project_out(x)
    model = ov.Model([result(logits, "logits"), *cache.results], cache.sinks, [ids, encoded, *cache.inputs], "decoder")
    # For GPUs, which compute in f16: activations of large models leave its range.
    model.set_rt_info("8.0", ["runtime_options", "ACTIVATIONS_SCALE_FACTOR"])
    return model


def embed(stack, ids, positions):
    indices = ops.convert(ids, np.int32)
    tokens = ops.gather(stack.matrix("embed_tokens.weight"), indices, constant(0, np.int32))
    named(tokens, f"{stack.module('embed_tokens')}/aten::embedding/Gather")
    places = ops.gather(stack.floats("embed_positions.weight"), positions, constant(0, np.int32))
    named(places, f"{stack.module('embed_positions')}/aten::index/Gather")
    return ops.add(tokens, places)


def causal_mask(positions, end):
    """[1, 1, tokens, past + tokens]: 0 where a token may look, `MASKED` where it may not."""
    asking = ops.unsqueeze(positions, constant([1, 3]))
    asked = ops.unsqueeze(ops.range(constant(0), end, constant(1), "i64"), constant([0, 1, 2]))
    seen = ops.less_equal(asked, asking)
    return ops.select(seen, constant(0, np.float32), constant(MASKED, np.float32))


def decoder_layer(stack, cache, x, encoded, mask, n):
    layer = f"layers.{n}"
    name = f"{layer}.self_attn"
    y = stack.layer_norm(x, f"{name}_layer_norm")
    key = cache.own(stack, n, "key", stack.key(y, name))
    value = cache.own(stack, n, "value", stack.value(y, name))
    x = ops.add(x, stack.attention(stack.query(y, name), key, value, name, mask))

    name = f"{layer}.encoder_attn"
    y = stack.layer_norm(x, f"{name}_layer_norm")
    key, value = (cache.cross(stack, n, what, encoded) for what in ("key", "value"))
    x = ops.add(x, stack.attention(stack.query(y, name), key, value, name))
    return stack.feed_forward(x, layer)
