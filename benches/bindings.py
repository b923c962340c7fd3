"""What a token costs through each binding beside the C interface, in turn, on a model that computes almost nothing.

    .venv/bin/python benches/bindings.py [--rounds 7] [--tokens 3000]

Needs `make server` (the library), `make models`, g++, mcs and mono. Prints the medians in microseconds and their
ratios to C; the differences are what a binding adds to each token.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import machine

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "benches/bindings"
OUT = ROOT / "target/bench-bindings"
RELEASE = ROOT / "target/release"
MODEL = ROOT / "models/tiny-random-gguf/llama.gguf"


def compile_all():
    OUT.mkdir(parents=True, exist_ok=True)
    linked = ["-I", ROOT / "include", "-I", ROOT / "bindings/cpp", f"-L{RELEASE}", "-lfluid", f"-Wl,-rpath,{RELEASE}"]
    binding = sorted((ROOT / "bindings/csharp/src").rglob("*.cs"))
    for command in (
        ["gcc", "-O2", SOURCES / "tokens.c", "-o", OUT / "c", *linked],
        ["g++", "-O2", "-std=c++17", SOURCES / "tokens.cpp", "-o", OUT / "cpp", *linked],
        ["mcs", "-optimize", "-unsafe", "-langversion:7.2", f"-out:{OUT}/Tokens.exe", SOURCES / "Tokens.cs", *binding],
    ):
        subprocess.run([str(word) for word in command], check=True)


def sides():
    python = [sys.executable, SOURCES / "tokens.py"]
    return {
        "C": ([OUT / "c"], ()),
        "C++": ([OUT / "cpp"], ()),
        "C# (Mono)": (["mono", OUT / "Tokens.exe"], ()),
        "Python": (python, ()),
        "Python, asyncio": (python, ("async",)),
    }


def measure(program, more, tokens):
    environment = {**os.environ, "FLUID_LIBRARY": str(RELEASE), "PYTHONPATH": str(ROOT / "bindings/python")}
    command = [*map(str, program), str(MODEL), str(tokens), *more]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description="What a token costs through each binding.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=3000)
    options = parser.parse_args()
    compile_all()
    figures = {name: [] for name in sides()}
    for _ in range(options.rounds):
        for name, (program, more) in sides().items():
            figures[name].append(measure(program, more, options.tokens))
    base = statistics.median(figures["C"])
    print(f"{machine.commit()}, {options.tokens} tokens of {MODEL.name}, {options.rounds} rounds in turn")
    for name, found in figures.items():
        middle = statistics.median(found)
        print(f"{name:16} {middle:8.1f} us a token  {middle / base:5.2f}  (+{middle - base:.1f}; {min(found)} to {max(found)})")


if __name__ == "__main__":
    main()
