#!/usr/bin/env python3
"""libfluid against OpenVINO GenAI's WhisperPipeline: same model folder, audio, threads, process.

    benches/whisper.py MODEL_FOLDER [--pairs 20] [--speech FILE.wav --text FILE.txt] [--json FILE]

Prints, and for --json writes as rows of samples: a short file (JFK), where each pair is one run of
either in turn; a long one, where --speech gives it; loading with and without a cache; peak memory, in
a process of its own for each. MODEL_FOLDER needs GenAI's openvino_tokenizer.xml and
openvino_detokenizer.xml. Needs the packages of tools/requirements.txt and openvino-genai
(tools/build_peers.py brings both); the library is target/release/libfluid.so, or FLUID_LIBRARY.
"""

import argparse
import array
import ctypes as c
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import libfluid

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


class Fluid(libfluid.Model):
    """A Whisper model through the C interface."""

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
    """Runs both in turn, prints a row and gives it: the times of each, and the word error rates."""
    for work in (ours, theirs):
        work()
    a, b, errors = [], [], {}
    for index in range(count):
        order = [(a, ours), (b, theirs)]
        for times, work in order if index % 2 == 0 else order[::-1]:
            spent, text = timed(work)
            times.append(spent)
            if index == 0:
                errors[work] = 100 * word_error_rate(said, text)
                print(f"  {'libfluid' if work is ours else 'GenAI':9} WER {errors[work]:.1f} %")
    our_time, their_time = statistics.median(a), statistics.median(b)
    print(
        f"{name}: libfluid {our_time:.3f} s ({seconds / our_time:.1f} times real time), GenAI {their_time:.3f} s "
        f"({seconds / their_time:.1f}), time ratio {our_time / their_time:.2f}, "
        f"speed ratio {their_time / our_time:.2f}, {count} pairs",
        flush=True,
    )
    wer = row(f"{name}, word error rate", "%", [errors[ours]], [errors[theirs]])
    return a, b, wer


def row(name, unit, ours, theirs, higher_is_better=False):
    """A row of samples as benches/side_by_side.py reads it."""
    return {"name": name, "unit": unit, "ours": ours, "theirs": theirs, "higher_is_better": higher_is_better}


def child(which, folder, options, audio):
    """Peak memory of one load and one long transcription, in a process of its own."""
    samples = array.array("f", Path(audio).read_bytes())
    if which == "fluid":
        Fluid(folder, options).run(samples, {"language": "en"})
    else:
        GenAI(folder).run(samples, "en")
    # Not ru_maxrss, which begins with the peak of the process that made this one.
    print(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)


def peak_memory(folder, speech):
    """Of a load and the speech, each side in a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".f32") as file:
        Path(file.name).write_bytes(speech.tobytes())
        peak = {}
        for which in ("fluid", "genai"):
            command = [sys.executable, __file__, folder, "--child", which, "--audio", file.name]
            peak[which] = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"peak memory: libfluid {peak['fluid']} MB, GenAI {peak['genai']} MB, both with Python's own", flush=True)
    return [row("peak memory, with Python's own", "MB", [peak["fluid"]], [peak["genai"]])]


def loads(folder, options):
    times = {"fluid": [], "genai": []}
    for _ in range(3):
        spent, fluid = timed(Fluid, folder, options)
        times["fluid"].append(spent)
        fluid.free()
        spent, genai = timed(GenAI, folder)
        times["genai"].append(spent)
        del genai
    ours, theirs = (statistics.median(spent) for spent in times.values())
    print(f"load: libfluid {ours:.2f} s, GenAI {theirs:.2f} s, ratio {ours / theirs:.2f}")
    with tempfile.TemporaryDirectory() as cache:
        cached = {**options, "cache_dir": cache + "/fluid"}
        first, fluid = timed(Fluid, folder, cached)
        fluid.free()
        second, fluid = timed(Fluid, folder, cached)
        fluid.free()
        timed(GenAI, folder, cache + "/genai")
        theirs, _ = timed(GenAI, folder, cache + "/genai")
    print(f"load with a cache: libfluid first {first:.2f} s, then {second:.2f} s; GenAI then {theirs:.2f} s")
    return [row("load", "s", times["fluid"], times["genai"]), row("load with a cache", "s", [second], [theirs])]


def speeds(folder, options, jfk, speech, said, count):
    """The short file and, where there is one, the long one."""
    fluid, genai = Fluid(folder, options), GenAI(folder)
    seconds = len(jfk) / RATE
    a, b, wer = pairs(count, "JFK", seconds, JFK, lambda: fluid.run(jfk, {}), lambda: genai.run(jfk))
    rows = [row(f"JFK, {seconds:.0f} s of audio", "s", a, b), wer]
    if speech:
        seconds = len(speech) / RATE
        ours, theirs = (lambda: fluid.run(speech, {"language": "en"})), (lambda: genai.run(speech, "en"))
        a, b, wer = pairs(min(count, 3), f"{seconds:.0f} s of speech", seconds, said, ours, theirs)
        speed = [[seconds / spent for spent in times] for times in (a, b)]
        rows += [row(f"{seconds:.0f} s of speech", "times real time", *speed, higher_is_better=True), wer]
    fluid.free()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--speech", help="a WAV file of 16 kHz, mono, 16 bit")
    parser.add_argument("--text", help="what is said in it")
    parser.add_argument("--json", help="a file for the samples")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--audio", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    models = Path(os.environ.get("FLUID_MODELS", ROOT / "models"))
    options = {"vad_model": str(models / "silero_vad_openvino_16k.onnx")}
    if arguments.child:
        return child(arguments.child, arguments.folder, options, arguments.audio)

    jfk = read(models / "jfk.wav")
    speech = read(arguments.speech) if arguments.speech else None
    said = Path(arguments.text).read_text() if arguments.speech else ""
    rows = peak_memory(arguments.folder, speech or jfk)
    rows += loads(arguments.folder, options)
    rows += speeds(arguments.folder, options, jfk, speech, said, arguments.pairs)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows))


if __name__ == "__main__":
    try:
        main()
    except libfluid.Failed as why:
        sys.exit(str(why))
