"""Requests and options: Python values in, the JSON of the C interface out."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, Sequence, Union

from .errors import InvalidArgumentError, InvalidRequestError

Prompt = Union[str, Sequence[int], Sequence[Mapping[str, Any]], Mapping[str, Any]]
"""A text or token ids to continue, the messages of a chat, or a whole request in OpenAI's field names."""

Texts = Union[str, Sequence[str], Sequence[int], Sequence[Sequence[int]], Mapping[str, Any]]
"""A text, texts, token ids or lists of them, or a whole request in OpenAI's field names."""

PathLike = Union[str, os.PathLike[str]]


def request_for(prompt: Prompt | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A generation's request; without a prompt `fields` have it, under its name."""
    return {**_named(prompt, text="prompt", tokens="prompt"), **fields}


def tokens_for(prompt: Prompt | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenization's request, where a text is the text itself and no prompt."""
    return {**_named(prompt, text="content", tokens="prompt"), **fields}


def inputs_for(texts: Texts | None) -> Mapping[str, Any]:
    """What is to be embedded."""
    _refuse_bytes(texts)
    if texts is None or isinstance(texts, Mapping):
        return texts or {}
    return {"input": texts if isinstance(texts, str) else list(texts)}


def _refuse_bytes(text: object) -> None:
    """Python would take them for a list of numbers, and those are token ids."""
    if isinstance(text, (bytes, bytearray, memoryview)):
        raise TypeError(f"a text is str, not {type(text).__name__}")


def _named(prompt: Prompt | None, text: str, tokens: str) -> Mapping[str, Any]:
    _refuse_bytes(prompt)
    if prompt is None:
        return {}
    if isinstance(prompt, Mapping):
        return prompt
    if isinstance(prompt, str):
        return {text: prompt}
    items = list(prompt)
    if items and all(isinstance(item, Mapping) for item in items):
        return {"messages": items}
    return {tokens: items}


def encode(*parts: Mapping[str, Any] | None) -> bytes:
    """One JSON object of all `parts`, later fields over earlier ones. Paths become texts."""
    merged: dict[str, Any] = {}
    for part in parts:
        merged.update(part or {})
    try:
        return json.dumps(merged, default=_plain, allow_nan=False).encode("ascii")
    except ValueError as error:
        raise InvalidRequestError(f"a request has to be JSON: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # numpy's scalars and arrays among others.
    for convert in ("tolist", "item"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def encode_path(path: PathLike) -> bytes:
    """A path or a model's name as the library takes it: UTF-8 on every system."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"a path has to be str or os.PathLike[str], not {type(text).__name__}")
    if "\0" in text:
        raise InvalidArgumentError(f"a path cannot hold a NUL: {text!r}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"a path has to be Unicode text: {text!r}") from None
