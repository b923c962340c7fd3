"""What comes at a bad time: signals on every line, second readers, queues and models that are dropped."""

import asyncio
import ctypes
import gc
import threading
import time
import unittest
import weakref
from array import array
from unittest import mock

from support import ENDLESS, PATIENCE, TINY_MODEL, QuietTest, child, engine, eventually, finish, fluid_ai, tiny_model
from support import running_jobs

from fluid_ai import _handle, _native, _reader, log
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


    def test_a_job_that_a_thread_reads_is_refused_at_once(self):
        job = engine().events()
        reader = threading.Thread(target=lambda: self.assertRaises(fluid_ai.JobCancelledError, job.result))
        reader.start()
        eventually(self, lambda: job._is_reading, "nobody reads")
        # What would wait is not to hold up the tests.
        holder = threading.Timer(5, job.close)
        holder.start()

        async def main():
            await job

        for read in (lambda: asyncio.run(main()), lambda: fluid_ai.Queue().attach(job)):
            with self.assertRaises(fluid_ai.BusyError):
                read()
            self.assertTrue(holder.is_alive(), "it waited for the other reader")
        holder.cancel()
        job.close()
        reader.join(PATIENCE)

    def test_a_timeout_holds_while_events_come(self):
        job = start(max_tokens=400, ignore_eos=True, on_event=lambda event: time.sleep(0.005))
        begun = time.monotonic()
        with self.assertRaises(TimeoutError):
            job.result(timeout=0.1)
        self.assertLess(time.monotonic() - begun, 1)
        job.close()

    def test_what_has_ended_needs_no_time(self):
        job = start(max_tokens=20, ignore_eos=True)
        eventually(self, lambda: running_jobs() == 0, "the job goes on")
        self.assertTrue(job.result(timeout=0).choices)

    def test_a_job_whose_end_was_lost_ends(self):
        job, event = start(max_tokens=1), ctypes.POINTER(_native.NativeEvent)()
        while job._lib.fluid_job_next(job._handle, -1, ctypes.byref(event)) == _native.OK:
            pass
        with self.assertRaises(fluid_ai.JobCancelledError):
            job.result(timeout=1)

    def test_ctrl_c_in_a_poll_ends_the_job(self):
        job = start(**ENDLESS)
        with mock.patch("fluid_ai.job.copied", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            job.poll(PATIENCE)
        eventually(self, lambda: running_jobs() == 0, "the job goes on")
        with self.assertRaises(fluid_ai.JobCancelledError):
            job.result()


class Frees(QuietTest):
    def test_one_that_waits_holds_back_no_dropped_job(self):
        over = threading.Event()
        self.addCleanup(over.set)
        _handle.Closing(0, lambda handle: over.wait(PATIENCE))
        next(iter(start(**ENDLESS)))
        gc.collect()
        eventually(self, lambda: running_jobs() == 0, "the job goes on")
        self.assertFalse(over.is_set())

    def test_without_new_threads_calls_are_made_here(self):
        """As at the exit of an interpreter of 3.12."""
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("no new threads")):
            with mock.patch.dict(_handle._reapers, clear=True), fluid_ai.Engine() as own:
                self.assertEqual(own.info()["models"], [])
        self.assertTrue(own.closed)


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
        for buffer, rate in ((bytearray(b"RIFF"), None), (array("f", [0.0]), 16000)):
            held = recording(buffer, rate)
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

    def interrupting(self, name):
        """Has Ctrl-C come while the library's `name` logs."""
        lib = tiny_model()._lib
        function = getattr(lib, name)

        def interrupted(*arguments):
            status = function(*arguments)
            _native.in_log.interrupt = KeyboardInterrupt()
            return status

        return mock.patch.object(lib, name, interrupted)

    def test_ctrl_c_inside_a_log_handler_loses_nothing_that_was_made(self):
        with self.interrupting("fluid_generate_start"), self.assertRaises(KeyboardInterrupt):
            start(**ENDLESS)
        gc.collect()
        eventually(self, lambda: running_jobs() == 0, "the job goes on")
        with self.interrupting("fluid_engine_new"), self.assertRaises(KeyboardInterrupt):
            fluid_ai.Engine()
        lib = tiny_model()._lib
        with mock.patch.object(lib, "fluid_string_free", wraps=lib.fluid_string_free) as free:
            with self.interrupting("fluid_model_info"), self.assertRaises(KeyboardInterrupt):
                tiny_model().info()
        self.assertTrue(free.call_args[0][0].value)


if __name__ == "__main__":
    unittest.main()
