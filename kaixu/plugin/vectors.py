"""Reads embedding responses in OpenAI's format and in the variants of compatible vendors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kaixu.plugin.answer import object_in
from kaixu.plugin.coerced import index_of, object_of
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.floats import floats_of
from kaixu.plugin.types import Usage
from kaixu.plugin.usage import embedding_usage_of


class Vector(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class Vectors(msgspec.Struct):
    """A response in OpenAI's exact format, which is decoded fast; `entry_of` reads other formats."""

    data: list[Vector]
    usage: dict[str, Any] | None = None


VECTORS = msgspec.json.Decoder(Vectors)


def vectors_in(
    answer: bytes, count: int, note: Callable[[str], None]
) -> tuple[tuple[Sequence[float], ...], Usage | None]:
    """The `count` vectors of a response in order, and the usage if it is reported.

    An entry without an `index` gets its position; numbers may be strings. Raises `UpstreamError` for missing or
    additional vectors.
    """
    try:
        parsed = VECTORS.decode(answer)
        usage = embedding_usage_of({"usage": parsed.usage})
        entries: list[tuple[int, str | list[float]]] = [
            (place if one.index is None else one.index, one.embedding) for place, one in enumerate(parsed.data)
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = object_in(answer)
        usage = embedding_usage_of(whole)
        entries = [entry_of(place, one) for place, one in enumerate(list_in(whole))]
        note("vectors are not in OpenAI's format")
    entries.sort(key=lambda entry: entry[0])
    if [place for place, _ in entries] != list(range(count)):
        raise UpstreamError("the vendor did not return one vector for each input")
    return tuple(floats_of(embedding) for _, embedding in entries), usage


def list_in(answer: dict[str, Any]) -> list[Any]:
    """The entries of a response. Raises `UpstreamError` if there are none."""
    for name in ("data", "embeddings"):
        entries = answer.get(name)
        if isinstance(entries, dict):
            return [entries]
        if isinstance(entries, list) and entries:
            return entries
    raise UpstreamError("the vendor's answer cannot be read")


def entry_of(place: int, entry: object) -> tuple[int, str | list[float]]:
    """Index and vector of an entry: an object with an `embedding`, or the vector itself."""
    index = index_of(object_of(entry).get("index"))
    embedding = entry["embedding"] if isinstance(entry, dict) and "embedding" in entry else entry
    return place if index is None else index, embedding if isinstance(embedding, str) else numbers_in(embedding)


def numbers_in(value: object) -> list[float]:
    """A list of numbers; strings are converted. Raises `UpstreamError`."""
    try:
        numbers = msgspec.convert(value, list[float], strict=False)
    except msgspec.ValidationError as error:
        raise UpstreamError("the vendor's vectors cannot be read") from error
    if not all(map(math.isfinite, numbers)):
        raise UpstreamError("the vendor's vectors cannot be read")
    return numbers
