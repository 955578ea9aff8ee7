"""Server-sent events are parsed correctly wherever the network cuts them."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaixu.plugin import ServerSentEvent, UpstreamError, server_sent_events
from kaixu.plugin.sse import MOST_EVENT_BYTES, SSEReader

ENDS = (b"\n", b"\r\n", b"\r")


class Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


async def read(*chunks: bytes) -> list[ServerSentEvent]:
    """The events of a response with these chunks."""
    response = httpx.Response(200, stream=Chunks(list(chunks)))
    return [event async for event in server_sent_events(response)]


def fed(chunks: list[bytes]) -> list[ServerSentEvent]:
    reader = SSEReader()
    return [event for chunk in [*chunks, b"\n\n"] for event in reader.feed(chunk)]


def as_the_standard_says(stream: bytes) -> list[ServerSentEvent]:
    """A slow reference parser of WHATWG §9.2.6; the end of the stream closes the last event."""
    events: list[ServerSentEvent] = []
    name, data = b"", None
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for line in [*text.split(b"\n"), b""]:
        if line == b"":
            if data is not None:
                events.append(ServerSentEvent(name.decode() or "message", data))
            name, data = b"", None
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            name = value
    return events


lines = st.one_of(
    st.just(b""),
    st.builds(lambda text: b"data: " + text.encode(), st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))),
    st.builds(lambda text: b"data:" + text.encode(), st.sampled_from(["", "x", " two blanks", "{}", "é", "😀"])),
    st.sampled_from([b"data", b"event: ping", b"event:error", b": a comment", b"id: 7", b"retry: 10", b"datax: no"]),
)
streams = st.builds(
    lambda mark, parts, last: mark + b"".join(line + end for line, end in parts) + last,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(lines, st.sampled_from(ENDS)), max_size=12),
    lines,
)


@given(streams, st.data())
@example(b"data: x\r\rdata: y\r\r", None)
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", None)
def test_any_cutting_of_the_bytes_gives_the_same_events(stream: bytes, data: st.DataObject | None) -> None:
    wanted = as_the_standard_says(stream)
    assert fed([stream]) == wanted
    assert fed([stream[at : at + 1] for at in range(len(stream))]) == wanted
    if data is not None:
        places = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
        cuts = [0, *places, len(stream)]
        assert fed([stream[start:end] for start, end in pairwise(cuts)]) == wanted


@pytest.mark.parametrize("end", ENDS, ids=["LF", "CRLF", "CR"])
def test_an_event_is_given_as_soon_as_its_blank_line_has_come(end: bytes) -> None:
    reader = SSEReader()
    assert reader.feed(b"data: first" + end) == []
    assert reader.feed(end) == [ServerSentEvent("message", b"first")]
    assert reader.feed(b"data: second" + end + end) == [ServerSentEvent("message", b"second")]


async def test_a_crlf_cut_in_two_is_one_line_end() -> None:
    assert await read(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [ServerSentEvent("message", b"a\nb")]


async def test_a_character_cut_in_two_is_whole_again() -> None:
    word = "naïve 😀".encode()
    for at in range(len(word)):
        assert await read(b"data: " + word[:at], word[at:] + b"\n\n") == [ServerSentEvent("message", word)]


async def test_a_last_event_without_its_blank_line_is_given() -> None:
    assert await read(b"event: end\ndata: last") == [ServerSentEvent("end", b"last")]


async def test_a_name_holds_for_one_event() -> None:
    assert await read(b"event: ping\ndata: 1\n\ndata: 2\n\n") == [
        ServerSentEvent("ping", b"1"),
        ServerSentEvent("message", b"2"),
    ]


async def test_comments_and_empty_streams_give_nothing() -> None:
    assert await read() == []
    assert await read(b"", b": keep-alive\n\n", b"\n\n") == []


async def test_a_large_event_in_small_pieces_is_whole() -> None:
    piece = b"x" * 65536
    assert await read(b"data: ", *[piece] * 64, b"\n\n") == [ServerSentEvent("message", piece * 64)]


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"data: ", b"x" * 1024 * 1024),
        (b"data: ", b"x" * 1024 * 1024 + b"\ndata: "),
        (b": ", b"x" * 1024 * 1024),
        (b"event: ", b"x" * 1024 * 1024),
        (b"", b"data:\n" * 16 * 1024),
    ],
    ids=["one line", "many lines", "a comment", "a name", "tiny lines"],
)
async def test_an_event_that_does_not_end_is_refused(begin: bytes, piece: bytes) -> None:
    with pytest.raises(UpstreamError, match="an event of more than 16 MiB"):
        await read(begin, *[piece] * (MOST_EVENT_BYTES // len(piece) + 2))


async def test_events_up_to_the_bound_are_read_again_and_again() -> None:
    word = b"x" * (MOST_EVENT_BYTES - 1024)
    cut = [b"data: " + word[:100], word[100:], b"\n\n"]
    assert await read(*cut, *cut) == [ServerSentEvent("message", word)] * 2


def test_a_line_that_comes_byte_by_byte_takes_no_more_memory_than_its_bytes() -> None:
    reader = SSEReader()
    tracemalloc.start()
    try:
        for at in range(200_000):
            reader.feed(b"xy" if at else b"data: ")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1024 * 1024
