"""What an integration brings: operations, each with a price, and the call that its handlers get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Literal, Protocol, TypeVar
from uuid import UUID

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
    """A price for every `per` units that the core counts: "bytes_in", "bytes_out", "seconds", or one that the handler
    counts.

    `most` bounds how many units one call may use: that much is reserved, and whatever needs more is refused.
    """

    price: str
    unit: str
    most: int
    per: int = 1
    book: Book = "ai"


Charge = Free | PerCall | PerUnit


class Database(Protocol):
    """One transaction in the plugin's own schema. Statements come one at a time; rows are mappings."""

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Every row, at most 10,000."""
        ...

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        ...

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first row's first column."""
        ...

    async def execute(self, sql: str, *args: Any) -> str:
        """The command's tag, as "UPDATE 3"."""
        ...

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """Hand in one of the integration's jobs, in this transaction. With `key`, a second one is the same job."""
        ...


class Call(Protocol, Generic[Body]):
    """What a handler gets. Everything on it dies with its ticket."""

    @property
    def body(self) -> Body:
        """What the client sent, or what the job was handed in with."""
        ...

    @property
    def options(self) -> Any:
        """The integration's section of kaixu.yaml, as its own model."""
        ...

    @property
    def customer_id(self) -> int | None:
        """Whose call it is. None in a job that a schedule handed in: nobody's."""
        ...

    @property
    def key_id(self) -> int | None:
        """The key that the call was made with. None in a job that a schedule handed in."""
        ...

    @property
    def request_id(self) -> str: ...
    @property
    def wire(self) -> Wire: ...

    def count(self, unit: str, n: int) -> None:
        """Count `n` more of `unit` towards this call's charge."""
        ...

    def db(self) -> AbstractAsyncContextManager[Database]:
        """A transaction in the plugin's own schema; it commits when its block is left without an error."""
        ...

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """Hand in one of the integration's jobs, for the customer and the key of this call."""
        ...

    async def progress(self, done: int, of: int) -> None:
        """Say how far a job is; elsewhere it does nothing."""
        ...


class ScheduledCall(Protocol):
    """What a schedule's handler gets: it has no customer, and nothing is billed."""

    @property
    def options(self) -> Any: ...
    @property
    def request_id(self) -> str: ...
    @property
    def wire(self) -> Wire: ...

    def db(self) -> AbstractAsyncContextManager[Database]:
        """See `Call.db`; jobs that it hands in are the gateway's own, so they must be `Free`."""
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


class Retry(msgspec.Struct, frozen=True):
    """How often a job is tried, and how long it waits: longer each time."""

    attempts: int = 5
    first_wait_s: float = 5.0
    most_wait_s: float = 600.0


class Job(msgspec.Struct, frozen=True):
    """Work that outlives the call which hands it in: run by the core's queue, admitted and billed when it runs."""

    name: str
    handler: Handler
    payload: type[msgspec.Struct]
    charge: Charge
    retry: Retry = Retry()
    timeout_s: float = 300.0


class Schedule(msgspec.Struct, frozen=True):
    """Work that the core's clock asks for: once each time, however many gateways there are."""

    name: str
    handler: Callable[[Any], Awaitable[None]]
    every_s: float
    why_free: str
    timeout_s: float = 300.0


class Integration(msgspec.Struct, frozen=True):
    """A capability with its own operations, switched on by its section of kaixu.yaml.

    `schema` is a folder beside its module with its tables: `0001_what.sql`, `0002_…`.
    """

    name: str
    operations: Sequence[Operation]
    options: type[Options] = Options
    jobs: Sequence[Job] = ()
    schedules: Sequence[Schedule] = ()
    schema: str | None = None
