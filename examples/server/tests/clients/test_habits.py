"""What clients do that no specification says: older fields, curl's habits."""
import unittest

from host import Host
from wire import send

CHAT = "/v1/chat/completions"
QUESTION = [{"role": "user", "content": "Count from one to fifty."}]
REQUEST = {"model": "smollm2", "messages": QUESTION, "temperature": 0, "logit_bias": {"0": -100, "2": -100}}


class Habits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host()).wait_until_ready()

    def ask(self, path, body, headers=None, status=200):
        answer = send(self.host, "POST", path, body, headers)
        self.assertEqual(answer.status, status, answer.body)
        return answer

    def test_both_names_of_the_limit(self):
        for name in ("max_tokens", "max_completion_tokens"):
            answer = self.ask(CHAT, {**REQUEST, name: 5}).json()
            self.assertEqual(answer["usage"]["completion_tokens"], 5, name)

    def test_usage_in_a_stream_only_where_it_is_asked_for(self):
        for options in ({}, {"stream_options": {"include_usage": False}}, {"stream_options": None}):
            chunks = self.ask(CHAT, {**REQUEST, "max_tokens": 2, "stream": True, **options}).events()
            self.assertFalse(any(chunk.get("usage") for chunk in chunks), options)

    def test_functions_of_before_tools_are_refused_by_name(self):
        for field, value in (("functions", [{"name": "f", "parameters": {}}]), ("function_call", "auto")):
            error = self.ask(CHAT, {**REQUEST, field: value}, status=422).json()["error"]
            self.assertEqual((error["param"], error["code"]), (field, "unsupported"))

    def test_fields_of_no_effect_are_taken(self):
        none = {"user": "somebody", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True}
        self.ask(CHAT, {**REQUEST, "max_tokens": 1, **none})

    def test_null_counts_as_left_out(self):
        self.ask(CHAT, {**REQUEST, "max_tokens": 1, "stop": None, "tools": None, "stream": None, "seed": None, "n": None})

    def test_a_body_without_a_type_is_json(self):
        body = b'{"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 1}'
        self.assertEqual(self.ask(CHAT, body).json()["usage"]["completion_tokens"], 1)
        # `curl -d` calls everything a form.
        for kind in ("application/x-www-form-urlencoded", "text/plain"):
            error = self.ask(CHAT, body, {"Content-Type": kind}, status=415).json()["error"]
            self.assertIn("expected application/json", error["message"])

    def test_content_in_parts(self):
        parts = [{"type": "text", "text": "Count from one"}, {"type": "text", "text": " to fifty."}]
        self.ask(CHAT, {**REQUEST, "messages": [{"role": "user", "content": parts}], "max_tokens": 1})

    def test_paths_with_a_slash_at_the_end_say_what_is_wrong(self):
        self.assertIn("error", self.ask(CHAT + "/", REQUEST, status=404).json())


if __name__ == "__main__":
    unittest.main()
