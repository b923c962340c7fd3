"""GGUF files: their metadata read, whole files written. The format: ggml's docs/gguf.md, version 3."""

import os
import struct
from typing import NamedTuple

import numpy as np

from folders import Refused

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
TEXT, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, U64, F32 = 4, 10, 6
F32_TENSOR, F16_TENSOR, Q8_0_TENSOR = 0, 1, 8
BLOCK = 32  # numbers that share a scale in Q8_0


class Value(NamedTuple):
    """A metadata value; of an array, `kind` is that of its items."""

    kind: int
    data: object
    is_array: bool = False


class Packed(NamedTuple):
    """A tensor of another type than f32: its bytes, in ggml's layout."""

    kind: int
    shape: tuple
    data: bytes


def pack_f16(array):
    return Packed(F16_TENSOR, array.shape, array.astype("<f2").tobytes())


def pack_q8_0(array):
    """Blocks of 32 numbers: a scale in f16, then each divided by it, rounded."""
    blocks = np.asarray(array, np.float32).reshape(-1, BLOCK)
    scales = np.abs(blocks).max(1, keepdims=True) / 127
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    rows = np.empty(len(blocks), [("scale", "<f2"), ("numbers", "i1", BLOCK)])
    rows["scale"], rows["numbers"] = scales[:, 0], np.rint(blocks * inverse)
    return Packed(Q8_0_TENSOR, array.shape, rows.tobytes())


PACK = {F16_TENSOR: pack_f16, Q8_0_TENSOR: pack_q8_0}


def value_of(item):
    """A text, a float, an integer from 0 or a list of such integers as a `Value`."""
    if isinstance(item, str):
        return Value(TEXT, item.encode())
    if isinstance(item, float):
        return Value(F32, item)
    return Value(U32, item, is_array=isinstance(item, list))


class Reader:
    """Takes a file apart from its start; raises `Refused` where it ends too early."""

    def __init__(self, file):
        self.file, self.left = file, os.fstat(file.fileno()).st_size

    def take(self, size):
        if size > self.left:
            raise Refused("it ends inside its header")
        self.left -= size
        return self.file.read(size)

    def scalars(self, kind, count):
        if kind not in SCALARS:
            raise Refused(f"it has a value of type {kind}, which GGUF does not know")
        data = self.take(count * struct.calcsize(f"<{SCALARS[kind]}"))
        return struct.unpack(f"<{count}{SCALARS[kind]}", data)

    def number(self, kind):
        return self.scalars(kind, 1)[0]

    def text(self):
        return self.take(self.number(U64))

    def value(self):
        kind = self.number(U32)
        if kind == TEXT:
            return Value(TEXT, self.text())
        if kind != ARRAY:
            return Value(kind, self.number(kind))
        kind, count = self.number(U32), self.number(U64)
        items = [self.text() for _ in range(count)] if kind == TEXT else list(self.scalars(kind, count))
        return Value(kind, items, is_array=True)


def read_metadata(path):
    """The keys of the file at `path` and their values, texts as bytes; raises `Refused`."""
    with open(path, "rb") as file:
        reader = Reader(file)
        if reader.take(4) != MAGIC or reader.number(U32) not in (2, VERSION):
            raise Refused("it is no GGUF file of version 2 or 3")
        _tensors, keys = reader.scalars(U64, 2)
        return {reader.text().decode(errors="replace"): reader.value() for _ in range(keys)}


def write(path, metadata, tensors):
    """Writes `metadata` (key to `Value`) and `tensors` (name to `Packed`, or to an array of little-endian f32), rows
    first."""
    head = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        head += [pack_text(key.encode()), pack_value(value)]
    offset = 0
    for name, tensor in tensors.items():
        kind, dims, size = outline(tensor)
        # GGUF names the fastest dimension first.
        shape = struct.pack(f"<I{len(dims)}Q", len(dims), *reversed(dims))
        head += [pack_text(name.encode()), shape, struct.pack("<IQ", kind, offset)]
        offset += padded(size)
    with open(path, "wb") as file:
        for part in [b"".join(head), *map(bytes_of, tensors.values())]:
            file.write(part.ljust(padded(len(part)), b"\0"))


def outline(tensor):
    if isinstance(tensor, Packed):
        return tensor.kind, tensor.shape, len(tensor.data)
    return F32_TENSOR, tensor.shape, tensor.nbytes


def bytes_of(tensor):
    return tensor.data if isinstance(tensor, Packed) else tensor.tobytes()


def padded(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def pack_text(text):
    return struct.pack("<Q", len(text)) + text


def pack_value(value):
    if not value.is_array:
        return struct.pack("<I", value.kind) + pack_items(value.kind, [value.data])
    return struct.pack("<IIQ", ARRAY, value.kind, len(value.data)) + pack_items(value.kind, value.data)


def pack_items(kind, items):
    if kind == TEXT:
        return b"".join(pack_text(item) for item in items)
    return struct.pack(f"<{len(items)}{SCALARS[kind]}", *items)
