"""Clients of an OpenAI-compatible server, for the measurements: plain sockets, and OpenAI's own."""

import json
import queue
import selectors
import statistics
import threading
import time
from typing import NamedTuple

import llama_server
from libfluid import NO_END, Failed

CHAT = "/v1/chat/completions"


class Load(NamedTuple):
    """What many requests took."""

    seconds: float  # from the first request to the end of the last answer
    firsts: list  # seconds to the first text of each, where they were streamed

    def per_second(self, requests):
        return requests / self.seconds

    def mean_first(self):
        return statistics.fmean(self.firsts) * 1e3

    def p95_first(self):
        """Milliseconds; the worst where there is one alone."""
        if len(self.firsts) == 1:
            return self.firsts[0] * 1e3
        return statistics.quantiles(self.firsts, n=20, method="inclusive")[-1] * 1e3


def question(text, tokens, stream):
    """A chat request whose answer has `tokens` tokens, always the likeliest."""
    request = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0}
    request |= {"logit_bias": NO_END, "stream": stream}
    return request | ({"stream_options": {"include_usage": True}} if stream else {})


def by_sockets(server, requests, clients):
    """Answers all requests, `clients` of them at a time, each on a connection of its own; one thread reads all."""
    bodies = [llama_server.encode(request) for request in requests][::-1]
    answers = []
    with selectors.DefaultSelector() as selector:

        def begin():
            answer = llama_server.Answer(server.port, "POST", CHAT, late=True)
            selector.register(answer.socket, selectors.EVENT_READ, answer)
            answer.send(bodies.pop())
            answers.append(answer)

        start = time.perf_counter()
        for _ in range(min(clients, len(bodies))):
            begin()
        while selector.get_map():
            ready = selector.select(llama_server.ANSWER_SECONDS)
            if not ready:
                raise Failed(f"{server.name} left answers open, see {server.log}")
            for key, _ in ready:
                if not key.data.read():
                    selector.unregister(key.fileobj)
                    if bodies:
                        begin()
        seconds = time.perf_counter() - start
    return Load(seconds, [first for answer, request in zip(answers, requests) for first in read(answer, request)])


def read(answer, request):
    """The seconds to the first text of a stream, in a list; none of an answer in one piece. Its length is checked:
    an early end would flatter."""
    body = answer.body()
    if not request["stream"]:
        check(json.loads(body)["usage"], request)
        return []
    events = [(at, json.loads(text[6:])) for at, text in zip(answer.times, body.split(b"\n\n")) if is_json(text)]
    check(next((event["usage"] for _, event in events if event.get("usage")), {}), request)
    texts = [at for at, event in events if has_text(event)]
    if not texts:
        raise Failed(f"a stream without text: {body[:200]!r}")
    return [texts[0] - answer.start]


def is_json(text):
    return text.startswith(b"data: {")


def has_text(event):
    return any((choice.get("delta") or {}).get("content") for choice in event["choices"])


def check(usage, request):
    if usage.get("completion_tokens") != request["max_tokens"]:
        raise Failed(f"{usage} for an answer, {request['max_tokens']} tokens were asked for")


def by_openai(server, requests, clients):
    """The same by OpenAI's client for Python, with a thread for each of `clients`."""
    import openai

    todo, firsts, failures = queue.SimpleQueue(), [], []
    for request in requests:
        todo.put(request)

    def work(client):
        while True:
            try:
                request = todo.get_nowait()
            except queue.Empty:
                return
            try:
                firsts.extend(ask(client, request))
            except (openai.OpenAIError, Failed) as error:
                failures.append(error)
                return

    address = f"http://127.0.0.1:{server.port}/v1"
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(clients)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
    if failures:
        raise Failed(f"{server.name}, asked by OpenAI's client: {failures[0]}")
    return Load(seconds, firsts)


def ask(client, request):
    """One request by OpenAI's client; the seconds to its first text in a list, if it is streamed."""
    start, first, usage = time.perf_counter(), [], None
    answer = client.chat.completions.create(model="smollm2", **request)
    if not request["stream"]:
        check(answer.usage.to_dict(), request)
        return []
    for chunk in answer:
        usage = chunk.usage or usage
        if not first and any(choice.delta.content for choice in chunk.choices):
            first.append(time.perf_counter() - start)
    check(usage.to_dict() if usage else {}, request)
    return first
