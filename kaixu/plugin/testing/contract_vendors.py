"""How vendors fail in the contract tests of integrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import httpx

from .wire import Answer, Reply

FAILURES: dict[str, Reply] = {
    "is answered with 401": Answer(401),
    "is answered with 429": Answer(429, {"retry-after": "7"}),
    "is answered with 503": Answer(503),
    "finds nobody there": httpx.ConnectError("refused"),
    "is not answered in time": httpx.ReadTimeout("slow"),
}

#: Bodies that are not what the vendor promises.
NONSENSE = (b"", b"<html>Bad gateway</html>", b"[]", b"17", b"null", b'"text"', b'{"id":', b"{}", b"\xff\xfe\x00")

BROKEN = httpx.ReadError("the connection broke")

PIECE = b" " * (1 << 20)
ENDLESS_BYTES = 64 << 20


class Endless(Sequence[bytes]):
    """A body that goes on for longer than anybody should read. `read_bytes`: how much was read."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def __len__(self) -> int:
        return ENDLESS_BYTES // len(PIECE)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, slice) or at >= len(self):
            raise IndexError(at)
        self.read_bytes += len(PIECE)
        return PIECE


#: Changes the answer to the request of a number; the second argument gives the answer as it would be.
Change = Callable[[int, Callable[[], Reply]], Reply]


def at_least(number: int, failure: Reply) -> Change:
    """The vendor fails from the request `number` on."""
    return lambda at, answer: failure if at >= number else answer()


def with_body(number: int, body: bytes, broken: Exception | None = None) -> Change:
    """A successful answer to this request has another body."""
    return with_chunks(number, [body], broken)


def with_chunks(number: int, chunks: Sequence[bytes], broken: Exception | None = None) -> Change:
    """A successful answer to this request has another body, in these pieces."""

    def change(at: int, answer: Callable[[], Reply]) -> Reply:
        if at != number:
            return answer() if at < number else Answer(200, {}, chunks, broken)
        reply = answer()
        if isinstance(reply, Answer) and reply.status < 300:
            return Answer(reply.status, reply.headers, chunks, broken)
        return reply

    return change
