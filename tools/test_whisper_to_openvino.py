"""The converter as a program: what it makes, what it refuses, and that a target is whole or not there."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

TOOLS = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

from ctranslate2_weights import TYPES, BadWeights, Weights, locate, read_variables  # noqa: E402
from random_weights import random_variables  # noqa: E402
from whisper_dims import Dims  # noqa: E402

MODELS = Path(os.environ.get("FLUID_MODELS") or TOOLS.parent / "models")
CODES = {np.dtype(kind): code for code, kind in TYPES.items()}
TIED = [("decoder/projection/weight", "decoder/embeddings/weight")]
WORDS = ["a", "b", "Ġc"]
SPECIALS = ["endoftext", "startoftranscript", "en", "haw", "translate", "transcribe", "startoflm", "startofprev"]
SPECIALS += ["nospeech", "notimestamps", "0.00", "0.02"]
DIMS = Dims(8, 16, 1, 2, 2, 2, 32, len(WORDS + SPECIALS), 1500, 40)


def pack(variables, version=6, kind="WhisperSpec", aliases=TIED):
    """A model.bin of these arrays."""

    def name(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    out = [struct.pack("<I", version), name(kind), struct.pack("<II", 3, len(variables))]
    for key, array in variables.items():
        out.append(name(key) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape))
        out.append(struct.pack("<BI", CODES[array.dtype], array.nbytes) + array.tobytes())
    out.append(struct.pack("<I", len(aliases)))
    out += [name(text) for alias in aliases for text in alias]
    return b"".join(out)


def tokenizer():
    added = [{"id": len(WORDS) + n, "content": f"<|{name}|>", "special": True} for n, name in enumerate(SPECIALS)]
    start = {"id": "<|startoftranscript|>", "ids": [4], "tokens": ["<|startoftranscript|>"]}
    last = {"id": "<|notimestamps|>", "ids": [12], "tokens": ["<|notimestamps|>"]}
    return {
        "added_tokens": added,
        "model": {"type": "BPE", "vocab": {word: n for n, word in enumerate(WORDS)}, "merges": []},
        "post_processor": {"special_tokens": {token["id"]: token for token in (start, last)}},
    }


class Reader(unittest.TestCase):
    """model.bin, whole and broken."""

    def setUp(self):
        self.variables = random_variables(DIMS, seed=1)

    def refuse(self, because, content=None, **changes):
        with self.assertRaises(BadWeights) as caught:
            Weights(read_variables(pack(self.variables, **changes) if content is None else content))
        self.assertIn(because, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_reads_what_was_written(self):
        weights = Weights(read_variables(pack(self.variables)))
        self.assertEqual(weights.dims, DIMS)
        for name, array in self.variables.items():
            np.testing.assert_array_equal(weights.variables[name], array)

    def test_fused_rows_are_told_apart(self):
        weights = Weights(self.variables)
        fused = self.variables["decoder/layer_1/self_attention/linear_0/weight"]
        for n, letter in enumerate("qkv"):
            got = weights(f"decoder.layers.1.self_attn.{letter}_proj.weight")
            np.testing.assert_array_equal(got, fused[n * 16 : (n + 1) * 16])
        fused = self.variables["decoder/layer_0/attention/linear_1/weight"]
        np.testing.assert_array_equal(weights("decoder.layers.0.encoder_attn.v_proj.weight"), fused[16:])
        self.assertIsNone(weights("decoder.layers.0.encoder_attn.k_proj.bias"))
        self.assertEqual(locate("encoder.layers.3.fc2.bias"), ("encoder/layer_3/ffn/linear_1/bias", None))

    def test_a_cut_file_is_refused_wherever_it_is_cut(self):
        whole = pack(self.variables)
        for end in [*range(0, 200), *range(200, len(whole), 997), len(whole) - 1]:
            with self.assertRaises(BadWeights, msg=f"cut at {end}"):
                Weights(read_variables(whole[:end]))

    def test_garbled_headers_are_refused_or_read(self):
        whole = pack(self.variables)
        headers = [whole.index(name.encode()) - 2 for name in self.variables]
        draw = np.random.default_rng(1)
        for _ in range(2000):
            garbled = bytearray(whole)
            place = int(draw.choice(headers)) + int(draw.integers(0, 60))
            garbled[place] = draw.integers(0, 256)
            try:
                Weights(read_variables(bytes(garbled)))
            except BadWeights as why:
                self.assertNotIn("\n", str(why))

    def test_other_files_are_refused(self):
        self.refuse("format 7", version=7)
        self.refuse("TransformerSpec", kind="TransformerSpec")
        self.refuse("not the token embedding", aliases=[])
        self.refuse("bytes follow", pack(self.variables) + b"more")
        self.refuse("format", b"GGUF" + bytes(100))

    def test_other_models_are_refused(self):
        name = "decoder/layer_1/ffn/linear_0/weight"
        good = self.variables[name]
        for because, array in (
            (f"{name} has the shape [32, 15]", good[:, 1:]),
            ("expected are 2 dimensions", good.reshape(-1)),
            ("quantized already", good.astype(np.int8)),
        ):
            self.variables[name] = np.ascontiguousarray(array)
            self.refuse(because)
        del self.variables[name]
        self.refuse(f"{name} is missing")
        self.variables[name] = good
        self.variables["encoder/num_heads"] = np.array(3, np.int16)
        self.refuse("can't be shared by 3 heads")

    def test_values_that_are_not_finite_are_refused(self):
        self.variables["encoder/layer_0/ffn/linear_0/weight"][3, 4] = np.inf
        with self.assertRaisesRegex(BadWeights, "encoder/layer_0/ffn/linear_0/weight holds values"):
            Weights(self.variables)("encoder.layers.0.fc1.weight")


class Workplace(unittest.TestCase):
    """A model of a few thousand weights, and a place for what is made of it."""

    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.source, self.target = self.root / "source", self.root / "made" / "whisper"
        self.source.mkdir()
        self.environment = {}
        (self.source / "model.bin").write_bytes(pack(random_variables(DIMS, seed=1)))
        (self.source / "tokenizer.json").write_text(json.dumps(tokenizer()))
        facts = {"alignment_heads": [[1, 0]], "suppress_ids": [1, 4], "suppress_ids_begin": [2, 3], "lang_ids": [5, 6]}
        (self.source / "config.json").write_text(json.dumps(facts))

    def start(self, *arguments, tool="whisper_to_openvino.py", source=None):
        return subprocess.Popen(
            [sys.executable, str(TOOLS / tool), *arguments, str(source or self.source), str(self.target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )

    def run_tool(self, *arguments, **options):
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def assert_no_leftovers(self):
        beside = self.target.parent
        left = {path.name for path in beside.iterdir()} if beside.exists() else set()
        self.assertLessEqual(left, {self.target.name, ".lock"})

    def read(self, name):
        return json.loads((self.target / name).read_text())


class Program(Workplace):
    """whisper_to_openvino.py."""

    def convert(self, *arguments):
        code, out, err = self.run_tool(*arguments)
        self.assertEqual((code, err), (0, ""))
        self.assert_no_leftovers()
        return out

    def refuse(self, because):
        code, _, err = self.run_tool()
        self.assertEqual(code, 1, err)
        self.assertIn(because, err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertFalse(self.target.exists())
        self.assert_no_leftovers()

    def made(self):
        return {path.name for path in self.target.iterdir() if not path.name.startswith(".")}

    def test_makes_a_folder_as_optimum_does(self):
        out = self.convert()
        self.assertIn("openvino_decoder_model", out)
        beside = {"config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"}
        graphs = {f"openvino_{part}_model.{kind}" for part in ("encoder", "decoder") for kind in ("xml", "bin")}
        self.assertEqual(self.made(), beside | graphs)
        config, generation = self.read("config.json"), self.read("generation_config.json")
        sizes = (config["d_model"], config["decoder_layers"], config["num_mel_bins"], config["vocab_size"])
        self.assertEqual(sizes, (16, 2, 8, 15))
        self.assertEqual(generation["alignment_heads"], [[1, 0]])
        self.assertEqual((generation["suppress_tokens"], generation["begin_suppress_tokens"]), ([1, 4], [2, 3]))
        self.assertEqual((generation["eos_token_id"], generation["no_timestamps_token_id"]), (3, 12))
        self.assertEqual(self.read("tokenizer.json"), tokenizer())

    def test_a_target_that_is_there_is_left_alone(self):
        self.convert()
        before = {path.name: path.stat().st_mtime_ns for path in self.target.iterdir()}
        self.assertEqual(self.convert(), f"{self.target} is there\n")
        self.assertEqual({path.name: path.stat().st_mtime_ns for path in self.target.iterdir()}, before)

    def test_what_changed_is_made_anew(self):
        self.convert()
        self.convert("--form", "stateless")
        self.assertIn("openvino_decoder_with_past_model.xml", self.made())
        (self.target / "openvino_encoder_model.bin").write_bytes(b"cut")
        self.assertIn("converting", self.convert("--form", "stateless"))
        (self.source / "model.bin").write_bytes(pack(random_variables(DIMS, seed=2)))
        self.assertIn("converting", self.convert("--form", "stateless"))
        small = (self.target / "openvino_decoder_model.bin").stat().st_size
        self.convert("--form", "stateless", "--weights", "fp16")
        self.assertGreater((self.target / "openvino_decoder_model.bin").stat().st_size, small)

    def test_bad_sources_are_refused_in_one_line(self):
        for name in ("model.bin", "config.json", "tokenizer.json"):
            good = (self.source / name).read_bytes()
            for content in (b"", good[: len(good) // 2], b"\xff\x00 no such thing"):
                with self.subTest(name, content=content[:20]):
                    (self.source / name).write_bytes(content)
                    self.refuse(str(self.source / name))
            (self.source / name).unlink()
            self.refuse(f"{self.source / name} is missing")
            (self.source / name).write_bytes(good)

    def test_a_tokenizer_of_another_model_is_refused(self):
        other = tokenizer()
        other["added_tokens"][-1]["id"] = 51865
        (self.source / "tokenizer.json").write_text(json.dumps(other))
        self.refuse("the weights know 15 tokens")
        other["added_tokens"] = other["added_tokens"][:4]
        (self.source / "tokenizer.json").write_text(json.dumps(other))
        self.refuse("it has no <|translate|>")

    def test_a_folder_of_someone_else_is_left_alone(self):
        self.target.mkdir(parents=True)
        (self.target / "thesis.txt").write_text("years of work")
        code, _, err = self.run_tool()
        self.assertEqual((code, err.count("\n")), (1, 1), err)
        self.assertIn("did not make", err)
        self.assertEqual((self.target / "thesis.txt").read_text(), "years of work")

    def test_killed_in_the_middle_then_run_again(self):
        for sign in (signal.SIGKILL, signal.SIGTERM):
            with self.subTest(sign):
                process = self.start()
                self.assertIn("converting", process.stdout.readline())
                process.send_signal(sign)
                process.communicate(timeout=60)
                self.assertNotEqual(process.returncode, 0)
                self.assertFalse(self.target.exists())
        self.convert()

    def test_two_runs_do_not_clash(self):
        runs = [self.start() for _ in range(3)]
        results = [run.communicate(timeout=60) for run in runs]
        self.assertEqual([run.returncode for run in runs], [0, 0, 0], results)
        self.assertEqual(sum("converting" in out for out, _ in results), 1)
        self.assertIn("openvino_decoder_model.xml", self.made())

    def test_looking_imports_neither_numpy_nor_openvino(self):
        self.convert()
        for package in ("numpy", "openvino"):
            (self.root / f"{package}.py").write_text("raise ImportError('too costly')")
        self.environment = {"PYTHONPATH": str(self.root)}
        self.assertEqual(self.convert(), f"{self.target} is there\n")
        self.assertIn("too costly", self.run_tool("--form", "stateless")[2])


class Tiny(Workplace):
    """make_tiny_whisper.py: large-v3's vocabulary."""

    def test_adds_a_language_and_moves_what_follows(self):
        source = self.source / "tokenizer.json"
        code, _, err = self.run_tool("--form", "stateless", tool="make_tiny_whisper.py", source=source)
        self.assertEqual((code, err), (0, ""))
        made = self.read("tokenizer.json")
        ids = {token["content"]: token["id"] for token in made["added_tokens"]}
        self.assertEqual(list(ids.values()), list(range(3, 16)))
        self.assertEqual((ids["<|haw|>"], ids["<|yue|>"], ids["<|translate|>"], ids["<|0.02|>"]), (6, 7, 8, 15))
        self.assertEqual(made["post_processor"]["special_tokens"]["<|notimestamps|>"]["ids"], [13])
        generation = self.read("generation_config.json")
        self.assertEqual(generation["lang_to_id"], {"<|en|>": 5, "<|haw|>": 6, "<|yue|>": 7})
        self.assertEqual(generation["task_to_id"], {"transcribe": 9, "translate": 8})
        self.assertEqual(self.read("config.json")["num_mel_bins"], 128)
        self.assertEqual(self.read("preprocessor_config.json")["feature_size"], 128)

    def test_is_the_same_each_time(self):
        source = self.source / "tokenizer.json"
        contents = []
        for seed in ("1", "1", "2"):
            self.assertEqual(self.run_tool("--seed", seed, tool="make_tiny_whisper.py", source=source)[0], 0)
            contents.append((self.target / "openvino_decoder_model.bin").read_bytes())
            shutil.rmtree(self.target)
        self.assertEqual(contents[0], contents[1])
        self.assertNotEqual(contents[0], contents[2])

    def test_the_folders_of_make_models_fit_their_tokenizer(self):
        for form in ("", "-stateless"):
            folder = MODELS / f"tiny-random-whisper-128{form}"
            ids = {t["content"]: t["id"] for t in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]}
            generation = json.loads((folder / "generation_config.json").read_text())
            self.assertEqual(len(generation["lang_to_id"]), 100)
            self.assertEqual(ids["<|30.00|>"], json.loads((folder / "config.json").read_text())["vocab_size"] - 1)
            self.assertEqual(generation["no_timestamps_token_id"] + 1, ids["<|0.00|>"])


if __name__ == "__main__":
    unittest.main()
