"""Embeddings, ranking and tokens, by the official `openai` client and as Fluid Server has them."""
import base64
import json
import math
import struct
import unittest
import urllib.error
import urllib.request

import openai
from host import Host


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other)) / math.hypot(*one) / math.hypot(*other)


class Embeddings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host("--no-warm-up"))
        cls.client = openai.OpenAI(base_url=cls.host.url + "/v1", api_key="none", max_retries=0, timeout=60)

    def embed(self, input, **options):
        return self.client.embeddings.create(model="minilm", input=input, **options)

    def post(self, path, body):
        request = urllib.request.Request(self.host.url + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def refused(self, path, body):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.post(path, body)
        with caught.exception as answer:
            return answer.code, json.load(answer)["error"]

    def test_like_texts_are_near(self):
        answer = self.embed(["A dog runs.", "A puppy is running.", "Taxes are due in April."])
        dog, puppy, taxes = (one.embedding for one in answer.data)
        self.assertEqual([one.index for one in answer.data], [0, 1, 2])
        self.assertEqual((len(dog), answer.model), (384, "minilm.gguf"))
        self.assertAlmostEqual(math.hypot(*dog), 1, places=4)
        self.assertGreater(cosine(dog, puppy), cosine(dog, taxes) + 0.3)
        self.assertEqual(answer.usage.prompt_tokens, answer.usage.total_tokens)
        self.assertGreater(answer.usage.prompt_tokens, 15)

    def test_floats_equal_base64(self):
        body = {"model": "minilm", "input": "A dog runs."}
        floats = self.post("/v1/embeddings", body)["data"][0]["embedding"]
        text = self.post("/v1/embeddings", {**body, "encoding_format": "base64"})["data"][0]["embedding"]
        data = base64.b64decode(text, validate=True)
        read = struct.unpack(f"<{len(data) // 4}f", data)
        self.assertEqual(len(read), 384)
        for one, other in zip(floats, read):
            self.assertEqual(struct.pack("<f", one), struct.pack("<f", other))
        self.assertEqual(self.embed("A dog runs.").data[0].embedding, list(read), "the client asks for base64")

    def test_tokens_and_dimensions(self):
        tokens = self.post("/v1/tokenize", {"model": "minilm", "content": "A dog runs.", "add_special": True})
        by_text, by_tokens = self.embed("A dog runs."), self.embed([tokens["tokens"]])
        self.assertGreater(cosine(by_text.data[0].embedding, by_tokens.data[0].embedding), 0.999)
        short = self.embed("A dog runs.", dimensions=64).data[0].embedding
        self.assertEqual(len(short), 64)
        self.assertGreater(cosine(short, by_text.data[0].embedding[:64]), 0.999)

    def test_a_batch_of_requests(self):
        requests = [{"model": "minilm", "input": "A dog runs."}, {"input": ["a", "b"], "encoding_format": "base64"}]
        one, two = self.post("/v1/embeddings/batch", requests)
        self.assertEqual(one["data"], self.post("/v1/embeddings", requests[0])["data"])
        self.assertEqual([len(one["data"]), len(two["data"])], [1, 2])
        self.assertEqual(self.post("/v1/embeddings/batch", []), [])
        self.assertEqual(self.refused("/v1/embeddings/batch", {})[0], 400)
        self.assertEqual(self.refused("/v1/embeddings/batch", [{"model": "none", "input": "a"}])[0], 404)

    def test_models_and_info(self):
        self.embed("a")
        models = self.host.get("/v1/embeddings/models")
        self.assertEqual({model["id"] for model in models["data"]}, {"minilm.gguf", "reranker.gguf"})
        self.assertTrue(all(model["model_type"] == "embedding_text" for model in models["data"]))
        info = self.host.get("/v1/embeddings/info")
        self.assertEqual(info["enabled"], True)
        self.assertIn("minilm.gguf", info["available_models"]["text"])
        self.assertTrue(info["loaded_models"]["text"])
        self.assertEqual(info["warmup_status"]["in_progress"], False)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.embed("")
        self.assertEqual(caught.exception.param, "input")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.embed("word " * 1_000)
        with self.assertRaises(openai.NotFoundError):
            self.client.embeddings.create(model="none", input="a")
        with self.assertRaises(openai.UnprocessableEntityError) as caught:
            self.client.embeddings.create(model="smollm2", input="a")
        self.assertEqual(caught.exception.param, "model")
        with self.assertRaises(openai.UnprocessableEntityError) as caught:
            self.client.embeddings.create(model="reranker.gguf", input="a")

    def test_ranking(self):
        body = {"model": "reranker.gguf", "query": "dogs", "documents": ["a dog", {"text": "a tax"}, "x"], "top_n": 2,
                "return_documents": True}
        answer = self.post("/v1/rerank", body)
        self.assertEqual((answer["model"], len(answer["results"])), ("reranker.gguf", 2))
        scores = [result["relevance_score"] for result in answer["results"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        texts = ["a dog", "a tax", "x"]
        for result in answer["results"]:
            self.assertEqual(result["document"]["text"], texts[result["index"]])
        self.assertGreater(answer["usage"]["total_tokens"], 0)
        for path in ("/rerank", "/v1/reranking", "/reranking"):
            self.assertEqual(self.post(path, body)["results"], answer["results"])
        self.assertEqual(self.refused("/v1/rerank", {"model": "reranker.gguf", "documents": []})[1]["param"], "query")
        status, error = self.refused("/v1/rerank", {"model": "minilm", "query": "a", "documents": ["b"]})
        self.assertEqual((status, error["param"]), (422, "model"))

    def test_tokens_there_and_back(self):
        text = "Grüße, 世界! \n\tEnd."
        for prefix in ("", "/v1"):
            tokens = self.post(prefix + "/tokenize", {"content": text})
            self.assertEqual(tokens["count"], len(tokens["tokens"]))
            back = self.post(prefix + "/detokenize", {"tokens": tokens["tokens"]})
            self.assertEqual(back["content"], text)
        pieces = self.post("/v1/tokenize", {"content": "Hello world", "with_pieces": True})["tokens"]
        self.assertEqual("".join(token["piece"] for token in pieces), "Hello world")
        chat = self.post("/v1/tokenize", {"messages": [{"role": "user", "content": "Hi"}]})
        self.assertIn("Hi", chat["prompt"])
        self.assertEqual(self.refused("/v1/detokenize", {"tokens": "a"})[1]["param"], "tokens")


if __name__ == "__main__":
    unittest.main()
