"""Every answer against OpenAI's published schema, the events of streams and errors too."""
import unittest

import published
from host import MODELS, Host
from wire import send, upload

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
CHAT = {"model": "smollm2", "messages": QUESTION, "temperature": 0, "max_completion_tokens": 16}
FORM = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"],
    "additionalProperties": False}}}
TOOL = {"name": "weather", "description": "The weather in a city", "parameters": {
    "type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"],
    "additionalProperties": False}}
TOOLS = {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required", "max_completion_tokens": 48}
SPEECH = MODELS / "jfk.wav"


class Published(unittest.TestCase):
    """What the checks are worth: the document is there, and a wrong answer is found."""

    def test_the_document_describes_what_is_checked(self):
        for name in ("CreateChatCompletionResponse", "ResponseCompletedEvent", "TranscriptTextDoneEvent"):
            self.assertIn(name, published.schemas())

    def test_wrong_answers_are_found(self):
        error = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}}
        self.assertIsNone(published.deviation("ErrorResponse", error))
        del error["error"]["code"]
        self.assertIn("'code' is a required property", published.deviation("ErrorResponse", error))
        self.assertIn("no published event", published.event_deviation({"type": "response.invented"}))


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host("--workers", "2")).wait_until_ready()

    def fits(self, name, value):
        self.assertIsNone(published.deviation(name, value), f"{value}")

    def ask(self, path, body, status=200):
        answer = send(self.host, "POST", path, body)
        self.assertEqual(answer.status, status, answer.body[:500])
        return answer

    def stream(self, path, body):
        answer = self.ask(path, {**body, "stream": True})
        self.assertEqual(answer.headers["content-type"].split(";")[0], "text/event-stream")
        events = answer.events()
        self.assertGreater(len(events), 1)
        return answer, events

    # Chat and completions

    def test_chat(self):
        kinds = {"plain": {}, "choices": {"n": 2, "temperature": 1}, "log-probabilities": {"logprobs": True, "top_logprobs": 2},
                 "form": {"response_format": FORM, "max_completion_tokens": 32}, "tools": TOOLS}
        for name, more in kinds.items():
            with self.subTest(name):
                self.fits("CreateChatCompletionResponse", self.ask("/v1/chat/completions", {**CHAT, **more}).json())
            with self.subTest(name, streamed=True):
                options = {"stream_options": {"include_usage": True}}
                answer, chunks = self.stream("/v1/chat/completions", {**CHAT, **more, **options})
                self.assertTrue(answer.body.endswith(b"data: [DONE]\n\n"), answer.body[-100:])
                for chunk in chunks:
                    self.fits("CreateChatCompletionStreamResponse", chunk)
                self.assertEqual(chunks[-1]["choices"], [])
                self.assertEqual(chunks[-1]["usage"]["total_tokens"],
                                 chunks[-1]["usage"]["prompt_tokens"] + chunks[-1]["usage"]["completion_tokens"])

    def test_completions(self):
        for more in ({}, {"logprobs": 2}, {"prompt": ["One, two,", "Three,"]}, {"echo": True}):
            body = {"model": "smollm2", "prompt": "The capital of France is", "max_tokens": 8, "temperature": 0, **more}
            with self.subTest(more):
                self.fits("CreateCompletionResponse", self.ask("/v1/completions", body).json())
            with self.subTest(more, streamed=True):
                for chunk in self.stream("/v1/completions", body)[1]:
                    for choice in chunk["choices"]:
                        # OpenAI sends null there until the end, which its document leaves out.
                        choice["finish_reason"] = choice["finish_reason"] or "stop"
                    self.fits("CreateCompletionResponse", chunk)

    # Responses

    def test_responses(self):
        kinds = {"plain": {}, "instructions": {"instructions": "You are brief.", "metadata": {"a": "b"}},
                 "form": {"text": {"format": {"type": "json_schema", **FORM["json_schema"]}}},
                 "tools": {"tools": [{"type": "function", "strict": True, **TOOL}], "tool_choice": "required"}}
        for name, more in kinds.items():
            body = {"model": "smollm2", "input": QUESTION[0]["content"], "max_output_tokens": 48, "temperature": 0, **more}
            with self.subTest(name):
                self.fits("Response", self.ask("/v1/responses", body).json())
            with self.subTest(name, streamed=True):
                events = self.stream("/v1/responses", body)[1]
                for event in events:
                    self.assertIsNone(published.event_deviation(event), event)
                self.assertEqual([event["sequence_number"] for event in events], list(range(len(events))))
                self.assertEqual(events[0]["type"], "response.created")
                self.assertIn(events[-1]["type"], ("response.completed", "response.incomplete"))

    # Embeddings, models

    def test_embeddings(self):
        for given in ("Hello", ["Hello", "world"]):
            answer = self.ask("/v1/embeddings", {"model": "minilm", "input": given}).json()
            self.fits("CreateEmbeddingResponse", answer)

    def test_models(self):
        listed = send(self.host, "GET", "/v1/models").json()
        self.fits("ListModelsResponse", listed)
        self.assertGreaterEqual(len(listed["data"]), 3)
        for model in listed["data"]:
            self.fits("Model", send(self.host, "GET", f"/v1/models/{model['id']}").json())

    # Speech

    def test_transcriptions(self):
        words = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
        verbose, plain = "CreateTranscriptionResponseVerboseJson", "CreateTranscriptionResponseJson"
        for name, fields in ((plain, {}), (verbose, {"response_format": "verbose_json"}), (verbose, words)):
            with self.subTest(fields):
                answer = upload(self.host, "/v1/audio/transcriptions", SPEECH, model="whisper-1", **fields)
                self.assertEqual(answer.status, 200, answer.body)
                self.fits(name, answer.json())

    def test_a_streamed_transcription(self):
        answer = upload(self.host, "/v1/audio/transcriptions", SPEECH, model="whisper-1", stream="true")
        events = answer.events()
        for event in events:
            self.assertIsNone(published.event_deviation(event), event)
        self.assertEqual(events[-1]["type"], "transcript.text.done")
        self.assertIn("your country", events[-1]["text"])

    def test_translations(self):
        kinds = {"json": "CreateTranslationResponseJson", "verbose_json": "CreateTranslationResponseVerboseJson"}
        for form, name in kinds.items():
            with self.subTest(form):
                answer = upload(self.host, "/v1/audio/translations", SPEECH, model="whisper-1", response_format=form)
                self.assertEqual(answer.status, 200, answer.body)
                self.fits(name, answer.json())

    # Errors

    def test_errors(self):
        chat, speech = "/v1/chat/completions", "/v1/audio/transcriptions"
        wrong = [
            (400, "POST", chat, b"{"), (400, "POST", chat, b"\xff"), (400, "POST", chat, {**CHAT, "temperature": -1}),
            (400, "POST", chat, {**CHAT, "messages": "Hello"}), (404, "POST", chat, {**CHAT, "model": "nobody/nothing"}),
            (400, "POST", "/v1/completions", {"model": "smollm2"}), (400, "POST", "/v1/responses", {"model": "smollm2"}),
            (400, "POST", "/v1/embeddings", {"model": "minilm"}), (400, "POST", "/v1/embeddings", {"input": 1}),
            (404, "GET", "/v1/models/nothing", None), (404, "GET", "/v1/nothing", None), (405, "GET", chat, None),
            (404, "GET", "/nothing", None),
        ]
        for status, method, path, body in wrong:
            with self.subTest(path, body=body):
                self.is_error(send(self.host, method, path, body), status)
        with self.subTest(speech):
            self.is_error(upload(self.host, speech, MODELS / "whisper-base-int8-ov/config.json", model="whisper-1"), 400)

    def is_error(self, answer, status):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["content-type"].split(";")[0], "application/json")
        self.fits("ErrorResponse", answer.json())


if __name__ == "__main__":
    unittest.main()
