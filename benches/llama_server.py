"""llama-server as its users have it: a process on loopback that streams answers over HTTP."""

import json
import selectors
import socket
import subprocess
import time

from libfluid import NO_END, Failed
from timeline import Stream

START_SECONDS = 60
ANSWER_SECONDS = 300


class Server:
    """A llama-server with one model in it; leaving the `with` ends it."""

    name = "llama-server"

    def __init__(self, program, model, slots, context, threads, log, more=()):
        # `context` is that of one slot; all but these flags are its defaults.
        flags = ["-m", model, "-t", threads, "-np", slots, "-c", slots * context, "--no-webui", *more]
        self.start(program, flags, log)
        try:
            self.wait()
        except BaseException:
            self.free()
            raise

    def start(self, program, flags, log):
        self.port, self.log = free_port(), log
        command = [program, "--host", "127.0.0.1", "--port", self.port, *flags]
        with open(log, "w") as file:
            self.began = time.perf_counter()
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()

    def free(self):
        self.process.terminate()
        self.process.wait()

    def wait(self, pause=0.1):
        """Until /health says 200; gives the seconds that it took since the start."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.ask("GET", "/health")
                return time.perf_counter() - self.began
            except (OSError, Failed):
                time.sleep(pause)
        raise Failed(f"{self.name} did not start, see {self.log}")

    def ask(self, method, path, body=None):
        """One request with one answer, as JSON."""
        answer = Answer(self.port, method, path, body)
        while answer.read():
            pass
        return json.loads(answer.body())

    def tokenize(self, text):
        return self.ask("POST", "/tokenize", {"content": text})["tokens"]

    def post_all(self, path, bodies):
        """Seconds until all of these requests, sent together, are answered; and the answers, parsed after."""
        bodies = [encode(body) for body in bodies]
        answers = [Answer(self.port, "POST", path, late=True) for _ in bodies]
        with selectors.DefaultSelector() as selector:
            start = time.perf_counter()
            for answer, body in zip(answers, bodies):
                selector.register(answer.socket, selectors.EVENT_READ, answer)
                answer.send(body)
            while selector.get_map():
                ready = selector.select(ANSWER_SECONDS)
                if not ready:
                    raise Failed(f"llama-server left answers open, see {self.log}")
                for key, _ in ready:
                    if not key.data.read():
                        selector.unregister(key.fileobj)
            seconds = time.perf_counter() - start
        return seconds, [json.loads(answer.body()) for answer in answers]

    def run(self, requests, later=None):
        """The requests' streams, started together; `later` is (tokens of the first stream, request)."""
        answers = [Answer(self.port, "POST", "/completion") for _ in requests]
        late = Answer(self.port, "POST", "/completion") if later else None
        with selectors.DefaultSelector() as selector:
            for answer in answers + [late] * bool(later):
                selector.register(answer.socket, selectors.EVENT_READ, answer)
            for answer, request in zip(answers, map(encode, requests)):
                answer.send(request)
            late_text = encode(later[1]) if later else None
            while open_answers := selector.get_map():
                ready = selector.select(ANSWER_SECONDS)
                if not ready:
                    raise Failed(f"llama-server left {len(open_answers)} answers open, see {self.log}")
                for key, _ in ready:
                    if not key.data.read():
                        selector.unregister(key.fileobj)
                if late and not late.start and len(answers[0].times) >= later[0]:
                    late.send(late_text)
        return [answer.stream() for answer in answers + [late] * bool(later)]


class Answer:
    """One connection. While it is read, only time is noted: parsing waits until the measurement is over."""

    def __init__(self, port, method, path, body=None, late=False):
        self.head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        self.received, self.times, self.start = bytearray(), [], None
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        if path != "/completion" and not late:
            self.send(encode(body or {}))

    def send(self, text):
        head = f"{self.head}Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self.start = time.perf_counter()
        self.socket.sendall(head.encode() + text)

    def read(self):
        """Takes what came; False at the end."""
        piece = self.socket.recv(1 << 16)
        now, before = time.perf_counter(), max(len(self.received) - 1, 0)
        self.received += piece
        # An event ends with an empty line; its JSON has none, and HTTP's own lines end otherwise.
        self.times += [now] * self.received.count(b"\n\n", before)
        if not piece:
            self.socket.close()
        return bool(piece)

    def body(self):
        head, _, body = bytes(self.received).partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            try:
                body = dechunk(body)
            except ValueError as error:
                raise Failed("llama-server: the answer broke off") from error
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise Failed(f"llama-server: {body.decode(errors='replace').strip() or 'no answer'}")
        return body

    def stream(self):
        events = [json.loads(line[6:]) for line in self.body().split(b"\n\n") if line.startswith(b"data: {")]
        if not events or not events[-1].get("stop"):
            raise Failed(f"llama-server: the answer broke off: {self.received[-200:]!r}")
        times = [time for time, event in zip(self.times, events) if event.get("tokens") or event.get("content")]
        end = events[-1]
        timings = end["timings"]
        return Stream(
            self.start, times, end["tokens_predicted"], timings.get("cache_n", 0), timings["predicted_ms"] / 1e3
        )


def dechunk(body):
    """The content of a chunked HTTP body."""
    content, place = b"", 0
    while place < len(body):
        end = body.index(b"\r\n", place)
        size = int(body[place:end].split(b";")[0], 16)
        content += body[end + 2 : end + 2 + size]
        place = end + 2 + size + 2
    return content


def encode(value):
    return json.dumps(value).encode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(prompt, max_tokens, cache_prompt=False):
    """Continues `prompt`, token ids, by `max_tokens` tokens, always the likeliest."""
    return {
        "prompt": prompt,
        "n_predict": max_tokens,
        "temperature": 0,
        "logit_bias": [[int(token), bias] for token, bias in NO_END.items()],
        "cache_prompt": cache_prompt,
        "stream": True,
        "return_tokens": True,
    }
