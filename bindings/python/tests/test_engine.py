"""The engine: loads, the model folder, downloads, estimates, events, diagnosis, progress, log."""

import io
import logging
import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from support import ALONE, MODELS, SPEECH_MODEL, TINY_MODEL, QuietTest, child, engine, finish, fluid_ai

from fluid_ai import _openvino, progress
from hub import Hub


class Loads(QuietTest):
    def test_progress_is_told_and_the_model_is_what_was_asked_for(self):
        shares = []
        with engine().load_model(
            TINY_MODEL, {"n_ctx": 128}, n_parallel=2, on_event=lambda event: shares.append(event.progress)
        ) as model:
            info = model.info()
        self.assertEqual((info["context_length"], info["n_parallel"]), (128, 2))
        self.assertTrue(shares)
        self.assertEqual(shares, sorted(shares))

    def test_a_load_that_fails_says_why(self):
        with self.assertRaises(FileNotFoundError) as caught:
            engine().load_model("no such model.gguf")
        self.assertIn("no such model.gguf", str(caught.exception))
        with tempfile.TemporaryDirectory() as folder:
            cut = Path(folder, "cut.gguf")
            cut.write_bytes(TINY_MODEL.read_bytes()[:100_000])
            with self.assertRaises(fluid_ai.InvalidModelError):
                engine().load_model(cut)
        with self.assertRaises(fluid_ai.InvalidRequestError):
            engine().load_model(TINY_MODEL, n_contexts=3)
        for name in ("nul\0.gguf", "\ud800"):
            with self.assertRaises(fluid_ai.InvalidArgumentError):
                engine().load_model(name)
        with self.assertRaises(TypeError):
            engine().load_model(b"bytes.gguf")

    def test_a_callback_stops_a_load_or_its_exception_does(self):
        with self.assertRaises(fluid_ai.JobCancelledError) as caught:
            engine().load_model(SPEECH_MODEL, on_event=lambda event: False)
        self.assertIsNone(caught.exception.result)
        with self.assertRaises(ZeroDivisionError):
            engine().load_model(SPEECH_MODEL, on_event=lambda event: 1 / 0)

    def test_a_path_with_spaces_umlauts_and_emoji(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "Modelle für später", "größtes Модель 🦊.gguf")
            path.parent.mkdir()
            path.write_bytes(TINY_MODEL.read_bytes())
            for name in (path, str(path)):
                with engine().load_model(name, n_ctx=128) as model:
                    self.assertEqual(model.info()["path"], str(path))
                    self.assertTrue(model.generate("x", max_tokens=1)["choices"])


class Folders(QuietTest):
    def test_models_are_listed_fetched_and_loaded_by_name(self):
        name = "acme/fox-GGUF"
        with tempfile.TemporaryDirectory() as folder, Hub({name: {"fox-Q4_K_M.gguf": TINY_MODEL.read_bytes()}}) as hub:
            with fluid_ai.Engine(model_dir=Path(folder), hub_endpoint=hub.url, hub_token="", offline=False) as own:
                self.assertEqual(own.models()["data"], [])
                fetched = own.download(name, on_event=self.show(progress.Bar("fetching", Screen())))
                self.assertEqual(fetched["downloaded_bytes"], TINY_MODEL.stat().st_size)
                (listed,) = own.models(type="llm")["data"]
                self.assertEqual((listed["complete"], listed["path"]), (True, fetched["path"]))
                with own.load_model(name, n_ctx=128) as model:
                    self.assertTrue(model.generate("x", max_tokens=1)["choices"])
                with self.assertRaises(fluid_ai.NotFoundError):
                    own.download("acme/wolf-GGUF")
                hub.gated.add(name)
                with self.assertRaises(fluid_ai.AccessDeniedError):
                    own.download(name, revision="main", local_name="other")

    def show(self, bar):
        self.addCleanup(bar.close)
        return bar

    def test_a_hub_that_is_away_is_a_connection_error(self):
        with tempfile.TemporaryDirectory() as folder:
            settings = {"model_dir": folder, "hub_endpoint": "http://127.0.0.1:9", "hub_token": "", "offline": False}
            with fluid_ai.Engine(settings) as own, self.assertRaises((ConnectionError, fluid_ai.DeadlineError)):
                own.download("acme/fox-GGUF", deadline_ms=500)


class Questions(QuietTest):
    def test_an_estimate_has_its_sums(self):
        told = engine().estimate(TINY_MODEL, n_ctx=256, n_parallel=1)
        self.assertTrue(told["fits"])
        parts = ("weights", "kv_cache", "compute", "other", "runtime")
        self.assertEqual(told["total_bytes"], sum(told[f"{part}_bytes"] for part in parts))

    def test_devices_and_doctor_answer_with_and_without_an_engine(self):
        for devices in (engine().devices(), fluid_ai.devices()):
            self.assertGreater(devices["cpu"]["logical_cores"], 0)
        for report in (engine().doctor(openvino=False), fluid_ai.doctor(openvino=False, model_dir=str(MODELS))):
            self.assertIn("libfluid", report["text"])
            self.assertEqual(report["checks"][0]["status"], "ok")

    def test_models_that_come_and_go_are_told(self):
        with fluid_ai.Engine() as own:
            events = own.events()
            with own.load_model(TINY_MODEL, ALONE, n_ctx=128) as model:
                model.generate("x", max_tokens=1)
                self.assertEqual(own.info()["models"][0]["state"], "loaded")
                self.assertEqual(own.trim()["unloaded"], [own.info()["models"][0]["model"]])
                seen = [next(events), next(events)]
            self.assertEqual([event.data["event"] for event in seen], ["loaded", "unloaded"])
            self.assertIsInstance(seen[0], fluid_ai.ModelEvent)
            events.close()

    def test_an_unknown_option_is_refused(self):
        with self.assertRaisesRegex(fluid_ai.InvalidRequestError, "max_memry"):
            fluid_ai.Engine(max_memry=4)


class OpenVino(unittest.TestCase):
    def test_without_an_engine_the_packages_library_is_asked_too(self):
        program = """
            from unittest import mock
            from support import *
            with mock.patch.object(fluid_ai.engine, "library_folder", return_value="/elsewhere"):
                print(fluid_ai.devices()["notes"])
                print(fluid_ai.doctor()["text"])
        """
        notes, _, text = finish(self, child(program)).partition("\n")
        self.assertIn("OpenVINO's library was not found", notes)
        self.assertIn("/elsewhere", text)

    def test_the_packages_library_is_found_without_importing_it(self):
        with mock.patch.dict(os.environ, {"FLUID_OPENVINO_LIB": ""}):
            folder = _openvino.library_folder()
        self.assertTrue(list(Path(folder).glob("libopenvino_c.so*")), folder)
        self.assertNotIn("openvino", sys.modules)

    def test_who_names_another_has_that_one(self):
        with mock.patch.dict(os.environ, {"FLUID_OPENVINO_LIB": "/elsewhere"}):
            self.assertIsNone(_openvino.library_folder())

    def test_a_package_of_that_name_without_libraries_is_none(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(sys, "path", [folder]):
            Path(folder, "openvino").mkdir()
            sys.path_importer_cache.clear()
            self.assertIsNone(_openvino.library_folder())


class Screen(io.StringIO):
    def isatty(self):
        return True


class Bars(QuietTest):
    def test_a_bar_is_drawn_on_a_terminal_alone(self):
        screen, file = Screen(), io.StringIO()
        for out in (screen, file):
            with progress.Bar("loading", out) as bar, engine().load_model(TINY_MODEL, n_ctx=128, on_event=bar):
                pass
        self.assertRegex(screen.getvalue(), r"\rloading \[#+\.*\]")
        self.assertTrue(screen.getvalue().endswith("\n"))
        self.assertEqual(file.getvalue(), "")

    def test_a_program_without_stderr_has_no_bar(self):
        with mock.patch.object(sys, "stderr", None), progress.Bar("loading") as bar:
            bar.update(0.5)

    def test_tqdms_bar_is_fed_by_shares(self):
        class Fake:
            def __init__(self, **options):
                self.options, self.value, self.closed = options, 0.0, False

            def update(self, more):
                self.value += more

            def close(self):
                self.closed = True

        auto = mock.Mock(tqdm=Fake)
        with mock.patch.dict(sys.modules, {"tqdm": mock.Mock(auto=auto), "tqdm.auto": auto}):
            with progress.tqdm("loading", leave=False) as bar, engine().load_model(TINY_MODEL, n_ctx=128, on_event=bar):
                pass
        self.assertEqual((bar.bar.options["desc"], bar.bar.options["leave"]), ("loading", False))
        self.assertLessEqual(bar.bar.value, 1)
        self.assertGreater(bar.bar.value, 0.5)
        self.assertTrue(bar.bar.closed)


class Log(QuietTest):
    def tearDown(self):
        fluid_ai.set_log(None)
        super().tearDown()

    def test_lines_come_to_the_logger_with_their_level(self):
        with self.assertLogs("fluid_ai", "DEBUG") as logged:
            fluid_ai.set_log(logging.DEBUG)
            engine().load_model(TINY_MODEL, ALONE, n_ctx=128).close()
            fluid_ai.set_log(None)
        self.assertTrue({"INFO", "DEBUG"} <= {record.levelname for record in logged.records})
        with self.assertLogs("fluid_ai", "DEBUG") as logged:
            fluid_ai.set_log("info")
            engine().load_model(TINY_MODEL, ALONE, n_ctx=128).close()
            fluid_ai.set_log(None)
        self.assertEqual({record.levelname for record in logged.records} - {"INFO", "WARNING"}, set())

    def test_a_handler_may_fail_and_may_not_wait(self):
        class Failing(logging.Handler):
            def emit(self, record):
                for act in (lambda: fluid_ai.set_log(None), fluid_ai.doctor, lambda: engine().load_model(TINY_MODEL)):
                    try:
                        act()
                        refusals.append(act)
                    except fluid_ai.FluidError as error:
                        refusals.append(type(error))
                raise RuntimeError("a handler's own")

        refusals = []
        handler, logger = Failing(), logging.getLogger("fluid_ai")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self.addCleanup(logger.removeHandler, handler)
        fluid_ai.set_log(logging.INFO)
        engine().load_model(TINY_MODEL, ALONE, n_ctx=128).close()
        fluid_ai.set_log(None)
        self.assertEqual(set(refusals), {fluid_ai.BusyError})

    def test_an_unknown_level_is_refused(self):
        with self.assertRaises(ValueError):
            fluid_ai.set_log("loud")


if __name__ == "__main__":
    unittest.main()
