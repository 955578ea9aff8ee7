"""The body of an upload: its length is known from the headers; it is read piece by piece, when the handler wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from kaixu.plugin.deadline import within
from kaixu.plugin.errors import BodyTimeout, Invalid, LengthRequired, UnsupportedEncoding

from .encoding import read_encodings
from .request import ReplyProgress
from .request_body import announced_length

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable

#: What must have arrived before the time limit begins anew: a client that sends a byte now and then stalls, too.
PROGRESS_BYTES = 64 * 1024

#: The memory of an upload: a part of the file in clear, encrypted, and on its way into the store.
UPLOAD_MEMORY_BYTES = 3 * 1024 * 1024


def upload_length(headers: Mapping[str, str]) -> int:
    """The length of an upload. Raises `LengthRequired`, `UnsupportedEncoding`."""
    if read_encodings(headers):
        raise UnsupportedEncoding(
            "an upload cannot have a content-encoding", hint="Send the file as it is, without `content-encoding`."
        )
    length = announced_length(headers)
    if length is None or (length == 0 and "content-length" not in headers):
        raise LengthRequired("an upload must announce its length", hint="Send `content-length`.")
    return length


def nothing() -> None:
    """Nothing is to be done when the body has arrived."""


class UploadBody:
    """One upload. `stall_s`: how long the client may send nothing. `is_disconnected`: it has left before the end.

    `when_read` is called when the whole body has arrived.
    """

    def __init__(
        self, receive: ASGIReceiveCallable, length: int, stall_s: Callable[[], float], progress: ReplyProgress
    ) -> None:
        self.announced_bytes = length
        self.is_disconnected = False
        self.has_ended = False
        self.when_read: Callable[[], None] = nothing
        self._receive = receive
        self._stall_s = stall_s
        self._progress = progress
        self._has_begun = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives; exactly as long as announced. Raises `BodyTimeout`, `Invalid`.

        Raises `CancelledError` if the client disconnects, as everywhere.
        """
        if self._has_begun:
            raise ValueError("the body of this upload was read already")
        self._has_begun = True
        size, deadline = 0, self._next_deadline()
        since = 0
        while not self.has_ended:
            message = await self._next_message(deadline)
            if message["type"] == "http.disconnect":
                self.is_disconnected = True
                raise asyncio.CancelledError
            part: bytes = message.get("body", b"")
            self.has_ended = not message.get("more_body", False)
            size += len(part)
            since += len(part)
            self._progress.bytes_received = size
            if size > self.announced_bytes or (self.has_ended and size < self.announced_bytes):
                raise Invalid(
                    f"the body has {'more' if size > self.announced_bytes else 'fewer'} bytes than the "
                    f"{self.announced_bytes} that were announced",
                    code="LENGTH_MISMATCH",
                )
            if since >= PROGRESS_BYTES:
                since, deadline = 0, self._next_deadline()
            if self.has_ended:
                self.when_read()
            if part:
                yield part

    def _next_deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._stall_s()

    async def _next_message(self, deadline: float) -> dict[str, Any]:
        """The next message of the server. Raises `BodyTimeout`."""
        try:
            with within(max(0.0, deadline - asyncio.get_running_loop().time())):
                return cast(dict[str, Any], await self._receive())
        except TimeoutError:
            raise BodyTimeout from None
