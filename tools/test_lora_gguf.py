"""make_lora_gguf.py as a program, and the adapters it writes; what they compute is the subject of tests/lora.rs."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

TOOLS = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

import lora_gguf  # noqa: E402
import tiny_gguf  # noqa: E402
from gguf_file import read_metadata  # noqa: E402

MODELS = Path(os.environ.get("FLUID_MODELS") or TOOLS.parent / "models")
SMOLLM2 = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
MADE = MODELS / "tiny-random-lora"


class Program(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fluid-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def run_tool(self, source=SMOLLM2):
        command = [sys.executable, TOOLS / "make_lora_gguf.py", source, self.folder / "made"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def test_it_writes_what_make_models_wrote(self):
        self.assertEqual(self.run_tool().returncode, 0)
        for path in MADE.glob("*.gguf"):
            self.assertEqual((self.folder / "made" / path.name).read_bytes(), path.read_bytes(), path.name)

    def test_other_files_are_refused(self):
        source = self.folder / "source.gguf"
        source.write_bytes(b"no model")
        done = self.run_tool(source)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        self.assertIn("no GGUF file", done.stderr)


class Adapters(unittest.TestCase):
    def test_they_say_what_they_are_for(self):
        for kind, (architecture, _) in tiny_gguf.MODELS.items():
            said = read_metadata(MADE / f"{kind}-a.gguf")
            self.assertEqual(said["general.type"].data, b"adapter")
            self.assertEqual(said["general.architecture"].data, architecture.encode())

    def test_halves_fit_and_change_as_much_as_is_wanted(self):
        for name, shape in [("blk.0.attn_q.weight", (64, 96)), (lora_gguf.EMBEDDING, (4096, 64))]:
            difference = lora_gguf.difference(name, *lora_gguf.halves(name, shape, 1))
            self.assertEqual(difference.shape, shape)
        spread = lora_gguf.difference("x.attn_q.weight", *lora_gguf.halves("x.attn_q.weight", (512, 512), 1)).std()
        self.assertAlmostEqual(spread * 512**0.5 / lora_gguf.CHANGE, 1, delta=0.2)

    def test_only_matrices_are_merged(self):
        tensors = {"blk.0.attn_norm.weight": np.ones(8, "<f4"), "blk.0.attn_q.weight": np.ones((8, 8), "<f4")}
        merged = lora_gguf.merged(tensors, 1)
        self.assertIs(merged["blk.0.attn_norm.weight"], tensors["blk.0.attn_norm.weight"])
        self.assertFalse((merged["blk.0.attn_q.weight"] == 1).all())


if __name__ == "__main__":
    unittest.main()
