"""libfluid through its C interface, for the measurements: the library of FLUID_LIBRARY, or target/release."""

import ctypes as c
import json
import os
import time
from pathlib import Path

from timeline import Stream

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "target/release/libfluid.so"
TOKEN, END = 2, 100


class Failed(Exception):
    """A side does not do what is asked; the message says why, in one line."""


class Event(c.Structure):
    """`fluid_event`."""

    _fields_ = [
        ("struct_size", c.c_uint32),
        ("kind", c.c_int32),
        ("status", c.c_int32),
        ("choice", c.c_int32),
        ("token", c.c_int32),
        ("logprob", c.c_float),
        ("text", c.c_char_p),
        ("text_len", c.c_size_t),
        ("json", c.c_char_p),
        ("json_len", c.c_size_t),
        ("start", c.c_double),
        ("end", c.c_double),
        ("progress", c.c_double),
        ("elapsed", c.c_double),
        ("age", c.c_double),
    ]


class Model:
    """An engine with one model in it."""

    def __init__(self, path, options, engine_options=None, library=None):
        self.lib = c.CDLL(str(library or os.environ.get("FLUID_LIBRARY", LIBRARY)))
        self.lib.fluid_last_error.restype = c.c_char_p
        self.lib.fluid_version.restype = c.c_char_p
        self.lib.fluid_string_free.argtypes = [c.c_void_p]
        self.lib.fluid_job_free.argtypes = [c.c_void_p]
        self.engine, self.model = c.c_void_p(), c.c_void_p()
        engine_options = json.dumps(engine_options or {}).encode()
        self.check(self.lib.fluid_engine_new(engine_options, c.byref(self.engine)))
        text = json.dumps(options).encode()
        load = self.lib.fluid_load_model
        self.check(load(self.engine, str(path).encode(), text, None, None, c.byref(self.model)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()

    def check(self, status):
        if status < 0:
            raise Failed(f"libfluid: {self.lib.fluid_last_error().decode()}")
        return status

    def free(self):
        self.lib.fluid_engine_free(self.engine)

    def run(self, requests, later=None):
        """The requests' streams, started together; `later` is (tokens of the first stream, request)."""
        return Run(self, requests, later).streams()


class Run:
    """Requests that run together, read by this thread through one queue."""

    def __init__(self, model, requests, later):
        self.model, self.later = model, later
        self.queue = c.c_void_p()
        model.check(model.lib.fluid_queue_new(c.byref(self.queue)))
        # Made before the first is started: no request waits for the JSON of another.
        texts = [json.dumps(request).encode() for request in requests]
        self.later_text = json.dumps(later[1]).encode() if later else None
        self.jobs, self.starts, self.times, self.results = [], [], {}, {}
        for text in texts:
            self.start(text)

    def start(self, text):
        lib, job = self.model.lib, c.c_void_p()
        self.starts.append(time.perf_counter())
        self.model.check(lib.fluid_generate_start(self.model.model, text, c.byref(job)))
        self.model.check(lib.fluid_job_attach(job, self.queue))
        self.jobs.append(job.value)
        self.times[job.value] = []

    def read(self):
        """Reads events until each job has its end."""
        lib, job, event = self.model.lib, c.c_void_p(), c.POINTER(Event)()
        next_event, out = lib.fluid_queue_next, (c.byref(job), c.byref(event))
        while len(self.results) < len(self.jobs):
            self.model.check(next_event(self.queue, -1, *out))
            now, kind = time.perf_counter(), event.contents.kind
            if kind == TOKEN and event.contents.token >= 0:
                self.times[job.value].append(now)
                if self.later and len(self.times[self.jobs[0]]) >= self.later[0]:
                    self.later = None
                    self.start(self.later_text)
            elif kind == END:
                if event.contents.status != 0:
                    raise Failed(f"libfluid: {event.contents.text.decode()}")
                self.results[job.value] = event.contents.json

    def streams(self):
        try:
            self.read()
        finally:
            for job in self.jobs:
                self.model.lib.fluid_job_free(job)
            self.model.lib.fluid_queue_free(self.queue)
        return [self.stream(job, start) for job, start in zip(self.jobs, self.starts)]

    def stream(self, job, start):
        result = json.loads(self.results[job])
        usage = result["usage"]
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        predicted = result["timings"]["predicted_ms"] / 1e3
        return Stream(start, self.times[job], usage["completion_tokens"], cached, predicted)


# Each end-of-answer token of the test model, banned: every run has its length.
NO_END = {"0": -100, "2": -100}


def request(prompt, max_tokens):
    """Continues `prompt`, token ids, by `max_tokens` tokens, always the likeliest."""
    return {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "logit_bias": NO_END}
