"""Speech by OpenAI's own client: formats, words, streams, translations, errors, clients that leave."""
import http.client
import io
import json
import time
import unittest
import wave
from concurrent.futures import ThreadPoolExecutor

import openai

from host import MODELS, PATIENCE, Host

JFK = MODELS / "jfk.wav"
WORDS = "ask not what your country can do for you"


def client(host):
    return openai.OpenAI(base_url=host.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE)


def form(fields, files=()):
    """A form's content type and body."""
    lines = []
    for name, value in fields:
        lines += [b"--xyz", f'Content-Disposition: form-data; name="{name}"'.encode(), b"", value.encode()]
    for name, value in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="a.wav"'
        lines += [b"--xyz", head.encode(), b"Content-Type: audio/wav", b"", value]
    return "multipart/form-data; boundary=xyz", b"\r\n".join([*lines, b"--xyz--", b""])


def repeated(times):
    """The speech so many times over, as a WAV file."""
    with wave.open(str(JFK)) as speech:
        settings, frames = speech.getparams(), speech.readframes(speech.getnframes())
    file = io.BytesIO()
    with wave.open(file, "wb") as longer:
        longer.setparams(settings)
        longer.writeframes(frames * times)
    return file.getvalue()


class Speech(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--workers", "2").__enter__()
        cls.addClassCleanup(cls.host.__exit__)
        cls.host.wait_until_ready()
        cls.audio = client(cls.host).audio

    def transcribe(self, **fields):
        with open(JFK, "rb") as file:
            return self.audio.transcriptions.create(**{"file": file, "model": "whisper-1", **fields})

    def post(self, content_type, body, path="/v1/audio/transcriptions"):
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=PATIENCE)
        connection.request("POST", path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        try:
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def test_json_has_what_fluid_server_adds(self):
        answer = self.transcribe(language="en")
        self.assertIn(WORDS, answer.text)
        self.assertEqual(answer.usage.seconds, 11)
        more = answer.model_extra
        self.assertEqual((more["language"], more["duration"]), ("en", 11.0))
        self.assertEqual(more["segments"][0]["start"], 0.0)
        self.assertEqual(" ".join(one["text"] for one in more["segments"]), answer.text)

    def test_verbose_json_with_words_and_segments(self):
        answer = self.transcribe(response_format="verbose_json", timestamp_granularities=["word", "segment"])
        self.assertEqual((answer.language, answer.duration, answer.task), ("english", 11.0, "transcribe"))
        self.assertTrue(answer.segments[0].tokens)
        words = [word.word.strip(".,") for word in answer.words]
        self.assertEqual(words[:4], ["And", "so", "my", "fellow"])
        self.assertTrue(all(a.start <= a.end <= b.end for a, b in zip(answer.words, answer.words[1:])))
        self.assertIsNone(self.transcribe(response_format="verbose_json").words)

    def test_texts_and_subtitles_have_their_types(self):
        types = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt", "json": "application/json"}
        for name, expected in types.items():
            content_type, body = form([("response_format", name)], [("file", JFK.read_bytes())])
            status, headers, answer = self.post(content_type, body)
            self.assertEqual((status, headers["content-type"].split(";")[0]), (200, expected))
            self.assertIn(WORDS, answer.decode())
        self.assertEqual(self.transcribe(response_format="text").strip()[:10], "And so my ")
        self.assertRegex(self.transcribe(response_format="srt"), r"\A1\n00:00:00,\d{3} --> 00:00:\d\d,\d{3}\nAnd so")
        self.assertRegex(self.transcribe(response_format="vtt"), r"\AWEBVTT\n\n00:00:00.\d{3} --> ")

    def test_all_fields_reach_the_model(self):
        answer = self.transcribe(
            prompt="Kennedy:", temperature=0.0, chunking_strategy={"type": "server_vad", "threshold": 0.5},
            response_format="verbose_json", extra_body={"vad_filter": False, "seed": 5, "best_of": 2},
        ) if self.has_vad() else self.transcribe(
            prompt="Kennedy:", temperature=0.0, response_format="verbose_json", extra_body={"seed": 5, "best_of": 2},
        )
        self.assertEqual(answer.segments[0].temperature, 0.0)
        with self.assertRaises(openai.BadRequestError) as raised:
            self.transcribe(extra_body={"best_of": 17})
        self.assertEqual(raised.exception.param, "best_of")

    def has_vad(self):
        return (self.host.folder / "whisper/silero_vad_openvino_16k.onnx").exists()

    def test_a_stream_has_the_text_in_pieces(self):
        events = list(self.transcribe(stream=True))
        self.assertEqual({event.type for event in events}, {"transcript.text.delta", "transcript.text.done"})
        done = events[-1]
        self.assertEqual(done.type, "transcript.text.done")
        self.assertEqual("".join(event.delta for event in events[:-1]).strip(), done.text)
        self.assertIn(WORDS, done.text)
        self.assertEqual(done.languages[0].code, "en")

    def test_a_stream_with_segments_words_and_progress(self):
        events = list(self.transcribe(
            stream=True, response_format="verbose_json", timestamp_granularities=["word"],
            extra_body={"progress": True},
        ))
        segments = [event for event in events if event.type == "transcript.text.segment"]
        self.assertEqual(segments[0].id, "seg_0")
        self.assertLess(segments[0].start, segments[0].end)
        self.assertIn("country", segments[0].text)
        self.assertEqual(segments[0].model_extra["words"][0]["word"].strip(), "And")
        self.assertEqual([event.model_extra["progress"] for event in events if event.type == "transcript.progress"][-1], 1)

    def test_translations(self):
        with open(JFK, "rb") as file:
            answer = self.audio.translations.create(file=file, model="whisper-base", response_format="verbose_json")
        self.assertIn(WORDS, answer.text)
        self.assertEqual(answer.model_extra["task"], "translate")

    def test_errors_are_the_clients_classes(self):
        def refused(kind, param, **fields):
            with self.assertRaises(kind) as raised:
                self.transcribe(**fields)
            self.assertEqual(raised.exception.param, param, raised.exception.message)
            return raised.exception
        bad = openai.BadRequestError
        self.assertEqual(refused(bad, "file", file=("a.wav", b"RIFF no sound")).code, "invalid_audio")
        refused(bad, "file", file=("a.wav", b""))
        refused(bad, "response_format", response_format="xml")
        refused(bad, "response_format", response_format="srt", stream=True)
        refused(bad, "temperature", temperature=7)
        refused(bad, "language", language="xx-nothing")
        refused(bad, "stream", extra_body={"stream": "perhaps"})
        refused(bad, "timestamp_granularities[0]", timestamp_granularities=["letter"])
        refused(bad, "file", file=("a.wav", b"RIFF no sound"), stream=True)
        refused(openai.UnprocessableEntityError, "include", include=["logprobs"])
        refused(openai.UnprocessableEntityError, "response_format", response_format="diarized_json")
        error = refused(openai.NotFoundError, "model", model="whisper-bse")
        self.assertEqual(error.code, "model_not_found")
        self.assertIn("whisper-base", error.message)

    def test_what_is_no_upload(self):
        def refused(content_type, body, status):
            got, headers, answer = self.post(content_type, body)
            self.assertEqual(got, status, answer)
            self.assertEqual(headers["content-type"], "application/json")
            return json.loads(answer)["error"]
        sound = JFK.read_bytes()
        refused("application/json", b"{}", 415)
        refused("multipart/form-data", b"", 415)
        content_type, body = form([("model", "whisper-1")])
        self.assertEqual(refused(content_type, body, 400)["param"], "file")
        content_type, body = form([], [("file", sound)])
        refused(content_type, body[:-9], 400)
        refused(content_type, b"", 400)
        refused(content_type, b"--xyz\r\n\r\n\r\n", 400)
        content_type, body = form([(f"field{n}", "1") for n in range(100)], [("file", sound)])
        self.assertIn("64 fields", refused(content_type, body, 400)["message"])

    def test_two_at_once_are_heard_side_by_side(self):
        with ThreadPoolExecutor(3) as pool:
            texts = list(pool.map(lambda _: self.transcribe(language="en").text, range(3)))
        self.assertTrue(all(WORDS in text for text in texts), texts)

    def test_a_client_that_leaves_frees_its_place(self):
        minutes = repeated(60)
        for fields in [[("stream", "true")], []]:
            content_type, body = form(fields, [("file", minutes)])
            connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=PATIENCE)
            connection.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": content_type})
            self.wait_for_jobs(1)
            time.sleep(0.5)
            connection.close()
            left = time.monotonic()
            self.wait_for_jobs(0)
            # 100 ms and what the looks themselves take.
            self.assertLess(time.monotonic() - left, 1.0)
        self.assertIn(WORDS, self.transcribe().text)

    def wait_for_jobs(self, count):
        begun = time.monotonic()
        while self.host.get("/health")["jobs"] != count:
            self.assertLess(time.monotonic() - begun, PATIENCE)
            time.sleep(0.01)

    def test_files_need_not_be_called_so(self):
        answer = self.audio.transcriptions.create(file=("speech", io.BytesIO(JFK.read_bytes())), model="")
        self.assertIn(WORDS, answer.text)


if __name__ == "__main__":
    unittest.main()
