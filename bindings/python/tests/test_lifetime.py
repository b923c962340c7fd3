"""Ends: closing twice, closing what runs, the collector, threads, Ctrl-C, forks, the interpreter's exit."""

import gc
import signal
import threading
import time
import unittest
import weakref

from support import ALONE, ENDLESS, TINY_MODEL, QuietTest, chat_model, child, embedding_model, engine, eventually
from support import finish, fluid_ai, running_jobs, tiny_model

# Slices in which Python looks after signals, and the promise of the library.
PROMPT = 0.05 + 0.1


class Closing(QuietTest):
    def test_twice_is_fine_and_use_after_it_is_an_error(self):
        own = fluid_ai.Engine()
        model = own.load_model(TINY_MODEL, ALONE, n_ctx=128)
        job = model.generate_async("x", max_tokens=1)
        job.result()
        for thing in (job, model, own, job, model, own):
            thing.close()
        self.assertTrue(model.closed and own.closed)
        for use in (own.info, model.info, lambda: model.generate("x"), lambda: own.load_model(TINY_MODEL)):
            with self.assertRaises(fluid_ai.ClosedError):
                use()
        self.assertEqual(repr(model), "<fluid_ai.Model closed>")

    def test_an_engine_takes_its_models_along(self):
        with fluid_ai.Engine() as own:
            model = own.load_model(TINY_MODEL, ALONE, n_ctx=128)
        with self.assertRaises(fluid_ai.ClosedError):
            model.generate("x")
        model.close()

    def test_what_runs_ends_as_cancelled_when_model_engine_or_job_is_closed(self):
        for number in range(3):
            with fluid_ai.Engine() as own, own.load_model(TINY_MODEL, ALONE, n_ctx=128) as model:
                stream = model.stream("Once", **ENDLESS)
                next(stream)
                ends = []
                reader = threading.Thread(target=self.read, args=(stream, ends))
                reader.start()
                time.sleep(0.02)
                (stream, model, own)[number].close()
                reader.join(10)
                self.assertEqual([type(end) for end in ends], [fluid_ai.JobCancelledError])

    def read(self, stream, ends):
        try:
            list(stream)
        except fluid_ai.FluidError as error:
            ends.append(error)

    def test_a_signals_handler_may_close_what_its_thread_reads(self):
        stream = tiny_model().stream("Once", **ENDLESS)
        before = signal.signal(signal.SIGALRM, lambda *_: stream.close())
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with self.assertRaises(fluid_ai.JobCancelledError):
            list(stream)


class Collector(QuietTest):
    def test_a_dropped_stream_cancels_its_job(self):
        for drop in (self.let_go, self.let_go_in_a_cycle):
            drop()
            gc.collect()
            eventually(self, lambda: running_jobs() == 0, drop)

    def let_go(self):
        for _ in chat_model().stream("Once", **ENDLESS):
            break

    def let_go_in_a_cycle(self):
        stream = chat_model().stream("Once", **ENDLESS)
        next(stream)
        stream.itself = stream

    def test_a_model_lives_as_long_as_its_stream_and_an_engine_as_its_model(self):
        own = fluid_ai.Engine()
        model = own.load_model(TINY_MODEL, ALONE, n_ctx=128)
        kept = weakref.ref(own), weakref.ref(model)
        stream = model.stream("Once", max_tokens=8, ignore_eos=True)
        del own, model
        gc.collect()
        self.assertEqual(stream.result().usage["completion_tokens"], 8)
        del stream
        gc.collect()
        self.assertEqual([thing() for thing in kept], [None, None])

    def test_a_collection_waits_for_no_log_handler(self):
        program = """
            import gc, logging, threading
            from support import *
            held = threading.Lock()
            class Handler(logging.Handler):
                def emit(self, record):
                    with held:
                        lines.append(record.getMessage())
            lines = []
            logging.getLogger("fluid_ai").addHandler(Handler())
            logging.getLogger("fluid_ai").setLevel("DEBUG")
            model = engine().load_model(TINY_MODEL, n_ctx=128, n_threads=1)
            fluid_ai.set_log("debug")
            with held:
                del model
                gc.collect()
            until = time.monotonic() + PATIENCE
            while engine().info()["models"]:
                assert time.monotonic() < until, "the model is not freed"
                time.sleep(0.01)
            assert lines
        """
        finish(self, child(program))

    def test_a_collection_does_not_clear_the_message_of_an_error(self):
        lib = fluid_ai._native.library()
        for drop in (self.let_go_in_a_cycle, self.let_a_model_go_in_a_cycle):
            drop()
            self.assertLess(lib.fluid_engine_info(None, None), 0)
            gc.collect()
            self.assertNotEqual(lib.fluid_last_error(), b"")

    def let_a_model_go_in_a_cycle(self):
        model = engine().load_model(TINY_MODEL, n_ctx=128, n_threads=1)
        model.itself = model

    def test_collections_at_any_time_do_no_harm(self):
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        gc.set_threshold(1, 1, 1)
        streams = [tiny_model().stream("One, two,", max_tokens=6) for _ in range(4)]
        for stream in streams:
            self.assertTrue(list(stream) or stream.result())


class Threads(QuietTest):
    def test_fifty_at_once(self):
        results, errors = [], []

        def work(number):
            try:
                results.append(self.ask(number))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertEqual(len(results), 50)

    def ask(self, number):
        if number % 10 == 0:
            return len(embedding_model().embed(f"text {number}")[0]) == 384 or self.fail()
        if number % 5 == 1:
            with tiny_model().stream("Once", **ENDLESS) as stream:
                return next(stream)
        if number % 5 == 2:
            return tiny_model().tokenize(f"text {number}").count
        model = chat_model() if number % 10 == 3 else tiny_model()
        answer = model.generate(f"{number}, {number + 1},", max_tokens=3, ignore_eos=True)
        self.assertEqual(answer.usage["completion_tokens"], 3)
        return answer

    def test_one_job_read_by_two_threads_gives_each_event_once(self):
        job = tiny_model().generate_async("Once", max_tokens=200, ignore_eos=True)
        seen = []
        threads = [threading.Thread(target=lambda: seen.extend(job)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sum(isinstance(event, fluid_ai.Token) for event in seen), 200)


INTERRUPTED = """
    import asyncio, sys, time
    from support import *

    def waiting(event):
        if not said:
            said.append(print("waiting", flush=True))

    async def awaited():
        async for event in model.stream("Once", **ENDLESS).events():
            waiting(event)

    def iterate():
        for event in model.stream("Once", **ENDLESS).events():
            waiting(event)

    acts = [
        lambda: model.generate("Once", on_event=waiting, **ENDLESS),
        iterate,
        lambda: asyncio.run(awaited()),
        lambda: waiting(None) or own.events().result(),
        lambda: waiting(None) or fluid_ai._native.waited(lambda: time.sleep(60)),
        lambda: waiting(None) or fluid_ai._handle.Closing(0, lambda handle: time.sleep(60)).close(),
    ]
    own = fluid_ai.Engine()
    model = own.load_model(CHAT_MODEL, ALONE, n_ctx=1024)
    for act in acts:
        said = []
        try:
            act()
        except KeyboardInterrupt:
            print(time.time(), flush=True)
        until = time.monotonic() + PATIENCE
        while own.info()["models"][0]["jobs"]:
            assert time.monotonic() < until, "the job goes on"
            time.sleep(0.01)
"""


class Interrupts(unittest.TestCase):
    def test_ctrl_c_comes_through_at_once_and_ends_the_job(self):
        process = child(INTERRUPTED)
        waits = []
        for _ in range(6):
            self.assertEqual(process.stdout.readline(), "waiting\n")
            time.sleep(0.1)
            sent = time.time()
            process.send_signal(signal.SIGINT)
            waits.append(float(process.stdout.readline()) - sent)
        finish(self, process)
        self.assertLess(max(waits), PROMPT, waits)


class Exits(unittest.TestCase):
    # How the program leaves a stream behind that would take minutes.
    WAYS = {
        "in the main thread": "next(stream)",
        "in a daemon thread": "threading.Thread(target=list, args=(stream,), daemon=True).start(); time.sleep(0.1)",
        "in an event loop": "asyncio.new_event_loop().run_until_complete(stream.__anext__())",
        "in a queue": "queue = fluid_ai.Queue(); queue.attach(stream.job); queue.next()",
        "with an exception": "next(stream); sys.stderr = None",
    }

    def test_the_interpreter_ends_fast_and_silently_with_a_stream_running(self):
        for way, program in self.WAYS.items():
            with self.subTest(way):
                process = child(
                    f"""
                    import asyncio, logging, sys, threading, time
                    from support import *
                    logging.basicConfig(level=logging.DEBUG, filename={str("/dev/null")!r})
                    fluid_ai.set_log("debug")
                    model = fluid_ai.Engine().load_model(CHAT_MODEL, ALONE, n_ctx=1024)
                    stream = model.stream("Once", **ENDLESS)
                    {program}
                    print("leaving", flush=True)
                    {"raise ValueError" if "exception" in way else ""}
                    """
                )
                self.assertEqual(process.stdout.readline(), "leaving\n")
                begun = time.monotonic()
                finish(self, process, code=1 if "exception" in way else 0)
                self.assertLess(time.monotonic() - begun, 5)

    def test_threads_that_set_the_log_do_not_free_what_the_library_calls(self):
        program = """
            import gc, threading, time
            from support import *
            until = time.monotonic() + 0.7
            def set_it():
                while time.monotonic() < until:
                    fluid_ai.set_log("debug")
            threads = [threading.Thread(target=set_it) for _ in range(4)]
            [thread.start() for thread in threads]
            while time.monotonic() < until:
                engine().load_model(TINY_MODEL, ALONE, n_ctx=128).close()
                gc.collect()
            [thread.join() for thread in threads]
            engine().load_model(TINY_MODEL, ALONE, n_ctx=128).close()
        """
        finish(self, child(program))

    def test_a_forked_child_gets_an_error_and_can_end(self):
        program = """
            import os, gc, sys
            from support import *
            model = engine().load_model(TINY_MODEL, ALONE, n_ctx=128)
            stream = model.stream("Once", **ENDLESS)
            next(stream)
            pid = os.fork()
            if pid == 0:
                try:
                    model.generate("x")
                except fluid_ai.ForkedError as error:
                    said = str(error)
                del model, stream
                gc.collect()
                print(said, flush=True)
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            next(stream)
            stream.close()
        """
        self.assertIn("exec", finish(self, child(program, PYTHONWARNINGS="ignore")))


if __name__ == "__main__":
    unittest.main()
