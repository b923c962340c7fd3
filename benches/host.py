"""fluid-server beside llama-server: requests a second, time to first token, start, memory, size."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import clients
import llama_server
import rows
from libfluid import Failed

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "target/release/fluid-server"
PEER = "llama-server"
CONTEXT = 8_192  # of a slot: the model's own, which fluid-server takes
WARM_UP_TOKENS = 4


class Host(llama_server.Server):
    """A fluid-server, with its log in `log`; a model in its folder if one is named. Leaving the `with` ends it."""

    name = "fluid-server"

    def __init__(self, log, model=None, slots=1, more=()):
        self.scratch = tempfile.TemporaryDirectory(prefix="fluid-bench-")
        folder = Path(self.scratch.name)
        (folder / "llm").mkdir()
        if model:
            (folder / "llm/smollm2.gguf").symlink_to(model.resolve())
        flags = ["--model-path", folder, "--llm-model", "smollm2", "--workers", slots, "--idle-timeout", 0]
        self.start(os.environ.get("FLUID_SERVER", SERVER), [*flags, "--offline", "--log-level", "WARNING", *more], log)

    def free(self):
        super().free()
        self.scratch.cleanup()


class Router(llama_server.Server):
    """A llama-server without a model: it would load those of a folder, which is empty."""

    def __init__(self, setting):
        self.scratch = tempfile.TemporaryDirectory(prefix="fluid-bench-")
        flags = ["--models-dir", self.scratch.name, "--no-webui"]
        self.start(setting.programs / PEER, flags, setting.log)

    def free(self):
        super().free()
        self.scratch.cleanup()


class Pair:
    """Both servers with the same model and slots."""

    def __init__(self, setting, slots):
        if setting.threads != len(os.sched_getaffinity(0)):
            raise Failed("fluid-server takes all cores; leave --threads away")
        program = setting.programs / PEER
        self.peer = llama_server.Server(program, setting.model, slots, CONTEXT, setting.threads, setting.log)
        try:
            words = rows.speech().split()
            self.prompts = rows.Prompts(words)
            self.host = Host(log_of(setting), setting.model, slots)
        except BaseException:
            self.peer.free()
            raise

    def __enter__(self):
        try:
            self.host.wait()
            for server in (self.host, self.peer):
                clients.by_sockets(server, self.requests(1, 8, WARM_UP_TOKENS, False), 1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.host.free()
        self.peer.free()

    def requests(self, count, words, tokens, stream):
        """Questions of `words` words in random order."""
        texts = [" ".join(self.prompts.next(words)) for _ in range(count)]
        return [clients.question(text, tokens, stream) for text in texts]


def log_of(setting):
    return setting.log.with_name("fluid-server.log")


# Requests a second, time to first token


def load(setting, section, ask, slots, count, requests, words, tokens):
    """`count` clients ask for whole answers, then for streams."""

    def measure(server):
        whole = ask(server, pair.requests(requests, words, tokens, False), count)
        streams = ask(server, pair.requests(requests, words, tokens, True), count)
        return whole.per_second(requests), streams.per_second(requests), streams.mean_first(), streams.p95_first()

    if setting.quick:
        requests = count
    with Pair(setting, slots) as pair:
        a, b = rows.in_turn(setting, section, lambda: measure(pair.host), lambda: measure(pair.peer))
    return rows.rows_of(section, PEER, FIGURES, a, b)


FIGURES = [
    rows.Figure("requests, answered whole", "a second", aim=("ratio", ">=", 1.05)),
    rows.Figure("requests, streamed", "a second", aim=("ratio", ">=", 1.05)),
    rows.Figure("time to first token, mean", "ms", False, ("ratio", "<=", 0.95)),
    rows.Figure("time to first token, 95 % of requests", "ms", False, ("ratio", "<=", 0.95)),
]


def loads(setting):
    sockets, openai = clients.by_sockets, clients.by_openai
    return [
        *load(setting, "HTTP, 16 clients on 8 slots, answers of 16 tokens", sockets, 8, 16, 32, 20, 16),
        *load(setting, "HTTP, 16 clients on 8 slots, answers of one token", sockets, 8, 16, 64, 4, 1),
        *load(setting, "HTTP, one client, answers of 16 tokens", sockets, 1, 1, 8, 20, 16),
        *load(setting, "HTTP, one client, answers of one token", sockets, 1, 1, 24, 4, 1),
        *load(setting, "HTTP, 8 of OpenAI's Python clients on 8 slots, answers of 16 tokens", openai, 8, 8, 24, 20, 16),
    ]


# Start, memory, size


def resident(server):
    """MB of memory that the process has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024 / 1e6


def without_model(make):
    """Milliseconds to the first 200 of /health, MB of memory."""
    server = make()
    try:
        return server.wait(0.0005) * 1e3, resident(server)
    finally:
        server.free()


def with_model(make):
    """Milliseconds from the start to the first token of the first answer, MB of memory after it."""
    server = make()
    try:
        server.wait(0.0005)
        load = clients.by_sockets(server, [clients.question("Hello!", WARM_UP_TOKENS, True)], 1)
        waited = time.perf_counter() - server.began
        return (waited - load.seconds + load.firsts[0]) * 1e3, resident(server)
    finally:
        server.free()


def stripped(program):
    """MB of a program without its symbols."""
    with tempfile.NamedTemporaryFile() as copy:
        subprocess.run(["strip", "-o", copy.name, str(program)], check=True)
        return os.path.getsize(copy.name) / 1e6


def start(setting):
    program, log = setting.programs / PEER, log_of(setting)
    empty = lambda: Host(log, more=["--no-warm-up"])
    alone = rows.in_turn(setting, "start", lambda: without_model(empty), lambda: without_model(lambda: Router(setting)))
    full = lambda: Host(log, setting.model, 8)
    peer = lambda: llama_server.Server(program, setting.model, 8, CONTEXT, setting.threads, setting.log)
    loaded = rows.in_turn(setting, "start with a model", lambda: with_model(full), lambda: with_model(peer))
    section = "HTTP, start and size"
    return [
        *rows.rows_of(section, PEER, WITHOUT_MODEL, *alone),
        *rows.rows_of(section, PEER, WITH_MODEL, *loaded),
        *rows.rows_of(section, PEER, SIZE, [(stripped(SERVER),)], [(stripped(program),)]),
    ]


WITHOUT_MODEL = [
    rows.Figure("start to the first 200 of /health, without a model", "ms", False, ("libfluid", "<=", 50)),
    rows.Figure("resident memory without a model", "MB", False),
]
WITH_MODEL = [
    rows.Figure("start to the first token, 8 slots", "ms", False),
    rows.Figure("resident memory after it", "MB", False),
]
SIZE = [rows.Figure("the program, without symbols", "MB", False)]


def measure(setting):
    return start(setting) + loads(setting)
