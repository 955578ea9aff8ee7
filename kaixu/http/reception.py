"""Request bodies: how they are read, how long they may take, and how many bytes of them are held at one time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, cast

from hypercorn.typing import ASGIReceiveCallable

from kaixu.plugin.errors import Overloaded, TooLarge

#: A body that is not there, whole, within this time is given up.
BODY_S = 60.0

#: Where no key and no token is asked for, or none that is worth more.
SMALL_BODY_BYTES = 64 * 1024

#: How long, and how far, the rest of a refused body is read and thrown away: closing at once would
#: reset the connection, and many a client then never reads why.
LINGER_S = 2.0
LINGER_BYTES = 8 * 1024 * 1024


class BodyBudget:
    """The bytes of request bodies that a process holds. `most` is asked each time: a reload may change it."""

    def __init__(self, most: Callable[[], int]) -> None:
        self.most = most
        self.held = 0

    def share(self) -> Share:
        """An exchange's share, empty yet; to be entered, and left when the exchange is over."""
        return Share(self)


class Share:
    """What one exchange holds of the budget, and whether its body has ended. Leaving its block gives it back."""

    __slots__ = ("budget", "ended", "held")

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget
        self.held = 0
        self.ended = False

    def insist(self, count: int) -> None:
        """Raises `Overloaded` where there is no room for `count` bytes more."""
        if self.budget.held + count > self.budget.most():
            raise Overloaded(
                "as many bytes of requests are held as the gateway takes",
                hint="Try again in a moment.",
                retry_after_s=1,
            )

    def take(self, count: int) -> None:
        """Hold `count` bytes more. Raises `Overloaded`."""
        self.insist(count)
        self.budget.held += count
        self.held += count

    def give_back(self) -> None:
        """Hold nothing any more."""
        self.budget.held -= self.held
        self.held = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.give_back()


def announced(headers: Mapping[str, str]) -> int | None:
    """How long the body will be; 0 where there is none, None where nobody knows."""
    length = headers.get("content-length")
    if length is None:
        return None if "transfer-encoding" in headers else 0
    return int(length) if length.isascii() and length.isdigit() else None


async def whole_body(receive: ASGIReceiveCallable, headers: Mapping[str, str], most: int, share: Share) -> bytes | None:
    """The whole body; None where the client left in the middle of it. Raises `TooLarge`, `Overloaded`."""
    length = announced(headers) or 0
    if length > most:
        raise TooLarge(f"the body is {length} bytes long; {most} are taken")
    share.insist(length)
    parts: list[bytes] = []
    size = 0
    while True:
        message = cast(dict[str, Any], await receive())
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        share.ended = not message.get("more_body", False)
        size += len(part)
        if size > most:
            raise TooLarge(f"the body is longer than {most} bytes")
        share.take(len(part))
        parts.append(part)
        if share.ended:
            return b"".join(parts)


async def thrown_away(receive: ASGIReceiveCallable) -> None:
    """Read the rest of a body and keep nothing of it, within bounds."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while size <= LINGER_BYTES:
                message = cast(dict[str, Any], await receive())
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
