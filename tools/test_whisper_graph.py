"""The graphs of whisper_graph.py: against Whisper in numpy, form against form, and on real speech."""

import json
import os
import sys
import unittest
from pathlib import Path

import numpy as np
import openvino as ov

TOOLS = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

import whisper_graph as graph  # noqa: E402
from random_weights import random_weights  # noqa: E402
from reference_whisper import Reference, log_mel, read_wav  # noqa: E402
from whisper_dims import Dims  # noqa: E402
from whisper_layers import quantize  # noqa: E402

MODELS = Path(os.environ.get("FLUID_MODELS") or TOOLS.parent / "models")
SHARED = Path(os.environ.get("FLUID_SHARED") or TOOLS.parent.parent / "shared")
OPTIMUM = SHARED / "models" / "whisper-base-int8-ov"  # optimum-intel's own export, where there is one
SMALL = Dims(8, 32, 2, 2, 2, 2, 64, 97, 1500, 40)
# Exact: neither bf16 nor a quantized cache, which processors choose by themselves.
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
JFK = " And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."


def compile(model):
    return ov.Core().compile_model(model, "CPU", EXACT)


class Stateful:
    """Runs the stateful decoder."""

    def __init__(self, decoder, encoded):
        self.request, self.encoded = compile(decoder).create_infer_request(), encoded

    def step(self, ids, beams=None):
        beams = np.arange(len(ids), dtype=np.int32) if beams is None else np.array(beams, np.int32)
        inputs = {"input_ids": np.array(ids), "encoder_hidden_states": self.encoded, "beam_idx": beams}
        return self.request.infer(inputs)["logits"].copy()


class Stateless:
    """Runs the decoder without a past, then the one with it."""

    def __init__(self, decoder, with_past, encoded):
        self.first, self.later, self.encoded = compile(decoder), compile(with_past), encoded
        self.past = {}

    def step(self, ids):
        run = self.later if self.past else self.first
        results = run({"input_ids": np.array(ids), "encoder_hidden_states": self.encoded, **self.past})
        for output, value in results.items():
            name = output.any_name
            if name.startswith("present."):
                self.past[name.replace("present.", "past_key_values.")] = value.copy()
        return results["logits"].copy()


class Graphs(unittest.TestCase):
    """One small random Whisper, in f16 weights: what the graphs compute."""

    @classmethod
    def setUpClass(cls):
        cls.weights = random_weights(SMALL, seed=7)
        cls.mel = np.random.default_rng(3).standard_normal((2, SMALL.mels, 3000)).astype(np.float32)
        reference = Reference(cls.weights)
        cls.encoded = np.stack([reference.encode(mel) for mel in cls.mel]).astype(np.float32)
        cls.reference = reference

    def decoder(self, kind, int8=False):
        return graph.decoder(self.weights, SMALL, int8, kind)

    def forms(self, rows, int8=False):
        encoded = self.encoded[:rows]
        yield Stateful(self.decoder(graph.StatefulCache, int8), encoded)
        kinds = graph.EmptyCache, graph.PassedCache
        yield Stateless(*(self.decoder(kind, int8) for kind in kinds), encoded)

    def expect(self, tokens, row):
        return self.reference.decode(tokens, self.encoded[row].astype(np.float64))

    def test_encoder_computes_what_whisper_does(self):
        run = compile(graph.encoder(self.weights, SMALL, int8=False))
        np.testing.assert_allclose(run(self.mel)["last_hidden_state"], self.encoded, atol=2e-4)

    def test_decoders_compute_what_whisper_does(self):
        tokens = [3, 14, 15, 92, 65, 35]
        expected = self.expect(tokens, 0)
        for form in self.forms(rows=1):
            with self.subTest(type(form).__name__):
                pieces = [form.step([tokens[:3]])] + [form.step([[token]]) for token in tokens[3:]]
                np.testing.assert_allclose(np.concatenate(pieces, 1)[0], expected, atol=2e-4)

    def test_rows_of_a_batch_do_not_touch(self):
        rows = [[5, 6, 7, 8], [9, 10, 11, 12]]
        for form in self.forms(rows=2):
            with self.subTest(type(form).__name__):
                pieces = [form.step([row[:2] for row in rows])]
                pieces += [form.step([[row[n]] for row in rows]) for n in (2, 3)]
                for row, got in enumerate(np.concatenate(pieces, 1)):
                    np.testing.assert_allclose(got, self.expect(rows[row], row), atol=2e-4)

    def test_beam_idx_moves_the_self_attention_of_rows(self):
        run = Stateful(self.decoder(graph.StatefulCache), self.encoded[[0, 0]])
        run.step([[5, 6], [9, 10]])
        got = run.step([[7], [8]], beams=[1, 1])
        for row, token in enumerate((7, 8)):
            np.testing.assert_allclose(got[row, 0], self.expect([9, 10, token], 0)[-1], atol=2e-4)

    def test_a_new_request_starts_empty(self):
        model = compile(self.decoder(graph.StatefulCache))
        inputs = {
            "input_ids": np.array([[5, 6]]),
            "encoder_hidden_states": self.encoded[:1],
            "beam_idx": np.zeros(1, np.int32),
        }
        first = model.create_infer_request().infer(inputs)["logits"].copy()
        np.testing.assert_array_equal(model.create_infer_request().infer(inputs)["logits"], first)

    def test_int8_forms_agree(self):
        tokens = [3, 14, 15, 92, 65, 35]
        stateful, stateless = self.forms(rows=1, int8=True)
        for ids in (tokens[:3], *([token] for token in tokens[3:])):
            np.testing.assert_allclose(stateful.step([ids]), stateless.step([ids]), atol=1e-4)

    def test_int8_stays_near(self):
        tokens = [3, 14, 15, 92]
        logits = next(self.forms(rows=1, int8=True)).step([tokens])[0]
        expected = self.expect(tokens, 0)
        self.assertGreater(cosine(logits, expected), 0.999)

    def test_names_are_those_of_the_exports(self):
        stateful = self.decoder(graph.StatefulCache)
        self.assertEqual(names(stateful.inputs), ["input_ids", "encoder_hidden_states", "beam_idx"])
        self.assertEqual(names(stateful.outputs), ["logits"])
        sides = [f"0.{side}.{what}" for side in ("decoder", "encoder") for what in ("key", "value")]
        first, later = self.decoder(graph.EmptyCache), self.decoder(graph.PassedCache)
        self.assertEqual(names(first.inputs), ["input_ids", "encoder_hidden_states"])
        self.assertEqual(names(first.outputs)[:5], ["logits"] + [f"present.{side}" for side in sides])
        self.assertEqual(names(later.inputs)[2:6], [f"past_key_values.{side}" for side in sides])
        self.assertEqual(names(later.outputs)[:3], ["logits"] + [f"present.{side}" for side in sides[:2]])
        for model in (stateful, first, later):
            kind = "ScaledDotProductAttention"
            attentions = [op.friendly_name for op in model.get_ops() if op.get_type_name() == kind]
            for n in range(SMALL.decoder_layers):
                self.assertEqual(sum(f".layers.{n}.encoder_attn/" in name for name in attentions), 1)


class Quantization(unittest.TestCase):
    def rows(self):
        draw = np.random.default_rng(5).standard_normal((6, 64)).astype(np.float32)
        draw[1] = np.abs(draw[1]) + 3  # far from zero
        draw[2] = -np.abs(draw[2])
        draw[3] = 0
        draw[4] *= 1e-9  # below what f16 scales reach
        draw[5, 7] = 300  # one outlier
        return draw

    def test_error_is_bounded_by_the_scale(self):
        rows = self.rows()
        codes, zero, scale = quantize(rows)
        back = (codes.astype(np.float32) - zero) * scale.astype(np.float32)
        error = np.abs(back - rows) / np.maximum(scale.astype(np.float32), 1e-12)
        self.assertLessEqual(error.max(), 1.001)
        self.assertLessEqual(np.median(error), 0.5)
        self.assertTrue((back[3] == 0).all())

    def test_kernels_keep_a_scale_per_output(self):
        codes, zero, scale = quantize(self.rows().reshape(6, 16, 4))
        self.assertEqual((codes.shape, zero.shape, scale.shape), ((6, 16, 4), (6, 1, 1), (6, 1, 1)))


class RealSpeech(unittest.TestCase):
    """Whisper base on JFK: the converted folders of `make models`."""

    @classmethod
    def setUpClass(cls):
        cls.mel = log_mel(read_wav(MODELS / "jfk.wav"), 80)
        cls.folder = MODELS / "whisper-base-int8-ov"
        cls.encoded = encode(cls.folder, cls.mel)
        cls.config = json.loads((cls.folder / "generation_config.json").read_text())

    def test_the_english_model_says_them_too(self):
        folder = MODELS / "whisper-tiny.en-int8-ov"
        config = json.loads((folder / "generation_config.json").read_text())
        prompt = [config["decoder_start_token_id"], config["no_timestamps_token_id"]]
        said = greedy(Stateful(folder / "openvino_decoder_model.xml", encode(folder, self.mel)), prompt, config)
        self.assertEqual(text(folder, said).replace(",", ""), JFK.replace(",", ""))
        self.assertFalse(config["is_multilingual"])

    def prompt(self):
        config = self.config
        tasks = config["lang_to_id"]["<|en|>"], config["task_to_id"]["transcribe"], config["no_timestamps_token_id"]
        return [config["decoder_start_token_id"], *tasks]

    def test_both_forms_say_jfks_words_token_for_token(self):
        decoder = Stateful(self.folder / "openvino_decoder_model.xml", self.encoded)
        stateful = greedy(decoder, self.prompt(), self.config)
        self.assertEqual(text(self.folder, stateful), JFK)
        folder = MODELS / "whisper-base-int8-stateless-ov"
        decoders = (folder / f"openvino_decoder{name}_model.xml" for name in ("", "_with_past"))
        stateless = greedy(Stateless(*decoders, encode(folder, self.mel)), self.prompt(), self.config)
        self.assertEqual(stateless, stateful)

    def test_it_computes_what_optimums_export_does(self):
        if not OPTIMUM.exists():
            print(f"\n{OPTIMUM} is not on this machine: the numpy reference alone vouches for the graphs")
            return
        theirs = encode(OPTIMUM, self.mel)
        self.assertGreater(cosine(theirs, self.encoded), 0.998)
        logits = [
            Stateful(folder / "openvino_decoder_model.xml", theirs).step([self.prompt()])
            for folder in (OPTIMUM, self.folder)
        ]
        self.assertGreater(cosine(*logits), 0.9999)
        ours, other = (json.loads((folder / "generation_config.json").read_text()) for folder in (self.folder, OPTIMUM))
        self.assertEqual(ours, {key: other.get(key) for key in ours})


def greedy(decoder, prompt, config, most=40):
    """The likeliest tokens up to the end of text."""
    said, ids = [], prompt
    while len(said) < most:
        logits = decoder.step([ids])[0, -1]
        logits[config["suppress_tokens"]] = -np.inf
        ids = [int(logits.argmax())]
        if ids[0] == config["eos_token_id"]:
            break
        said += ids
    return said


def names(ports):
    return [port.any_name for port in ports]


def cosine(a, b):
    a, b = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def encode(folder, mel):
    return compile(folder / "openvino_encoder_model.xml")(mel)["last_hidden_state"]


def text(folder, ids):
    """Undoes the byte-level alphabet of tokenizer.json, for ASCII."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    by_id = {number: token for token, number in vocabulary.items()}
    return "".join(by_id[number] for number in ids).replace("\u0120", " ")


if __name__ == "__main__":
    unittest.main()
