"""What comes at a bad time: signals on every line, second readers, queues and models that are dropped."""

import asyncio
import gc
import threading
import unittest
import weakref
from array import array
from unittest import mock

from support import ENDLESS, PATIENCE, TINY_MODEL, QuietTest, child, engine, eventually, finish, fluid_ai, tiny_model
from support import running_jobs

from fluid_ai import _native, _reader, log
from fluid_ai.audio import recording

# Does `act` behind the N-th line that runs in one of the functions named, for each N: as a signal's handler would.
SWEEP = """
    import asyncio, itertools, sys
    from support import *

    def sweep(functions, run, act):
        for line in itertools.count(1):
            left = [line]
            def trace(frame, event, _):
                if frame.f_code.co_name not in functions or "fluid_ai" not in frame.f_code.co_filename:
                    return None
                if event == "line":
                    left[0] -= 1
                    if left[0] == 0:
                        act()
                return trace
            yield
            sys.settrace(trace)
            try:
                run()
            except (KeyboardInterrupt, fluid_ai.JobCancelledError):
                pass
            finally:
                sys.settrace(None)
            if left[0] > 0:
                return
"""


def start(**fields):
    return tiny_model().generate_async("Once", **fields)


class Signals(unittest.TestCase):
    def test_a_handler_may_close_a_job_wherever_it_comes(self):
        program = """
            model = tiny_model()
            for _ in sweep(("_next", "_locked", "_wait", "_read"), lambda: next(job), lambda: job.close()):
                job = model.generate_async("Once", **ENDLESS)
            until = time.monotonic() + PATIENCE
            while running_jobs():
                assert time.monotonic() < until, "a job goes on"
        """
        finish(self, child(SWEEP + program))

    def test_ctrl_c_anywhere_in_an_attach_leaves_the_reader_alive(self):
        program = """
            def interrupt():
                raise KeyboardInterrupt
            model = tiny_model()
            loop = asyncio.new_event_loop()
            attach = lambda: fluid_ai.Queue().attach(job)
            for _ in sweep(("_hand_over", "_become", "adopt"), attach, interrupt):
                job = model.generate_async("Once", max_tokens=2)
            async def main():
                return await asyncio.wait_for(model.generate_async("Once", max_tokens=2), PATIENCE)
            assert loop.run_until_complete(main())
        """
        finish(self, child(SWEEP + program))


class Reader(QuietTest):
    def test_ctrl_c_behind_an_attach_costs_no_other_job(self):
        lib = _reader.reader()._lib
        attach = lib.fluid_job_attach

        def interrupted(job, queue):
            attach(job, queue)
            raise KeyboardInterrupt

        with mock.patch.object(lib, "fluid_job_attach", interrupted), self.assertRaises(KeyboardInterrupt):
            fluid_ai.Queue().attach(start(max_tokens=2))
        self.assert_alive()

    def test_an_error_of_one_jobs_reader_costs_no_other_job(self):
        job = start(max_tokens=1)
        with self.assertLogs("fluid_ai", "ERROR"):
            job._hand_over(mock.Mock(side_effect=MemoryError))
            eventually(self, lambda: running_jobs() == 0 and job._outcomes, "the job goes on")
            self.assert_alive()

    def assert_alive(self):
        async def main():
            return await asyncio.wait_for(start(max_tokens=2), PATIENCE)

        self.assertEqual(asyncio.run(main()).usage["completion_tokens"], 2)

    def test_a_timeout_holds_behind_another_reader(self):
        job = engine().events()
        reader = threading.Thread(target=lambda: self.assertRaises(fluid_ai.JobCancelledError, job.result))
        reader.start()
        eventually(self, lambda: job._is_reading, "nobody reads")
        self.assertIsNone(job.poll(0.1))
        with self.assertRaises(TimeoutError):
            job.result(0.1)
        job.close()
        reader.join(PATIENCE)
        self.assertFalse(reader.is_alive())


class Queues(QuietTest):
    def test_a_second_attach_is_refused_and_changes_nothing(self):
        queue, job = fluid_ai.Queue(), start(max_tokens=2)
        queue.attach(job)
        with self.assertRaises(fluid_ai.BusyError):
            queue.attach(job)
        self.assertEqual(len(queue), 1)
        self.assertIsInstance([event for _, event in queue][-1], fluid_ai.End)

    def test_each_thread_that_iterates_ends(self):
        queue, seen = fluid_ai.Queue(), []
        queue.attach(start(max_tokens=50, ignore_eos=True))
        threads = [threading.Thread(target=lambda: seen.extend(queue), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
        self.assertEqual(sum(isinstance(event, fluid_ai.End) for _, event in seen), 1)

    def test_a_queue_that_is_dropped_cancels_its_jobs(self):
        queue, job = fluid_ai.Queue(), start(**ENDLESS)
        queue.attach(job)
        queue.next()
        weak = weakref.ref(queue)
        del queue
        gc.collect()
        self.assertIsNone(weak())
        eventually(self, lambda: running_jobs() == 0, "the job goes on")

    def test_on_event_is_called_whoever_reads(self):
        for read in (self.by_poll, self.by_queue):
            seen = []
            read(start(max_tokens=3, ignore_eos=True, on_event=seen.append))
            self.assertEqual(sum(isinstance(event, fluid_ai.Token) for event in seen), 3, read)
            self.assertFalse(any(isinstance(event, fluid_ai.End) for event in seen))

    def by_poll(self, job):
        while not job.done:
            job.poll(0.1)

    def by_queue(self, job):
        queue = fluid_ai.Queue()
        queue.attach(job)
        list(queue)


class Kept(unittest.TestCase):
    def test_a_job_that_ended_keeps_no_model(self):
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        model = engine().load_model(TINY_MODEL, n_ctx=128, n_threads=1)
        kept, job = weakref.ref(model), model.generate_async("x", max_tokens=1)
        job.result()
        with self.assertRaises(fluid_ai.DeadlineError):
            model.generate("Once", deadline_ms=20, **ENDLESS)
        del model
        self.assertIsNone(kept())
        self.assertTrue(job.result().choices)


    def test_a_recording_lets_go_of_the_callers_buffer(self):
        gc.disable()
        self.addCleanup(gc.enable)
        for buffer in (bytearray(b"RIFF"), array("f", [0.0])):
            held = recording(buffer, 16000)
            with self.assertRaises(BufferError):
                buffer.append(1)
            del held
            buffer.append(1)


class Log(QuietTest):
    def test_ctrl_c_inside_a_log_handler_is_raised_by_the_call_that_logged(self):
        model = tiny_model()
        handler = mock.Mock(level=0, handle=mock.Mock(side_effect=KeyboardInterrupt))
        with mock.patch.object(_native.logger, "handlers", [handler]), mock.patch.object(_native.logger, "level", 1):
            log._write(_native.LOG_ERROR, b"a line", None)
        with self.assertRaises(KeyboardInterrupt):
            model.info()
        self.assertTrue(model.info())


if __name__ == "__main__":
    unittest.main()
