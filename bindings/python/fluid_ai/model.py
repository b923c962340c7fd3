"""A loaded model: what it generates, hears, embeds and ranks."""

from __future__ import annotations

import ctypes as c
import json
from array import array
from typing import Any, Callable, Mapping, Sequence

from . import _native, results
from ._handle import Closing
from ._request import PathLike, Prompt, Texts, encode, encode_path, inputs_for, request_for, tokens_for
from .audio import Audio, recording
from .errors import FluidError
from .event import Segment
from .job import Collect, Job, OnEvent, R, run
from .results import Answer, Embeddings, Ranking, Tokens, Transcript
from .stream import Stream, content, segment


class Model(Closing):
    """Made by `Engine.load_model`. Any thread may use it; what runs at the same time shares batches.

    Requests are a prompt, messages or a dict, and further fields in OpenAI's names: what the C header lists under
    ``fluid_generate`` and the others. Blocking calls take `on_event`, called with each `Event`; it stops the job by
    returning `False` or by raising. They can be interrupted by Ctrl-C. The calls that end in ``_async`` return at once
    with a `Job`, which can be awaited.

    `close` gives the memory back; jobs that run end with `JobCancelledError`.
    """

    def __init__(self, handle: int, engine: object) -> None:
        self._lib = _native.library()
        self._engine = engine  # an engine that is collected would take its models along
        super().__init__(handle, self._lib.fluid_model_free)

    def info(self) -> dict[str, Any]:
        """What was loaded: ``name``, ``capabilities``, ``context_length``, ``device``, ``memory`` and much more."""
        return dict(json.loads(_native.owned_text(self._lib.fluid_model_info, self._handle)))

    # --- text ------------------------------------------------------------------------------------

    def generate(self, prompt: Prompt | None = None, *, on_event: OnEvent | None = None, **fields: Any) -> Answer:
        """Generates an answer and waits for it.

        A list of messages is a chat: ``[{"role": "user", "content": "Why is the sky blue?"}]``. A `str`, or a list of
        token ids, is text that the model continues. ``messages=`` and ``prompt=`` say the same by name. Fields are
        OpenAI's, such as ``max_tokens``, ``temperature``, ``seed``, ``stop``, ``tools`` and ``response_format``, and
        further ones, such as ``deadline_ms``.

        Raises `InvalidRequestError`, `ContextOverflowError`, `QueueFullError`, `UnsupportedError` and others; and
        `JobCancelledError` and `DeadlineError`, whose ``result`` is the answer so far.
        """
        return run(self.generate_async(prompt, on_event=on_event, **fields))

    def generate_async(
        self, prompt: Prompt | None = None, *, on_event: OnEvent | None = None, **fields: Any
    ) -> Job[Answer]:
        """Starts to generate: ``answer = await model.generate_async(...)``."""
        request = request_for(prompt, fields)
        if request.get("stream"):
            raise TypeError("in place of stream=True there is stream(), with the same arguments")
        return self._generation(request, on_event)

    def _generation(self, request: Mapping[str, Any], on_event: OnEvent | None) -> Job[Answer]:
        return self._job(results.answer, on_event, self._lib.fluid_generate_start, encode(request))

    def stream(
        self, prompt: Prompt | None = None, *, on_event: OnEvent | None = None, **fields: Any
    ) -> Stream[str, Answer]:
        """Generates an answer piece by piece: ``for text in model.stream(...)``, or ``async for``.

        Arguments as of `generate`. The pieces are those of the first choice's content; `Stream.events` gives
        reasoning and calls of tools too, and `Stream.result` the whole `Answer`.
        """
        return Stream(self._generation(request_for(prompt, fields), on_event), content)

    def tokenize(self, prompt: Prompt | None = None, **fields: Any) -> Tokens:
        """The tokens of a text, or of what messages become behind the model's template.

        Fields: ``add_special``, ``parse_special``, ``with_pieces``, and whatever shapes a prompt.
        """
        return Tokens(self._ask(self._lib.fluid_tokenize, encode(tokens_for(prompt, fields))))

    def detokenize(self, tokens: Sequence[int], **fields: Any) -> str:
        """The text of some tokens; with ``special=False`` without those that are no text."""
        request = encode({"tokens": list(tokens)}, fields)
        return str(self._ask(self._lib.fluid_detokenize, request)["content"])

    def _ask(self, function: Callable[..., int], request: bytes) -> dict[str, Any]:
        # A model that is unloaded is loaded for it, which may take seconds.
        return dict(json.loads(_native.waited(lambda: _native.owned_text(function, self._handle, request))))

    # --- speech ----------------------------------------------------------------------------------

    def transcribe(
        self, audio: Audio, *, rate: int | None = None, on_event: OnEvent | None = None, **fields: Any
    ) -> Transcript:
        """Writes down the speech in `audio`: a path, the bytes of a file, or samples with their `rate` in Hz.

        Fields are those of OpenAI's transcriptions and of faster-whisper, such as ``language``, ``task``, ``prompt``,
        ``vad_filter`` and ``timestamp_granularities``. ``response_format`` is "verbose_json", with segments and their
        times, unless another one is asked for: "json", "text", "srt" or "vtt".

        Raises `NotFoundError`, `InvalidAudioError` and others; and `JobCancelledError` and `DeadlineError`, whose
        ``result`` is the transcript so far.
        """
        return run(self.transcribe_async(audio, rate=rate, on_event=on_event, **fields))

    def transcribe_async(
        self, audio: Audio, *, rate: int | None = None, on_event: OnEvent | None = None, **fields: Any
    ) -> Job[Transcript]:
        """Starts to transcribe. The audio is copied; the file of a path is read later."""
        if fields.get("response_format") is None:
            fields["response_format"] = "verbose_json"
        is_json = fields["response_format"] in ("json", "verbose_json")
        collect = results.transcript if is_json else results.subtitles
        native = recording(audio, rate)
        start = self._lib.fluid_transcribe_start
        return self._job(collect, on_event, start, c.byref(native.struct), encode(fields))

    def transcribe_stream(
        self, audio: Audio, *, rate: int | None = None, on_event: OnEvent | None = None, **fields: Any
    ) -> Stream[Segment, Transcript]:
        """Transcribes segment by segment, as they are decided. Arguments as of `transcribe`."""
        return Stream(self.transcribe_async(audio, rate=rate, on_event=on_event, **fields), segment)

    # --- vectors ---------------------------------------------------------------------------------

    def embed(self, texts: Texts | None = None, *, on_event: OnEvent | None = None, **fields: Any) -> Embeddings:
        """Turns texts into vectors of the length 1, so that dot products are cosines.

        Fields: ``dimensions``, ``pooling``, ``normalize``, ``truncate``, ``deadline_ms``. Raises `UnsupportedError`
        where the model does not embed, `InvalidRequestError` for a text that is too long, and others.
        """
        return run(self.embed_async(texts, on_event=on_event, **fields))

    def embed_async(
        self, texts: Texts | None = None, *, on_event: OnEvent | None = None, **fields: Any
    ) -> Job[Embeddings]:
        """Starts to embed."""
        request = encode(inputs_for(texts), fields)
        return self._job(_embeddings, on_event, self._lib.fluid_embed_start, request)

    def rerank(
        self, query: str, documents: Sequence[str], *, on_event: OnEvent | None = None, **fields: Any
    ) -> Ranking:
        """Ranks documents by how well they answer a query. Fields: ``top_n``, ``truncate``, ``deadline_ms``, ...

        Raises `UnsupportedError` where the model is no reranker.
        """
        return run(self.rerank_async(query, documents, on_event=on_event, **fields))

    def rerank_async(
        self, query: str, documents: Sequence[str], *, on_event: OnEvent | None = None, **fields: Any
    ) -> Job[Ranking]:
        """Starts to rank."""
        if isinstance(documents, str):
            raise TypeError("documents are a list of texts, not one text")
        request = encode({"query": query, "documents": list(documents)}, fields)
        return self._job(results.ranking, on_event, self._lib.fluid_rerank_start, request)

    # --- states ----------------------------------------------------------------------------------

    def save_state(
        self, prompt: Prompt, path: PathLike, *, on_event: OnEvent | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Saves what the KV cache holds of a prompt to a file, so that a later process need not compute it again.

        Returns ``tokens``, ``bytes`` and ``path``.
        """
        return run(self.save_state_async(prompt, path, on_event=on_event, **fields))

    def save_state_async(
        self, prompt: Prompt, path: PathLike, *, on_event: OnEvent | None = None, **fields: Any
    ) -> Job[dict[str, Any]]:
        """Starts to save."""
        start = self._lib.fluid_model_save_state_start
        return self._job(results.plain, on_event, start, encode(request_for(prompt, fields)), encode_path(path))

    def restore_state(self, path: PathLike, *, on_event: OnEvent | None = None) -> dict[str, Any]:
        """Brings back what `save_state` wrote; the next generation that begins alike finds it.

        Raises `InvalidStateError` for a file that is damaged, or of another model or other options.
        """
        return run(self.restore_state_async(path, on_event=on_event))

    def restore_state_async(self, path: PathLike, *, on_event: OnEvent | None = None) -> Job[dict[str, Any]]:
        """Starts to restore."""
        return self._job(results.plain, on_event, self._lib.fluid_model_restore_state_start, encode_path(path))

    def _job(self, collect: Collect[R], on_event: OnEvent | None, start: Callable[..., int], *arguments: Any) -> Job[R]:
        return Job(_native.new_handle(start, self._handle, *arguments), collect, on_event, keep=self)

    def __repr__(self) -> str:
        try:
            return f"<fluid_ai.Model {self.info()['name']!r}>"
        except FluidError:
            return "<fluid_ai.Model closed>"


def _embeddings(job: int, text: str) -> Embeddings:
    data = c.c_void_p()
    count, dimensions = c.c_size_t(), c.c_size_t()
    lib = _native.library()
    _native.check(lib.fluid_job_floats(job, c.byref(data), c.byref(count), c.byref(dimensions)))
    floats = array("f")
    if data.value:
        floats.frombytes(c.string_at(data.value, count.value * dimensions.value * floats.itemsize))
    return Embeddings(floats, dimensions.value, dict(json.loads(text)))
