#!/usr/bin/env python3
"""Writes a tiny random llama model as a GGUF file: it loads in milliseconds and really runs.

    tiny_gguf.py FILE

Two layers of width 32, a byte-level vocabulary of 265 tokens, a context of 65,536. Its tokens 262
(<|endoftext|>) and 264 (<|im_end|>) end an answer; check.h's NO_END forbids them.
"""
import random
import struct
import sys

WIDTH, HIDDEN, LAYERS, ALIGNMENT = 32, 64, 2, 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    if kind == STRING:
        return text(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + scalar(kind, value)


def array(name, kind, values):
    head = text(name) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(scalar(kind, value) for value in values)


def byte_tokens():
    """GPT-2 shows bytes that are no printable character as others from U+0100 on."""
    shown, hidden = [], 0
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte:
            shown.append(chr(byte))
        else:
            shown.append(chr(256 + hidden))
            hidden += 1
    return shown


def keys():
    merges = ["h e", "l l", "he ll", "hell o", "\u0120 w", "\u0120 t"]
    plain = byte_tokens() + [merge.replace(" ", "") for merge in merges]
    tokens = plain + ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    numbers = {
        "context_length": 65536,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": HIDDEN,
        "attention.head_count": 2,
        "attention.head_count_kv": 1,
        "rope.dimension_count": 16,
    }
    out = [
        key("general.architecture", STRING, "llama"),
        key("general.name", STRING, "tiny"),
        key("general.file_type", U32, 0),
        *(key("llama." + name, U32, value) for name, value in numbers.items()),
        key("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        key("llama.rope.freq_base", F32, 10000.0),
        key("tokenizer.ggml.model", STRING, "gpt2"),
        key("tokenizer.ggml.pre", STRING, "gpt-2"),
        array("tokenizer.ggml.tokens", STRING, tokens),
        array("tokenizer.ggml.merges", STRING, merges),
        array("tokenizer.ggml.token_type", I32, [1] * len(plain) + [3] * 3),
        key("tokenizer.ggml.bos_token_id", U32, len(tokens) - 3),
        key("tokenizer.ggml.eos_token_id", U32, len(tokens) - 1),
        key("tokenizer.ggml.add_bos_token", BOOL, False),
        key("tokenizer.chat_template", STRING, TEMPLATE),
    ]
    return out, len(tokens)


def tensors(n_vocab):
    """Names and dimensions; one dimension is a norm, all ones."""
    yield "token_embd", (WIDTH, n_vocab)
    yield "output_norm", (WIDTH,)
    for layer in range(LAYERS):
        for name, *dims in [
            ("attn_norm", WIDTH), ("ffn_norm", WIDTH),
            ("attn_q", WIDTH, 32), ("attn_k", WIDTH, 16), ("attn_v", WIDTH, 16), ("attn_output", 32, WIDTH),
            ("ffn_gate", WIDTH, HIDDEN), ("ffn_up", WIDTH, HIDDEN), ("ffn_down", HIDDEN, WIDTH),
        ]:
            yield f"blk.{layer}.{name}", dims


def main():
    source = random.Random(1)
    metadata, n_vocab = keys()
    infos, data = b"", b""
    shapes = list(tensors(n_vocab))
    for name, dims in shapes:
        count = dims[0] * (dims[1] if len(dims) > 1 else 1)
        values = [source.uniform(-0.2, 0.2) if len(dims) > 1 else 1.0 for _ in range(count)]
        infos += text(name + ".weight") + struct.pack("<I", len(dims))
        infos += struct.pack(f"<{len(dims)}QIQ", *dims, 0, len(data))
        data += struct.pack(f"<{count}f", *values)
        data += bytes(-len(data) % ALIGNMENT)
    out = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(metadata)) + b"".join(metadata) + infos
    out += bytes(-len(out) % ALIGNMENT)
    with open(sys.argv[1], "wb") as file:
        file.write(out + data)


if __name__ == "__main__":
    main()
