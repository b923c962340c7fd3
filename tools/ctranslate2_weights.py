"""Reads Whisper's weights from CTranslate2's model.bin, under Hugging Face's names.

The file, little-endian: u32 version, name of the model's kind, u32 revision, u32 count of variables; each
variable: name, u8 rank, u32 dimensions, u8 type, u32 bytes, data; then u32 count of aliases, each two names.
A name: u16 length with the final NUL. Matrices that are applied to the same input are stored as one: the rows
of query, key and value (self-attention), of key and value (cross-attention).
"""

import mmap
import re
import struct

import numpy as np

from folders import Refused
from whisper_dims import Dims

VERSION, KIND = 6, "WhisperSpec"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
FLOATS = (np.float32, np.float16)
GELU = 3  # of CTranslate2's kinds of activation
MOST_VARIABLES, MOST_DIMENSIONS = 100_000, 4

# Hugging Face's module -> CTranslate2's, which third or half of its rows.
LAYER_MODULES = {
    "self_attn_layer_norm": ("self_attention/layer_norm", None),
    "self_attn.q_proj": ("self_attention/linear_0", (0, 3)),
    "self_attn.k_proj": ("self_attention/linear_0", (1, 3)),
    "self_attn.v_proj": ("self_attention/linear_0", (2, 3)),
    "self_attn.out_proj": ("self_attention/linear_1", None),
    "encoder_attn_layer_norm": ("attention/layer_norm", None),
    "encoder_attn.q_proj": ("attention/linear_0", None),
    "encoder_attn.k_proj": ("attention/linear_1", (0, 2)),
    "encoder_attn.v_proj": ("attention/linear_1", (1, 2)),
    "encoder_attn.out_proj": ("attention/linear_2", None),
    "final_layer_norm": ("ffn/layer_norm", None),
    "fc1": ("ffn/linear_0", None),
    "fc2": ("ffn/linear_1", None),
}
MODULES = {"embed_tokens": "embeddings", "embed_positions": "position_encodings"}
PARAMETERS = {"layer_norm": {"weight": "gamma", "bias": "beta"}, "position_encodings": {"weight": "encodings"}}


class BadWeights(Refused):
    """The file is not what it should be."""


class Reader:
    """Takes numbers and names off a buffer, from its start; never past its end."""

    def __init__(self, buffer):
        self.buffer, self.place = buffer, 0

    def take(self, count):
        start, self.place = self.place, self.place + count
        if self.place > len(self.buffer):
            raise BadWeights(f"it ends at byte {len(self.buffer)} and should go on to byte {self.place} at least")
        return start

    def number(self, code):
        return struct.unpack_from("<" + code, self.buffer, self.take(struct.calcsize(code)))[0]

    def name(self):
        size = self.number("H")
        start = self.take(size)
        raw = self.buffer[start : start + size]
        if not raw.endswith(b"\0") or not raw[:-1].isascii():
            raise BadWeights(f"no name stands at byte {start}")
        return raw[:-1].decode("ascii")


def read_variable(reader):
    name = reader.name()
    rank = reader.number("B")
    if rank > MOST_DIMENSIONS:
        raise BadWeights(f"{name} has {rank} dimensions")
    shape = tuple(reader.number("I") for _ in range(rank))
    code, size = reader.number("B"), reader.number("I")
    if code not in TYPES:
        raise BadWeights(f"{name} has the unknown type {code}")
    count = 1
    for dimension in shape:
        count *= dimension
    if count == 0:
        raise BadWeights(f"{name} {list(shape)} is empty")
    if count * np.dtype(TYPES[code]).itemsize != size:
        raise BadWeights(f"{name} {list(shape)} of type {code} claims to be {size} bytes long")
    start = reader.take(size)
    return name, np.frombuffer(reader.buffer, TYPES[code], count, start).reshape(shape)


def read_variables(buffer):
    """The arrays of a model.bin by CTranslate2's names; they borrow from `buffer`."""
    reader = Reader(buffer)
    version = reader.number("I")
    if version != VERSION:
        raise BadWeights(f"it has CTranslate2's format {version}, known is {VERSION}")
    kind = reader.name()
    if kind != KIND:
        raise BadWeights(f"it holds a {kind}, not a {KIND}")
    reader.number("I")  # the revision counts changes of variables, which are checked one by one
    count = reader.number("I")
    if count > MOST_VARIABLES:
        raise BadWeights(f"it claims to hold {count} variables")
    variables = dict(read_variable(reader) for _ in range(count))
    aliases = [(reader.name(), reader.name()) for _ in range(min(reader.number("I"), MOST_VARIABLES))]
    if reader.place != len(buffer):
        raise BadWeights(f"{len(buffer) - reader.place} bytes follow its end")
    if "decoder/projection/weight" not in dict(aliases):
        raise BadWeights("its last projection is not the token embedding")
    return variables


class Weights:
    """The parameters of one Whisper: `weights("decoder.layers.0.fc1.weight")`; and its sizes, `dims`."""

    def __init__(self, variables):
        self.variables = variables
        self.dims = self._sizes()
        self._check_shapes()

    @classmethod
    def open(cls, path):
        """Maps the file into memory: what is not asked for is not read."""
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                raise BadWeights("it is empty")
            return cls(read_variables(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))

    def __call__(self, name):
        stored, rows = locate(name)
        array = self.variables.get(stored)
        if array is None:
            raise BadWeights(f"{stored} is missing")
        if rows:
            turn, of = rows
            share = len(array) // of
            array = array[turn * share : (turn + 1) * share]
        if not np.isfinite(array).all():
            raise BadWeights(f"{stored} holds values that are not finite")
        # The key has no bias; its share of the fused one is zeros.
        return None if name.endswith("k_proj.bias") and not array.any() else array

    def _shape(self, name, rank):
        array = self.variables.get(name)
        if array is None:
            raise BadWeights(f"{name} is missing")
        if array.ndim != rank:
            raise BadWeights(f"{name} has the shape {list(array.shape)}, expected are {rank} dimensions")
        return array.shape

    def _number(self, name):
        self._shape(name, 0)
        return int(self.variables[name])

    def _sizes(self):
        d_model, mels, _ = self._shape("encoder/conv1/weight", 3)
        if "decoder/activation" in self.variables and self._number("decoder/activation") != GELU:
            raise BadWeights("its activation is not GELU")
        dims = Dims(
            mels=mels,
            d_model=d_model,
            encoder_layers=self._layers("encoder"),
            decoder_layers=self._layers("decoder"),
            encoder_heads=self._number("encoder/num_heads"),
            decoder_heads=self._number("decoder/num_heads"),
            ffn=self._shape("encoder/layer_0/ffn/linear_0/bias", 1)[0],
            vocab=self._shape("decoder/embeddings/weight", 2)[0],
            source_positions=self._shape("encoder/position_encodings/encodings", 2)[0],
            target_positions=self._shape("decoder/position_encodings/encodings", 2)[0],
        )
        for heads in (dims.encoder_heads, dims.decoder_heads):
            if heads < 1 or d_model % heads:
                raise BadWeights(f"its {d_model} channels can't be shared by {heads} heads")
        return dims

    def _layers(self, part):
        numbers = {int(m[1]) for m in (re.match(rf"{part}/layer_(\d+)/", name) for name in self.variables) if m}
        if numbers != set(range(len(numbers))) or not numbers:
            raise BadWeights(f"its layers of the {part} are numbered {sorted(numbers)}")
        return len(numbers)

    def _check_shapes(self):
        for name, shape in shapes(self.dims).items():
            if self._shape(name, len(shape)) != shape:
                raise BadWeights(f"{name} has the shape {list(self.variables[name].shape)}, expected {list(shape)}")
            if self.variables[name].dtype not in FLOATS:
                raise BadWeights(f"{name} is quantized already; convert from float16 weights")


def locate(name):
    """Hugging Face's name of a parameter -> CTranslate2's, and which of how many equal shares of its rows."""
    part, *modules, parameter = name.split(".")
    rows = None
    if modules[0] == "layers":
        module, rows = LAYER_MODULES[".".join(modules[2:])]
        stored = f"{part}/layer_{modules[1]}/{module}"
    else:
        stored = f"{part}/{MODULES.get(modules[0], modules[0])}"
    parameter = PARAMETERS.get(stored.rpartition("/")[2], {}).get(parameter, parameter)
    return f"{stored}/{parameter}", rows


def shapes(dims):
    """What a model of these sizes stores."""
    d, ffn = dims.d_model, dims.ffn
    expected = {
        "encoder/conv1/weight": (d, dims.mels, 3),
        "encoder/conv1/bias": (d,),
        "encoder/conv2/weight": (d, d, 3),
        "encoder/conv2/bias": (d,),
        "encoder/position_encodings/encodings": (dims.source_positions, d),
        "decoder/position_encodings/encodings": (dims.target_positions, d),
        "decoder/embeddings/weight": (dims.vocab, d),
    }

    def add(path, rows, columns):
        expected[f"{path}/weight"] = (rows, columns)
        expected[f"{path}/bias"] = (rows,)

    def add_norm(path):
        expected[f"{path}/layer_norm/gamma"] = expected[f"{path}/layer_norm/beta"] = (d,)

    for part, layers in (("encoder", dims.encoder_layers), ("decoder", dims.decoder_layers)):
        add_norm(part)
        for layer in (f"{part}/layer_{n}" for n in range(layers)):
            add_norm(f"{layer}/self_attention")
            add(f"{layer}/self_attention/linear_0", 3 * d, d)
            add(f"{layer}/self_attention/linear_1", d, d)
            add_norm(f"{layer}/ffn")
            add(f"{layer}/ffn/linear_0", ffn, d)
            add(f"{layer}/ffn/linear_1", d, ffn)
            if part == "decoder":
                add_norm(f"{layer}/attention")
                add(f"{layer}/attention/linear_0", d, d)
                add(f"{layer}/attention/linear_1", 2 * d, d)
                add(f"{layer}/attention/linear_2", d, d)
    return expected
