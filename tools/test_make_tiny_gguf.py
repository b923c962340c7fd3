"""make_tiny_gguf.py as a program, and the GGUF files it reads and writes."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

TOOLS = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

import gguf_file  # noqa: E402
import tiny_gguf  # noqa: E402
from folders import Refused  # noqa: E402
from gguf_file import Value, read_metadata, value_of  # noqa: E402

MODELS = Path(os.environ.get("FLUID_MODELS") or TOOLS.parent / "models")
SMOLLM2 = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
KINDS = {"mamba": "mamba", "hybrid": "jamba", "swa": "gemma3", "llama": "llama", "infill": "llama"}
MOST = 10_000_000  # bytes of a model
TOKENIZER = "tokenizer.ggml."


class Workplace(unittest.TestCase):
    """A folder to work in."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fluid-"))
        self.addCleanup(shutil.rmtree, self.folder)


class Format(Workplace):
    """gguf_file.py."""

    def write(self, metadata, tensors=None):
        path = self.folder / "a.gguf"
        gguf_file.write(path, metadata, tensors or {})
        return path

    def test_what_is_written_is_read_again(self):
        numbers = {"one": value_of(7), "half": value_of(0.5), "minus": Value(5, -3), "yes": Value(7, True)}
        lists = {"some": value_of([1, 2, 3]), "none": Value(6, [], True), "texts": Value(8, [b"a", b"", b"\xff"], True)}
        metadata = {**numbers, **lists, "text": value_of("größer")}
        self.assertEqual(read_metadata(self.write(metadata)), metadata)

    def test_tensors_lie_where_the_file_says(self):
        tensors = {"a": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.full(9, 0.5, "<f4")}
        data = self.write({"key": value_of(1)}, tensors).read_bytes()
        self.assertEqual(len(data) % 32, 0)
        # Two tensors: 24 and 36 bytes, each from a multiple of 32 on.
        self.assertEqual(data[-96:-72], tensors["a"].tobytes())
        self.assertEqual(data[-64:-28], tensors["b"].tobytes())
        name = data.index(struct.pack("<Q", 1) + b"a")
        self.assertEqual(struct.unpack_from("<IQQIQ", data, name + 9), (2, 3, 2, 0, 0))
        self.assertEqual(struct.unpack_from("<IQIQ", data, name + 9 + 32 + 9), (1, 9, 0, 32))

    def test_broken_files_are_refused(self):
        whole = self.write({"key": value_of([1, 2]), "text": value_of("words")}).read_bytes()
        end = whole.index(b"words") + 5
        path = self.folder / "broken.gguf"
        damaged = [whole[:length] for length in range(end)]
        damaged += [b"GGML" + whole[4:], whole[:4] + b"\x09" + whole[5:], whole[:24] + b"\xff" * 8 + whole[32:]]
        for data in damaged:
            path.write_bytes(data)
            with self.assertRaises(Refused, msg=data):
                read_metadata(path)


class Program(Workplace):
    """make_tiny_gguf.py."""

    def setUp(self):
        super().setUp()
        self.target = self.folder / "made"

    def run_tool(self, *arguments, source=SMOLLM2):
        command = [sys.executable, TOOLS / "make_tiny_gguf.py", *arguments, source, self.target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def make(self, *arguments):
        code, out, err = self.run_tool(*arguments)
        self.assertEqual((code, err), (0, ""))
        return out

    def refuse(self, source, because):
        code, _, err = self.run_tool(source=source)
        self.assertEqual((code, err.count("\n")), (1, 1), err)
        self.assertIn(str(source), err)
        self.assertIn(because, err)
        self.assertFalse(self.target.exists())

    def contents(self):
        return {name: (self.target / f"{name}.gguf").read_bytes() for name in KINDS}

    def test_the_same_bytes_each_time(self):
        made = []
        for seed in ("1", "1", "2"):
            self.make("--seed", seed)
            made.append(self.contents())
            shutil.rmtree(self.target)
        self.assertEqual(made[0], made[1])
        for name, content in made[0].items():
            self.assertNotEqual(content, made[2][name])
            self.assertLess(len(content), MOST)

    def test_what_is_there_stays(self):
        self.make()
        file = self.target / "swa.gguf"
        before = file.stat()
        self.assertEqual(self.make(), f"{self.target} is there\n")
        self.assertEqual(file.stat().st_mtime_ns, before.st_mtime_ns)
        file.write_bytes(b"")
        self.make()
        self.assertEqual(file.stat().st_size, before.st_size)

    def test_other_files_are_refused(self):
        self.refuse(self.folder / "none.gguf", "No such file")
        source = self.folder / "source.gguf"
        source.write_bytes(b"no model")
        self.refuse(source, "no GGUF file")
        gguf_file.write(source, {"general.architecture": value_of("clip")}, {})
        self.refuse(source, "tokenizer.ggml.tokens")
        short = {"tokens": Value(8, [b"a"], True), "token_type": Value(5, [1], True), "merges": Value(8, [], True)}
        gguf_file.write(source, {TOKENIZER + key: value for key, value in short.items()}, {})
        self.refuse(source, "1 tokens")


class Made(unittest.TestCase):
    """The models of `make models`; what they compute is the subject of tests/tiny_models.rs."""

    def metadata(self, name):
        return read_metadata(MODELS / "tiny-random-gguf" / f"{name}.gguf")

    def test_they_are_of_their_kinds(self):
        for name, architecture in KINDS.items():
            made = self.metadata(name)
            self.assertEqual(made["general.architecture"].data, architecture.encode())
            self.assertEqual(made[f"{architecture}.context_length"].data, 2048)
        self.assertEqual(self.metadata("swa")["gemma3.attention.sliding_window"].data, 64)
        self.assertEqual(self.metadata("hybrid")["jamba.attention.head_count_kv"].data, [0, 2, 0, 2])

    def test_the_vocabulary_is_the_start_of_smollm2s(self):
        whole, made = read_metadata(SMOLLM2), self.metadata("mamba")
        lists = {key: made[TOKENIZER + key].data for key in ("tokens", "token_type", "merges")}
        for key, items in lists.items():
            self.assertEqual(items, whole[TOKENIZER + key].data[: len(items)], key)
        tokens = set(lists["tokens"])
        self.assertEqual((len(lists["tokens"]), len(tokens)), (tiny_gguf.N_VOCAB, tiny_gguf.N_VOCAB))
        for merge in lists["merges"]:
            self.assertTrue(tokens.issuperset([*merge.split(), merge.replace(b" ", b"")]), merge)
        # All that is neither special nor a single byte comes from a merge.
        self.assertEqual(len(lists["merges"]), sum(len(token.decode()) > 1 for token in tokens) - 17)
        self.assertNotIn("tokenizer.chat_template", made)

    def test_no_token_that_ends_a_text_can_be_said(self):
        weights = tiny_gguf.Weights(1)
        weights.embeddings()
        said = np.flatnonzero(weights.tensors["output.weight"].any(axis=1))
        types = np.array(self.metadata("mamba")[TOKENIZER + "token_type"].data)
        self.assertEqual(len(said), tiny_gguf.N_VOCAB // tiny_gguf.SAID)
        self.assertTrue((types[said] == 1).all())


if __name__ == "__main__":
    unittest.main()
