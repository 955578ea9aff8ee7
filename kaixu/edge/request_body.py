"""Request bodies: how they are read, how long they may take, and how many bytes of them are held at one time."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, cast

from hypercorn.typing import ASGIReceiveCallable

from kaixu.plugin.errors import Overloaded, TooLarge

#: A body that has not arrived whole within this time is given up.
BODY_S = 60.0

#: The bound of bodies where no credential is required, and of those that anybody may send.
SMALL_BODY_BYTES = 64 * 1024

#: How long, and how far, the rest of a refused body is read and discarded: closing at once would reset the
#: connection, and many clients would then never read the reply.
DISCARD_S = 2.0
DISCARD_BYTES = 8 * 1024 * 1024


class Address(str):
    """A client's address; of IPv6 the network, for one host has all of its addresses."""

    __slots__ = ()


#: Who holds bytes: an address, or the customer whose key was looked up, or "operator".
BodyOwner = Address | int | str

#: Looks up who holds the bytes of a request. Raises `Unauthenticated`.
Identify = Callable[[], Awaitable[BodyOwner]]


def body_address(text: str) -> Address:
    """The address by which the bytes of an unknown caller are counted."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return Address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return Address(ipaddress.ip_network((address, 64), strict=False))
    return Address(text)


class BodyBudget:
    """The bytes of request bodies that a process holds, at most `most()`: a reload may change it.

    `one` is the longest body that is taken. Strangers (callers whose key was not looked up) share half of the budget,
    an eighth for one address, but always with room for one small body. A customer has half of it. So nobody's bodies
    keep out those of all others.
    """

    def __init__(self, most: Callable[[], int], one: Callable[[], int] = lambda: 0) -> None:
        self.most = most
        self.one = one
        self.held = 0
        self.by_strangers = 0
        self.by_holder: Counter[BodyOwner] = Counter()

    def share(self) -> BodyShare:
        """The empty share of one exchange: a context manager that gives its bytes back at the end."""
        return BodyShare(self)

    def most_of(self, holder: BodyOwner) -> int:
        """How many bytes one holder may hold."""
        if isinstance(holder, Address):
            return max(SMALL_BODY_BYTES, self.most() // 8)
        return max(self.one(), self.most() // 2)

    def most_of_strangers(self) -> int:
        """How many bytes all strangers may hold together."""
        return max(SMALL_BODY_BYTES, self.most() // 2)

    def count(self, holder: BodyOwner, count: int) -> None:
        """Add `count` bytes to those of `holder`, or take them off."""
        self.held += count
        if isinstance(holder, Address):
            self.by_strangers += count
        self.by_holder[holder] += count
        if self.by_holder[holder] <= 0:
            del self.by_holder[holder]


class BodyShare:
    """The bytes that one exchange holds, and whether its body has ended. Leaving the block gives them back.

    `holder` is an `Address` until the caller was looked up.
    """

    __slots__ = ("budget", "ended", "held", "holder")

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget
        self.held = 0
        self.ended = False
        self.holder: BodyOwner = ""

    @property
    def is_stranger(self) -> bool:
        """Whether the caller was not looked up yet."""
        return isinstance(self.holder, Address)

    def belongs_to(self, holder: BodyOwner) -> None:
        """Move it to `holder`."""
        self.budget.count(self.holder, -self.held)
        self.holder = holder
        self.budget.count(self.holder, self.held)

    def has_room(self, count: int) -> bool:
        """Whether the holder's own part has room for `count` more bytes."""
        budget = self.budget
        if self.is_stranger and budget.by_strangers + count > budget.most_of_strangers():
            return False
        return budget.by_holder[self.holder] + count <= budget.most_of(self.holder)

    def require_room(self, count: int) -> None:
        """Raises `Overloaded` where there is no room for `count` more bytes."""
        if not count:
            return
        if self.budget.held + count > self.budget.most() or not self.has_room(count):
            raise Overloaded(
                "the gateway holds as many bytes of requests as it takes",
                hint="Try again in a moment.",
                retry_after_s=1,
            )

    def take(self, count: int) -> None:
        """Hold `count` more bytes. Raises `Overloaded`."""
        self.require_room(count)
        self.budget.count(self.holder, count)
        self.held += count

    def give_back(self) -> None:
        """Hold nothing any more."""
        self.budget.count(self.holder, -self.held)
        self.held = 0

    def __enter__(self) -> BodyShare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.give_back()


def announced_length(headers: Mapping[str, str]) -> int | None:
    """The length of the body; 0 where there is none, None where the headers do not say."""
    length = headers.get("content-length")
    if length is None:
        return None if "transfer-encoding" in headers else 0
    return int(length) if length.isascii() and length.isdigit() else None


async def read_body(
    receive: ASGIReceiveCallable,
    headers: Mapping[str, str],
    most: int,
    share: BodyShare,
    identify: Identify | None = None,
) -> bytes | None:
    """The whole body; None where the client left in the middle of it. Raises `TooLarge`, `Overloaded`.

    Of a stranger only a small body is held. Before a longer one is held, and where strangers hold too much already,
    `identify` looks up the caller, and raises `Unauthenticated` where there is none.
    """
    length = announced_length(headers) or 0
    if length > most:
        raise TooLarge(f"the body is {length} bytes long; {most} are taken")

    async def require_room(size: int, more: int) -> None:
        if identify is not None and share.is_stranger and (size > SMALL_BODY_BYTES or not share.has_room(more)):
            share.belongs_to(await identify())
        share.require_room(more)

    await require_room(length, length)
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
        await require_room(size, len(part))
        share.take(len(part))
        parts.append(part)
        if share.ended:
            return b"".join(parts)


async def discard_rest(receive: ASGIReceiveCallable) -> None:
    """Read the rest of a body and discard it, within bounds."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while size <= DISCARD_BYTES:
                message = cast(dict[str, Any], await receive())
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
