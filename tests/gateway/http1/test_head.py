"""Heads of requests: what counts as ordinary, and what is left to Hypercorn."""

from __future__ import annotations

import random

import h11
import pytest

from kaixu.gateway.http1.head import MAX_HEAD_BYTES, parse_head

LINES = b"POST /v1/x?a=b HTTP/1.1\r\nHost: x\r\n"


def test_an_ordinary_head_is_read() -> None:
    sent = LINES + b"Content-Length: 5\r\nX-Text:  a \xe9\tb \r\nx-empty:\r\nConnection: Keep-Alive\r\n\r\n"
    head = parse_head(sent + b"hello")
    assert head is not None
    assert (head.size, head.method, head.target, head.length) == (len(sent), "POST", b"/v1/x?a=b", 5)
    assert head.keep_alive
    assert head.headers == [
        (b"host", b"x"),
        (b"content-length", b"5"),
        (b"x-text", b"a \xe9\tb"),
        (b"x-empty", b""),
        (b"connection", b"Keep-Alive"),
    ]


def test_a_client_may_ask_for_the_connection_s_end() -> None:
    head = parse_head(LINES + b"connection: close\r\n\r\n")
    assert head is not None
    assert (head.length, head.keep_alive) == (0, False)


@pytest.mark.parametrize(
    "data",
    [
        LINES + b"x: y\r\n",
        b"\r\n" + LINES + b"\r\n",
        b"POST /x HTTP/1.0\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"post /x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST  /x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /x y HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /\xe9 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /x HTTP/1.1\nhost: x\n\n",
        b"POST /x HTTP/1.1\r\n\r\n",
        LINES + b"host: y\r\n\r\n",
        LINES + b"x: y\n\r\n",
        LINES + b"x: y\n\n",
        LINES + b"x: a\rb\r\n\r\n",
        LINES + b"x: a\x00b\r\n\r\n",
        LINES + b"x: a\x7f\r\n\r\n",
        LINES + b"x : y\r\n\r\n",
        LINES + b" x: y\r\n\r\n",
        LINES + b"x: y\r\n z\r\n\r\n",
        LINES + b"x\r\n\r\n",
        LINES + b": y\r\n\r\n",
        LINES + b"content-length: 5\r\ncontent-length: 5\r\n\r\n",
        LINES + b"content-length: 5, 5\r\n\r\n",
        LINES + b"content-length: +5\r\n\r\n",
        LINES + b"content-length: 0x5\r\n\r\n",
        LINES + b"content-length:\r\n\r\n",
        LINES + b"content-length: %s\r\n\r\n" % (b"1" * 16),
        LINES + b"transfer-encoding: chunked\r\n\r\n",
        LINES + b"Transfer-Encoding: identity\r\ncontent-length: 5\r\n\r\n",
        LINES + b"expect: 100-continue\r\n\r\n",
        LINES + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
        LINES + b"upgrade: h2c\r\n\r\n",
        LINES + b"connection: keep-alive, x\r\n\r\n",
        LINES + b"connection: close\r\nconnection: close\r\n\r\n",
        LINES + b"x: %s\r\n\r\n" % (b"y" * MAX_HEAD_BYTES),
    ],
    ids=lambda data: repr(data)[:60],
)  # fmt: skip
def test_everything_else_is_not_ordinary(data: bytes) -> None:
    assert parse_head(data) is None


PIECES = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\x0b", b"\x85", b"\xa0", b"\xe9", b"\x7f", b",", b"5", b"0",
    b"host: y\r\n", b"content-length: 5\r\n", b"content-length: 6\r\n", b"transfer-encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n", b"connection: close\r\n", b" folded\r\n", b"HTTP/1.0", b"GET / HTTP/1.1\r\n",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_what_is_ordinary_is_read_in_the_same_way_by_h11(seed: int) -> None:
    """Heads with random mistakes: whatever counts as ordinary, h11 accepts, with the same end and the same body."""
    rng = random.Random(seed)
    whole = LINES + b"Content-Length: 5\r\nx-text: some text\r\nconnection: keep-alive\r\n\r\nhello"
    ordinary = 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 0, 1, 5))] = rng.choice(PIECES)
        head = parse_head(bytes(data))
        if head is None:
            continue
        ordinary += 1
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(bytes(data))
        request = connection.next_event()
        assert isinstance(request, h11.Request), bytes(data)
        assert (request.method.decode(), request.target) == (head.method, head.target)
        assert list(request.headers) == head.headers
        body, event = b"", connection.next_event()
        while isinstance(event, h11.Data):
            body, event = body + bytes(event.data), connection.next_event()
        assert body == bytes(data)[head.size : head.size + head.length]
        assert isinstance(event, h11.EndOfMessage) == (len(data) >= head.size + head.length)
    assert ordinary > 50
