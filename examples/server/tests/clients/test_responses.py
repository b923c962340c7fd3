"""OpenAI's Responses API by the official `openai` client."""
import json
import unittest

import openai
from host import Host
from pydantic import BaseModel

TOOL = {"type": "function", "name": "get_weather", "description": "The weather of a place.", "strict": True,
        "parameters": {"type": "object", "properties": {"place": {"type": "string", "enum": ["Rome", "Oslo"]}},
                       "required": ["place"], "additionalProperties": False}}


class Choice(BaseModel):
    color: str
    count: int


class Responses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host("--workers", "2"))
        cls.client = openai.OpenAI(base_url=cls.host.url + "/v1", api_key="none", max_retries=0, timeout=60)
        cls.host.wait_until_ready()

    def create(self, input="Hi", **options):
        options = {"model": "smollm2", "temperature": 0, "max_output_tokens": 16, **options}
        return self.client.responses.create(input=input, **options)

    def test_an_answer(self):
        chat = self.client.chat.completions.create(
            model="smollm2", temperature=0, max_tokens=16,
            messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}])
        answer = self.create(instructions="Be kind.", metadata={"a": "b"})
        self.assertEqual(answer.output_text, chat.choices[0].message.content)
        self.assertEqual((answer.model, answer.object, answer.metadata), ("smollm2.gguf", "response", {"a": "b"}))
        self.assertEqual(answer.usage.input_tokens, chat.usage.prompt_tokens)
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)

    def test_an_answer_cut_off_is_incomplete(self):
        answer = self.create(max_output_tokens=2)
        self.assertEqual((answer.status, answer.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        events = list(self.create(max_output_tokens=2, stream=True))
        self.assertEqual(events[-1].type, "response.incomplete")

    def test_a_stream(self):
        events = list(self.create(stream=True, max_output_tokens=64))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        names = [event.type.removeprefix("response.") for event in events]
        deltas = names.count("output_text.delta")
        self.assertGreater(deltas, 3)
        self.assertEqual(names, ["created", "in_progress", "output_item.added", "content_part.added",
                                 *["output_text.delta"] * deltas, "output_text.done", "content_part.done",
                                 "output_item.done", "completed"])
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual(events[-1].response.output_text, text)
        self.assertEqual(self.create(max_output_tokens=64).output_text, text)
        with self.client.responses.stream(model="smollm2", input="Hi", temperature=0,
                                          max_output_tokens=64) as stream:
            self.assertEqual(stream.get_final_response().output_text, text)

    def test_logprobs(self):
        answer = self.create(include=["message.output_text.logprobs"], top_logprobs=1, max_output_tokens=3)
        logprobs = answer.output[0].content[0].logprobs
        self.assertEqual("".join(token.token for token in logprobs), answer.output_text)
        self.assertEqual(len(logprobs[0].top_logprobs), 1)

    def test_structured_output(self):
        answer = self.client.responses.parse(model="smollm2", input="Pick a color and a count as JSON.",
                                             temperature=0, max_output_tokens=80, text_format=Choice)
        self.assertIsInstance(answer.output_parsed, Choice)

    def test_a_tool_is_called_and_answered(self):
        options = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False, "max_output_tokens": 80}
        ask = [{"role": "user", "content": [{"type": "input_text", "text": "What is the weather in Oslo?"}]}]
        answer = self.create(ask, **options)
        call = answer.output[-1]
        self.assertEqual((call.type, call.name, call.status), ("function_call", "get_weather", "completed"))
        self.assertIn(json.loads(call.arguments)["place"], ("Rome", "Oslo"))
        events = list(self.create(ask, stream=True, **options))
        pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        self.assertEqual("".join(pieces), call.arguments)
        self.assertGreater(len(pieces), 1)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
        for after in (self.create([*ask, call.to_dict(), result], tools=[TOOL], tool_choice="none"),
                      self.create([result], previous_response_id=answer.id, tools=[TOOL], tool_choice="none")):
            self.assertTrue(after.output_text)

    def test_a_conversation_goes_on(self):
        first = self.create("My name is Ada.")
        second = self.create("What is my name?", previous_response_id=first.id)
        said = [{"role": "user", "content": "My name is Ada."},
                {"role": "assistant", "content": first.output_text},
                {"role": "user", "content": "What is my name?"}]
        self.assertEqual(second.usage.input_tokens, self.create(said).usage.input_tokens)
        self.assertEqual(second.previous_response_id, first.id)
        items = list(self.client.responses.input_items.list(second.id, order="asc", limit=2))
        self.assertEqual([item.role for item in items], ["user", "assistant", "user"])

    def test_responses_are_kept_unless_told(self):
        answer = self.create()
        again = self.client.responses.retrieve(answer.id)
        self.assertEqual(again.to_dict(), answer.to_dict())
        *_, last = self.create(stream=True)
        self.assertEqual(self.client.responses.retrieve(last.response.id).output_text, answer.output_text)
        with self.assertRaises(openai.BadRequestError):
            self.client.responses.cancel(answer.id)
        self.client.responses.delete(answer.id)
        for lost in (answer.id, self.create(store=False).id, "resp_none"):
            with self.assertRaises(openai.NotFoundError):
                self.client.responses.retrieve(lost)
            with self.assertRaises(openai.BadRequestError) as caught:
                self.create(previous_response_id=lost)
            self.assertEqual(caught.exception.code, "previous_response_not_found")
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.delete(answer.id)

    def test_what_is_lacking_is_refused_with_its_path(self):
        for path, options in [("background", {"background": True}),
                              ("tools[0].type", {"tools": [{"type": "web_search"}]}),
                              ("conversation", {"conversation": "conv_1"}),
                              ("input[0].content[0].type",
                               {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]})]:
            with self.assertRaises(openai.UnprocessableEntityError) as caught:
                self.create(**options)
            self.assertEqual(caught.exception.param, path)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.create(max_output_tokens=-1)
        self.assertEqual(caught.exception.param, "max_output_tokens")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.create("word " * 9_000, stream=True)
        self.assertEqual(caught.exception.code, "context_length_exceeded")

    def test_input_is_counted(self):
        count = self.client.responses.input_tokens.count(model="smollm2", input="Hi")
        self.assertEqual(count.input_tokens, self.create().usage.input_tokens)


if __name__ == "__main__":
    unittest.main()
