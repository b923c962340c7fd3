#!/usr/bin/env python3
"""libfluid against OpenVINO GenAI's WhisperPipeline: same model folder, audio, threads, process.

    benches/whisper.py MODEL_FOLDER [--pairs 20] [--speech FILE.wav --text FILE.txt]

Prints a short file (JFK), where each pair is one run of either in turn; a long one, where --speech
gives it; loading with and without a cache; peak memory, in a process of its own for each. MODEL_FOLDER needs GenAI's
openvino_tokenizer.xml and openvino_detokenizer.xml. Needs the packages of tools/requirements.txt and
openvino-genai; the library is target/release/libfluid.so, or FLUID_LIBRARY.
"""

import argparse
import array
import ctypes as c
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
RATE = 16_000


class Audio(c.Structure):
    """`fluid_audio`."""

    _fields_ = [
        ("struct_size", c.c_uint32),
        ("kind", c.c_int32),
        ("data", c.c_void_p),
        ("bytes", c.c_size_t),
        ("rate", c.c_uint32),
        ("channels", c.c_uint32),
    ]


class Fluid:
    """The library through its C interface."""

    def __init__(self, folder, options):
        self.lib = c.CDLL(os.environ.get("FLUID_LIBRARY", str(ROOT / "target/release/libfluid.so")))
        self.lib.fluid_last_error.restype = c.c_char_p
        self.lib.fluid_string_free.argtypes = [c.c_void_p]
        self.engine, self.model = c.c_void_p(), c.c_void_p()
        self.check(self.lib.fluid_engine_new(None, c.byref(self.engine)))
        load = self.lib.fluid_load_model
        text = json.dumps(options).encode()
        self.check(load(self.engine, str(folder).encode(), text, None, None, c.byref(self.model)))

    def check(self, status):
        if status < 0:
            sys.exit(f"libfluid: {self.lib.fluid_last_error().decode()}")

    def run(self, samples, request):
        address, count = samples.buffer_info()
        audio = Audio(c.sizeof(Audio), 1, address, count * 4, RATE, 1)
        out = c.c_void_p()
        text = json.dumps(request).encode()
        transcribe = self.lib.fluid_transcribe
        self.check(transcribe(self.model, c.byref(audio), text, None, None, c.byref(out)))
        result = c.string_at(out).decode()
        self.lib.fluid_string_free(out)
        return json.loads(result)["text"]

    def free(self):
        self.lib.fluid_engine_free(self.engine)


class GenAI:
    """OpenVINO GenAI's pipeline."""

    def __init__(self, folder, cache=None):
        import openvino_genai

        self.pipeline = openvino_genai.WhisperPipeline(str(folder), "CPU", **({"CACHE_DIR": cache} if cache else {}))

    def run(self, samples, language=None):
        extra = {"language": f"<|{language}|>"} if language else {}
        return str(self.pipeline.generate(samples, return_timestamps=True, **extra))


def words(text):
    return re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split()


def word_error_rate(said, heard):
    """Edits from one to the other, over the words said."""
    said, heard = words(said), words(heard)
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1] / max(len(said), 1)


def read(path):
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2), path
        return array.array("f", (s / 32768 for s in array.array("h", file.readframes(file.getnframes()))))


def timed(work, *arguments):
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def pairs(count, name, seconds, said, ours, theirs):
    """Runs both in turn and prints a row."""
    for work in (ours, theirs):
        work()
    a, b = [], []
    for index in range(count):
        order = [(a, ours), (b, theirs)]
        for times, work in order if index % 2 == 0 else order[::-1]:
            spent, text = timed(work)
            times.append(spent)
            if index == 0:
                print(f"  {'libfluid' if work is ours else 'GenAI':9} WER {100 * word_error_rate(said, text):.1f} %")
    ours, theirs = statistics.median(a), statistics.median(b)
    print(
        f"{name}: libfluid {ours:.3f} s ({seconds / ours:.1f} times real time), GenAI {theirs:.3f} s "
        f"({seconds / theirs:.1f}), time ratio {ours / theirs:.2f}, speed ratio {theirs / ours:.2f}, {count} pairs",
        flush=True,
    )


def child(which, folder, options, audio):
    """Peak memory of one load and one long transcription, in a process of its own."""
    samples = array.array("f", Path(audio).read_bytes())
    if which == "fluid":
        Fluid(folder, options).run(samples, {"language": "en"})
    else:
        GenAI(folder).run(samples, "en")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--speech", help="a WAV file of 16 kHz, mono, 16 bit")
    parser.add_argument("--text", help="what is said in it")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--audio", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    models = Path(os.environ.get("FLUID_MODELS", ROOT / "models"))
    options = {"vad_model": str(models / "silero_vad_openvino_16k.onnx")}
    if arguments.child:
        return child(arguments.child, arguments.folder, options, arguments.audio)

    jfk = read(models / "jfk.wav")
    speech = read(arguments.speech) if arguments.speech else jfk
    # First, for a process begins with the peak of the one that made it.
    with tempfile.NamedTemporaryFile(suffix=".f32") as file:
        Path(file.name).write_bytes(speech.tobytes())
        peak = {}
        for which in ("fluid", "genai"):
            command = [sys.executable, __file__, arguments.folder, "--child", which, "--audio", file.name]
            peak[which] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"peak memory: libfluid {peak['fluid']} MB, GenAI {peak['genai']} MB, both with Python's own")
    loads = {"fluid": [], "genai": []}
    for _ in range(3):
        spent, fluid = timed(Fluid, arguments.folder, options)
        loads["fluid"].append(spent)
        fluid.free()
        spent, genai = timed(GenAI, arguments.folder)
        loads["genai"].append(spent)
    ours, theirs = (statistics.median(times) for times in loads.values())
    print(f"load: libfluid {ours:.2f} s, GenAI {theirs:.2f} s, ratio {ours / theirs:.2f}")
    with tempfile.TemporaryDirectory() as cache:
        cached = {**options, "cache_dir": cache + "/fluid"}
        first, fluid = timed(Fluid, arguments.folder, cached)
        fluid.free()
        second, fluid = timed(Fluid, arguments.folder, cached)
        fluid.free()
        timed(GenAI, arguments.folder, cache + "/genai")
        theirs, _ = timed(GenAI, arguments.folder, cache + "/genai")
        print(f"load with a cache: libfluid first {first:.2f} s, then {second:.2f} s; GenAI then {theirs:.2f} s")

    fluid = Fluid(arguments.folder, options)
    seconds = len(jfk) / RATE
    pairs(arguments.pairs, "JFK", seconds, JFK, lambda: fluid.run(jfk, {}), lambda: genai.run(jfk))
    if arguments.speech:
        text = Path(arguments.text).read_text()
        pairs(3, f"{arguments.speech}, {len(speech) / RATE:.0f} s", len(speech) / RATE, text,
              lambda: fluid.run(speech, {"language": "en"}), lambda: genai.run(speech, "en"))


if __name__ == "__main__":
    main()
