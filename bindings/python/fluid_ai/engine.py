"""The engine: owns models and what runs on them, fetches models, and tells what this machine can do."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping

from . import _native, results
from ._handle import Closing
from ._openvino import library_folder
from ._request import PathLike, encode, encode_path
from .job import Collect, Job, OnEvent, R, run
from .model import Model

Options = Mapping[str, Any]


class Engine(Closing):
    """Several can live side by side; each has its own models and threads. Any thread may use it.

    Options, as of ``fluid_engine_new``: ``model_dir``, ``cache_dir``, ``max_memory`` (GiB), ``idle_timeout`` (s),
    ``max_queue``, ``hub_token``, ``offline``, ... Where they do not say which OpenVINO library to use and the
    ``openvino`` package is installed, it is that package's.

    `close` cancels its jobs, frees its models and waits for native work that cannot be stopped.
    """

    def __init__(self, options: Options | None = None, **more: Any) -> None:
        self._lib = _native.library()
        settings = encode(_with_openvino({**(options or {}), **more}))
        super().__init__(_native.new_handle(self._lib.fluid_engine_new, settings), self._lib.fluid_engine_free)

    # --- models ----------------------------------------------------------------------------------

    def load_model(
        self, name: PathLike, options: Options | None = None, *, on_event: OnEvent | None = None, **more: Any
    ) -> Model:
        """Loads a model: a path, a name in the model folder, or a hub's "owner/repo", which is fetched first.

        Options, as of ``fluid_load_model``: ``n_ctx``, ``n_parallel``, ``n_threads``, ``device``, ``lora``,
        ``draft_model``, ``embedding``, ``deadline_ms``, ... `on_event` gets `Progress` and `Notice`.

        Raises `NotFoundError`, `InvalidModelError`, `UnsupportedModelError`, `OutOfMemoryError`,
        `BackendMissingError` and others.
        """
        return run(self.load_model_async(name, options, on_event=on_event, **more))

    def load_model_async(
        self, name: PathLike, options: Options | None = None, *, on_event: OnEvent | None = None, **more: Any
    ) -> Job[Model]:
        """Starts to load: ``model = await engine.load_model_async(...)``."""
        start = self._lib.fluid_load_model_start
        return self._job(self._model, on_event, start, encode_path(name), encode(options, more))

    def _model(self, job: int, _text: str) -> Model:
        return Model(_native.new_handle(self._lib.fluid_job_take_model, job), self)

    def download(
        self, name: str, options: Options | None = None, *, on_event: OnEvent | None = None, **more: Any
    ) -> dict[str, Any]:
        """Fetches a model from the hub into the model folder; what is there whole is not fetched again.

        Options: ``revision``, ``file``, ``model_type``, ``local_name``, ``deadline_ms``. Returns ``path`` (what to
        load), ``files``, ``bytes`` and more. A download that was stopped goes on from there the next time. Raises
        `NetworkError`, `AccessDeniedError`, `DiskFullError`, `NotFoundError` and others.
        """
        return run(self.download_async(name, options, on_event=on_event, **more))

    def download_async(
        self, name: str, options: Options | None = None, *, on_event: OnEvent | None = None, **more: Any
    ) -> Job[dict[str, Any]]:
        """Starts to fetch a model."""
        start = self._lib.fluid_download_start
        return self._job(results.plain, on_event, start, encode_path(name), encode(options, more))

    def models(self, **options: Any) -> dict[str, Any]:
        """What is in the model folder, under ``data``. Options: ``type``, ``verify``."""
        return self._ask(self._lib.fluid_models, encode(options))

    def estimate(self, name: PathLike, options: Options | None = None, **more: Any) -> dict[str, Any]:
        """What a model would take of memory, in bytes, and whether it fits. Options as of `load_model`."""
        return self._ask(self._lib.fluid_estimate, encode_path(name), encode(options, more))

    # --- the engine ------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What its models are and take: ``memory_bytes``, ``models`` and more."""
        return self._ask(self._lib.fluid_engine_info)

    def events(self, *, on_event: OnEvent | None = None) -> Job[None]:
        """A job without an end of its own whose `ModelEvent`s tell what happens to models unasked: loaded, unloaded
        when idle, ... It ends when it is closed or cancelled, or when the engine is closed."""
        return self._job(lambda job, text: None, on_event, self._lib.fluid_engine_events)

    def trim(self) -> dict[str, Any]:
        """Gives memory back: unloads models that nobody uses, until they are used again. Returns ``unloaded`` and
        ``bytes``."""
        return self._ask(self._lib.fluid_engine_trim)

    def devices(self) -> dict[str, Any]:
        """What models can run on: ``cpu``, ``devices`` and ``notes``."""
        return self._ask(self._lib.fluid_devices)

    def doctor(self, **options: Any) -> dict[str, Any]:
        """What this installation needs and has: ``ok``, ``checks``, and ``text`` for reading.

        Options: ``openvino``, ``model_dir``, ``timeout_ms``, ...
        """
        return self._ask(self._lib.fluid_doctor, encode(options))

    def _ask(self, function: Callable[..., int], *arguments: Any) -> dict[str, Any]:
        return _told(function, self._handle, *arguments)

    def _job(self, collect: Collect[R], on_event: OnEvent | None, start: Callable[..., int], *arguments: Any) -> Job[R]:
        return Job(_native.new_handle(start, self._handle, *arguments), collect, on_event, keep=self)

    def __repr__(self) -> str:
        return f"<fluid_ai.Engine{' closed' if self.closed else ''}>"


def devices() -> dict[str, Any]:
    """`Engine.devices` of an engine without options."""
    with Engine() as engine:  # which says where OpenVINO is
        return engine.devices()


def doctor(**options: Any) -> dict[str, Any]:
    """`Engine.doctor` without an engine, for when none can be made."""
    return _told(_native.library().fluid_doctor, None, encode(_with_openvino(options)))


def _with_openvino(settings: Options) -> Options:
    folder = None if "openvino_library" in settings else library_folder()
    return {**settings, "openvino_library": folder} if folder else settings


def _told(function: Callable[..., int], *arguments: Any) -> dict[str, Any]:
    return dict(json.loads(_native.waited(lambda: _native.owned_text(function, *arguments))))
