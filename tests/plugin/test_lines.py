"""JSON lines are split at line feeds only, wherever the network cuts them."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin import UpstreamError, json_lines
from kaixu.plugin.lines import MOST_LINE_BYTES, LineReader
from kaixu.plugin.testing import Answer, Chunks


async def read(*chunks: bytes) -> list[bytes]:
    """The lines of a response with these chunks."""
    response = httpx.Response(200, stream=Chunks(Answer(chunks=chunks)))
    return [line async for line in json_lines(response)]


TEXTS = ["a\u2028b", "\u2029", "c\x85d", "\x0b\x0c\x1c\x1d\x1e", "a\rb", "👩‍🚀", ""]


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("size", [1, 3, 10_000])
async def test_a_text_may_hold_every_other_line_separator(end: str, size: int) -> None:
    whole = "".join(json.dumps({"text": text}, ensure_ascii=False) + end for text in TEXTS).encode()
    lines = await read(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert [json.loads(line)["text"] for line in lines] == TEXTS


async def test_blank_lines_give_nothing_and_the_last_one_needs_no_end() -> None:
    assert await read() == []
    assert await read(b"\n \r\n\n") == []
    assert await read(b"\n1\n\n2\n", b"", b"3") == [b"1", b"2", b"3"]


@given(st.lists(st.binary(max_size=6), max_size=12))
def test_the_lines_do_not_depend_on_the_chunks(chunks: list[bytes]) -> None:

    reader = LineReader()
    lines = [line for chunk in [*chunks, b"\n"] for line in reader.feed(chunk)]
    assert lines == [line for one in b"".join(chunks).split(b"\n") if (line := one.strip(b" \t\r"))]


async def test_a_line_that_does_not_end_is_refused() -> None:
    piece = b"x" * 1024 * 1024
    with pytest.raises(UpstreamError, match="more than 16 MiB"):
        await read(*[piece] * (MOST_LINE_BYTES // len(piece) + 1))
