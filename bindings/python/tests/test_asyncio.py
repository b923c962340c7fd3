"""asyncio: awaiting, iterating, cancelling, and one thread for all of it."""

import asyncio
import gc
import threading
import time
import unittest

from support import (
    ALONE,
    CHAT,
    ENDLESS,
    PATIENCE,
    SPEECH,
    TINY_MODEL,
    QuietTest,
    chat_model,
    engine,
    eventually,
    fluid_ai,
)
from support import running_jobs, speech_model, tiny_model


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


class Asyncio(QuietTest):
    def test_a_stream_is_iterated_and_has_its_result(self):
        async def main():
            stream = chat_model().stream(CHAT, max_tokens=8, temperature=0)
            pieces = [text async for text in stream]
            return "".join(pieces), stream.result().text, (await stream).text

        said, whole, awaited = run(main())
        self.assertTrue(said)
        self.assertEqual((said, said), (whole, awaited))

    def test_everything_can_be_awaited(self):
        async def main():
            model = await engine().load_model_async(TINY_MODEL, ALONE, n_ctx=128)
            with model:
                answer = await model.generate_async("x", max_tokens=2)
            heard = await speech_model().transcribe_async(SPEECH, temperature=0)
            segments = [segment.text async for segment in speech_model().transcribe_stream(SPEECH, temperature=0)]
            return answer.usage["completion_tokens"], heard.text, "".join(segments)

        tokens, heard, segments = run(main())
        self.assertEqual(tokens, 2)
        self.assertIn("ask not what your country", heard)
        self.assertEqual(heard.strip(), segments.strip())

    def test_many_streams_share_one_thread_and_the_loop_stays_free(self):
        async def count(i):
            return sum([1 async for _ in chat_model().stream(f"{i}, {i + 1},", max_tokens=6, ignore_eos=True).events()])

        async def main():
            ticking = asyncio.ensure_future(tick())
            counts = await asyncio.gather(*[count(i) for i in range(16)])
            ticking.cancel()
            return counts

        async def tick():
            while True:
                await asyncio.sleep(0.001)
                ticks.append(threading.active_count())

        before, ticks = threading.active_count(), []
        counts = run(main())
        self.assertTrue(all(counted >= 6 for counted in counts), counts)
        self.assertLessEqual(max(ticks), before + 1)
        self.assertGreater(len(ticks), 10)

    def test_a_reader_that_is_slower_than_its_job_leaves_the_loop_free(self):
        async def main():
            job = tiny_model().generate_async("x", max_tokens=400, ignore_eos=True, on_event=lambda _: time.sleep(0.005))
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(job, 0.2)

        run(main())

    def test_jobs_become_tasks_and_are_closed(self):
        async def main():
            task = asyncio.ensure_future(tiny_model().generate_async("x", max_tokens=1))
            job = tiny_model().generate_async("Once", **ENDLESS)
            await job.aclose()
            return await task

        self.assertTrue(run(main()).choices)

    def test_a_cancelled_task_cancels_its_job(self):
        async def main():
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(chat_model().generate_async("Once", **ENDLESS), 0.1)
            task = asyncio.ensure_future(collect(chat_model().stream("Once", **ENDLESS)))
            await asyncio.sleep(0.1)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        async def collect(stream):
            return [text async for text in stream]

        run(main())
        eventually(self, lambda: running_jobs() == 0, "the job goes on")

    def test_leaving_a_loop_cancels_its_job(self):
        async def main():
            async for _ in chat_model().stream("Once", **ENDLESS):
                break
            gc.collect()
            await asyncio.sleep(0.05)

        run(main())
        eventually(self, lambda: running_jobs() == 0, "the job goes on")

    def test_a_job_that_is_dropped_while_it_is_awaited_is_cancelled(self):
        async def main():
            job = chat_model().generate_async("Once", **ENDLESS)
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(events(job)), 0.05)

        async def events(job):
            return [event async for event in job]

        run(main())  # the loop's end drops what it still runs
        eventually(self, lambda: running_jobs() == 0, "the job goes on")

    def test_errors_and_outcomes_are_raised_where_they_are_awaited(self):
        async def main():
            with self.assertRaises(fluid_ai.NotFoundError):
                await engine().load_model_async("no such model.gguf")
            with self.assertRaises(fluid_ai.DeadlineError) as caught:
                await chat_model().generate_async("Once", deadline_ms=200, **ENDLESS)
            with self.assertRaises(fluid_ai.InvalidRequestError):
                async for _ in chat_model().stream("x", regex="("):
                    pass
            return caught.exception.result

        self.assertEqual(run(main()).finish_reason, "deadline")

    def test_a_callback_is_called_on_the_loops_thread(self):
        async def main():
            threads = set()
            await chat_model().generate_async("x", max_tokens=2, on_event=lambda _: threads.add(threading.get_ident()))
            with self.assertRaisesRegex(KeyError, "mine"):
                await chat_model().generate_async("x", on_event=self.fail_with, **ENDLESS)
            with self.assertRaises(fluid_ai.JobCancelledError):
                await chat_model().generate_async("x", on_event=lambda _: False, **ENDLESS)
            return threads

        self.assertEqual(run(main()), {threading.get_ident()})

    @staticmethod
    def fail_with(_event):
        raise KeyError("mine")

    def test_one_job_has_one_reader(self):
        async def main():
            job = chat_model().generate_async("Once", **ENDLESS)
            first = asyncio.ensure_future(first_of(job))
            await asyncio.sleep(0)
            with self.assertRaises(fluid_ai.BusyError):
                job.result()
            with self.assertRaises(fluid_ai.BusyError):
                await job
            self.assertIsInstance(await first, fluid_ai.Token)
            job.close()

        async def first_of(job):
            async for event in job:
                return event

        run(main())


if __name__ == "__main__":
    unittest.main()
