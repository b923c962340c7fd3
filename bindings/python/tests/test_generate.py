"""Text: answers, streams, events, forms, tokens, states, errors, and ways to stop."""

import json
import tempfile
import threading
import time
import unittest
from pathlib import Path

from support import ALONE, CHAT, CHAT_MODEL, ENDLESS, QuietTest, chat_model, engine, fluid_ai

WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["Bonn", "Kiel"]}}}}
WEATHER["parameters"].update(required=["city"], additionalProperties=False)


class Answers(QuietTest):
    def test_a_chat_is_answered(self):
        answer = chat_model().generate(CHAT, max_tokens=8, temperature=0)
        self.assertTrue(answer.text)
        self.assertEqual(answer.message, {"role": "assistant", "content": answer.text})
        self.assertEqual(answer.finish_reason, "length")
        self.assertEqual(
            answer.usage["total_tokens"], answer.usage["prompt_tokens"] + answer.usage["completion_tokens"]
        )
        self.assertEqual(answer["object"], "chat.completion")

    def test_a_stream_gives_the_same_text_in_pieces(self):
        pieces = list(chat_model().stream(CHAT, max_tokens=16, temperature=0))
        whole = chat_model().generate(CHAT, max_tokens=16, temperature=0)
        self.assertGreater(len(pieces), 3)
        self.assertEqual("".join(pieces), whole.text)

    def test_text_tokens_and_whole_requests_are_prompts_too(self):
        text = "One, two, three, four,"
        tokens = chat_model().tokenize(text).tokens
        for prompt in (text, tokens, tuple(tokens), {"prompt": text}):
            answer = chat_model().generate(prompt, max_tokens=2, temperature=0)
            self.assertEqual(answer.text, " five,", prompt)
            self.assertEqual(answer["object"], "text_completion")

    def test_the_result_is_there_after_a_stream_and_amid_one(self):
        stream = chat_model().stream(CHAT, max_tokens=12, temperature=0)
        first = next(stream)
        self.assertTrue(stream.result().text.startswith(first))
        stream = chat_model().stream(CHAT, max_tokens=12, temperature=0)
        self.assertEqual("".join(stream), stream.result().text)
        self.assertEqual(list(stream), [])

    def test_events_tell_tokens_and_their_log_probabilities(self):
        stream = chat_model().stream(CHAT, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
        tokens = [event for event in stream.events() if isinstance(event, fluid_ai.Token)]
        self.assertEqual(len(tokens), 4)
        for event in tokens:
            self.assertLessEqual(event.logprob, 0)
            self.assertGreaterEqual(event.token, 0)
            self.assertEqual(len(event.data["content"][0]["top_logprobs"]), 2)
        times = [event.elapsed for event in tokens]
        self.assertEqual(times, sorted(times))

    def test_several_choices(self):
        seen = set()
        answer = chat_model().generate(CHAT, n=2, max_tokens=4, on_event=lambda event: seen.add(event.choice))
        self.assertEqual((len(answer.choices), seen), (2, {0, 1}))

    def test_a_form_is_kept(self):
        schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
        form = {
            "type": "json_schema",
            "json_schema": {"name": "it", "schema": {**schema, "additionalProperties": False}},
        }
        answer = chat_model().generate(CHAT, response_format=form, max_tokens=64, temperature=0)
        self.assertIsInstance(json.loads(answer.text)["age"], int)

    def test_calls_of_tools_come_in_pieces_and_as_a_whole(self):
        tools = [{"type": "function", "function": WEATHER}]
        stream = chat_model().stream(
            CHAT, tools=tools, tool_choice="required", parallel_tool_calls=False, temperature=0
        )
        calls = [event for event in stream.events() if isinstance(event, fluid_ai.ToolCall)]
        answer = stream.result()
        self.assertEqual((calls[0].name, calls[0].index), ("weather", 0))
        whole = answer.tool_calls[0]["function"]["arguments"]
        self.assertEqual("".join(event.arguments for event in calls if event.index == 0), whole)
        self.assertIn(json.loads(whole)["city"], ("Bonn", "Kiel"))
        self.assertEqual((answer.finish_reason, answer.text), ("tool_calls", ""))

    def test_reasoning_is_told_apart(self):
        thoughtful = {**ALONE, "chat_template": "{{ messages[0].content }}<think>"}
        with engine().load_model(CHAT_MODEL, thoughtful, n_ctx=512, n_parallel=1) as model:
            stream = model.stream(CHAT, reasoning_budget=4, max_tokens=12, temperature=0)
            events = list(stream.events())
            answer = stream.result()
        thought = "".join(event.text for event in events if isinstance(event, fluid_ai.Reasoning))
        said = "".join(event.text for event in events if isinstance(event, fluid_ai.Token))
        self.assertTrue(thought)
        self.assertEqual((thought.strip(), said.strip()), (answer.reasoning.strip(), answer.text.strip()))

    def test_the_model_describes_itself(self):
        info = chat_model().info()
        self.assertEqual((info["architecture"], info["context_length"]), ("llama", 2048))
        self.assertIn("generate", info["capabilities"])
        self.assertIn("SmolLM2", repr(chat_model()))


    def test_the_names_of_openais_client_are_taken(self):
        for request in ({"messages": CHAT}, {"prompt": "x"}):
            self.assertTrue(chat_model().generate(max_tokens=1, **request).choices)
            self.assertEqual(len(chat_model().stream(stream=True, max_tokens=1, **request).result().choices), 1)
            for positional, named in (((), request), ((request,), {})):
                with self.assertRaisesRegex(TypeError, r"stream\(\)"):
                    chat_model().generate(*positional, stream=True, **named)
        self.assertGreater(chat_model().tokenize(messages=CHAT).count, 0)
        with self.assertRaises(fluid_ai.InvalidRequestError):
            chat_model().generate(max_tokens=1)

    def test_bytes_are_no_text_and_a_text_no_list(self):
        for text in (b"Hello", bytearray(b"Hello"), memoryview(b"Hello")):
            for call in (chat_model().generate, chat_model().stream, chat_model().tokenize, chat_model().embed):
                with self.assertRaisesRegex(TypeError, "a text is str"):
                    call(text)
        with self.assertRaisesRegex(TypeError, "a list of texts"):
            chat_model().rerank("query", "one text")


class Tokens(QuietTest):
    def test_there_and_back(self):
        text = "naïve café, 日本 🦊"
        tokens = chat_model().tokenize(text)
        self.assertEqual(tokens.count, len(tokens.tokens))
        self.assertEqual(chat_model().detokenize(tokens.tokens), text)

    def test_what_a_chat_becomes(self):
        tokens = chat_model().tokenize(CHAT)
        self.assertIn("<|im_start|>user\nWhat is the capital", tokens.prompt)
        self.assertEqual(chat_model().generate(CHAT, max_tokens=1).usage["prompt_tokens"], tokens.count)


class States(QuietTest):
    def test_a_saved_state_is_found_again(self):
        text = "The quick brown fox jumps over the lazy dog, and then " * 8
        with tempfile.TemporaryDirectory() as folder, engine().load_model(CHAT_MODEL, ALONE, n_ctx=512) as model:
            path = Path(folder, "zwei Füchse 🦊.state")
            saved = model.save_state(text, path)
            self.assertEqual((saved["bytes"], saved["path"]), (path.stat().st_size, str(path)))
            with engine().load_model(CHAT_MODEL, ALONE, n_ctx=512) as other:
                self.assertEqual(other.restore_state(path)["tokens"], saved["tokens"])
                usage = other.generate(text, max_tokens=1).usage
                self.assertEqual(usage["prompt_tokens_details"]["cached_tokens"], saved["tokens"])
                path.write_bytes(path.read_bytes()[:-9])
                with self.assertRaises(fluid_ai.InvalidStateError):
                    other.restore_state(path)


class Errors(QuietTest):
    def refused(self, error, *arguments, **fields):
        with self.assertRaises(error) as caught:
            chat_model().generate(*arguments, **fields)
        return caught.exception

    def test_a_wrong_field_is_named(self):
        error = self.refused(fluid_ai.InvalidRequestError, [{"role": "king", "content": "x"}])
        self.assertEqual((error.status, error.status_name), (-21, "FLUID_ERROR_INVALID_REQUEST"))
        self.assertIn("messages[0].role", error.message)
        self.refused(ValueError, "x", temperature="hot")
        self.refused(fluid_ai.InvalidRequestError, "x", temperature=float("nan"))
        self.refused(TypeError, "x", stop=object())

    def test_other_failures_have_their_own_exceptions(self):
        self.refused(fluid_ai.ContextOverflowError, "word " * 3000)
        self.refused(fluid_ai.UnsupportedError, "x", suffix="y")
        with self.assertRaises(fluid_ai.UnsupportedError):
            chat_model().embed("x")
        with self.assertRaises(fluid_ai.UnsupportedError):
            chat_model().rerank("x", ["y"])
        with self.assertRaises(fluid_ai.InvalidRequestError):
            chat_model().stream("x", grammar="root ::= (")
            chat_model().generate("x", grammar="root ::= (")

    def test_a_job_that_fails_raises_where_its_events_are_read(self):
        job = chat_model().generate_async("word " * 1990, max_tokens=1, regex="(")
        with self.assertRaises(fluid_ai.InvalidRequestError):
            list(job)
        with self.assertRaises(fluid_ai.InvalidRequestError):
            job.result()


class Stopping(QuietTest):
    def test_a_callback_that_returns_false_stops_with_the_answer_so_far(self):
        seen = []

        def on_event(event):
            seen.append(event.text)
            return len(seen) < 3

        with self.assertRaises(fluid_ai.JobCancelledError) as caught:
            chat_model().generate("Once", on_event=on_event, **ENDLESS)
        answer = caught.exception.result
        self.assertEqual((answer.finish_reason, len(seen)), ("cancelled", 3))
        self.assertTrue(answer.text.startswith("".join(seen)))

    def test_what_a_callback_raises_comes_to_the_caller_and_ends_the_job(self):
        def on_event(event):
            raise KeyError("mine")

        with self.assertRaisesRegex(KeyError, "mine"):
            chat_model().generate("Once", on_event=on_event, **ENDLESS)
        with self.assertRaisesRegex(KeyError, "mine"):
            list(chat_model().stream("Once", on_event=on_event, **ENDLESS))

    def test_a_deadline_gives_the_answer_so_far(self):
        with self.assertRaises(fluid_ai.DeadlineError) as caught:
            chat_model().generate("Once", deadline_ms=400, **ENDLESS)
        self.assertEqual(caught.exception.result.finish_reason, "deadline")
        self.assertIsInstance(caught.exception, TimeoutError)

    def test_a_cancelled_job_ends_within_the_promise(self):
        waits = []
        for _ in range(5):
            stream = chat_model().stream("Once", **ENDLESS)
            next(stream)
            begun = time.monotonic()
            stream.cancel()
            with self.assertRaises(fluid_ai.JobCancelledError):
                list(stream)
            waits.append(time.monotonic() - begun)
        self.assertLess(max(waits), 0.1, waits)

    def test_a_stream_is_cancelled_from_another_thread(self):
        stream = chat_model().stream("Once", **ENDLESS)
        threading.Timer(0.1, stream.cancel).start()
        with self.assertRaises(fluid_ai.JobCancelledError) as caught:
            list(stream)
        self.assertEqual(caught.exception.result.finish_reason, "cancelled")

    def test_a_with_block_ends_its_stream(self):
        with chat_model().stream("Once", **ENDLESS) as stream:
            next(stream)
        with self.assertRaises(fluid_ai.JobCancelledError):
            next(stream)

    def test_a_timeout_of_waiting_leaves_the_job_running(self):
        job = chat_model().generate_async("Once", max_tokens=40, ignore_eos=True)
        with self.assertRaises(TimeoutError):
            job.result(timeout=0.001)
        self.assertEqual(job.result().usage["completion_tokens"], 40)


class Polling(QuietTest):
    def test_a_frame_loop_never_waits(self):
        job = chat_model().generate_async("Once", max_tokens=4)
        kinds = []
        while not job.done:
            event = job.poll()
            if event is not None:
                kinds.append(event.kind)
            time.sleep(0.005)
        self.assertEqual(kinds[-1], fluid_ai.EventKind.END)
        self.assertEqual(kinds.count(fluid_ai.EventKind.TOKEN), 4)
        self.assertIsNone(job.poll())
        self.assertEqual(job.result().usage["completion_tokens"], 4)

    def test_a_queue_has_the_events_of_many_jobs(self):
        queue = fluid_ai.Queue()
        jobs = [chat_model().generate_async(f"{i}, {i + 1},", max_tokens=3 + i) for i in range(6)]
        for job in jobs:
            queue.attach(job)
        tokens = {job: 0 for job in jobs}
        for job, event in queue:
            tokens[job] += isinstance(event, fluid_ai.Token)
        for i, job in enumerate(jobs):
            self.assertEqual(job.result().usage["completion_tokens"], 3 + i)
            self.assertGreaterEqual(tokens[job], 3 + i)
        self.assertIsNone(queue.next(timeout=0))
        with self.assertRaises(fluid_ai.BusyError):
            queue.attach(jobs[0])

    def test_a_queue_that_is_closed_ends_its_jobs(self):
        with fluid_ai.Queue() as queue:
            job = chat_model().generate_async("Once", **ENDLESS)
            queue.attach(job)
            with self.assertRaises(fluid_ai.BusyError):
                job.poll()
        list(queue)
        with self.assertRaises(fluid_ai.JobCancelledError):
            job.result()


if __name__ == "__main__":
    unittest.main()
