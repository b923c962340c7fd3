"""What the tests share: the library under test, the models, loaded once, and children that run a program."""

import os
import subprocess
import sys
import textwrap
import time
import unittest
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "bindings/python"
MODELS = Path(os.environ.get("FLUID_MODELS", ROOT / "models"))
CHAT_MODEL = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
SPEECH_MODEL = MODELS / "whisper-base-int8-ov"
EMBEDDING_MODEL = MODELS / "minilm-gguf/q8_0.gguf"
RERANKER = MODELS / "minilm-gguf/tiny-reranker.gguf"
TINY_MODEL = MODELS / "tiny-random-gguf/llama.gguf"
# Hears English alone, in half the time: for children, which load their own.
SMALL_SPEECH_MODEL = MODELS / "whisper-tiny.en-int8-ov"
SPEECH = MODELS / "jfk.wav"

os.environ.setdefault("FLUID_LIBRARY", str(ROOT / "target/release"))
sys.path.insert(0, str(PACKAGE))
sys.path.append(str(ROOT / "examples/server/tests/clients"))

import fluid_ai  # noqa: E402

CHAT = [{"role": "user", "content": "What is the capital of France?"}]
# An answer that goes on for longer than any test lets it.
ENDLESS = {"ignore_eos": True, "context_shift": True, "max_tokens": 1_000_000}

# How long anything may take that is promised soon; only what hangs reaches it.
PATIENCE = 120


# Threads of one model wait for each other by spinning, which is dear where other processes want the cores.
ALONE = {"n_threads": 1}


@lru_cache(maxsize=None)
def engine():
    return fluid_ai.Engine()


@lru_cache(maxsize=None)
def chat_model():
    return engine().load_model(CHAT_MODEL, ALONE, n_ctx=2048, n_parallel=4)


@lru_cache(maxsize=None)
def tiny_model():
    """Says nothing of sense, thousands of tokens a second."""
    return engine().load_model(TINY_MODEL, ALONE, n_ctx=512, n_parallel=4)


@lru_cache(maxsize=None)
def speech_model():
    return engine().load_model(SPEECH_MODEL)


@lru_cache(maxsize=None)
def embedding_model():
    return engine().load_model(EMBEDDING_MODEL, ALONE)


def eventually(test, holds, what):
    """Waits until `holds()` does."""
    until = time.monotonic() + PATIENCE
    while not holds():
        test.assertLess(time.monotonic(), until, what)
        time.sleep(0.01)


def running_jobs():
    """Jobs of the shared engine that have not ended."""
    return sum(model["jobs"] for model in engine().info()["models"])


class QuietTest(unittest.TestCase):
    """No test leaves a job running."""

    def tearDown(self):
        eventually(self, lambda: running_jobs() == 0, "a job still runs")


def environment(**more):
    paths = os.pathsep.join([str(PACKAGE), str(PACKAGE / "tests")])
    return {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8", **more}


def child(program, **more):
    """Starts Python with a program that can import this module."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment(**more))


def finish(test, process, code=0):
    """What a child wrote to stdout; it has to end by itself, with `code` and without a word on stderr."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        test.fail(f"the child does not end: {process.communicate()}")
    test.assertEqual((process.returncode, err), (code, ""), out)
    return out
