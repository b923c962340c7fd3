"""Embeddings per second against llama-server's: the same model, texts and threads, taken in turn."""

import ctypes as c
import json
import random
import time

import libfluid
import llama_server
from libfluid import Failed
from rows import Figure, in_turn, rows_of, speech

TEXTS, LONG_TEXTS, REQUESTS = 256, 32, 64
SHORT_WORDS, LONG_WORDS = 16, 200
SLOTS = 32
LEAST_COSINE = 0.999


def texts(count, words, seed):
    """Texts of so many English words in random order."""
    known = speech().split()
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(known, k=words)) for _ in range(count)]


class Fluid:
    """libfluid's side."""

    def __init__(self, setting, model):
        self.model = libfluid.Model(model, {"n_threads": setting.threads})

    def free(self):
        self.model.free()

    def run(self, inputs):
        """Seconds for requests of these inputs, started together, and the vectors of each."""
        lib, check = self.model.lib, self.model.check
        bodies = [json.dumps({"input": one}).encode() for one in inputs]
        jobs = [c.c_void_p() for _ in bodies]
        event = c.POINTER(libfluid.Event)()
        start = time.perf_counter()
        for body, job in zip(bodies, jobs):
            check(lib.fluid_embed_start(self.model.model, body, c.byref(job)))
        for job in jobs:
            check(lib.fluid_job_next(job, -1, c.byref(event)))
            while event.contents.kind != libfluid.END:
                check(lib.fluid_job_next(job, -1, c.byref(event)))
            if event.contents.status != 0:
                raise Failed(f"libfluid: {event.contents.text.decode()}")
        seconds = time.perf_counter() - start
        vectors = [self.floats(job) for job in jobs]
        for job in jobs:
            lib.fluid_job_free(job)
        return seconds, vectors

    def floats(self, job):
        data, count, width = c.POINTER(c.c_float)(), c.c_size_t(), c.c_size_t()
        self.model.check(self.model.lib.fluid_job_floats(job, c.byref(data), c.byref(count), c.byref(width)))
        return [data[n * width.value : (n + 1) * width.value] for n in range(count.value)]


class Server:
    """llama-server's side."""

    def __init__(self, setting, model):
        program = setting.programs / "llama-server"
        self.server = llama_server.Server(
            program, model, SLOTS, 512, setting.threads, setting.log, ("--embedding", "--pooling", "mean")
        )

    def free(self):
        self.server.free()

    def run(self, inputs):
        seconds, bodies = self.server.post_all("/v1/embeddings", [{"input": one} for one in inputs])
        answers = [sorted(body["data"], key=lambda entry: entry["index"]) for body in bodies]
        return seconds, [[entry["embedding"] for entry in answer] for answer in answers]


def cosine(a, b):
    dot = lambda x, y: sum(p * q for p, q in zip(x, y))
    return dot(a, b) / (dot(a, a) * dot(b, b)) ** 0.5


def check_alike(ours, theirs):
    """Both sides compute the same thing."""
    for mine, other in zip(ours, theirs):
        for a, b in zip(mine, other, strict=True):
            if cosine(a, b) < LEAST_COSINE:
                raise Failed(f"libfluid and llama-server disagree: cosine {cosine(a, b):.4f}")


def measure(setting, model):
    workloads = {
        f"one request of {TEXTS} short texts": lambda seed: [texts(TEXTS, SHORT_WORDS, seed)],
        f"one request of {LONG_TEXTS} texts of {LONG_WORDS} words": lambda seed: [texts(LONG_TEXTS, LONG_WORDS, seed)],
        f"{REQUESTS} requests of a short text": lambda seed: [[text] for text in texts(REQUESTS, SHORT_WORDS, seed)],
    }
    sides = []
    try:
        sides.append(Fluid(setting, model))
        sides.append(Server(setting, model))
        rows = []
        for name, make in workloads.items():
            inputs = make(1)
            check_alike(*(side.run(inputs)[1] for side in sides))  # and both are warm
            count = sum(map(len, inputs))
            speeds = [lambda side=side: (count / side.run(inputs)[0],) for side in sides]
            a, b = in_turn(setting, name, *speeds)
            figure = Figure(name, "texts/s", aim=("ratio", ">=", 1.1))
            rows += rows_of("Embeddings, all-MiniLM-L6-v2 in f16", "llama-server", [figure], a, b)
        return rows
    finally:
        for side in sides:
            side.free()
