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

#: A body that is not there, whole, within this time is given up.
BODY_S = 60.0

#: Where no key and no token is asked for, or none that is worth more.
SMALL_BODY_BYTES = 64 * 1024

#: How long, and how far, the rest of a refused body is read and thrown away: closing at once would
#: reset the connection, and many a client then never reads why.
LINGER_S = 2.0
LINGER_BYTES = 8 * 1024 * 1024


class Address(str):
    """Where a stranger comes from; of IPv6 the network, for one host has all of its addresses."""

    __slots__ = ()


#: Who holds bytes: an address, or the customer whose key was looked up, or "operator".
Holder = Address | int | str

#: Holds bytes where nobody is looked up: bounded by what all hold together.
ANYBODY = "anybody"

#: Looks up whose a request is. Raises `Unauthenticated`.
Identify = Callable[[], Awaitable[Holder]]


def address_of(text: str) -> Address:
    """The address by which a stranger's bytes are counted."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return Address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return Address(ipaddress.ip_network((address, 64), strict=False))
    return Address(text)


class BodyBudget:
    """The bytes of request bodies that a process holds. `most` is asked each time: a reload may change it.

    `one` is the longest body that is taken. Strangers (whose key nobody has looked up) have half of it together and
    an eighth from one address, but always room for one small body; a customer has half of it: nobody's bodies keep
    those of all others out.
    """

    def __init__(self, most: Callable[[], int], one: Callable[[], int] = lambda: 0) -> None:
        self.most = most
        self.one = one
        self.held = 0
        self.by_strangers = 0
        self.by_holder: Counter[Holder] = Counter()

    def share(self) -> Share:
        """An exchange's share, empty yet; to be entered, and left when the exchange is over."""
        return Share(self)

    def most_of(self, holder: Holder) -> int:
        """How many bytes one may hold."""
        if isinstance(holder, Address):
            return max(SMALL_BODY_BYTES, self.most() // 8)
        return self.most() if holder == ANYBODY else max(self.one(), self.most() // 2)

    def most_of_strangers(self) -> int:
        """How many bytes all of them may hold together."""
        return max(SMALL_BODY_BYTES, self.most() // 2)

    def count(self, holder: Holder, count: int) -> None:
        """`holder` holds `count` bytes more, or fewer."""
        self.held += count
        if isinstance(holder, Address):
            self.by_strangers += count
        self.by_holder[holder] += count
        if self.by_holder[holder] <= 0:
            del self.by_holder[holder]


class Share:
    """What one exchange holds of the budget, and whether its body has ended. Leaving its block gives it back.

    `holder`: an `Address` until it is known whose it is.
    """

    __slots__ = ("budget", "ended", "held", "holder")

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget
        self.held = 0
        self.ended = False
        self.holder: Holder = ""

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has looked yet whose it is."""
        return isinstance(self.holder, Address)

    def belongs_to(self, holder: Holder) -> None:
        """From now on `holder` holds it."""
        self.budget.count(self.holder, -self.held)
        self.holder = holder
        self.budget.count(self.holder, self.held)

    def has_room(self, count: int) -> bool:
        """Whether the holder's own part has room for `count` bytes more."""
        budget = self.budget
        if self.is_stranger and budget.by_strangers + count > budget.most_of_strangers():
            return False
        return budget.by_holder[self.holder] + count <= budget.most_of(self.holder)

    def insist(self, count: int) -> None:
        """Raises `Overloaded` where there is no room for `count` bytes more."""
        if not count:
            return
        if self.budget.held + count > self.budget.most() or not self.has_room(count):
            raise Overloaded(
                "as many bytes of requests are held as the gateway takes",
                hint="Try again in a moment.",
                retry_after_s=1,
            )

    def take(self, count: int) -> None:
        """Hold `count` bytes more. Raises `Overloaded`."""
        self.insist(count)
        self.budget.count(self.holder, count)
        self.held += count

    def give_back(self) -> None:
        """Hold nothing any more."""
        self.budget.count(self.holder, -self.held)
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


async def whole_body(
    receive: ASGIReceiveCallable,
    headers: Mapping[str, str],
    most: int,
    share: Share,
    identify: Identify | None = None,
) -> bytes | None:
    """The whole body; None where the client left in the middle of it. Raises `TooLarge`, `Overloaded`.

    Of a stranger only a small body is held; before a longer one is, and where strangers hold too much already,
    `identify` says whose it is, and raises `Unauthenticated` for nobody's.
    """
    length = announced(headers) or 0
    if length > most:
        raise TooLarge(f"the body is {length} bytes long; {most} are taken")

    async def insist(size: int, more: int) -> None:
        if identify is not None and share.is_stranger and (size > SMALL_BODY_BYTES or not share.has_room(more)):
            share.belongs_to(await identify())
        share.insist(more)

    await insist(length, length)
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
        await insist(size, len(part))
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
