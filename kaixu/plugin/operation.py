"""What an integration brings: operations, each with a price, and the call that its handlers get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from kaixu.plugin.lane import Options, Wire

Body = TypeVar("Body", covariant=True)
Rank = Literal["viewer", "deployer", "admin", "owner"]
Book = Literal["ai", "push"]


class Free(msgspec.Struct, frozen=True):
    """Costs nothing, and says why; shown to the operator."""

    why: str


class PerCall(msgspec.Struct, frozen=True):
    """One price a call, named `price` in the integration's section of kaixu.yaml, in USD."""

    price: str
    book: Book = "ai"


class PerUnit(msgspec.Struct, frozen=True):
    """A price for every `per` units that the core counts: "bytes_in", "bytes_out", or one that the handler counts.

    `most` bounds how many units one call may use: that much is reserved.
    """

    price: str
    unit: str
    most: int
    per: int = 1
    book: Book = "ai"


Charge = Free | PerCall | PerUnit


class Call(Protocol, Generic[Body]):
    """What a handler gets. Everything on it dies with its ticket."""

    @property
    def body(self) -> Body: ...
    @property
    def customer_id(self) -> int: ...
    @property
    def request_id(self) -> str: ...
    @property
    def wire(self) -> Wire: ...

    def count(self, unit: str, n: int) -> None:
        """Count `n` more of `unit` towards this call's charge."""
        ...


Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class Operation(msgspec.Struct, frozen=True):
    """One thing that clients can ask of an integration: `POST /v1/<name with slashes>`.

    `charge` has no default: an operation without a price does not construct.
    `name` is "<integration>.<what>"; `role` the lowest role of a key that may call it.
    """

    name: str
    handler: Handler
    body: type[msgspec.Struct]
    charge: Charge
    role: Rank = "viewer"
    timeout_s: float = 60.0


class Integration(msgspec.Struct, frozen=True):
    """A capability with its own operations, switched on by its section of kaixu.yaml."""

    name: str
    operations: Sequence[Operation]
    options: type[Options] = Options
