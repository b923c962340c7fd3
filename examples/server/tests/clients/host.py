"""A fluid-server of a test's own: a model folder made of links, a free port, the log in a file."""
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
MODELS = Path(os.environ.get("FLUID_MODELS") or ROOT / "models")
SERVER = Path(os.environ.get("FLUID_SERVER") or ROOT / "target/release/fluid-server")
# In the model folder of a test: their places, and what `models/` has of them.
LINKS = {
    "llm/smollm2.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "whisper/whisper-base": "whisper-base-int8-ov",
    "embedding/minilm.gguf": "minilm-gguf/f16.gguf",
    "embedding/reranker.gguf": "minilm-gguf/tiny-reranker.gguf",
}
DEFAULTS = {"--llm-model": "smollm2", "--whisper-model": "whisper-base", "--embedding-model": "minilm"}
PATIENCE = 60


class Host:
    """Starts on entry, ends on exit. `url` is its address; `folder` its model folder."""

    def __init__(self, *options, links=LINKS, variables=None, path=None):
        self.options, self.links, self.variables, self.path = options, links, variables or {}, path

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="fluid-server-test-")
        self.folder = Path(self.path or Path(self.scratch.name) / "models")
        for place, source in self.links.items():
            link = self.folder / place
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(MODELS / source)
        self.log = Path(self.scratch.name) / "log"
        defaults = [part for name, value in DEFAULTS.items() if name not in self.options for part in (name, value)]
        # A test that has a hub of its own asks it.
        offline = [] if "HF_ENDPOINT" in self.variables else ["--offline"]
        command = [SERVER, "--port", "0", "--model-path", self.folder, *defaults, *offline, *self.options]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env={**os.environ, **self.variables})
        self.port = self._port()
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def _port(self):
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            said = re.search(r"listening on http://[^ ]*:(\d+)\n", self.log.read_text())
            if said:
                return int(said[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"no server: {self.log.read_text()}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.scratch.cleanup()

    def get(self, path):
        """The JSON that `path` answers with."""
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def wait_until_ready(self):
        """Until nothing is warming up any more."""
        begun = time.monotonic()
        while self.get("/health")["status"] != "ready":
            if time.monotonic() - begun > PATIENCE:
                raise RuntimeError(f"still warming up: {self.log.read_text()}")
            time.sleep(0.05)
        return self
