"""What is measured about text: each function gives rows of libfluid's and a peer's samples, taken in turn."""

import itertools
import json
import random
import subprocess
from pathlib import Path
from typing import NamedTuple

import libfluid
import llama_server
import timeline
from libfluid import Failed

HERE = Path(__file__).resolve().parent
PREFILL, DECODE = 512, 128
STREAM_PROMPT, STREAM_TOKENS = 128, 64
PREFIX, SYSTEM_PROMPT, QUESTION = 1_000, 500, 24
LONG_PROMPT, RUNNING_TOKENS, LONG_AT = 1_500, 400, 16
SCHEMA_PROMPT, SCHEMA_TOKENS = 16, 160
OVERHEAD_STREAMS = 16


class Row(NamedTuple):
    """One figure: a sample of each side for each round."""

    section: str
    name: str
    unit: str
    peer: str  # empty where libfluid is measured alone
    ours: list
    theirs: list
    higher_is_better: bool = True
    aim: tuple = ()  # ("ratio" or "libfluid", ">=" or "<=", value)


class Setting(NamedTuple):
    """What all measurements share."""

    model: Path
    programs: Path  # folder of llama.cpp's programs
    log: Path  # of llama-server
    fake_library: Path  # libfluid with the scripted backend
    threads: int
    rounds: int
    quick: bool
    progress: object  # called with a line of text


class Prompts:
    """Token ids of English words in random order: no two prompts begin alike."""

    def __init__(self, tokens, seed=1):
        self.random, self.tokens = random.Random(seed), tokens

    def next(self, count):
        return self.random.choices(self.tokens, k=count)


def speech():
    return (HERE / "speech.txt").read_text()


def in_turn(setting, what, ours, theirs):
    """Calls both `rounds` times, either first in turn; gives the results of each."""
    a, b = [], []
    for index in range(setting.rounds):
        setting.progress(f"{what}: round {index + 1} of {setting.rounds}")
        both = [(a, ours), (b, theirs)]
        for results, work in both if index % 2 == 0 else both[::-1]:
            results.append(work())
    return a, b


class Figure(NamedTuple):
    """What a row shows of a round's results."""

    name: str
    unit: str
    higher_is_better: bool = True
    aim: tuple = ()


def rows_of(section, peer, figures, a, b):
    """Turns the rounds' results, a tuple with one value for each figure, into rows."""
    return [
        Row(section, figure.name, figure.unit, peer, list(ours), list(theirs), figure.higher_is_better, figure.aim)
        for figure, ours, theirs in zip(figures, zip(*a), zip(*b))
    ]


# One stream against llama-bench


def parse_llama_bench(text):
    """Tokens per second of the prefill and of the decode in llama-bench's JSON."""
    try:
        entries = json.loads(text)
        speeds = {(entry["n_prompt"] > 0, entry["n_gen"] > 0): float(entry["avg_ts"]) for entry in entries}
        return speeds[True, False], speeds[False, True]
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"llama-bench said something else than expected ({error!r}): {text[:200]!r}") from error


def llama_bench(setting, prefill, decode):
    flags = ["-t", setting.threads, "-p", prefill, "-n", decode, "-r", 1, "-o", "json"]
    command = [setting.programs / "llama-bench", "-m", setting.model, *flags]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"llama-bench ended with {done.returncode}: {done.stderr[-300:]}")
    return parse_llama_bench(done.stdout)


def fluid_alone(model, prompts):
    """Tokens per second of libfluid's prefill and decode, as its reader sees them."""
    (prefill,) = model.run([libfluid.request(prompts.next(PREFILL), 1)])
    (decode,) = model.run([libfluid.request(prompts.next(2), DECODE + 1)])
    return PREFILL / prefill.first, DECODE / (decode.times[-1] - decode.times[0])


def single_stream(setting):
    options = {"n_ctx": 1_024, "n_parallel": 1, "n_threads": setting.threads}
    # Not the words of the other rows: they come from llama-server's tokenizer, which does not run here.
    prompts = Prompts(range(1_000, 20_000))
    with libfluid.Model(setting.model, options) as model:
        fluid_alone(model, prompts)  # unseen, to warm up, as llama-bench does
        a, b = in_turn(
            setting, "one stream", lambda: fluid_alone(model, prompts), lambda: llama_bench(setting, PREFILL, DECODE)
        )
    figures = [
        Figure(name, "tokens/s", aim=("ratio", ">=", 0.98))
        for name in (f"prefill, {PREFILL} tokens", f"decode, {DECODE} tokens")
    ]
    return rows_of("One stream", "llama-bench", figures, a, b)


# Many streams, a shared prefix, a long prompt: against llama-server


class Pair:
    """libfluid and llama-server with the same slots and the same context for each."""

    def __init__(self, setting, slots, context):
        self.setting = setting
        options = {"n_ctx": context, "n_parallel": slots, "n_threads": setting.threads}
        program = setting.programs / "llama-server"
        self.server = llama_server.Server(program, setting.model, slots, context, setting.threads, setting.log)
        try:
            self.prompts = Prompts(self.server.tokenize(speech()))
            self.model = libfluid.Model(setting.model, options)
            self.model.run([libfluid.request(self.prompts.next(slots), 4)])
            self.server.run([llama_server.request(self.prompts.next(slots), 4)])
        except BaseException:
            self.server.free()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.model.free()
        self.server.free()


def whole(streams, tokens):
    """The streams, once it is sure that each has its length: an early end would flatter."""
    for stream, wanted in zip(streams, tokens):
        if stream.tokens != wanted or not stream.times:
            raise Failed(f"a stream has {stream.tokens} tokens, {wanted} were asked for")
    return streams


# llama.cpp's own defaults, said to both sides.
SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}


def together(setting, section, slots, context, prompt, tokens, **more):
    """`slots` streams of `tokens` that start together; `prompt(pair)` gives a round's function for prompts."""

    def measure(side, request, caches):
        make = prompt(pair)
        requests = [request(make(), tokens) | more | caches for _ in range(slots)]
        streams = whole(side.run(requests), [tokens] * slots)
        return timeline.tokens_per_second(streams), timeline.mean_first(streams), timeline.worst_first(streams)

    with Pair(setting, slots, context) as pair:
        a, b = in_turn(
            setting,
            section,
            lambda: measure(pair.model, libfluid.request, {}),
            lambda: measure(pair.server, llama_server.request, {"cache_prompt": True}),
        )
    figures = [
        Figure("all together", "tokens/s", aim=("ratio", ">=", 1.1)),
        Figure("time to first token, mean", "s", False, ("ratio", "<=", 0.9)),
        Figure("time to first token, worst", "s", False, ("ratio", "<=", 0.9)),
    ]
    return rows_of(section, "llama-server", figures, a, b)


def many_streams(setting, slots):
    def prompt(pair):
        return lambda: pair.prompts.next(STREAM_PROMPT)

    return together(setting, f"{slots} streams", slots, 512, prompt, STREAM_TOKENS)


def sampled_streams(setting, slots):
    def prompt(pair):
        return lambda: pair.prompts.next(STREAM_PROMPT)

    section = f"{slots} streams, sampled as by default"
    return together(setting, section, slots, 512, prompt, STREAM_TOKENS, **SAMPLING)


def one_system_prompt(setting, slots):
    def prompt(pair):
        prefix = pair.prompts.next(SYSTEM_PROMPT)
        return lambda: prefix + pair.prompts.next(QUESTION)

    section = f"{slots} streams that begin with the same {SYSTEM_PROMPT} tokens"
    return together(setting, section, slots, 1_024, prompt, STREAM_TOKENS)


def shared_prefix(setting):
    def server_request(prompt, tokens):
        return llama_server.request(prompt, tokens, cache_prompt=True)

    def measure(side, request):
        prefix = pair.prompts.next(PREFIX)
        first, second = (
            whole(side.run([request(prefix + pair.prompts.next(QUESTION), 4)]), [4])[0] for _ in range(2)
        )
        return first.first, second.first, second.first / first.first, second.cached

    with Pair(setting, 4, 2_048) as pair:
        a, b = in_turn(
            setting,
            "shared prefix",
            lambda: measure(pair.model, libfluid.request),
            lambda: measure(pair.server, server_request),
        )
    figures = [
        Figure("time to first token, first request", "s", False),
        Figure("time to first token, second request", "s", False),
        Figure("second against first", "", False, ("libfluid", "<=", 0.1)),
        Figure("tokens taken from the cache", "tokens"),
    ]
    return rows_of(f"A second request that shares {PREFIX:,} tokens", "llama-server", figures, a, b)


def long_prompt(setting):
    def measure(side, request):
        later = (LONG_AT, request(pair.prompts.next(LONG_PROMPT), 1))
        streams = side.run([request(pair.prompts.next(16), RUNNING_TOKENS)], later)
        running, long = whole(streams, [RUNNING_TOKENS, 1])
        if running.times[-1] < long.times[0]:
            raise Failed(f"{RUNNING_TOKENS} tokens ended before the long prompt's first")
        return timeline.longest_gap(running, long.start, long.times[0]), long.first

    with Pair(setting, 2, 2_048) as pair:
        a, b = in_turn(
            setting,
            "long prompt",
            lambda: measure(pair.model, libfluid.request),
            lambda: measure(pair.server, llama_server.request),
        )
    figures = [
        Figure("longest stall of a running stream", "s", False),
        Figure("its own time to first token", "s", False),
    ]
    return rows_of(f"A prompt of {LONG_PROMPT:,} tokens arrives", "llama-server", figures, a, b)


# Drafts, against the library without them

SPELLING = "Correct the spelling of the following text. Write out all of the corrected text and nothing else."
SUMMARY = "Summarise the following text in a few sentences, in its own words."
LOOKED_UP_WORDS, LOOKED_UP_TOKENS = 180, 160


def prompt_lookup(setting):
    """One stream with prompt lookup decoding beside the same one without."""
    passage = " ".join(speech().split()[:LOOKED_UP_WORDS])
    tasks = [("summarising", SUMMARY), ("editing", SPELLING)]
    options = {"n_ctx": 1_024, "n_parallel": 1, "n_threads": setting.threads}
    found = []

    def speed(model, task, kind):
        text = f"<|im_start|>user\n{task}\n\n{passage}<|im_end|>\n<|im_start|>assistant\n"
        request = libfluid.request(text, LOOKED_UP_TOKENS) | {"speculative": {"type": kind}}
        (stream,) = whole(model.run([request]), [LOOKED_UP_TOKENS])
        return ((LOOKED_UP_TOKENS - 1) / (stream.times[-1] - stream.times[0]),)

    with libfluid.Model(setting.model, options) as model:
        for name, task in tasks:
            speed(model, task, "prompt_lookup")  # unseen: the prompt is in the cache then
            a, b = in_turn(
                setting,
                f"prompt lookup, {name}",
                lambda: speed(model, task, "prompt_lookup"),
                lambda: speed(model, task, "none"),
            )
            figures = [Figure(f"decode, {name}", "tokens/s")]
            found += rows_of("Prompt lookup, one stream", "libfluid without drafts", figures, a, b)
    return found
# A JSON schema, against llama-server


def order_schema(number):
    """A schema as apps have it, with names of its own; no answer of `SCHEMA_TOKENS` tokens completes it."""
    name = f"field_{number}"
    item = {
        "type": "object",
        "properties": {
            name: {"type": "string", "maxLength": 40},
            "count": {"type": "integer", "minimum": 1, "maximum": 1_000},
            "price": {"type": "number", "minimum": 0},
            "size": {"enum": ["small", "medium", "large"]},
            "sent": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 4},
        },
        "required": [name, "count", "price", "size", "sent", "tags"],
        "additionalProperties": False,
    }
    orders = {"type": "array", "items": item, "minItems": 200}
    return {
        "type": "object",
        "properties": {"orders": orders},
        "required": ["orders"],
        "additionalProperties": False,
    }


def structured(setting):
    numbers = itertools.count()

    def measure(side, request):
        def ask(**more):
            stream = side.run([request(pair.prompts.next(SCHEMA_PROMPT), SCHEMA_TOKENS) | more])
            return whole(stream, [SCHEMA_TOKENS])[0]

        def token(stream):
            return (stream.times[-1] - stream.times[0]) / (SCHEMA_TOKENS - 1) * 1e3

        schema = order_schema(next(numbers))
        plain, first, again = ask(), ask(json_schema=schema), ask(json_schema=schema)
        return token(again), token(again) - token(plain), first.first - plain.first, again.first - plain.first

    with Pair(setting, 1, 1_024) as pair:
        a, b = in_turn(
            setting,
            "schema",
            lambda: measure(pair.model, libfluid.request),
            lambda: measure(pair.server, llama_server.request),
        )
    figures = [
        Figure("a token within a schema", "ms", False, ("ratio", "<=", 1.0)),
        Figure("of this, what the schema adds", "ms", False),
        Figure("to compile a new schema", "s", False),
        Figure("to take one that was used before", "s", False),
    ]
    return rows_of("A JSON schema of six fields", "llama-server", figures, a, b)


# The library alone


def overhead(setting):
    """Microseconds of the library for each token, with a backend that answers at once."""
    tokens = 1_000 if setting.quick else 4_000
    script = "fake:" + json.dumps({"reply": "a" * (tokens + 1), "token_us": 0})
    options = {"n_ctx": 2 * tokens, "n_parallel": OVERHEAD_STREAMS}
    # Room for all events: a slow reader would pause the jobs.
    engine = {"event_queue": 65_536}
    request = {"prompt": "Hello", "max_tokens": tokens, "temperature": 0}
    samples = []
    with libfluid.Model(script, options, engine, setting.fake_library) as model:
        for index in range(setting.rounds + 1):
            setting.progress(f"overhead: round {index} of {setting.rounds}")
            streams = whole(model.run([request] * OVERHEAD_STREAMS), [tokens] * OVERHEAD_STREAMS)
            spent = max(stream.predicted for stream in streams)
            if index > 0:
                samples.append(spent / (OVERHEAD_STREAMS * (tokens - 1)) * 1e6)
    return overhead_rows(samples, sampling())


def overhead_rows(without_sampling, sampling):
    """The backend that answers at once has few tokens to choose from: sampling is added, measured by itself."""
    section = f"The library alone, {OVERHEAD_STREAMS} streams"
    rows = [Row(section, "a token: scheduling, text, events", "µs", "", without_sampling, [], False)]
    for key, name in (("greedy_us", "at temperature 0"), ("default_us", "with default sampling")):
        total = [spent + sampling[key] for spent in without_sampling]
        rows.append(Row(section, f"a token: all, {name}", "µs", "", total, [], False, ("libfluid", "<=", 20)))
    return rows


def sampling():
    """What benches/sampling.rs says."""
    command = ["cargo", "bench", "--locked", "--workspace", "--quiet", "--bench", "sampling"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"cargo bench --bench sampling ended with {done.returncode}: {done.stderr[-300:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
