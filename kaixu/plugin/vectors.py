"""Reads vectors in the form of OpenAI's embeddings, and in the variants that compatible vendors use."""

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
    """An answer in OpenAI's exact form, which is read fast; other forms are read by `entry_of`."""

    data: list[Vector]
    usage: dict[str, Any] | None = None


VECTORS = msgspec.json.Decoder(Vectors)


def vectors_in(
    answer: bytes, count: int, note: Callable[[str], None]
) -> tuple[tuple[Sequence[float], ...], Usage | None]:
    """The `count` vectors of an answer, in order, and what they used, where it says so.

    An entry without an `index` has that of its place; numbers may be texts. Raises `UpstreamError` for what has no
    vectors, or others than asked for.
    """
    try:
        read = VECTORS.decode(answer)
        usage = embedding_usage_of({"usage": read.usage})
        entries: list[tuple[int, str | list[float]]] = [
            (place if one.index is None else one.index, one.embedding) for place, one in enumerate(read.data)
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = object_in(answer)
        usage = embedding_usage_of(whole)
        entries = [entry_of(place, one) for place, one in enumerate(list_in(whole))]
        note("vectors of another form than OpenAI's")
    entries.sort(key=lambda entry: entry[0])
    if [place for place, _ in entries] != list(range(count)):
        raise UpstreamError("the vendor answered with other vectors than asked for")
    return tuple(floats_of(embedding) for _, embedding in entries), usage


def list_in(answer: dict[str, Any]) -> list[Any]:
    """The entries of an answer. Raises `UpstreamError` where there are none."""
    for name in ("data", "embeddings"):
        held = answer.get(name)
        if isinstance(held, dict):
            return [held]
        if isinstance(held, list) and held:
            return held
    raise UpstreamError("the vendor's answer cannot be read")


def entry_of(place: int, entry: object) -> tuple[int, str | list[float]]:
    """An entry's place and its vector: an object with an `embedding`, or the vector itself."""
    index = index_of(object_of(entry).get("index"))
    embedding = entry["embedding"] if isinstance(entry, dict) and "embedding" in entry else entry
    return place if index is None else index, embedding if isinstance(embedding, str) else numbers_in(embedding)


def numbers_in(value: object) -> list[float]:
    """A list of numbers, some of which may be texts. Raises `UpstreamError`."""
    try:
        numbers = msgspec.convert(value, list[float], strict=False)
    except msgspec.ValidationError as error:
        raise UpstreamError("the vendor's vectors cannot be read") from error
    if not all(map(math.isfinite, numbers)):
        raise UpstreamError("the vendor's vectors cannot be read")
    return numbers
