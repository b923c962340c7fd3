"""Models by OpenAI's own client and by Fluid Server's and llama-server's routes: names, loads, downloads."""
import http.client
import json
import shutil
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import openai

from host import LINKS, MODELS, PATIENCE, Host
from hub import Hub

LINKS = {**LINKS, "llm/tiny/llama.gguf": "tiny-random-gguf/llama.gguf", "llm/tiny/swa.gguf": "tiny-random-gguf/swa.gguf"}
MESSAGES = [{"role": "user", "content": "Hi"}]
HOSTILE = [
    "/etc/passwd", "../secret.gguf", "llm/../../secret.gguf", "..\\secret.gguf", "%2e%2e/secret.gguf", "./secret.gguf",
    "..%2fsecret.gguf", "secret.gguf\0", "C:\\secret.gguf", "file:///etc/passwd", "~/secret.gguf", "smollm2.gguf/../x",
    "a" * 5000, "\u202esmollm2", "tiny/..", "tiny/", "/", ".", "..", " ",
]


def client(host, retries=0):
    return openai.OpenAI(base_url=host.url + "/v1", api_key="none", max_retries=retries, timeout=PATIENCE)


def post(host, path, body, **headers):
    request = urllib.request.Request(host.url + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def events(text):
    """The data of a stream's events, its end left out."""
    data = [line.removeprefix("data: ") for line in text.decode().splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(one) for one in data]


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--no-warm-up", links=LINKS).__enter__()
        cls.addClassCleanup(cls.host.__exit__)
        # What no name may lead to.
        shutil.copy(MODELS / "tiny-random-gguf/llama.gguf", cls.host.folder.parent / "secret.gguf")
        shutil.copy(MODELS / "tiny-random-gguf/llama.gguf", cls.host.folder / "secret.gguf")
        cls.client = client(cls.host)

    def chat(self, model):
        return self.client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)

    def held(self):
        return [model["id"] for model in self.host.get("/health")["models"]]

    def unload_all(self):
        for model in self.host.get("/health")["models"]:
            post(self.host, "/v1/models/unload", {"model": model["id"], "model_type": model["model_type"]})

    def test_all_are_listed_in_fluid_servers_order(self):
        models = self.client.models.list().data
        self.assertEqual([(model.model_type, model.id) for model in models], [
            ("llm", "smollm2.gguf"), ("llm", "tiny/llama.gguf"), ("llm", "tiny/swa.gguf"), ("whisper", "whisper-base"),
            ("embedding", "minilm.gguf"), ("embedding", "reranker.gguf"),
        ])
        first = models[0]
        self.assertEqual((first.object, first.owned_by, first.state, first.loaded),
                         ("model", "local", "available", False))
        self.assertEqual((first.quantization, first.runnable, first.is_default), ("Q4_1", True, True))
        ids = lambda path: [model["id"] for model in self.host.get(path)["data"]]
        self.assertEqual(ids("/models"), ids("/v1/models"))

    def test_one_is_found_by_any_of_its_names(self):
        for name, found in {"smollm2": "smollm2.gguf", "tiny/swa.gguf": "tiny/swa.gguf",
                            "whisper-whisper-base": "whisper-base", "embedding-minilm.gguf": "minilm.gguf"}.items():
            self.assertEqual(self.client.models.retrieve(name).id, found)
            quoted = urllib.parse.quote(name, safe="")
            self.assertEqual(self.host.get("/v1/models/" + quoted)["id"], found)
        self.assertEqual(self.host.get("/v1/models/tiny/swa.gguf")["id"], "tiny/swa.gguf")
        with self.assertRaises(openai.NotFoundError) as raised:
            self.client.models.retrieve("smolm")
        self.assertEqual((raised.exception.code, raised.exception.param), ("model_not_found", "model"))
        self.assertIn("near it are: smollm2.gguf", raised.exception.message)

    def test_one_model_is_loaded_once_whatever_it_is_called(self):
        self.unload_all()
        names = ["smollm2", "smollm2.gguf", "default", "", "smollm2:Q4_1"]
        threads = [threading.Thread(target=self.chat, args=[name]) for name in names]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual(self.held(), ["smollm2.gguf"])
        self.chat("tiny")
        self.assertEqual(self.held(), ["smollm2.gguf", "tiny/llama.gguf"])

    def test_no_name_leads_out_of_the_folder(self):
        before = self.held()
        for name in HOSTILE:
            with self.subTest(name=name):
                with self.assertRaises(openai.NotFoundError):
                    self.chat(name)
                path = "/v1/models/" + urllib.parse.quote(name, safe="")
                with self.assertRaises(urllib.error.HTTPError) as raised:
                    self.host.get(path)
                # Dots in a path are the client's own business.
                self.assertIn(raised.exception.code, (400, 404))
                for path in ["/v1/models/load", "/v1/models/unload", "/models/load"]:
                    self.assertIn(post(self.host, path, {"model": name})[0], (400, 404))
                self.assertIn(post(self.host, "/v1/models/download", {"repo_id": name})[0], (400, 403))
        self.assertEqual(self.held(), before)

    def test_load_and_unload_by_hand(self):
        self.unload_all()
        status, answer = post(self.host, "/models/load", {"model": "smollm2"})
        answer = json.loads(answer)
        self.assertEqual((status, answer["success"], answer["model"]["state"]), (200, True, "loaded"))
        taken = self.host.get("/health")["memory_usage_gb"]
        self.assertGreater(taken, 0.1)
        self.assertTrue(self.host.get("/v1/models/smollm2")["loaded"])
        # Who is answered just now is answered to the end.
        stream = self.client.chat.completions.create(
            model="smollm2", messages=MESSAGES, max_tokens=20, stream=True, extra_body={"ignore_eos": True})
        next(stream)
        status, answer = post(self.host, "/models/unload", {"model": "smollm2"})
        self.assertEqual((status, json.loads(answer)["success"]), (200, True))
        self.assertEqual(list(stream)[-1].choices[0].finish_reason, "length")
        health = self.host.get("/health")
        self.assertEqual((health["memory_usage_gb"], health["models"]), (0.0, []))
        status, answer = post(self.host, "/v1/models/unload", {"model": "smollm2"})
        self.assertEqual((status, json.loads(answer)["message"]), (200, "smollm2.gguf was not loaded"))

    def test_a_load_tells_how_far_it_is(self):
        self.unload_all()
        status, answer = post(self.host, "/v1/models/load", {"model": "whisper-1", "stream": True})
        told = events(answer)
        self.assertEqual(status, 200)
        self.assertEqual(told[0]["phase"], "load")
        self.assertEqual((told[-1]["phase"], told[-1]["model"]["id"]), ("done", "whisper-base"))
        progress = [one["progress"] for one in told[:-1]]
        self.assertEqual(progress, sorted(progress))

    def test_what_is_wrong_with_a_request(self):
        for path, body, param in [
            ("/v1/models/load", {}, "model"), ("/v1/models/load", {"model": 1}, "model"),
            ("/v1/models/load", {"model": "smollm2", "model_type": "x"}, "model_type"),
            ("/v1/models/download", {}, "repo_id"), ("/v1/models/download", {"repo_id": "a/b", "stream": 1}, "stream"),
            ("/v1/models/download", {"repo_id": "a/b", "model_type": "vision"}, "model_type"),
        ]:
            status, answer = post(self.host, path, body)
            self.assertEqual((status, json.loads(answer)["error"]["param"]), (400, param))
        status, answer = post(self.host, "/v1/models/download", {"repo_id": "a/b"})
        self.assertEqual((status, json.loads(answer)["error"]["code"]), (403, "offline"))

    def test_what_is_broken_says_so(self):
        path = self.host.folder / "llm/broken.gguf"
        path.write_bytes(b"GGUF and no more")
        self.addCleanup(path.unlink)
        with self.assertRaises(openai.UnprocessableEntityError) as raised:
            self.chat("broken")
        self.assertEqual((raised.exception.code, raised.exception.param), ("model_unusable", "model"))
        self.assertFalse(self.client.models.retrieve("broken").runnable)


class Downloads(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tiny = (MODELS / "tiny-random-gguf/llama.gguf").read_bytes()
        cls.hub = Hub({"someone/tiny-GGUF": {"tiny-Q8_0.gguf": tiny, "README.md": b"text"}}).__enter__()
        cls.addClassCleanup(cls.hub.__exit__)
        cls.size = len(tiny)

    def setUp(self):
        self.hub.gated, self.hub.cuts, self.hub.pause, self.hub.asked = set(), {}, 0.0, []
        self.hub.repos = {"someone/tiny-GGUF": self.hub.repos["someone/tiny-GGUF"]}
        self.host = Host("--no-warm-up", "--llm-model", "someone/tiny-GGUF", links={},
                         variables=self.hub.variables).__enter__()
        self.addCleanup(self.host.__exit__)

    def download(self, repo="someone/tiny-GGUF", **fields):
        status, answer = post(self.host, "/v1/models/download", {"repo_id": repo, **fields})
        return status, json.loads(answer)

    def test_what_was_fetched_can_be_used(self):
        status, answer = self.download(local_name="mine")
        self.assertEqual(status, 200, answer)
        self.assertEqual((answer["success"], answer["model_id"], answer["downloaded_bytes"]), (True, "mine", self.size))
        self.assertIn(str(self.host.folder / "llm/mine"), answer["local_path"])
        chat = client(self.host).chat.completions
        for name in ["mine", "someone/tiny-GGUF", "someone/tiny-GGUF/tiny-Q8_0.gguf"]:
            self.assertEqual(chat.create(model=name, messages=MESSAGES, max_tokens=1).usage.completion_tokens, 1)
        self.assertEqual([model["id"] for model in self.host.get("/health")["models"]], ["mine"])
        # What is here is not asked for again.
        self.hub.asked.clear()
        status, answer = self.download(local_name="mine")
        self.assertEqual((status, answer["message"][:20], self.hub.asked), (200, "Model already exists", []))

    def test_progress_and_a_connection_that_breaks(self):
        self.hub.cuts["tiny-Q8_0.gguf"] = self.size // 2
        self.hub.pause = 0.05
        status, answer = post(self.host, "/v1/models/download", {"repo_id": "someone/tiny-GGUF"},
                              Accept="text/event-stream")
        told = events(answer)
        self.assertEqual((status, told[-1]["phase"], told[-1]["success"]), (200, "done", True))
        steps = [one for one in told if one["phase"] == "download"]
        self.assertEqual((steps[0]["file"], steps[0]["total_bytes"]), ("tiny-Q8_0.gguf", self.size))
        self.assertTrue(all(0 <= one["progress"] <= 1 and one["bytes_per_second"] >= 0 for one in steps))
        self.assertEqual(self.hub.asked.count(f"/someone/tiny-GGUF/resolve/0123456789abcdef0123456789abcdef01234567"
                                              "/tiny-Q8_0.gguf"), 2)

    def test_what_the_hub_refuses(self):
        self.hub.repos["someone/gated-GGUF"] = {"a.gguf": b"GGUF"}
        self.hub.gated.add("someone/gated-GGUF")
        status, answer = self.download("someone/nothing-GGUF")
        self.assertEqual((status, answer["error"]["param"]), (404, "repo_id"), answer)
        status, answer = self.download("someone/gated-GGUF")
        self.assertEqual((status, answer["error"]["code"]), (403, "access_denied"), answer)
        status, answer = self.download(revision="nowhere")
        self.assertEqual(status, 404, answer)
        for local_name in ["../out", "a/b", "/tmp/out", "..", "a\\b"]:
            status, answer = self.download(local_name=local_name)
            self.assertEqual((status, answer["error"]["param"]), (400, "local_name"), answer)
        status, text = post(self.host, "/v1/models/download", {"repo_id": "someone/nothing-GGUF", "stream": True})
        self.assertEqual(events(text)[-1]["error"]["code"], "model_not_found")
        self.assertEqual(list(self.host.folder.glob("**/*.gguf")), [])

    def test_a_client_that_leaves_stops_its_own_download_alone(self):
        self.hub.pause = 0.2
        body = json.dumps({"repo_id": "someone/tiny-GGUF", "stream": True})
        clients = []
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=PATIENCE)
            connection.request("POST", "/v1/models/download", body, {"Content-Type": "application/json"})
            clients.append((connection, connection.getresponse()))
            clients[-1][1].readline()
        downloads = self.host.get("/health")["downloads"]
        self.assertEqual(downloads[0]["id"], "someone/tiny-GGUF")
        listed = self.host.get("/v1/models")["data"]
        self.assertIn("downloading", [model["state"] for model in listed])
        clients[0][0].close()
        clients[0][1].close()
        self.hub.pause = 0.0
        told = events(clients[1][1].read())
        self.assertEqual(told[-1].get("success"), True, told[-1])
        self.assertEqual(self.host.get("/health")["downloads"], [])

    def test_a_download_that_nobody_waits_for_stops(self):
        self.hub.pause = 0.2
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=PATIENCE)
        connection.request("POST", "/v1/models/download", json.dumps({"repo_id": "someone/tiny-GGUF"}),
                           {"Content-Type": "application/json"})
        self.wait_until(lambda: self.hub.sending == 1)
        connection.close()
        self.wait_until(lambda: self.hub.sending == 0 and not self.host.get("/health")["downloads"])
        self.assertEqual(list(self.host.folder.glob("**/*.gguf")), [])

    def test_the_default_model_is_fetched_for_the_first_request(self):
        self.hub.pause = 0.05
        chat = client(self.host).chat.completions
        answers = []
        ask = lambda: answers.append(chat.create(model="default", messages=MESSAGES, max_tokens=1))
        threads = [threading.Thread(target=ask) for _ in range(2)]
        [thread.start() for thread in threads]
        self.wait_until(lambda: any(
            model["state"] == "downloading" for model in self.host.get("/health")["models"]))
        [thread.join() for thread in threads]
        self.assertEqual(len(answers), 2)
        chat.create(model="tiny-GGUF", messages=MESSAGES, max_tokens=1)
        held = self.host.get("/health")["models"]
        self.assertEqual([model["id"] for model in held], ["tiny-GGUF"])

    def wait_until(self, is_so):
        begun = time.monotonic()
        while not is_so():
            self.assertLess(time.monotonic() - begun, PATIENCE)
            time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
