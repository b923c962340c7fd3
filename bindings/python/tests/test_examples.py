"""The examples of examples/python, each as it is copied: a process of its own."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from support import CHAT_MODEL, EMBEDDING_MODEL, PATIENCE, ROOT, SMALL_SPEECH_MODEL, SPEECH, environment

EXAMPLES = ROOT / "examples/python"


def run(name, *arguments):
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=2 * PATIENCE)


class Examples(unittest.TestCase):
    def said(self, name, *arguments):
        done = run(name, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_chat(self):
        said = self.said("chat", CHAT_MODEL, "Hi")
        self.assertTrue(said.startswith("> Hi\n"))
        self.assertGreater(len(said.splitlines()), 1)

    def test_transcribe(self):
        self.assertRegex(self.said("transcribe", SMALL_SPEECH_MODEL, SPEECH), r"\[   0\.00 - +\d+\.\d\d\] And so")

    def test_embed_and_search(self):
        best = self.said("embed_and_search", EMBEDDING_MODEL).splitlines()[1]
        self.assertIn("Bread needs flour", best)

    def test_two_models(self):
        said = self.said("two_models", CHAT_MODEL, SMALL_SPEECH_MODEL, SPEECH)
        self.assertRegex(said, r"\d+ pieces written, 22 words heard")
        self.assertIn("writes: ", said)

    def test_meeting(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "minutes.md")
            models = ("--llm", CHAT_MODEL, "--whisper", SMALL_SPEECH_MODEL)
            self.said("meeting", SPEECH, *models, "--n-ctx", 512, "--threads", 1, "-o", out)
            text = out.read_text(encoding="utf-8")
        self.assertRegex(text, r"# jfk\n\n0:00:11, english\n\n## Summary\n\n\w")
        self.assertIn("- [0:00:00] And so", text)

    def test_a_meeting_fails_before_the_recording_is_heard(self):
        models = ("--whisper", SMALL_SPEECH_MODEL, "--llm")
        for wrong in ((*models, "typo.gguf"), (*models, CHAT_MODEL, "-o", "/no such folder/minutes.md")):
            done = run("meeting", SPEECH, *wrong)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no such", done.stderr)
            self.assertNotIn("ears", done.stderr)

    def test_a_meeting_that_cannot_be_summarised_keeps_its_transcript(self):
        done = run("meeting", SPEECH, "--llm", CHAT_MODEL, "--whisper", SMALL_SPEECH_MODEL, "--n-ctx", 32)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("(not finished)", done.stdout)
        self.assertIn("- [0:00:00] And so", done.stdout)

    def test_a_meeting_that_is_long_is_cut_to_parts_that_fit(self):
        sys.path.insert(0, str(EXAMPLES))
        self.addCleanup(sys.path.remove, str(EXAMPLES))
        import meeting

        text = " ".join(f"This is sentence number {number}." for number in range(100)) + " " + "word" * 100
        cut = meeting.parts(text, lambda part: len(part) <= 120)
        self.assertLessEqual(max(map(len, cut)), 120)
        self.assertEqual("".join(cut).replace(" ", ""), text.replace(" ", ""))

    def test_a_meeting_keeps_the_notes_that_are_done_and_ends_where_they_do_not_shrink(self):
        sys.path.insert(0, str(EXAMPLES))
        self.addCleanup(sys.path.remove, str(EXAMPLES))
        import meeting

        class Writer(meeting.Writer):
            def __init__(self):
                self.notes = []

            def fits(self, text):
                return len(text) <= 100

            def write(self, task, text, tell):
                if task == meeting.SUMMARY and not self.notes[-1].endswith("!"):
                    raise KeyboardInterrupt
                return text + text[-1]

        said = " ".join(f"This is sentence number {number}." for number in range(20))
        writer = Writer()
        with self.assertRaises(KeyboardInterrupt):
            writer.summarise(said)
        self.assertGreater(len(writer.notes), 3)
        self.assertLessEqual(len(Writer().summarise(said.replace(".", "!"))), 101)

    def test_what_is_missing_is_one_line(self):
        for name, arguments in (("chat", ["no.gguf"]), ("meeting", ["no.wav", "--llm", "no", "--whisper", "none"])):
            done = run(name, *arguments)
            self.assertNotEqual(done.returncode, 0)
            self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
