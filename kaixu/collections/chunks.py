"""Split long texts into overlapping chunks, at the ends of sentences or between words.

Four ASCII characters, or one other character, count as one token, as always without a tokenizer.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from kaixu.metering.counting import estimated_tokens
from kaixu.plugin.errors import Unprocessable

#: The end of a sentence: its mark and closing quotes before white space, or a blank line.
SENTENCE = re.compile(r"(?<=[.!?。！？…])[\"'»”’)\]]*(?:\s+|$)|(?<=[。！？])|\n\s*\n\s*")
WORD = re.compile(r"\S+\s*|\s+")

MIN_SIZE, MAX_SIZE = 8, 8192


class Chunking(msgspec.Struct, frozen=True):
    """How to split: `size` and `overlap` in tokens."""

    size: int
    overlap: int = 0
    by: Literal["tokens", "sentences"] = "tokens"


def parse_chunking(value: Any) -> Chunking | None:
    """Parse the field `chunk`. Raises `Unprocessable`."""
    if value is None:
        return None
    try:
        chunking = msgspec.convert(value, Chunking)
    except msgspec.ValidationError:
        raise Unprocessable(
            "`chunk` must be an object like {size: 200, overlap: 20, by: tokens | sentences}", field="chunk"
        ) from None
    if not MIN_SIZE <= chunking.size <= MAX_SIZE:
        raise Unprocessable(f"`chunk.size` must lie between {MIN_SIZE} and {MAX_SIZE}", field="chunk.size")
    if not 0 <= chunking.overlap <= chunking.size // 2:
        raise Unprocessable("`chunk.overlap` must lie between 0 and half of `chunk.size`", field="chunk.overlap")
    return chunking


def token_count(text: str) -> int:
    """The estimated number of tokens, the same for all models."""
    return estimated_tokens(text)


def cut_text(text: str, chunking: Chunking) -> list[tuple[int, str]]:
    """Split a text; return the start and the text of each chunk. `join_chunks` is the inverse.

    A sentence or word longer than `size` is split. White space belongs to the piece before it, so that no chunk is
    only white space.
    """
    pieces = join_blanks(
        text, [one for piece in split_units(text, chunking.by) for one in split_long(text, piece, chunking.size)]
    )
    sizes = [token_count(text[start:end]) for start, end in pieces]
    result: list[tuple[int, str]] = []
    first = 0
    while first < len(pieces):
        last, total = first, sizes[first]
        while last + 1 < len(pieces) and total + sizes[last + 1] <= chunking.size:
            last += 1
            total += sizes[last]
        result.append((pieces[first][0], text[pieces[first][0] : pieces[last][1]]))
        if last + 1 == len(pieces):
            break
        # The overlap leaves room for at least the next piece.
        max_overlap = min(chunking.overlap, chunking.size - sizes[last + 1])
        start, overlap = last + 1, 0
        while start - 1 > first and overlap + sizes[start - 1] <= max_overlap:
            start -= 1
            overlap += sizes[start]
        first = start
    return result or [(0, text)]


def split_units(text: str, by: str) -> list[tuple[int, int]]:
    """The start and end of each sentence or word, without gaps."""
    if by == "tokens":
        return [match.span() for match in WORD.finditer(text)]
    ends = [match.end() for match in SENTENCE.finditer(text) if match.end() > 0]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    starts = [0, *ends[:-1]]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def split_long(text: str, piece: tuple[int, int], size: int) -> list[tuple[int, int]]:
    """A piece, or, if it is longer than a chunk, its words, or parts of a word."""
    start, end = piece
    if token_count(text[start:end]) <= size:
        return [piece]
    words = [(start + word.start(), start + word.end()) for word in WORD.finditer(text[start:end])]
    if len(words) > 1:
        return [one for word in words for one in split_long(text, word, size)]
    return [(at, min(at + size, end)) for at in range(start, end, size)]


def join_blanks(text: str, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join white space to the piece before it; leading white space to the first piece."""
    joined: list[tuple[int, int]] = []
    for start, end in pieces:
        if not text[start:end].isspace():
            joined.append((start if joined else 0, end))
        elif joined:
            joined[-1] = (joined[-1][0], end)
    return joined or [(0, end) for _, end in pieces[-1:]]


def join_chunks(parts: list[tuple[int, str]]) -> str:
    """Join ordered chunks to the whole text; gaps become spaces."""
    text: list[str] = []
    length = 0
    for start, part in parts:
        text += (" " * (start - length), part[max(0, length - start) :])
        length = max(length, start + len(part))
    return "".join(text)
