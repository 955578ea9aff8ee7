"""Read request bodies within limits of size, time and total memory."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from kaixu.ops.client_network import network_of
from kaixu.plugin.deadline import within
from kaixu.plugin.errors import Overloaded, TooLarge

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable

#: The time limit for receiving a body.
BODY_S = 60.0

#: The size limit of bodies without a credential.
SMALL_BODY_BYTES = 64 * 1024

#: Time and size limits for reading and discarding the rest of a refused body. Closing at once would reset the
#: connection, and many clients would then not read the reply.
DISCARD_S = 2.0
DISCARD_BYTES = 8 * 1024 * 1024


class Address(str):
    """A client's address; for IPv6 its /64 network, because one host owns all of it."""

    __slots__ = ()


#: Whom bytes in memory count against: an address, the customer whose key was looked up, or "operator".
BodyOwner = Address | int | str

#: Looks up the owner of a request's body. Raises `Unauthenticated`.
Identify = Callable[[], Awaitable[BodyOwner]]


@lru_cache(maxsize=10_000)
def body_address(text: str) -> Address:
    """The owner of the bytes of an unknown caller."""
    return Address(network_of(text))


class BodyBudget:
    """The memory for request bodies in this process: at most `most()` bytes, which a reload may change.

    `one`: the size limit of one body. Unknown callers (whose key was not looked up) share half of the budget, with an
    eighth for each address, but at least one small body. A customer may use half. So no caller can block all others.
    """

    def __init__(self, most: Callable[[], int], one: Callable[[], int] = lambda: 0) -> None:
        self.most = most
        self.one = one
        self.held = 0
        self.by_unknown = 0
        self.by_owner: Counter[BodyOwner] = Counter()

    def max_of(self, owner: BodyOwner) -> int:
        """The maximum for one owner."""
        if isinstance(owner, Address):
            return max(SMALL_BODY_BYTES, self.most() // 8)
        return max(self.one(), self.most() // 2)

    def max_of_unknown(self) -> int:
        """The maximum for all unknown callers together."""
        return max(SMALL_BODY_BYTES, self.most() // 2)

    def count(self, owner: BodyOwner, count: int) -> None:
        """Add `count` bytes to those of `owner`, or subtract them."""
        self.held += count
        if isinstance(owner, Address):
            self.by_unknown += count
        left = self.by_owner.get(owner, 0) + count
        if left > 0:
            self.by_owner[owner] = left
        else:
            self.by_owner.pop(owner, None)


class BodyShare:
    """The bytes of one exchange in the budget. Leaving the block releases them.

    `owner` is an `Address` until the caller was looked up. `ended`: whether the whole body was received.
    """

    __slots__ = ("budget", "ended", "held", "owner")

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget
        self.held = 0
        self.ended = False
        self.owner: BodyOwner = ""

    @property
    def is_unknown(self) -> bool:
        """Whether the caller has not been looked up yet."""
        return isinstance(self.owner, Address)

    def assign(self, owner: BodyOwner) -> None:
        """Count the bytes against `owner` from now on."""
        if self.held:
            self.budget.count(self.owner, -self.held)
            self.budget.count(owner, self.held)
        self.owner = owner

    def has_room(self, count: int) -> bool:
        """Whether the owner may hold `count` more bytes."""
        budget = self.budget
        if self.is_unknown and budget.by_unknown + count > budget.max_of_unknown():
            return False
        return budget.by_owner[self.owner] + count <= budget.max_of(self.owner)

    def fits(self, count: int) -> bool:
        """Whether there is room for `count` more bytes, in all and for the owner."""
        if not count:
            return True
        total, most = self.budget.held + count, self.budget.most()
        if total > most:
            return False
        # Every owner may hold this much alone; nearly always it is all that is held.
        return (total <= SMALL_BODY_BYTES and 2 * total <= most) or self.has_room(count)

    def require_room(self, count: int) -> None:
        """Raises `Overloaded` if there is no room for `count` more bytes."""
        if not self.fits(count):
            raise Overloaded(
                "the gateway has no memory left for request bodies",
                hint="Try again in a moment.",
                retry_after_s=1,
            )

    def take(self, count: int) -> None:
        """Reserve `count` more bytes. Raises `Overloaded`."""
        self.require_room(count)
        self.add(count)

    def add(self, count: int) -> None:
        """Reserve `count` more bytes that are known to fit."""
        self.budget.count(self.owner, count)
        self.held += count

    def release_all(self) -> None:
        """Release all bytes."""
        if self.held:
            self.budget.count(self.owner, -self.held)
            self.held = 0

    def __enter__(self) -> BodyShare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release_all()


def announced_length(headers: Mapping[str, str]) -> int | None:
    """The length of the body by its headers; 0 if there is no body, None if the length is not known."""
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
    """Read the whole body; None if the client disconnects before its end. Raises `TooLarge`, `Overloaded`.

    A body counts against the client's address first. Before a long one is read, or if unknown callers use too much
    memory already, `identify` looks up the caller, and raises `Unauthenticated` for an unknown key.
    """
    length = announced_length(headers) or 0
    if length > most:
        raise TooLarge(f"the body is {length} bytes long; at most {most} are allowed")

    if length > SMALL_BODY_BYTES or not share.fits(length):
        await require_room(share, length, length, identify)
    parts: list[bytes] = []
    size = 0
    while True:
        message = cast(dict[str, Any], await receive())
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        share.ended = not message.get("more_body", False)
        count = len(part)
        size += count
        if size > most:
            raise TooLarge(f"the body is longer than {most} bytes")
        if size > SMALL_BODY_BYTES or not share.fits(count):
            await require_room(share, size, count, identify)
        if count:
            share.add(count)
        if share.ended and not parts:
            return part
        parts.append(part)
        if share.ended:
            return b"".join(parts)


async def require_room(share: BodyShare, size: int, more: int, identify: Identify | None) -> None:
    """Require room for `more` bytes of a body that is then `size` bytes long; looks up the caller if need be."""
    if identify is not None and share.is_unknown and (size > SMALL_BODY_BYTES or not share.has_room(more)):
        share.assign(await identify())
    share.require_room(more)


async def discard_rest(receive: ASGIReceiveCallable) -> None:
    """Read the rest of a body and discard it, within limits."""
    size = 0
    with contextlib.suppress(TimeoutError), within(DISCARD_S):
        while size <= DISCARD_BYTES:
            message = cast(dict[str, Any], await receive())
            size += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return
