"""Speech: every kind of audio, segments as they come, formats, errors."""

import array
import ctypes
import io
import tempfile
import unittest
import wave
from pathlib import Path

import numpy
from support import SPEECH, QuietTest, fluid_ai, speech_model

from fluid_ai import audio

WORDS = "ask not what your country can do for you"
FIXED = {"temperature": 0, "language": "en"}


def samples():
    with wave.open(str(SPEECH)) as file:
        return array.array("h", file.readframes(file.getnframes())), file.getframerate()


class Transcriptions(QuietTest):
    def hears(self, recording, **fields):
        heard = speech_model().transcribe(recording, **FIXED, **fields)
        self.assertIn(WORDS, heard.text)
        return heard

    def test_a_path_of_any_kind(self):
        heard = self.hears(SPEECH)
        self.assertEqual((heard.language, round(heard.duration)), ("english", 11))
        self.assertEqual(heard.segments[0]["start"], 0)
        self.assertEqual(str(heard), heard.text)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "eine Rede, gehört 🎤.wav")
            copy.write_bytes(SPEECH.read_bytes())
            self.hears(str(copy), response_format="text")

    def test_the_bytes_of_a_file(self):
        self.hears(bytearray(SPEECH.read_bytes()))

    def test_samples_of_all_types(self):
        ints, rate = samples()
        self.hears(numpy.stack([ints, ints], axis=1), rate=rate)
        floats = numpy.array(ints, dtype=numpy.float32) / 32768
        self.hears(floats.astype(numpy.float64), rate=rate)
        # With gaps, and read-only.
        view = numpy.repeat(floats, 2)[::2]
        view.flags.writeable = False
        self.hears(view, rate=rate)

    def test_samples_are_copied_at_the_start(self):
        ints, rate = samples()
        job = speech_model().transcribe_async(ints, rate=rate, **FIXED)
        ints[:] = array.array("h", bytes(2 * len(ints)))
        self.assertIn(WORDS, job.result().text)

    def test_segments_words_and_progress_come_as_events(self):
        seen = []
        stream = speech_model().transcribe_stream(
            SPEECH, on_event=seen.append, timestamp_granularities=["word"], temperature=0
        )
        segments = list(stream)
        words = [word["word"].strip() for segment in segments for word in segment.words]
        self.assertIn("country", words)
        self.assertGreater(segments[-1].end, segments[0].start)
        self.assertEqual([event.text for event in seen if isinstance(event, fluid_ai.Language)], ["en"])
        shares = [event.progress for event in seen if isinstance(event, fluid_ai.Progress)]
        self.assertEqual(shares, sorted(shares))
        self.assertTrue(stream.result().words)

    def test_formats(self):
        self.assertTrue(self.hears(SPEECH, response_format="srt").text.startswith("1\n00:00:00,000 --> "))
        self.assertEqual(set(self.hears(SPEECH, response_format="json")) - {"usage"}, {"text"})

    def test_a_format_of_none_is_the_one_with_segments(self):
        self.assertTrue(self.hears(SPEECH, response_format=None).segments)

    def test_stopping_gives_the_transcript_so_far(self):
        with self.assertRaises(fluid_ai.JobCancelledError) as caught:
            speech_model().transcribe(SPEECH, on_event=lambda event: False)
        self.assertIsInstance(caught.exception.result, fluid_ai.Transcript)

    def test_what_cannot_be_heard_is_refused(self):
        with self.assertRaises(fluid_ai.InvalidAudioError):
            speech_model().transcribe(b"no audio at all, whatever it is called")
        with self.assertRaises(FileNotFoundError):
            speech_model().transcribe("no such recording.wav")
        with self.assertRaises(fluid_ai.InvalidRequestError):
            speech_model().transcribe(SPEECH, language="elvish")
        with self.assertRaises(fluid_ai.UnsupportedError):
            speech_model().generate("x")


class Audio(unittest.TestCase):
    """What is refused before the library sees it, and what the library is told."""

    def test_no_audio_is_a_type_error(self):
        for wrong in (None, 3, io.BytesIO(b""), ["a"]):
            with self.assertRaises(TypeError):
                audio.recording(wrong, 16000)
        with self.assertRaises(TypeError):
            audio.recording(numpy.zeros(4, dtype=numpy.int32), 16000)

    def test_samples_need_their_rate_and_the_right_shape(self):
        mono = numpy.zeros(1600, dtype=numpy.float32)
        with self.assertRaisesRegex(ValueError, "rate="):
            audio.recording(mono, None)
        with self.assertRaisesRegex(ValueError, "transpose"):
            audio.recording(numpy.zeros((2, 1600), dtype=numpy.int16), 16000)
        with self.assertRaisesRegex(ValueError, "one dimension or two"):
            audio.recording(mono.reshape(1, 1600, 1), 16000)

    def test_channels_and_bytes_are_counted(self):
        told = audio.recording(numpy.zeros((100, 2), dtype=numpy.int16), 8000).struct
        self.assertEqual((told.kind, told.bytes, told.rate, told.channels), (2, 400, 8000, 2))
        told = audio.recording(numpy.zeros((100, 2), dtype=numpy.float64), 8000).struct
        self.assertEqual((told.kind, told.bytes, told.channels), (1, 800, 2))

    def test_formats_with_a_byte_order_are_known_by_it(self):
        for element in ("f4", "f8"):
            records = numpy.zeros(100, dtype=[("flag", "u1"), ("left", element)])  # whose fields are not aligned
            self.assertEqual(audio.recording(records["left"], 16000).struct.bytes, 400)
        self.assertEqual(audio.recording((ctypes.c_double * 100)(), 16000).struct.bytes, 400)
        with self.assertRaises(TypeError):
            audio.recording(memoryview(numpy.zeros(4, dtype=">f8")), 16000)

    def test_bytes_are_a_file_and_no_samples(self):
        for samples in (b"RIFF", numpy.zeros(4, dtype=numpy.uint8)):
            self.assertEqual(audio.recording(samples, None).struct.kind, 3)
            with self.assertRaisesRegex(ValueError, "cast"):
                audio.recording(samples, 16000)


if __name__ == "__main__":
    unittest.main()
