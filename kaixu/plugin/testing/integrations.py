"""Tools for testing integrations: a call without a gateway, and how it is run."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_args
from uuid import UUID, uuid4

import msgspec

from kaixu.plugin.access import Caller
from kaixu.plugin.blob import Blob
from kaixu.plugin.book import Book, BookMonth, BookPrice
from kaixu.plugin.callback import Begun
from kaixu.plugin.customer_settings import check_customer_settings
from kaixu.plugin.encoded_reply import encode_item, encode_reply
from kaixu.plugin.errors import PluginError, TicketClosed, TooLarge
from kaixu.plugin.operation import (
    Charge,
    Free,
    Integration,
    Job,
    NoteLevel,
    OnFailure,
    Operation,
    PerUnit,
    Schedule,
    callback_operation,
)
from kaixu.plugin.origins import Hosts, require_hosts
from kaixu.plugin.own_thread import Threads
from kaixu.plugin.reaction import Crossing
from kaixu.plugin.replies import Events
from kaixu.plugin.scratch import Scratch
from kaixu.plugin.secret import check_secrets
from kaixu.plugin.webhook import WebhookDelivery
from kaixu.plugin.wire_use import has_wire

from .blobs import FakeBlobs, FakeUpload
from .charges import ChargeDone
from .checks import must
from .customer_data import FakeSecrets, FakeSettings
from .database import FakeDatabase
from .effects import FakeMail
from .money import FakeCustomers, FakeLedger
from .wire import FakeWire

P = ParamSpec("P")
R = TypeVar("R")

#: Names that usage events use themselves, and the most of a unit: as the core has them.
RESERVED = frozenset({"call", "undelivered", "unbilled_nusd"})
MOST_UNITS = 10**12

#: Units that the core counts for every call.
COUNTED = frozenset({"calls", "bytes_in", "bytes_out", "bytes_sent", "seconds"})


class FakeCall:
    """A call without a gateway. After `close` it raises `TicketClosed`, like a settled call.

    `customer_id=None, key_id=None` is the call of a schedule, or of a job that a schedule submitted. `secrets` and
    `settings` are those of its customer, by name; `unique_values` those of others, see `FakeSettings`. `error` is for
    `on_failed` of a job. `upload` is the body of an upload, `kept` what its blobs contain that are kept, by name; see
    `blobs`. `complaints`: what `run` has against the handler, whatever it returns.
    """

    def __init__(
        self,
        body: Any = None,
        *,
        options: Any = None,
        wire: FakeWire | None = None,
        results: Sequence[Any] = (),
        customer_id: int | None = 1,
        key_id: int | None = 1,
        secrets: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        unique_values: Mapping[tuple[str, str | int], int] | None = None,
        attempt: int = 1,
        error: str = "INTEGRATION_FAILED",
        caller: Caller | None = None,
        upload: bytes | None = None,
        kept: Mapping[str, bytes] | None = None,
    ) -> None:
        self.body = body
        self.options = options
        self.wire = wire or FakeWire()
        self.blobs = FakeBlobs(kept or {}, self._require_customer)
        self.wire.read_blob = self.blobs.read
        self.database = FakeDatabase(results, self.blobs)
        self._upload = None if upload is None else FakeUpload(upload, self.blobs, self.count_in)
        self.customer_id = customer_id
        self.key_id = key_id
        self.caller = caller or Caller("key", "owner", "last", "customer@example.com")
        self.request_id = "request"
        self.attempt = attempt
        self.job_id = uuid4()
        self.error = error
        self.charge: Charge | None = None
        self.counted: dict[str, int] = {}
        self.jobs: list[tuple[str, msgspec.Struct]] = []
        self.charges: list[ChargeDone] = []
        self.books: dict[str, BookMonth] = {}
        self.begun: list[tuple[str, msgspec.Struct | None, str | None]] = []
        self.progress_reports: list[tuple[int, int]] = []
        self.complaints: list[str] = []
        self.timeout_s: float | None = None
        self.pause: Callable[[], Awaitable[None]] | None = None
        self.notes: list[tuple[NoteLevel, str, dict[str, Any]]] = []
        self.rearmed: list[float] = []
        self.vendor_cost: int | None = None
        self.closed = False
        self.grants = self.database.grants
        self.database.ledger = FakeLedger(self.grants, customer_id)
        self.customers = FakeCustomers(self.grants, self._require_open)
        self.threads = Threads()
        self.folders = Scratch(Path(tempfile.gettempdir()))
        self.secrets = FakeSecrets(secrets or {}, self._require_customer)
        self.customer_settings = FakeSettings(
            settings or {}, unique_values or {}, self._require_open, self._require_customer
        )
        self.database.customer_id = customer_id
        if customer_id is not None:
            self.database.store.secrets[customer_id] = self.secrets
            self.database.store.settings[customer_id] = self.customer_settings

    def close(self) -> None:
        """Settle the call."""
        self.closed = True
        self.wire.close()
        self.database.closed = True

    def _require_open(self) -> None:
        if self.closed:
            raise TicketClosed("the call has been settled")

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `Call.in_thread`."""
        self._require_open()
        return await self.threads.run(function, *args, **kwargs)

    def scratch(self, most_bytes: int) -> AbstractAsyncContextManager[Path]:
        """See `Call.scratch`."""
        self._require_open()
        return self.folders.folder(most_bytes)

    async def end(self) -> None:
        """The handler has ended: wait for its threads, remove its folders."""
        await self.threads.end()
        await self.folders.end()

    def _require_customer(self) -> int:
        self._require_open()
        if self.customer_id is None:
            raise ValueError("this call has no customer")
        return self.customer_id

    def of(self, integration: Integration) -> None:
        """Make this a call of an integration: only what it declares exists. `run` does it."""
        self.secrets.integration = self.customer_settings.integration = self.database.integration = integration
        self.database.store.integration = integration
        self.database.customer_id = self.customer_id
        self.database.has_key = self.key_id is not None
        self.database.declared = {charge.price: charge for charge in integration.charges}
        self.grants.integration = integration

    @property
    def mails(self) -> list[FakeMail]:
        """What was written to customers, each once."""
        return self.database.mails

    async def settings(self) -> Any:
        """See `Call.settings`."""
        return await self.customer_settings.read()

    async def change_settings(self, changes: Mapping[str, Any]) -> Any:
        """See `Call.change_settings`."""
        return await self.customer_settings.change(changes)

    async def customer_with(self, field: str, value: str | int) -> int | None:
        """See `Call.customer_with`."""
        return await self.customer_settings.customer_with(field, value)

    def count(self, unit: str, n: int) -> None:
        """See `Call.count`."""
        if self.closed:
            raise RuntimeError("the call has been settled; nothing more is counted")
        if unit in RESERVED:
            raise ValueError(f"a unit cannot be called {unit!r}: usage events use this name themselves")
        if not unit.isidentifier() or isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MOST_UNITS:
            raise ValueError(f"cannot count {n!r} of {unit!r}: units are whole numbers from 0 on")
        self.require_room(unit, n)
        self.counted[unit] = self.counted.get(unit, 0) + n

    def count_sent(self, size: int) -> None:
        """Count bytes that a vendor has accepted, as the core does."""
        self.counted["bytes_sent"] = self.counted.get("bytes_sent", 0) + size

    async def before_request(self) -> None:
        """Before each request: no transaction may be open, since nobody knows how long a vendor takes."""
        if self.database.is_open:
            self.complaints.append("it waits for a vendor inside `async with call.db()`: end the block before")
        if self.pause is not None:
            await self.pause()

    def require_room(self, unit: str, n: int) -> None:
        """Raises `TooLarge` if `n` more of `unit` are more than the charge allows one call."""
        total = self.counted.get(unit, 0) + n
        if not isinstance(self.charge, PerUnit) or unit != self.charge.unit:
            return
        most = self.charge.most(self.body) if callable(self.charge.most) else self.charge.most or 0
        if total > most:
            raise TooLarge(f"{total} {unit} are more than the {most} that one call may use")

    def count_in(self, size: int) -> None:
        """Count the bytes of an upload, as the core does."""
        self.counted["bytes_in"] = self.counted.get("bytes_in", 0) + size

    @property
    def upload(self) -> FakeUpload:
        """See `Call.upload`."""
        if self._upload is None:
            raise ValueError("only an operation with `upload=True` gets an upload")
        return self._upload

    async def begin(
        self,
        callback: str,
        data: msgspec.Struct | None = None,
        *,
        return_to: str | None = None,
        lifetime_s: float = 600.0,
    ) -> Begun:
        """See `Call.begin`; stored in `begun`."""
        self._require_open()
        redirect_uri = f"https://gateway.example/callbacks/{callback}"
        begun = Begun(f"{redirect_uri}?state=state", "state", "challenge", redirect_uri)
        if self.secrets.integration is not None:
            declared = [one for one in self.secrets.integration.callbacks if one.name == callback]
            must(bool(declared), f"there is no callback {callback!r}")
            kind = declared[0].data
            must(data is None or isinstance(data, kind), f"{callback!r} notes a {kind.__name__}")
            if declared[0].authorize is not None:
                url = declared[0].authorize(self.options, begun)
                begun = msgspec.structs.replace(begun, url=url)
        self.begun.append((callback, data, return_to))
        return begun

    def chunks(self, blob: Blob, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Call.chunks`."""
        self._require_customer()
        return self.blobs.read(blob, start, end)

    async def save(self, blobs: Blob | Sequence[Blob], path: Path) -> int:
        """See `Call.save`."""
        return await self.blobs.save(blobs, path)

    @asynccontextmanager
    async def db(self) -> AsyncIterator[FakeDatabase]:
        """A transaction; its jobs are added to `jobs` if it ends without an error."""
        self._require_open()
        if self.database.is_open:
            self.complaints.append("it opens a transaction inside another: each takes one of a few connections")
        async with self.database.transaction():
            self.database.ledger.gathered = []
            self.database.enqueued, self.database.asked, keys = [], [], dict(self.database.keys)
            self.database.forget()
            try:
                yield self.database
                charged = self.database.done()
                await self.database.do_effects()
                self.database.ledger.book()
            except BaseException:  # an exception in the block discards its jobs, charges and credits
                self.database.keys = keys
                raise
        self.jobs += self.database.enqueued
        self.database.enqueued = []
        self.charges += charged

    async def book(self, name: str, month: date | None = None) -> BookMonth:
        """The month in `books`, by the book's name; an empty one where there is none."""
        self._require_customer()
        first = (month or datetime.now(UTC).date()).replace(day=1)
        return self.books.get(name, BookMonth(name, first, "default", None, 0, 0, 0, []))

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
        """See `Database.enqueue`."""
        async with self.db() as db:
            return await db.enqueue(job, payload, delay_s=delay_s, key=key, serial=serial, customer_id=customer_id)

    def note(self, level: NoteLevel, summary: str, **detail: Any) -> None:
        """See `Call.note`; stored in `notes`."""
        self._require_open()
        must(level in get_args(NoteLevel), f"there is no level {level!r}")
        must(0 < len(summary) <= 500, "the summary of a note has 1 to 500 characters")
        msgspec.json.encode(detail)
        self.notes.append((level, summary, detail))

    async def rearm(self, after_s: float) -> bool:
        """See `Call.rearm`; stored in `rearmed`."""
        self._require_customer()
        must(after_s >= 0, f"a time cannot be negative: {after_s!r}")
        self.rearmed.append(after_s)
        return True

    def vendor_cost_nusd(self, n: int) -> None:
        """See `Call.vendor_cost_nusd`; added up in `vendor_cost`."""
        self._require_open()
        must(isinstance(n, int) and n >= 0, f"a cost must be a whole number from 0, not {n!r}")
        self.vendor_cost = (self.vendor_cost or 0) + n

    async def progress(self, done: int, of: int) -> None:
        """See `Call.progress`; stored in `progress_reports`."""
        self._require_open()
        self.progress_reports.append((done, of))


def check_integration(integration: Integration) -> None:
    """Check that everything the integration declares can be served. Raises `AssertionError`."""
    offered: list[Operation | Job | Schedule] = [*integration.operations, *integration.jobs, *integration.schedules]
    names = [one.name for one in offered]
    require_hosts(integration.name, integration.hosts)
    must(len(set(names)) == len(names), f"a name is declared twice: {sorted(names)}")
    try:
        check_secrets(tuple(integration.secrets))
        check_customer_settings(integration.customer, integration.unique)
    except PluginError as error:
        raise AssertionError(str(error)) from None
    for reaction in integration.reactions:
        must(
            inspect.iscoroutinefunction(reaction.handler),
            f"the handler of reaction {reaction.on!r} must be `async def`",
        )
        must(bool(reaction.why_free.strip()), f"reaction {reaction.on!r} must say why it is free")
    for callback in integration.callbacks:
        must(
            inspect.iscoroutinefunction(callback.handler),
            f"the handler of callback {callback.name!r} must be `async def`",
        )
        must(bool(callback.why_free.strip()), f"callback {callback.name!r} must say why it is free")
    for panel in integration.panels:
        must(inspect.iscoroutinefunction(panel.load), f"`load` of panel {panel.title!r} must be `async def`")
    for book in integration.books:
        check_statement(integration, book)
    for webhook in integration.webhooks:
        must(
            inspect.iscoroutinefunction(webhook.handler), f"the handler of webhook {webhook.name!r} must be `async def`"
        )
        must(not inspect.iscoroutinefunction(webhook.verify), f"`verify` of webhook {webhook.name!r} must be `def`")
    for one in offered:
        prefix = f"{integration.name}."
        must(one.name.startswith(prefix) and len(one.name) > len(prefix), f"{one.name!r} must begin with {prefix!r}")
        must(inspect.iscoroutinefunction(one.handler), f"the handler of {one.name!r} must be `async def`")
        must(one.timeout_s > 0, f"{one.name!r} must have a time limit")
        if isinstance(one, Schedule):
            must(bool(one.why_free.strip()), f"{one.name!r} must say why it is free")
            continue
        body = one.body if isinstance(one, Operation) else one.payload
        must(isinstance(body, type) and issubclass(body, msgspec.Struct), f"{one.name!r} must take a msgspec.Struct")
        msgspec.json.schema(body)  # raises for types that JSON cannot express
        if isinstance(one, Job):
            must(
                one.on_failed is None or inspect.iscoroutinefunction(one.on_failed),
                f"`on_failed` of {one.name!r} must be `async def`",
            )
            must(one.at_once is None or one.at_once >= 1, f"`at_once` of {one.name!r} must be at least 1")
            must(
                one.admission == "call" or isinstance(one.charge, Free),
                f'{one.name!r} has `admission="none"`, so it must be Free',
            )
        if isinstance(one.charge, Free):
            must(bool(one.charge.why.strip()), f"{one.name!r} is free and must say why")
            must(one.on_failure is None, f"{one.name!r} is free: `on_failure` says what a failure costs")
        else:
            must(
                one.on_failure in get_args(OnFailure) or (one.on_failure is None and not has_wire(integration)),
                f'{one.name!r} has a price and a wire: say `on_failure="release"` or `"charge_counted"`',
            )
        if isinstance(one.charge, PerUnit):
            most = one.charge.most
            is_possible = callable(most) or (most is not None and most > 0)
            must(is_possible and one.charge.per > 0, f"{one.name!r}: `most` and `per` must be at least 1")
        charges = {charge.price for charge in integration.charges}
        must(
            set(one.holds) <= charges,
            f"{one.name!r} holds what is not in `charges`: {sorted(set(one.holds) - charges)}",
        )


def check_statement(integration: Integration, book: Book) -> None:
    """Check that the statement of a month without anything can be made. Raises `AssertionError`."""
    if book.statement is None:
        return
    what = f"`statement` of book {book.name!r}"
    prices = {one.price: BookPrice(10**7, 1, "calls") for one in integration.charges if one.book == book.name}
    month = BookMonth(book.name, date(2026, 11, 1), "default", None, 0, 0, 0, [], prices)
    try:
        first = msgspec.json.decode(msgspec.json.encode(book.statement(month)))
        second = msgspec.json.decode(msgspec.json.encode(book.statement(month)))
    except Exception as error:
        raise AssertionError(f"{what} fails for a month without charges: {type(error).__name__}: {error}") from error
    must(isinstance(first, dict), f"{what} must return a mapping, not {first!r:.80}")
    must(first == second, f"{what} says something else the second time: it only computes")


@asynccontextmanager
async def lent(integration: Integration, one: Operation | Job | Schedule, call: FakeCall) -> AsyncIterator[None]:
    """The time of a handler: its wire reaches the integration's hosts and counts; at the end the call is closed."""
    if isinstance(one, Job) and one.admission == "none":
        call.key_id = None
    call.of(integration)
    call.charge = None if isinstance(one, Schedule) else one.charge
    call.wire.require_room = partial(call.require_room, "bytes_sent")
    call.wire.pause = call.before_request
    call.wire.hosts = Hosts(integration.hosts, call.options)
    call.wire.sent = call.count_sent
    call.wire.read_blob = call.blobs.read
    try:
        try:
            async with asyncio.timeout(one.timeout_s if call.timeout_s is None else call.timeout_s):
                yield
        finally:
            await call.end()
    finally:
        call.close()
    must(not call.complaints, f"{one.name!r}: {'; '.join(call.complaints)}")


def offered_by(integration: Integration) -> dict[str, Operation | Job]:
    """Everything that `run` runs, by its name.

    The handlers of webhooks are jobs `<integration>.webhooks.<name>`, those of reactions `….reactions.<on>`; callbacks
    are `<integration>.callbacks.<name>`.
    """
    reactions = [
        Job(
            f"{integration.name}.reactions.{one.on}", one.handler, Crossing, Free(one.why_free), timeout_s=one.timeout_s
        )
        for one in integration.reactions
    ]
    handlers = [
        Job(f"{integration.name}.webhooks.{one.name}", one.handler, WebhookDelivery, Free("vendors send it"))
        for one in integration.webhooks
    ]
    callbacks = [callback_operation(integration.name, one) for one in integration.callbacks]
    offered: list[Operation | Job] = [*integration.operations, *callbacks, *integration.jobs, *handlers, *reactions]
    return {one.name: one for one in offered}


async def run(integration: Integration, name: str, call: FakeCall) -> msgspec.Struct:
    """Run one operation, job or handler of a webhook as the core would, then close the call.

    Exceptions of the handler are passed on. A callback is called `<integration>.callbacks.<name>`, and its call has a
    `Returned`. For a schedule see `run_schedule`.

    The handler must return a Struct or a reply (a stream of events is read to its end), enqueue only declared jobs, and
    count the units that it charges for.
    """
    one = offered_by(integration).get(name)
    must(one is not None, f"integration {integration.name!r} declares no {name!r}")
    assert one is not None
    async with lent(integration, one, call):
        result = await one.handler(call)
        if isinstance(call.body, WebhookDelivery | Crossing):
            result = call.body  # what it returns is dropped
        if isinstance(result, Events):
            await check_stream(name, result)
    must(isinstance(result, msgspec.Struct), f"{name!r} must return a msgspec.Struct or a reply, not {result!r:.200}")
    if isinstance(one, Operation):
        check_reply(name, result)
    if not isinstance(result, Events):
        encoded = msgspec.json.encode(result).decode()
        must(not any(secret in encoded for secret in call.secrets.used), f"the reply of {name!r} contains a secret")
    if isinstance(one.charge, PerUnit):
        unit = one.charge.unit
        must(unit in COUNTED or unit in call.counted, f"{name!r} charges for {unit!r} but counted none")
    for done in call.charges:
        is_allowed = done.kind != "hold" or done.charge in one.holds
        must(is_allowed, f"{name!r} holds {done.charge!r}, which its `holds` does not declare")
    assert isinstance(result, msgspec.Struct)
    return result


def check_reply(name: str, reply: object) -> None:
    """Check that a gateway can send a reply. Raises `AssertionError`."""
    try:
        encode_reply(reply)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the reply of {name!r} cannot be sent: {error}") from None


async def check_stream(name: str, events: Events) -> None:
    """Read a stream to its end, and check its events. Raises `AssertionError`."""
    async for item in events.stream:
        data = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        must(isinstance(data, msgspec.Struct), f"the stream of {name!r} must yield Structs, not {item!r}")
        try:
            encode_item(item)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"the stream of {name!r}: {error}") from None


async def run_schedule(integration: Integration, name: str, call: FakeCall) -> list[tuple[str, msgspec.Struct]]:
    """Run one schedule as the core would, and close the call. Returns the jobs that it submitted.

    The call must have no customer, and the jobs must be declared and free: there is no customer to bill. Exceptions of
    the handler are passed on.
    """
    one = next((one for one in integration.schedules if one.name == name), None)
    must(one is not None, f"integration {integration.name!r} declares no schedule {name!r}")
    assert one is not None
    must(
        call.customer_id is None and call.key_id is None,
        f"schedule {name!r} has no customer: customer_id and key_id must be None",
    )
    async with lent(integration, one, call):
        await one.handler(call)
    return call.jobs
