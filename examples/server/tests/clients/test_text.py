"""Chats and completions by the official `openai` client."""
import json
import math
import socket
import threading
import time
import unittest
import urllib.request

import openai
from host import Host
from pydantic import BaseModel

HI = [{"role": "user", "content": "Hi"}]
COUNT = [{"role": "user", "content": "Count from one to ten."}]
WEATHER = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a place.", "strict": True,
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "enum": ["Rome", "Oslo"]},
                                                    "days": {"type": "integer", "minimum": 1, "maximum": 9}},
                   "required": ["place", "days"], "additionalProperties": False}}}]


class Choice(BaseModel):
    color: str
    count: int


class Text(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host("--workers", "4"))
        cls.client = openai.OpenAI(base_url=cls.host.url + "/v1", api_key="none", max_retries=0, timeout=60)
        cls.host.wait_until_ready()

    def chat(self, messages=HI, **options):
        options = {"model": "smollm2", "temperature": 0, "max_tokens": 16, **options}
        return self.client.chat.completions.create(messages=messages, **options)

    def complete(self, prompt, **options):
        options = {"model": "smollm2", "temperature": 0, "max_tokens": 8, **options}
        return self.client.completions.create(prompt=prompt, **options)


class Chats(Text):
    def test_an_answer(self):
        answer = self.chat()
        self.assertEqual(answer.model, "smollm2.gguf", "the id that the name led to")
        self.assertEqual(answer.object, "chat.completion")
        self.assertIn("Hello", answer.choices[0].message.content)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))

    def test_a_stream_says_the_same_token_by_token(self):
        whole = self.chat(COUNT)
        chunks = list(self.chat(COUNT, stream=True, stream_options={"include_usage": True}))
        first, *said, last, usage = chunks
        self.assertEqual((first.choices[0].delta.role, first.choices[0].delta.content), ("assistant", ""))
        text = "".join(chunk.choices[0].delta.content for chunk in said)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertGreater(len(said), 10, "a chunk for each token")
        self.assertEqual(last.choices[0].finish_reason, whole.choices[0].finish_reason)
        self.assertIsNone(last.choices[0].delta.content)
        self.assertEqual(usage.choices, [])
        self.assertEqual(usage.usage.completion_tokens, whole.usage.completion_tokens)
        self.assertTrue(all(chunk.usage is None for chunk in chunks[:-1]))
        self.assertEqual(len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}), 1)
        self.assertGreater(usage.timings["predicted_per_second"], 0)

    def test_tokens_come_when_they_are_drawn(self):
        began, times = time.monotonic(), []
        for _ in self.chat(COUNT, stream=True, max_tokens=40, extra_body={"ignore_eos": True}):
            times.append(time.monotonic() - began)
        self.assertLess(times[1], times[-1] / 2, "the first one does not wait for the last one")
        self.assertGreater(len({round(at, 3) for at in times}), 20)

    def test_several_choices(self):
        answer = self.chat(n=3, temperature=1, seed=7, max_tokens=6)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2])
        texts, roles, ends = {}, {}, {}
        for chunk in self.chat(n=3, temperature=1, seed=7, max_tokens=6, stream=True):
            choice = chunk.choices[0]
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            roles.setdefault(choice.index, choice.delta.role)
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
        self.assertEqual(texts, {choice.index: choice.message.content for choice in answer.choices})
        self.assertEqual(set(roles.values()), {"assistant"})
        self.assertEqual(sorted(ends), [0, 1, 2])

    def test_stop_strings_end_the_answer(self):
        whole = self.chat(COUNT, max_tokens=24).choices[0].message.content
        stop = whole[8:12]
        answer = self.chat(COUNT, max_tokens=24, stop=[stop]).choices[0]
        self.assertEqual((answer.message.content, answer.finish_reason), (whole[:whole.index(stop)], "stop"))

    def test_logprobs(self):
        answer = self.chat(logprobs=True, top_logprobs=2, max_tokens=4).choices[0]
        streamed = [chunk.choices[0].logprobs for chunk in self.chat(logprobs=True, top_logprobs=2, max_tokens=4,
                                                                     stream=True)]
        tokens = [token for logprobs in streamed if logprobs for token in logprobs.content]
        self.assertEqual([token.token for token in tokens], [token.token for token in answer.logprobs.content])
        for token in tokens:
            self.assertEqual(len(token.top_logprobs), 2)
            self.assertLessEqual(token.logprob, 0)
            self.assertTrue(math.isclose(token.logprob, token.top_logprobs[0].logprob, abs_tol=1e-4))

    def test_structured_output(self):
        ask = [{"role": "user", "content": "Pick a color and a count as JSON."}]
        answer = self.client.chat.completions.parse(model="smollm2", messages=ask, temperature=0, max_tokens=80,
                                                    response_format=Choice)
        self.assertIsInstance(answer.choices[0].message.parsed, Choice)
        with self.client.chat.completions.stream(model="smollm2", messages=ask, temperature=0, max_tokens=80,
                                                 response_format=Choice) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.parsed, answer.choices[0].message.parsed)
        plain = self.chat(ask, response_format={"type": "json_object"}, max_tokens=80).choices[0]
        if plain.finish_reason == "stop":
            self.assertIsInstance(json.loads(plain.message.content), dict)

    def test_tools(self):
        ask = [{"role": "user", "content": "What is the weather in Oslo for 3 days?"}]
        options = {"tools": WEATHER, "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 80}
        choice = self.chat(ask, **options).choices[0]
        self.assertEqual(choice.finish_reason, "tool_calls")
        call = choice.message.tool_calls[0]
        self.assertEqual(call.function.name, "get_weather")
        self.assertIn(json.loads(call.function.arguments)["place"], ("Rome", "Oslo"))

        with self.client.chat.completions.stream(model="smollm2", messages=ask, temperature=0, **options) as stream:
            pieces = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
            final = stream.get_final_completion().choices[0]
        self.assertGreater(len(pieces), 1, "arguments come in pieces")
        self.assertEqual(final.message.tool_calls[0].function.arguments, call.function.arguments)
        self.assertEqual(final.finish_reason, "tool_calls")

        result = {"role": "tool", "tool_call_id": call.id, "content": "Rain."}
        after = self.chat(ask + [choice.message.to_dict(), result], tools=WEATHER, tool_choice="none")
        self.assertTrue(after.choices[0].message.content)

    def test_many_at_once(self):
        texts, errors = [None] * 32, []

        def ask(place):
            try:
                stream = self.chat([{"role": "user", "content": f"Say {place % 4}"}], stream=True, max_tokens=8)
                texts[place] = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            except openai.OpenAIError as error:
                errors.append(error)

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertTrue(all(texts), texts)


class Completions(Text):
    def test_prompts_side_by_side(self):
        prompts = ["One, two, three,", "Monday, Tuesday,"]
        alone = [self.complete(prompt).choices[0].text for prompt in prompts]
        together = self.complete(prompts)
        self.assertEqual([choice.index for choice in together.choices], [0, 1])
        self.assertEqual(together.object, "text_completion")
        self.assertEqual(together.usage.completion_tokens, 16)
        for one, other in zip(alone, together.choices):
            self.assertEqual(one.split()[:2], other.text.split()[:2], "up to what rounding in a batch changes")
        texts = ["", ""]
        for chunk in self.complete(prompts, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].text
        self.assertTrue(all(texts), texts)

    def test_token_ids_echo_and_logprobs(self):
        tokens = self.post("/v1/tokenize", {"content": "One, two, three,"})["tokens"]
        answer = self.complete(tokens, echo=True, logprobs=1, max_tokens=3).choices[0]
        self.assertTrue(answer.text.startswith("One, two, three,"), answer.text)
        self.assertEqual(len(answer.logprobs.tokens), len(tokens) + 3)
        chunks = list(self.complete(tokens, echo=True, logprobs=1, max_tokens=3, stream=True))
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks), answer.text)
        streamed = [token for chunk in chunks if chunk.choices[0].logprobs
                    for token in chunk.choices[0].logprobs.tokens]
        self.assertEqual(streamed, answer.logprobs.tokens)

    def test_a_suffix_needs_a_model_for_it(self):
        with self.assertRaises(openai.UnprocessableEntityError):
            self.complete("a", suffix="b")

    def post(self, path, body):
        request = urllib.request.Request(self.host.url + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


class Errors(Text):
    def refused(self, of_class, code=None, param=None, **options):
        with self.assertRaises(of_class) as caught:
            self.chat(**options)
        error = caught.exception
        if code:
            self.assertEqual(error.code, code)
        if param:
            self.assertEqual(error.param, param)
        self.assertTrue(error.body["message"])
        return error

    def test_classes(self):
        self.refused(openai.BadRequestError, param="top_p", top_p=9)
        self.refused(openai.BadRequestError, param="messages[0].role", messages=[{"role": "x", "content": "a"}])
        self.refused(openai.BadRequestError, param="messages", messages=None)
        self.refused(openai.BadRequestError, param="stream", extra_body={"stream": "yes"})
        self.refused(openai.NotFoundError, code="model_not_found", param="model", model="no-such-model")
        self.refused(openai.NotFoundError, code="model_not_found", model="../../etc/passwd")
        image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
        self.refused(openai.UnprocessableEntityError, param="messages[0].content[0].type",
                     messages=[{"role": "user", "content": image}])

    def test_a_stream_that_cannot_begin_has_the_status(self):
        long = [{"role": "user", "content": "word " * 9_000}]
        for stream in (False, True):
            self.refused(openai.BadRequestError, code="context_length_exceeded", messages=long, stream=stream)
            self.refused(openai.BadRequestError, stream=stream, extra_body={"grammar": "root ::= ("})

    def test_a_full_queue(self):
        body = {"prompt": ["a"] * 128, "max_tokens": 4_000, "ignore_eos": True, "stream": True}
        with left(self.host, "/v1/completions", body), left(self.host, "/v1/completions", body):
            with self.assertRaises(openai.RateLimitError) as caught:
                self.complete(["a"] * 128)
            self.assertEqual(caught.exception.response.headers["retry-after"], "1")
        self.assertTrue(self.chat(max_tokens=1).choices)

    def test_bodies(self):
        for headers, body, status, code in [
                ({"Content-Type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
                ({"Content-Type": "application/json"}, b"{", 400, "invalid_json"),
                ({"Content-Type": "application/json"}, b"\xff", 400, "invalid_json"),
                ({"Content-Type": "application/json"}, b"[]", 400, None)]:
            request = urllib.request.Request(self.host.url + "/v1/chat/completions", body, headers)
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=60)
            with caught.exception as answer:
                self.assertEqual((answer.code, json.load(answer)["error"]["code"]), (status, code))


class left:
    """A client that sends a request, reads what comes first, and leaves at the end of the block."""

    def __init__(self, host, path, body):
        self.host, self.path, self.body = host, path, json.dumps(body).encode()

    def __enter__(self):
        self.socket = socket.create_connection(("127.0.0.1", self.host.port), 60)
        head = (f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(self.body)}\r\n\r\n")
        self.socket.sendall(head.encode() + self.body)
        if b'"stream": true' in self.body:
            self.socket.recv(4_096)
        else:
            time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.socket.close()


class Leaving(unittest.TestCase):
    """One slot: the next one gets it when its holder leaves."""

    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host("--workers", "1"))
        cls.host.wait_until_ready()

    def waited(self):
        """Seconds that the next request waits for the slot."""
        body = json.dumps({"messages": HI, "max_tokens": 1, "temperature": 0}).encode()
        request = urllib.request.Request(self.host.url + "/v1/chat/completions", body,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["timings"]["queued_ms"] / 1_000

    def test_a_client_that_leaves_frees_its_slot(self):
        for stream in (True, False):
            body = {"messages": COUNT, "max_tokens": 8_000, "ignore_eos": True, "stream": stream}
            waits = []
            for _ in range(4):
                with left(self.host, "/v1/chat/completions", body):
                    pass
                waits.append(self.waited())
            # The best of several: beside other programs any one of them may be late.
            self.assertLess(min(waits), 0.1, (stream, waits))
            self.assertLess(max(waits), 5, "far from the minutes that the answer would take")

    def test_one_that_waits_for_a_slot_can_leave_too(self):
        body = {"messages": COUNT, "max_tokens": 8_000, "ignore_eos": True, "stream": False}
        with left(self.host, "/v1/chat/completions", body):
            with left(self.host, "/v1/chat/completions", body):
                pass
        self.assertLess(self.waited(), 5)


if __name__ == "__main__":
    unittest.main()
