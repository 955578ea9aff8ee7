"""An integration, its operations, jobs and schedules, their charges, and the call that a handler gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Literal, Protocol, TypeVar
from uuid import UUID

import msgspec

from kaixu.plugin.lane import Wire
from kaixu.plugin.options import Options

Body = TypeVar("Body", covariant=True)
Rank = Literal["viewer", "deployer", "admin", "owner"]
Book = Literal["ai", "push"]


class Free(msgspec.Struct, frozen=True):
    """No charge, with the reason; the operator sees it."""

    why: str


class PerCall(msgspec.Struct, frozen=True):
    """A fixed price for each call: the entry `price` in the integration's section of kaixu.yaml, in USD."""

    price: str
    book: Book = "ai"


class PerUnit(msgspec.Struct, frozen=True):
    """A price for every `per` units. The core counts "bytes_in", "bytes_out" and "seconds", the handler any other unit.

    `most` is the maximum number of units of one call: that much is reserved, and a call that needs more is refused.
    """

    price: str
    unit: str
    most: int
    per: int = 1
    book: Book = "ai"


Charge = Free | PerCall | PerUnit


class Database(Protocol):
    """One transaction in the plugin's own schema. Run one statement at a time; rows are mappings."""

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """All rows, at most 10,000."""
        ...

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        ...

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first column of the first row."""
        ...

    async def execute(self, sql: str, *args: Any) -> str:
        """The command tag, such as "UPDATE 3"."""
        ...

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """Enqueue one of the integration's jobs in this transaction. A second job with the same `key` is not added."""
        ...


class Call(Protocol, Generic[Body]):
    """What a handler gets. Nothing on it works after the call is settled."""

    @property
    def body(self) -> Body:
        """The request body, or the payload of the job."""
        ...

    @property
    def options(self) -> Any:
        """The integration's section of kaixu.yaml, as its options model."""
        ...

    @property
    def customer_id(self) -> int | None:
        """The customer that makes the call. None in a job that a schedule submitted."""
        ...

    @property
    def key_id(self) -> int | None:
        """The key that the call was made with. None in a job that a schedule submitted."""
        ...

    @property
    def request_id(self) -> str: ...
    @property
    def wire(self) -> Wire: ...

    def count(self, unit: str, n: int) -> None:
        """Add `n` of `unit` to this call's charge."""
        ...

    def db(self) -> AbstractAsyncContextManager[Database]:
        """A transaction in the plugin's own schema. It commits when the block ends without an error."""
        ...

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """Enqueue one of the integration's jobs for the customer and key of this call."""
        ...

    async def progress(self, done: int, of: int) -> None:
        """Report the progress of a job; without effect in other calls."""
        ...


class ScheduledCall(Protocol):
    """What the handler of a schedule gets: no customer, and nothing is billed."""

    @property
    def options(self) -> Any: ...
    @property
    def request_id(self) -> str: ...
    @property
    def wire(self) -> Wire: ...

    def db(self) -> AbstractAsyncContextManager[Database]:
        """See `Call.db`. Jobs enqueued here have no customer, so they must be `Free`."""
        ...


Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class Operation(msgspec.Struct, frozen=True):
    """One function that clients can call: `POST /v1/<name with slashes>`.

    `charge` has no default: an operation without a price does not construct.
    `name` is "<integration>.<what>"; `role` is the lowest role that may call it.
    """

    name: str
    handler: Handler
    body: type[msgspec.Struct]
    charge: Charge
    role: Rank = "viewer"
    timeout_s: float = 60.0


class Retry(msgspec.Struct, frozen=True):
    """How often a failed job is tried, and how long it waits before; longer each time."""

    attempts: int = 5
    first_wait_s: float = 5.0
    most_wait_s: float = 600.0


class Job(msgspec.Struct, frozen=True):
    """Work in the background: run by the core's queue; admitted and billed when it runs."""

    name: str
    handler: Handler
    payload: type[msgspec.Struct]
    charge: Charge
    retry: Retry = Retry()
    timeout_s: float = 300.0


class Schedule(msgspec.Struct, frozen=True):
    """Work at regular times: run once each time, however many gateways there are."""

    name: str
    handler: Callable[[Any], Awaitable[None]]
    every_s: float
    why_free: str
    timeout_s: float = 300.0


class Integration(msgspec.Struct, frozen=True):
    """A set of operations, switched on by its section of kaixu.yaml.

    `schema` is a folder beside its module with its migrations: `0001_what.sql`, `0002_…`.
    """

    name: str
    operations: Sequence[Operation]
    options: type[Options] = Options
    jobs: Sequence[Job] = ()
    schedules: Sequence[Schedule] = ()
    schema: str | None = None
