"""make_minilm_gguf.py as a program, and reference_minilm.py, whose numbers tests/embed.rs rests on."""

import json
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

import bert_files  # noqa: E402
import gguf_file  # noqa: E402
import reference_minilm  # noqa: E402
import tiny_reranker  # noqa: E402
from folders import Refused  # noqa: E402

MODELS = Path(os.environ.get("FLUID_MODELS") or TOOLS.parent / "models")
SOURCE = MODELS / "src/minilm"
TABLE = TOOLS.parent / "tests/data/minilm.json"


class Workplace(unittest.TestCase):
    """A folder to work in."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fluid-"))
        self.addCleanup(shutil.rmtree, self.folder)


class Program(Workplace):
    """make_minilm_gguf.py."""

    def run_tool(self, source):
        command = [sys.executable, TOOLS / "make_minilm_gguf.py", source, self.folder / "made"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr

    def test_the_same_bytes_as_in_the_model_folder(self):
        self.assertEqual(self.run_tool(SOURCE), (0, ""))
        for name in ("f16", "q8_0", "tiny-reranker"):
            made, there = (path / f"{name}.gguf" for path in (self.folder / "made", MODELS / "minilm-gguf"))
            self.assertEqual(made.read_bytes(), there.read_bytes(), name)

    def test_what_is_missing_or_broken_is_named(self):
        code, err = self.run_tool(self.folder)
        self.assertEqual((code, err.count("\n")), (1, 1), err)
        self.assertIn("model.safetensors is missing", err)
        for name in ("config.json", "vocab.txt"):
            shutil.copy(SOURCE / name, self.folder)
        for data in (b"", b"\xff" * 64, struct.pack("<Q", 2) + b"[]"):
            (self.folder / "model.safetensors").write_bytes(data)
            code, err = self.run_tool(self.folder)
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertIn("model.safetensors", err)
        self.assertFalse((self.folder / "made").exists())


class Packing(unittest.TestCase):
    """gguf_file.py's types."""

    def test_q8_0_keeps_numbers_within_half_a_step(self):
        array = np.random.default_rng(1).normal(size=(4, 64)).astype("<f4")
        array[1] = 0
        packed = gguf_file.pack_q8_0(array)
        self.assertEqual((packed.shape, len(packed.data)), ((4, 64), 4 * 2 * 34))
        rows = np.frombuffer(packed.data, [("scale", "<f2"), ("numbers", "i1", 32)])
        again = (rows["scale"][:, None].astype("f4") * rows["numbers"]).reshape(4, 64)
        steps = np.abs(array.reshape(-1, 32)).max(1) / 127
        off = np.abs(again - array).reshape(-1, 32).max(1)
        self.assertTrue((off <= steps * 0.56).all())


class Vocabulary(unittest.TestCase):
    def test_words_have_a_mark_and_ends_have_none(self):
        metadata = gguf_file.read_metadata(MODELS / "minilm-gguf/f16.gguf")
        tokens = metadata["tokenizer.ggml.tokens"].data
        lines = bert_files.read_vocabulary(SOURCE / "vocab.txt")
        self.assertEqual(len(tokens), 30_522)
        self.assertEqual(len(set(tokens)), len(tokens))
        for word, spelled in {"the": "\u2581the", "##ing": "ing", "[CLS]": "[CLS]"}.items():
            self.assertEqual(tokens[lines.index(word)].decode(), spelled)
        self.assertEqual(metadata["tokenizer.ggml.token_type"].data.count(bert_files.CONTROL), 5)

    def test_a_vocabulary_without_marks_is_refused(self):
        with self.assertRaisesRegex(Refused, r"\[CLS\]"):
            bert_files.tokenizer_of({"type_vocab_size": 2}, ["a"])


class Reference(unittest.TestCase):
    """The committed table is what the reference says now; a part of it, for it takes its time."""

    def setUp(self):
        self.table = json.loads(TABLE.read_text(encoding="utf-8"))
        self.vocabulary = bert_files.read_vocabulary(SOURCE / "vocab.txt")
        self.tokenizer = reference_minilm.Tokenizer(self.vocabulary)

    def test_tokens(self):
        self.assertEqual([entry["text"] for entry in self.table["texts"]], reference_minilm.TEXTS)
        for entry in self.table["texts"]:
            self.assertEqual(self.tokenizer.special(entry["text"]), entry["tokens"])

    def test_vectors(self):
        config = json.loads((SOURCE / "config.json").read_text())
        bert = reference_minilm.Bert(bert_files.read_safetensors(SOURCE / "model.safetensors"), config)
        for entry in (self.table["texts"][index] for index in (0, 7)):
            off = np.abs(bert.vector(entry["tokens"]) - entry["vector"]).max()
            self.assertLess(off, 1e-5, entry["text"])

    def test_scores(self):
        rerank = self.table["rerank"]
        bert = reference_minilm.Bert(tiny_reranker.weights_of(len(self.vocabulary)), tiny_reranker.CONFIG)
        for document, score in zip(rerank["documents"], rerank["scores"]):
            made = bert.score(self.tokenizer.special(rerank["query"], document))
            self.assertAlmostEqual(float(made), score, delta=1e-5)


if __name__ == "__main__":
    unittest.main()
