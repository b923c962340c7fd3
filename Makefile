# What a person types. A fresh Debian 12 with git and make needs nothing else: `make demo`.

# On Windows, in Git Bash, make finds programs by Windows' PATH.
ON_WINDOWS := $(filter Windows_NT,$(OS))
SHELL := $(if $(ON_WINDOWS),bash,/bin/bash)
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# A fitting cargo may be off PATH (rustup's folder); the scripts count on the folder target/.
ifndef ON_WINDOWS
export PATH := $(shell bash tools/setup.sh --path)
endif
export FLUID_GOAL := make $(or $(MAKECMDGOALS),demo)
unexport CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_TARGET

# Where libfluid looks for OpenVINO, as in any active Python environment.
export VIRTUAL_ENV := $(CURDIR)/.venv

MODELS := $(or $(FLUID_MODELS),models)
CHAT_MODEL := $(MODELS)/SmolLM2-135M-Instruct.Q4_1.gguf
SPEECH_MODEL := $(MODELS)/whisper-base-int8-ov
SPEECH := $(MODELS)/jfk.wav
PROMPT ?= Why is the sky blue? Answer in two sentences.
QUESTION = $(subst ','\'',$(PROMPT))

CARGO_FLAGS := --release --locked
# Library and server in one graph: with the server or without it cargo chooses other features of shared
# crates, and would build them, and the library, twice.
ALL_FLAGS := $(CARGO_FLAGS) --workspace
TEST_FLAGS := $(ALL_FLAGS) --features fake
CFLAGS ?= -O2
DEMO_CFLAGS := -std=c11 -Wall -Wextra -Wpedantic -Iinclude
# The program's own folder, as the system's loader calls it.
ORIGIN := $(if $(filter Darwin,$(shell uname -s)),@loader_path,$$ORIGIN)
DEMO_LIBS := -Ltarget/release -lfluid -Wl,-rpath,'$(ORIGIN)/../release'

BENCH_FLAGS ?=
SETUP_FLAGS :=
test test-rust test-python test-c test-cpp test-python-binding test-csharp test-server test-install test-header check soak header abi: SETUP_FLAGS := --test
bench peers: SETUP_FLAGS := --bench
# A prerequisite takes the flags of the first goal that asks for it: all goals of a release have the same.
wheel build-for-dist dist deb dist-wheel: SETUP_FLAGS := --wheel
docs: SETUP_FLAGS := --docs

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

.PHONY: demo doctor
ifndef ON_WINDOWS
demo: setup demo-models build ## everything from nothing to an answer of a language model and a transcription
	@mkdir -p target/demo
	$(CC) $(CFLAGS) $(DEMO_CFLAGS) examples/c/chat.c -o target/demo/chat $(DEMO_LIBS)
	@printf '\nexamples/c/chat.c asks SmolLM2: %s\n\n' '$(QUESTION)'
	@target/demo/chat '$(CHAT_MODEL)' '$(QUESTION)'
	$(CC) $(CFLAGS) $(DEMO_CFLAGS) examples/c/transcribe.c -o target/demo/transcribe $(DEMO_LIBS)
	@printf '\nexamples/c/transcribe.c hears, with Whisper base: %s\n\n' '$(SPEECH)'
	@target/demo/transcribe '$(SPEECH_MODEL)' '$(SPEECH)'
doctor: build ## what this installation needs and has
	@mkdir -p target/demo
	@$(CC) $(CFLAGS) $(DEMO_CFLAGS) examples/c/doctor.c -o target/demo/doctor $(DEMO_LIBS)
	@target/demo/doctor '{"model_dir": "$(MODELS)"}'
else
# Rust builds for Microsoft's linker there, which a `cc` is not: the same in Python.
IN_PYTHON := FLUID_LIBRARY=target/release PYTHONPATH=bindings/python PYTHONUTF8=1 .venv/bin/python
demo: setup demo-models build
	$(IN_PYTHON) examples/python/chat.py '$(CHAT_MODEL)' '$(QUESTION)'
	$(IN_PYTHON) examples/python/transcribe.py '$(SPEECH_MODEL)' '$(SPEECH)'
doctor: build
	@$(IN_PYTHON) -m fluid_ai doctor --model-dir '$(MODELS)'
endif

.PHONY: build
build: setup ## the library: target/release/libfluid.so
	@bash tools/build.sh build $(CARGO_FLAGS)

.PHONY: server
server: setup ## the HTTP host: target/release/fluid-server
	@bash tools/build.sh build $(ALL_FLAGS)

# Fluid Server's folders, with links to the demo's models.
SERVED := target/served-models
SERVE_FLAGS ?=
.PHONY: serve
serve: demo-models server ## the HTTP host with the demo's models (SERVE_FLAGS="--port 8080")
	@mkdir -p $(SERVED)/llm $(SERVED)/whisper
	@ln -sfn '$(abspath $(CHAT_MODEL))' $(SERVED)/llm/smollm2.gguf
	@ln -sfn '$(abspath $(SPEECH_MODEL))' $(SERVED)/whisper/whisper-base
	@exec target/release/fluid-server --model-path $(SERVED) --llm-model smollm2 --whisper-model whisper-base $(SERVE_FLAGS)

# What is tested holds the scripted backend too; one build serves the tests and clippy.
.PHONY: build-for-tests
build-for-tests: setup
	@bash tools/build.sh build $(TEST_FLAGS)

.PHONY: test
test: setup models build-for-tests ## every test
	@bash tools/run_tests.sh rust python c cpp python_binding csharp server install

.PHONY: test-rust test-python test-c test-server test-header
test-rust: setup models build-for-tests ## the Rust tests alone
	@bash tools/run_tests.sh rust
test-python: setup models build-for-tests ## the tests of tools/ alone
	@bash tools/run_tests.sh python
test-c: setup models build-for-tests ## the C programs alone
	@bash tools/run_tests.sh c
test-server: setup models build-for-tests ## the server's tests alone, with OpenAI's clients
	@cargo test $(TEST_FLAGS) --bin fluid-server --test abuse --test command_line --test safety
	@bash tools/run_tests.sh server
test-header: setup ## is include/fluid.h what the sources say?
	@cargo test $(TEST_FLAGS) --test header

.PHONY: test-python-binding test-cpp test-csharp
test-python-binding: setup models ## the tests of bindings/python and examples/python alone
	@bash tools/run_tests.sh python_binding
test-cpp: setup models ## the tests of bindings/cpp and examples/cpp alone
	@bash tools/run_tests.sh cpp
test-csharp: setup models ## the tests of bindings/csharp and examples/csharp alone
	@bash tools/run_tests.sh csharp
.PHONY: test-dotnet
test-dotnet: models build ## the C# tests by the .NET SDK, where it is installed
	@bash tests/csharp/dotnet.sh

.PHONY: wheel
wheel: build ## the Python package with the library in it, for this machine: target/wheels
	@.venv/bin/python bindings/python/build_wheel.py

.PHONY: check
check: setup build-for-tests ## formatting and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy $(TEST_FLAGS) --all-targets -- -D warnings

.PHONY: header
header: setup ## write include/fluid.h again from the sources
	FLUID_UPDATE_HEADER=1 cargo test $(TEST_FLAGS) --test header

.PHONY: peers
peers: setup models
	@.venv/bin/python tools/build_peers.py

# The overhead of the library is measured with the scripted backend, all else with what ships.
.PHONY: bench
bench: setup models peers build-for-tests ## libfluid beside llama.cpp and OpenVINO GenAI (BENCH_FLAGS=--quick)
	@cp target/release/libfluid.so target/peers/libfluid-fake.so
	@bash tools/build.sh build $(ALL_FLAGS)
	@.venv/bin/python benches/side_by_side.py $(BENCH_FLAGS)
	cargo bench --locked --workspace --bench llama --bench sampling

.PHONY: soak
soak: setup models build-for-tests ## the tests with the soaks at full length
	@FLUID_SOAK=full bash tools/run_tests.sh rust c cpp python_binding csharp server install

# Where it goes: `make install PREFIX=$$HOME/.local`, and for packagers DESTDIR and LIBDIR=lib64. What is installed
# was built before, so that `sudo make install` builds nothing as root. STATIC=1 adds libfluid.a.
PREFIX ?= /usr/local
LIBDIR ?= lib
DESTDIR ?=
STATIC ?=
PYTHON ?= $(if $(ON_WINDOWS),python,python3)
INSTALL_FLAGS = --prefix '$(PREFIX)' --destdir '$(DESTDIR)' --libdir '$(LIBDIR)'
STATIC_FLAG = $(if $(filter-out 0,$(STATIC)),--static)
.PHONY: install uninstall
install: ## header, library, server, pkg-config and CMake files, after `make server` (PREFIX=/usr/local)
	@$(PYTHON) tools/dist/install.py $(INSTALL_FLAGS) $(STATIC_FLAG)
uninstall: ## takes them away again
	@$(PYTHON) tools/dist/install.py $(INSTALL_FLAGS) --uninstall

# Built apart, in target/ship: a build without this machine's paths is another build of everything.
.PHONY: build-for-dist dist deb dist-wheel nuget
build-for-dist: setup
	@bash tools/dist/build.sh build $(ALL_FLAGS)
dist: build-for-dist ## what users download, in target/dist: an archive, symbols, SHA256SUMS
	@$(PYTHON) tools/dist/dist.py $(STATIC_FLAG)
deb: build-for-dist ## Debian packages: libfluid1, libfluid-dev, fluid-server
	@$(PYTHON) tools/dist/deb.py
dist-wheel: build-for-dist ## the Python package for other machines, installed apart to see that it loads
	@.venv/bin/python bindings/python/build_wheel.py --build target/ship/release --out target/dist
	@rm -rf target/try
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --pre \
	  --find-links target/dist --target target/try fluid-ai
	@env -u FLUID_LIBRARY PYTHONPATH=target/try PYTHONUTF8=1 .venv/bin/python -m fluid_ai doctor --no-openvino
	@$(PYTHON) tools/dist/dist.py --sums
nuget: ## NuGet's package of the archives in target/dist (.NET SDK needed)
	@$(PYTHON) tools/dist/nuget.py
	@$(PYTHON) tools/dist/dist.py --sums

.PHONY: abi test-install check-workflows
abi: setup ## write abi/fluid.abi again, unless that would hide a break
	@$(PYTHON) tools/dist/abi.py write
test-install: setup server ## the installation, the packages and the binary interface alone
	@bash tools/run_tests.sh install
check-workflows: ## actionlint and shellcheck over .github/workflows, where they are installed
	@bash tools/check-workflows.sh

.PHONY: docs
docs: setup ## the C reference, from the header: target/docs/html/index.html
	@python3 tools/docs/reference.py

.PHONY: setup
setup:
	@bash tools/setup.sh $(SETUP_FLAGS)

# What is there and up to date costs a few stats.
FETCH := .venv/bin/python tools/fetch_models.py
CONVERT := .venv/bin/python tools/whisper_to_openvino.py
MAKE_TINY := .venv/bin/python tools/make_tiny_whisper.py
MAKE_TINY_GGUF := .venv/bin/python tools/make_tiny_gguf.py
MAKE_LORA := .venv/bin/python tools/make_lora_gguf.py
MAKE_MINILM := .venv/bin/python tools/make_minilm_gguf.py
SOURCES := $(MODELS)/src

.PHONY: demo-models models
demo-models: setup
	@$(FETCH) smollm2 whisper-base silero-vad jfk
	@$(CONVERT) '$(SOURCES)/whisper-base' '$(SPEECH_MODEL)'
models: demo-models ## the model files: fetched, checked, converted
	@$(FETCH) whisper-tiny.en minilm
	@$(CONVERT) '$(SOURCES)/whisper-tiny.en' '$(MODELS)/whisper-tiny.en-int8-ov'
	@$(CONVERT) --form stateless '$(SOURCES)/whisper-base' '$(MODELS)/whisper-base-int8-stateless-ov'
	@$(MAKE_TINY) '$(SOURCES)/whisper-base/tokenizer.json' '$(MODELS)/tiny-random-whisper-128'
	@$(MAKE_TINY) --form stateless '$(SOURCES)/whisper-base/tokenizer.json' '$(MODELS)/tiny-random-whisper-128-stateless'
	@$(MAKE_TINY_GGUF) '$(CHAT_MODEL)' '$(MODELS)/tiny-random-gguf'
	@$(MAKE_LORA) '$(CHAT_MODEL)' '$(MODELS)/tiny-random-lora'
	@$(MAKE_MINILM) '$(SOURCES)/minilm' '$(MODELS)/minilm-gguf'

.PHONY: check-fresh
check-fresh: ## make demo, twice, in a bare Debian 12 (root and debootstrap needed)
	@bash tools/check-fresh-debian.sh

.PHONY: clean
clean: ## remove what was built (models stay)
	rm -rf target .venv
