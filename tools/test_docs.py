"""What the documentation says, tried: its code compiles, its Python runs on the models, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from doc_blocks import LINK, ROOT, Block, anchors, blocks, pages, prose

sys.path.insert(0, str(ROOT / "tools/docs"))
import reference  # noqa: E402

LIBRARY = ROOT / "target/release"
MODELS = Path(os.environ.get("FLUID_MODELS", ROOT / "models")).resolve()
# By the names that the pages use.
FILES = {
    "model.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "whisper-base": "whisper-base-int8-ov",
    "speech.wav": "jfk.wav",
    "embedder.gguf": "minilm-gguf/q8_0.gguf",
}
# Pages whose Python is one program, block after block. That of others is compiled.
RUN = ("README.md", "docs/python.md", "docs/from-llama-cpp-python.md")

C_PREAMBLE = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "fluid.h"
extern fluid_engine *engine; extern fluid_model *model, *reranker; extern fluid_queue *queue; extern fluid_job **jobs;
extern char *json; extern const char *request, *longer_request, **requests; extern int n;
extern fluid_event_fn on_event; extern void *user_data; extern fluid_status status;
extern int16_t *samples; extern size_t frames;
"""
CPP_PREAMBLE = """
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>
#include <vector>
#include "fluid.hpp"
extern fluid::engine engine; extern fluid::model model; extern fluid::request chat;
"""
CSHARP_PREAMBLE = """
using System; using System.Collections.Generic; using System.Linq; using System.Threading;
using System.Threading.Tasks; using Fluid.Native;
"""
# Of two threads on busy cores one waits for the other at each node of the graph.
PYTHON_PREAMBLE = """
import fluid_ai
load = fluid_ai.Engine.load_model_async
fluid_ai.Engine.load_model_async = lambda self, *a, **options: load(self, *a, **{"n_threads": 1, **options})
"""
CSHARP_FIELDS = "static Engine engine; static Model model; static CancellationToken token;"


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore


class Code(unittest.TestCase):
    def check(self, done: subprocess.CompletedProcess[str]) -> None:
        self.assertEqual(done.returncode, 0, f"{' '.join(done.args)}\n{done.stdout}{done.stderr}")

    def numbered(self, block: Block) -> str:
        """Has compilers name the page's line."""
        return f'#line {block.line} "{block.place.split(":")[0]}"\n{block.text}'

    def compile(self, language: str, preamble: str, *command: str) -> None:
        """Whole programs by themselves, fragments each in a function of one file."""
        found = list(blocks(language))
        self.assertTrue(found)
        whole = [block for block in found if "int main(" in block.text]
        rest = [block for block in found if block not in whole]
        functions = [f"static void block_{i}(void) {{\n{self.numbered(block)}\n}}\n" for i, block in enumerate(rest)]
        for source in [preamble + "".join(functions), *map(self.numbered, whole)]:
            self.check(run(*command, "-fsyntax-only", "-Iinclude", "-Ibindings/cpp", "-", input=source, cwd=ROOT))

    def test_c_compiles(self) -> None:
        self.compile("c", C_PREAMBLE, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused", "-xc")

    def test_cpp_compiles(self) -> None:
        self.compile("cpp", CPP_PREAMBLE, "g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-Wno-unused", "-xc++")

    def test_csharp_compiles(self) -> None:
        found = list(blocks("csharp"))
        self.assertTrue(found)
        with tempfile.TemporaryDirectory() as folder:
            for i, block in enumerate(found):
                Path(folder, f"Block{i}.cs").write_text(CSHARP_PREAMBLE + self.csharp(block, i), encoding="utf-8")
            sources = sorted([*Path(folder).glob("*.cs"), *(ROOT / "bindings/csharp/src").rglob("*.cs")])
            out = f"-out:{folder}/docs.dll"
            self.check(run("mcs", "-langversion:latest", "-unsafe", "-nowarn:169,649,414", "-t:library", out, *sources))

    def csharp(self, block: Block, i: int) -> str:
        text = re.sub(r"^using [\w.]+;\n", "", block.text, flags=re.M)
        line = f'#line {block.line + block.text.count(chr(10)) - text.count(chr(10))} "{block.place.split(":")[0]}"\n'
        if re.search(r"\bclass \w+", text):
            return f"namespace Block{i} {{\n{line}{text}\n}}"
        method = "static async Task Run()" if "await " in text else "static void Run()"
        return f"class Block{i} {{ {CSHARP_FIELDS} {method} {{\n{line}{text}\n}} }}"

    def test_python_compiles(self) -> None:
        for block in blocks("python"):
            with self.subTest(block.place):
                compile(block.text, block.place, "exec")

    def test_json_parses(self) -> None:
        for block in blocks("json"):
            with self.subTest(block.place):
                json.loads(re.sub(r"(?<=[\[\s:])\.\.\.(?=[\]\s,}])", "null", block.text))

    def test_shell_is_shell(self) -> None:
        for block in blocks("sh"):
            self.check(run("bash", "-n", "-c", block.text))


class Models(unittest.TestCase):
    """Needs the library, which `make build` builds, and the models."""

    @classmethod
    def setUpClass(cls) -> None:
        assert (LIBRARY / "libfluid.so").exists(), "target/release/libfluid.so is not there: make build"
        held = tempfile.TemporaryDirectory()
        cls.addClassCleanup(held.cleanup)
        cls.folder = Path(held.name)
        for name, file in FILES.items():
            (cls.folder / name).symlink_to(MODELS / file)
        (cls.folder / "models").symlink_to(MODELS)
        cls.environment = {
            **os.environ,
            "FLUID_LIBRARY": str(LIBRARY),
            "PYTHONPATH": str(ROOT / "bindings/python"),
            "VIRTUAL_ENV": str(ROOT / ".venv"),
        }

    def in_folder(self, *command: str | Path) -> str:
        done = run(*command, cwd=self.folder, env=self.environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_python_runs(self) -> None:
        for page in RUN:
            with self.subTest(page):
                found = [block.text for block in blocks("python", of=[ROOT / page])]
                self.assertTrue(found)
                self.assertTrue(self.in_folder(sys.executable, "-c", "\n".join([PYTHON_PREAMBLE, *found])).strip())

    def test_the_c_program_of_the_readme_runs(self) -> None:
        [program] = [block for block in blocks("c", of=[ROOT / "README.md"]) if "int main(" in block.text]
        (self.folder / "hello.c").write_text(program.text, encoding="utf-8")
        flags = [f"-I{ROOT}/include", f"-L{LIBRARY}", "-lfluid", f"-Wl,-rpath,{LIBRARY}"]
        self.in_folder("gcc", "hello.c", *flags, "-o", "hello")
        self.assertTrue(self.in_folder("./hello").strip())


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self) -> None:
        for page in pages():
            for link in LINK.findall(prose(page)):
                if re.match(r"[a-z]+:", link):
                    continue
                path, _, anchor = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                with self.subTest(f"{page.relative_to(ROOT)}: {link}"):
                    self.assertTrue(target.exists(), "not there")
                    self.assertTrue(not anchor or anchor in anchors(target), "no such heading")

    def test_every_error_has_its_advice(self) -> None:
        errors = re.findall(r"^#define FLUID_ERROR_(\w+)", (ROOT / "include/fluid.h").read_text(encoding="utf-8"), re.M)
        table = (ROOT / "docs/c-api.md").read_text(encoding="utf-8").partition("\n## Errors\n")[2]
        self.assertGreater(len(errors), 20)
        self.assertEqual([name for name in errors if f"`{name}`" not in table], [])

    def test_named_targets_of_make_are_there(self) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        known = set(" ".join(re.findall(r"^([a-z][a-z -]*):(?!=)", makefile, re.M)).split())
        for page in pages():
            named = re.findall(r"`(?:sudo )?make ([a-z][a-z-]*)", prose(page))
            for block in blocks("sh", of=[page]):
                named += re.findall(r"^ *(?:sudo )?make ([a-z][a-z-]*)", block.text, re.M)
            with self.subTest(page.relative_to(ROOT)):
                self.assertEqual(sorted(set(named) - known), [])


class Reference(unittest.TestCase):
    """The C reference: it builds without a warning, and says so when a comment is missing."""

    def setUp(self) -> None:
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.out = Path(held.name, "reference")
        self.header = (ROOT / "include/fluid.h").read_text(encoding="utf-8")

    def test_it_builds_without_warnings(self) -> None:
        reference.build(self.header, self.out)
        page = (self.out / "html/group__generate.html").read_text(encoding="utf-8")
        self.assertIn("fluid_generate_start", page)
        self.assertIn("<td", page.split("priority")[1])

    def test_a_function_without_a_comment_fails(self) -> None:
        bare = self.header.replace("// Makes a queue.", "fluid_status fluid_queue_sing(void);\n\n// Makes a queue.")
        with self.assertRaisesRegex(reference.BadHeader, "without a comment: fluid_queue_sing"):
            reference.build(bare, self.out)

    def test_a_function_without_a_page_fails(self) -> None:
        new = "// New.\nfluid_status fluid_sing(void);\n\n// Makes a queue."
        strange = self.header.replace("// Makes a queue.", new)
        with self.assertRaisesRegex(reference.BadHeader, "fluid_sing belongs to no page"):
            reference.build(strange, self.out)


if __name__ == "__main__":
    unittest.main()
