#!/usr/bin/env python3
"""libfluid against its peers, in turn, on the same model, threads and prompts: `make bench` runs it.

    benches/side_by_side.py [--rounds 7] [--quick] [--only PART ...] [--output FOLDER]

Writes a table, a plot for each part and the samples into benches/results. The peers are those that
tools/build_peers.py brought; FLUID_PEERS names another folder of llama.cpp's programs, FLUID_GENAI
another Python environment with openvino-genai, FLUID_MODELS another folder of models.
"""

import argparse
import datetime
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import embeddings
import host
import machine
import report
import rows
import table
from libfluid import Failed

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / "target" / "peers"
FAKE_LIBRARY = PEERS / "libfluid-fake.so"
TEXT_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
SPEECH_MODEL = "whisper-base-int8-ov"
EMBEDDING_MODEL = "minilm-gguf/f16.gguf"

def parts(setting, arguments, genai):
    """What can be measured, by name."""
    return {
        "single": lambda: rows.single_stream(setting),
        "streams-8": lambda: rows.many_streams(setting, 8),
        "streams-16": lambda: rows.many_streams(setting, 16),
        "sampled-16": lambda: rows.sampled_streams(setting, 16),
        "system-16": lambda: rows.one_system_prompt(setting, 16),
        "prefix": lambda: rows.shared_prefix(setting),
        "stall": lambda: rows.long_prompt(setting),
        "lookup": lambda: rows.prompt_lookup(setting),
        "structured": lambda: rows.structured(setting),
        "overhead": lambda: rows.overhead(setting),
        "embeddings": lambda: embeddings.measure(setting, setting.model.parent / EMBEDDING_MODEL),
        "http": lambda: host.measure(setting),
        "speech": lambda: speak(arguments),
        "whisper": lambda: whisper(setting, arguments, genai),
    }


def speak(arguments):
    """Makes the long recording, once; it has no rows of its own."""
    sound, text = PEERS / "speech.wav", PEERS / "speech.txt"
    if not text.exists() and not arguments.quick:
        if not shutil.which("espeak-ng"):
            raise Failed("the long recording needs espeak-ng: apt-get install espeak-ng")
        subprocess.run([sys.executable, HERE / "speech.py", sound, text], check=True)
    return []


def whisper(setting, arguments, genai):
    """Rows of benches/whisper.py, run by the Python that has OpenVINO GenAI."""
    out = PEERS / "whisper.json"
    out.unlink(missing_ok=True)
    command = [genai / "bin/python", HERE / "whisper.py", PEERS / SPEECH_MODEL, "--json", out]
    command += ["--pairs", 3 if arguments.quick else 4 * setting.rounds]
    sound, text = PEERS / "speech.wav", PEERS / "speech.txt"
    if text.exists() and not arguments.quick:
        command += ["--speech", sound, "--text", text]
    # Both sides run on the peer's OpenVINO.
    environment = {**os.environ, "VIRTUAL_ENV": str(genai)}
    if subprocess.run([str(word) for word in command], env=environment, stdin=subprocess.DEVNULL).returncode != 0:
        raise Failed("benches/whisper.py failed (the reason is above)")
    return [rows.Row(section="Whisper", peer="OpenVINO GenAI", **row) for row in json.loads(out.read_text())]


def measure(chosen):
    """All rows, and for each part that could not be measured the reason."""
    found, failures = [], {}
    for name, part in chosen.items():
        started = time.monotonic()
        try:
            found += part()
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        except (Failed, OSError, subprocess.SubprocessError) as why:
            failures[name] = str(why)
            print(f"{name}: not measured: {why}", file=sys.stderr, flush=True)
    return found, failures


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="how often each side runs (7)")
    parser.add_argument("--quick", action="store_true", help="one round, short audio only: does it work at all?")
    parser.add_argument("--only", nargs="+", metavar="PART", help="these parts alone")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for each side (all)")
    parser.add_argument("--output", type=Path, help="where to write (benches/results; target/bench-quick with --quick)")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 7)
    # What was taken in haste does not replace what was measured.
    default = HERE.parent / "target/bench-quick" if arguments.quick or arguments.only else HERE / "results"
    arguments.output = arguments.output or default
    return parser, arguments


def main():
    parser, arguments = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a polite end ends llama-server too
    genai = Path(os.environ.get("FLUID_GENAI", PEERS / "genai"))
    setting = rows.Setting(
        model=Path(os.environ.get("FLUID_MODELS", HERE.parent / "models")) / TEXT_MODEL,
        programs=Path(os.environ.get("FLUID_PEERS", PEERS / "build/bin")),
        log=PEERS / "llama-server.log",
        fake_library=FAKE_LIBRARY,
        threads=arguments.threads,
        rounds=arguments.rounds,
        quick=arguments.quick,
        progress=lambda text: print(f"  {text}", flush=True),
    )
    chosen = parts(setting, arguments, genai)
    if unknown := set(arguments.only or ()) - set(chosen):
        parser.error(f"unknown part {min(unknown)}; known: {', '.join(chosen)}")
    chosen = {name: part for name, part in chosen.items() if name in (arguments.only or chosen)}
    PEERS.mkdir(parents=True, exist_ok=True)
    facts = {"date": datetime.date.today().isoformat(), **machine.facts(setting.programs, genai, arguments.threads)}
    facts |= {"rounds": arguments.rounds, "command": f"`{shlex.join(['benches/side_by_side.py', *sys.argv[1:]])}`"}
    found, failures = measure(chosen)
    if found:
        report.write(arguments.output, found, failures, facts)
        print(f"\n{table.markdown(found)}\nwritten to {arguments.output}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
