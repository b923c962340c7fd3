"""``python -m fluid_ai`` as a person types it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from support import CHAT_MODEL, PATIENCE, SMALL_SPEECH_MODEL, SPEECH, environment, fluid_ai, speech_model

from fluid_ai._commands import transcribe

COMMAND = [sys.executable, "-m", "fluid_ai"]


def run(*arguments, **how):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=environment(), timeout=PATIENCE, **how
    )


class Commands(unittest.TestCase):
    def said(self, *arguments, code=0, **how):
        done = run(*arguments, **how)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def test_doctor_reports_for_reading_and_as_json(self):
        text = self.said("doctor", "--no-openvino")
        self.assertIn("libfluid was found at", text)
        self.assertIn("processor", text)
        report = json.loads(self.said("doctor", "--no-openvino", "--json"))
        self.assertTrue(report["ok"] and report["library"])

    def test_version_names_package_and_library(self):
        self.assertRegex(self.said("--version"), r"^fluid-ai \S+, libfluid \d+\.\d+\.\d+ with ABI 1\.\d+ at /")

    def test_without_the_library_the_advice_is_no_traceback(self):
        for wish in ("doctor", "--version"):
            done = subprocess.run(
                [*COMMAND, wish], capture_output=True, text=True, env=environment(FLUID_LIBRARY="/no")
            )
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertTrue(done.stderr.startswith("fluid_ai: libfluid was not found"), done.stderr)

    def test_wrong_use_and_missing_files_are_one_line(self):
        self.assertIn("usage:", self.said("sing", code=2))
        self.assertIn("no such model", self.said("chat", "no such model.gguf", "-p", "x", code=1))

    def test_chat_answers_one_question(self):
        said = self.said(
            "chat",
            CHAT_MODEL,
            "-p",
            "Say hello.",
            "--max-tokens",
            8,
            "--temperature",
            0,
            "--n-ctx",
            512,
            "--threads",
            1,
        )
        self.assertGreater(len(said.split()), 2)

    def test_chat_converses_and_begins_anew(self):
        typed = "My name is Ada.\n/new\n/help\nWhat is my name?\n"
        said = self.said(
            "chat", CHAT_MODEL, "--max-tokens", 6, "--temperature", 0, "--n-ctx", 512, "--threads", 1, input=typed
        )
        self.assertEqual(said.count("> "), 5)
        self.assertIn("Ctrl-C ends an answer", said)

    def test_ctrl_c_ends_the_answer_and_not_the_chat(self):
        pipe = subprocess.PIPE
        command = [*COMMAND, "chat", str(CHAT_MODEL), "--n-ctx", "8192", "--threads", "1"]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment(PYTHONUNBUFFERED="1"))
        self.addCleanup(process.kill)
        process.stdin.write(b"Write a very long story about a fox, with a hundred chapters.\n")
        process.stdin.flush()
        os.read(process.stdout.fileno(), 2)
        self.assertTrue(os.read(process.stdout.fileno(), 1))  # the answer has begun
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        out, err = process.communicate(b"", timeout=PATIENCE)
        self.assertEqual((process.returncode, out[-3:]), (0, b"> \n"), err)

    def test_transcribe_writes_subtitles(self):
        with tempfile.TemporaryDirectory() as folder, SPEECH.open("rb") as speech:
            out = Path(folder, "Rede für später.srt")
            self.said("transcribe", SMALL_SPEECH_MODEL, "-", "-o", out, stdin=speech)
            self.assertTrue(out.read_text(encoding="utf-8").startswith("1\n00:00:00,000 --> "))

    def test_an_output_that_cannot_be_written_is_told_before_anything_is_done(self):
        said = self.said("transcribe", "no such model", SPEECH, "-o", "/no such folder/out.srt", code=1)
        self.assertRegex(said, "^fluid_ai: .*/no such folder/out.srt'\n$")

    def test_what_could_not_be_written_is_printed(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), self.assertRaises(OSError):
            transcribe._write("the work of hours", "/no such folder/out.srt")
        self.assertEqual(out.getvalue(), "the work of hours\n")

    def test_ctrl_c_keeps_the_transcript_so_far(self):
        before = signal.getsignal(signal.SIGINT)
        job = speech_model().transcribe_async(SPEECH, on_event=lambda event: signal.raise_signal(signal.SIGINT))
        heard, code = transcribe._heard(job)
        self.assertIsInstance(heard, fluid_ai.Transcript)
        self.assertEqual((code, signal.getsignal(signal.SIGINT)), (130, before))

    def test_transcribe_prints_text_or_json_with_times_of_words(self):
        self.assertIn("ask not what your country", self.said("transcribe", SMALL_SPEECH_MODEL, SPEECH))
        heard = json.loads(self.said("transcribe", SMALL_SPEECH_MODEL, SPEECH, "-f", "json", "--words"))
        self.assertIn("country", [word["word"].strip(" ,.") for word in heard["words"]])


if __name__ == "__main__":
    unittest.main()
