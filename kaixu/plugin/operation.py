"""An integration, its operations, jobs and schedules, their charges, and the call that a handler gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar
from uuid import UUID

import msgspec

from kaixu.plugin.access import Auth, Caller, Key, Method, Operator, Public, Rank, Rate
from kaixu.plugin.blob import Blob, Upload
from kaixu.plugin.book import Book, BookMonth, Monthly
from kaixu.plugin.callback import Begun, Callback, Returned
from kaixu.plugin.customers import Customers
from kaixu.plugin.database import Database
from kaixu.plugin.integration_wire import IntegrationWire
from kaixu.plugin.money import Grant
from kaixu.plugin.options import Options
from kaixu.plugin.origins import DeclaredHosts
from kaixu.plugin.panel import Panel
from kaixu.plugin.reaction import Reaction
from kaixu.plugin.secret import Secret, Secrets
from kaixu.plugin.webhook import Webhook

Body = TypeVar("Body", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")
NoteLevel = Literal["info", "warn", "error"]


class Free(msgspec.Struct, frozen=True):
    """No charge, with the reason; the operator sees it."""

    why: str


class PerCall(msgspec.Struct, frozen=True):
    """A fixed price for each call: the entry `price` in the integration's section of kaixu.yaml, in USD."""

    price: str
    book: str = "ai"


class PerUnit(msgspec.Struct, frozen=True):
    """A price for every `per` units. The handler counts them, except for those that the core counts.

    The core counts "bytes_in", "bytes_out", "seconds", and "bytes_sent": bodies of requests that vendors accepted.

    `most` is the maximum number of units of one call, or a function of its input that returns it: that much is
    reserved, and a call that needs more is refused. Charges by key can do without.
    """

    price: str
    unit: str
    most: int | Callable[[Any], int] | None = None
    per: int = 1
    book: str = "ai"


Charge = Free | PerCall | PerUnit

#: A charge that is held and billed by key, in transactions.
KeyedCharge = PerCall | PerUnit | Monthly

#: What is checked before an operation is run: "call", everything; "key", that the key may be used.
OperationAdmission = Literal["call", "key"]

#: How much of an admission a job has when it runs: all checks of its key, customer and caps, or none.
JobAdmission = Literal["call", "none"]

#: What becomes of an operation's charge if it fails after a vendor may have worked for it.
OnFailure = Literal["release", "charge_counted"]


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
        """The customer that makes the call, or that an operator's call is about. None: there is none."""
        ...

    @property
    def key_id(self) -> int | None:
        """The key that the call was made with. None: it was made without one."""
        ...

    @property
    def caller(self) -> Caller:
        """Who makes the call."""
        ...

    @property
    def request_id(self) -> str: ...

    @property
    def attempt(self) -> int:
        """The number of this attempt of a job, from 1; always 1 in other calls."""
        ...

    @property
    def wire(self) -> IntegrationWire: ...
    @property
    def secrets(self) -> Secrets:
        """The secrets of the call's customer."""
        ...

    async def settings(self) -> Any:
        """The settings of the call's customer, as the integration's `customer` Struct.

        Raises `ValueError` without a customer or without that Struct, `PluginFailed` where a stored value does not fit
        the Struct any more.
        """
        ...

    async def change_settings(self, changes: Mapping[str, Any]) -> Any:
        """Change some settings of the call's customer; returns all of them. The audit log has them before and after.

        Raises `Unprocessable` for a value that is not possible, `Conflict` where another customer has a unique one.
        """
        ...

    async def customer_with(self, field: str, value: str | int) -> int | None:
        """The id of the customer with this value of a `unique` setting, or None."""
        ...

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function that blocks, in a thread of its own; its wire there is `wire.blocking()`.

        The call is settled after the thread has ended. If the handler is cancelled or its time is over, the thread can
        send nothing more (`TicketClosed`), and this waits for it.
        """
        ...

    def scratch(self, most_bytes: int) -> AbstractAsyncContextManager[Path]:
        """A private folder for the block, removed at its end.

        Its size is measured twice a second and at the end, each file and folder as at least 4 KiB; above `most_bytes`
        the block is cancelled and raises `TooLarge`. Raises `Unavailable` if the disk has no room for so much.
        """
        ...

    @property
    def customers(self) -> Customers:
        """All customers; needs the grant `customers`."""
        ...

    async def rearm(self, after_s: float) -> bool:
        """Let `balance_below` happen once more after some time, if the balance of the call's customer is still below.

        Returns whether its balance is watched.
        """
        ...

    def note(self, level: NoteLevel, summary: str, **detail: Any) -> None:
        """Write an event for operators into the monitor: a summary of up to 500 characters, and details as JSON."""
        ...

    def vendor_cost_nusd(self, n: int) -> None:
        """Add what a vendor charges the operator for this call, in nano-dollars: reports of the margin have it.

        Without effect in a call that is not billed to a key.
        """
        ...

    @property
    def upload(self) -> Upload:
        """The body, in an operation with `upload=True`. Raises `ValueError` in others."""
        ...

    async def begin(
        self,
        callback: str,
        data: msgspec.Struct | None = None,
        *,
        return_to: str | None = None,
        lifetime_s: float = 600.0,
    ) -> Begun:
        """Begin something at a vendor that a browser finishes: the handler of `callback` then gets `data`.

        `return_to`: a page of this gateway. The reply of this call marks the browser; one that was not marked, because
        another origin began it, is asked first. Raises `Unprocessable` for a `return_to` of another origin,
        `NotConfigured` without an address of the gateway, `ValueError` in jobs and schedules.
        """
        ...

    def chunks(self, blob: Blob, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a blob from `start` up to `end`, in pieces of at most 1 MiB.

        Raises `NotFound` for one that is not there any more, or that is another customer's or integration's.
        """
        ...

    async def save(self, blobs: Blob | Sequence[Blob], path: Path) -> int:
        """Write blobs, one after another, into one file, such as one in a folder of `scratch`; the bytes written."""
        ...

    def count(self, unit: str, n: int) -> None:
        """Add `n` of `unit` to this call's charge."""
        ...

    def db(self) -> AbstractAsyncContextManager[Database]:
        """A transaction in the plugin's own schema. It commits when the block ends without an error."""
        ...

    async def book(self, name: str, month: date | None = None) -> BookMonth:
        """The month of the call's customer in one of the integration's books, or in "ai"; default: this month."""
        ...

    async def enqueue(
        self,
        job: str,
        payload: msgspec.Struct,
        *,
        delay_s: float = 0,
        key: str | None = None,
        serial: str | None = None,
        customer_id: int | None = None,
    ) -> UUID:
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
    def wire(self) -> IntegrationWire: ...

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `Call.in_thread`."""
        ...

    def scratch(self, most_bytes: int) -> AbstractAsyncContextManager[Path]:
        """See `Call.scratch`."""
        ...

    async def customer_with(self, field: str, value: str | int) -> int | None:
        """See `Call.customer_with`."""
        ...

    @property
    def customers(self) -> Customers:
        """See `Call.customers`."""
        ...

    def note(self, level: NoteLevel, summary: str, **detail: Any) -> None:
        """See `Call.note`."""
        ...

    def db(self) -> AbstractAsyncContextManager[Database]:
        """See `Call.db`. Jobs enqueued here have no customer, so they must be `Free`."""
        ...


Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class OperationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How an operation is reached, by whom, and how often: everything that has a default.

    `path` is below `/v1/<integration>`, with parameters such as `/projects/{project_id}`; by default it follows from
    the name. `aliases`: names below `/.netlify/functions/` and `/api/`; two operations of one integration may share one
    if their methods differ. `role` is short for `auth=Key(role)`. `rate`: all of them hold. `at_once`: how many calls
    of one customer may run at the same time, in all gateways together. `timeout_s` limits the handler and its stream.
    `holds`: the charges that its handler may hold by key; operators see their prices. `on_failure`: whether what was
    counted is billed if the call fails after a vendor may have worked; an operation with a price must say so where the
    integration has a wire.
    `upload`: the body is a file, which the handler reads with `call.upload`; its input comes from elsewhere.
    `admission`: "key" is for what a customer without money must be able to do, such as paying. Only the key, its role
    and its customer are checked then: no cap, debt, allowlist, device or limit of calls. It counts in the key's reading
    limit, is `Free`, and leaves no usage event.
    `key_rates`: False is for one of many requests that make one thing, such as a part of an upload: requests a minute
    and a day of the key neither stop nor count it. It must be `Free`.
    """

    role: Rank | None = None
    method: Method = "POST"
    path: str | None = None
    aliases: Sequence[str] = ()
    auth: Auth = Key()
    rate: Rate | Sequence[Rate] = ()
    at_once: int | None = None
    timeout_s: float = 60.0
    holds: Sequence[str] = ()
    on_failure: OnFailure | None = None
    upload: bool = False
    admission: OperationAdmission = "call"
    key_rates: bool = True


class Operation(OperationSettings, frozen=True):
    """One function that clients can call, by default at `POST /v1/<name with slashes>`.

    `charge` has no default: an operation without a price does not construct.
    `name` is "<integration>.<what>"; `body` is the Struct of its input, whose fields may say where they come from
    (`kaixu.plugin.fields`).
    """

    name: str
    handler: Handler
    body: type[msgspec.Struct]
    charge: Charge

    @property
    def rank(self) -> Rank | None:
        """The lowest role of a key that may call it; None: keys may not."""
        if not isinstance(self.auth, Key):
            return None
        return self.role or self.auth.role

    @property
    def callers(self) -> str:
        """Who may call it, in a word: the lowest role of a key, or "operators" or "everybody"."""
        if isinstance(self.auth, Operator):
            return "operators"
        return "everybody" if isinstance(self.auth, Public) else self.rank or ""

    @property
    def rates(self) -> Sequence[Rate]:
        """Its rates."""
        return (self.rate,) if isinstance(self.rate, Rate) else self.rate

    @property
    def path_below(self) -> str:
        """Its path below that of the integration, beginning with a slash."""
        return self.path or "/" + self.name.partition(".")[2].replace(".", "/")


def callback_operation(integration: str, callback: Callback) -> Operation:
    """The operation that a callback is admitted as; no client can call it."""
    return Operation(
        f"{integration}.callbacks.{callback.name}",
        callback.handler,
        Returned,
        Free(callback.why_free),
        method="GET",
        timeout_s=callback.timeout_s,
    )


class Retry(msgspec.Struct, frozen=True):
    """How often a failed job is tried, and how long it waits before; longer each time."""

    attempts: int = 5
    first_wait_s: float = 5.0
    most_wait_s: float = 600.0


class Job(msgspec.Struct, frozen=True):
    """Work in the background: run by the core's queue; admitted and billed when it runs.

    `on_failed` is called once if the job ends without success: after its last attempt, cancelled, lost or not ended
    in time. It gets a `FailedCall`. `at_once` is how many jobs of this name may run at a time for one customer. A field
    that is added to the type of the payload needs a default: enqueued jobs do not have it. For `holds` and `on_failure`
    see `OperationSettings`; a failed attempt is one call.

    `admission`: "none" is for watching and cleaning, which must go on after the key was revoked, the customer switched
    off or its cap reached. Such a job is `Free`, has no key, and is neither shown to its customer nor cancelled by it.
    """

    name: str
    handler: Handler
    payload: type[msgspec.Struct]
    charge: Charge
    retry: Retry = Retry()
    timeout_s: float = 300.0
    on_failed: Callable[[Any], Awaitable[None]] | None = None
    at_once: int | None = None
    holds: Sequence[str] = ()
    on_failure: OnFailure | None = None
    admission: JobAdmission = "call"


class Schedule(msgspec.Struct, frozen=True):
    """Work at regular times: run once each time, however many gateways there are."""

    name: str
    handler: Callable[[Any], Awaitable[None]]
    every_s: float
    why_free: str
    timeout_s: float = 300.0


class Integration(msgspec.Struct, frozen=True):
    """A set of operations, switched on by its section of kaixu.yaml.

    `schema` is a folder beside its module with its migrations: `0001_what.sql`, `0002_…`. `hosts`: where its wire may
    go, as `["api.example.com"]`, or a function of the options that returns such a list, besides the URLs that its
    options name (`WireUrl`); "any-public" for URLs that customers give. `customer`: the settings that each customer has
    of it, every field with a default; no two customers have the same value of a field in `unique`; customers see and
    change those in `by_customer` themselves. `panels`: what it shows in the pages.
    `books`: accounts beside the calls of models. `charges`: what its transactions may hold and bill by key, each with a
    price.

    `grants`: what it needs of "credit", "customers" and "mail"; it is off until its section of kaixu.yaml grants it.
    `keeps`: tables whose rows stay when a customer is deleted; of all others with a column `customer_id` they go.
    `open` is called with the options when the integration is switched on, `close` when it is switched off.
    """

    name: str
    operations: Sequence[Operation]
    options: type[Options] = Options
    jobs: Sequence[Job] = ()
    schedules: Sequence[Schedule] = ()
    webhooks: Sequence[Webhook] = ()
    callbacks: Sequence[Callback] = ()
    schema: str | None = None
    hosts: DeclaredHosts = ()
    secrets: Sequence[Secret] = ()
    customer: type[msgspec.Struct] | None = None
    unique: Sequence[str] = ()
    books: Sequence[Book] = ()
    charges: Sequence[KeyedCharge] = ()
    panels: Sequence[Panel] = ()
    by_customer: Sequence[str] = ()
    reactions: Sequence[Reaction] = ()
    grants: Collection[Grant] = ()
    keeps: Sequence[str] = ()
    open: Callable[[Any], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None
