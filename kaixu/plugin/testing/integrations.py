"""Tools for testing integrations: a call without a gateway, and the contract tests."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar, get_args
from uuid import UUID, uuid4

import msgspec

from kaixu.plugin.access import Caller
from kaixu.plugin.blob import Blob
from kaixu.plugin.callback import Begun
from kaixu.plugin.customer_settings import check_customer_settings
from kaixu.plugin.errors import KaixuError, PluginError, TicketClosed, UpstreamError
from kaixu.plugin.operation import (
    Free,
    Integration,
    Job,
    NoteLevel,
    Operation,
    PerUnit,
    Schedule,
    callback_operation,
)
from kaixu.plugin.origins import Hosts, require_hosts
from kaixu.plugin.own_thread import Threads
from kaixu.plugin.replies import Events
from kaixu.plugin.scratch import Scratch
from kaixu.plugin.secret import check_secrets

from .blobs import FakeBlobs, FakeUpload
from .checks import must
from .customer_data import FakeSecrets, FakeSettings
from .database import FakeDatabase
from .money import FakeCustomers, FakeGrants, FakeLedger
from .wire import FakeWire

P = ParamSpec("P")
R = TypeVar("R")

#: Units that the core counts for every call.
COUNTED = frozenset({"calls", "bytes_in", "bytes_out", "bytes_sent", "seconds"})


class FakeCall:
    """A call without a gateway. After `close` it raises `TicketClosed`, like a settled call.

    `customer_id=None, key_id=None` is the call of a schedule, or of a job that a schedule submitted. `secrets` and
    `settings` are those of its customer, by name; `unique_values` those of others, see `FakeSettings`. `error` is for
    `on_failed` of a job. `upload` is the body of an upload, `kept` what its blobs contain that are kept, by name; see
    `blobs`.
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
        self.counted: dict[str, int] = {}
        self.jobs: list[tuple[str, msgspec.Struct]] = []
        self.begun: list[tuple[str, msgspec.Struct | None, str | None]] = []
        self.progress_reports: list[tuple[int, int]] = []
        self.notes: list[tuple[NoteLevel, str, dict[str, Any]]] = []
        self.rearmed: list[float] = []
        self.vendor_cost: int | None = None
        self.closed = False
        self.grants = FakeGrants()
        self.database.ledger = FakeLedger(self.grants, customer_id)
        self.customers = FakeCustomers(self.grants, self._require_open)
        self.threads = Threads()
        self.folders = Scratch(Path(tempfile.gettempdir()))
        self.secrets = FakeSecrets(secrets or {}, self._require_customer)
        self.customer_settings = FakeSettings(
            settings or {}, unique_values or {}, self._require_open, self._require_customer
        )

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
        """Make this a call of an integration: only its own secrets and settings exist. `run` does it."""
        self.secrets.integration = self.customer_settings.integration = self.grants.integration = integration

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
        self._require_open()
        must(isinstance(n, int) and n >= 0, f"units must be whole numbers from 0, not {n!r}")
        self.counted[unit] = self.counted.get(unit, 0) + n

    def count_sent(self, size: int) -> None:
        """Count bytes that a vendor has accepted, as the core does."""
        self.counted["bytes_sent"] = self.counted.get("bytes_sent", 0) + size

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
        self.database.enqueued = []
        self.database.ledger.gathered = []
        yield self.database  # an exception in the block discards its jobs and credits
        self.database.ledger.book()
        self.jobs += self.database.enqueued
        self.database.enqueued = []

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
        if isinstance(one.charge, Free):
            must(bool(one.charge.why.strip()), f"{one.name!r} is free and must say why")
        if isinstance(one.charge, PerUnit):
            must(one.charge.most > 0 and one.charge.per > 0, f"{one.name!r}: `most` and `per` must be at least 1")


@asynccontextmanager
async def lent(integration: Integration, one: Operation | Job | Schedule, call: FakeCall) -> AsyncIterator[None]:
    """The time of a handler: its wire reaches the integration's hosts and counts; at the end the call is closed."""
    call.of(integration)
    call.wire.hosts = Hosts(integration.hosts, call.options)
    call.wire.sent = call.count_sent
    call.wire.read_blob = call.blobs.read
    try:
        try:
            async with asyncio.timeout(one.timeout_s):
                yield
        finally:
            await call.end()
    finally:
        call.close()


async def run(integration: Integration, name: str, call: FakeCall) -> msgspec.Struct:
    """Run one operation or job as the core would, then close the call. Exceptions of the handler are passed on.

    A callback is called `<integration>.callbacks.<name>`, and its call has a `Returned`. For a schedule see
    `run_schedule`.

    The handler must return a Struct or a reply (a stream of events is read to its end), enqueue only declared jobs, and
    count the units that it charges for.
    """
    callbacks = [callback_operation(integration.name, one) for one in integration.callbacks]
    offered: list[Operation | Job] = [*integration.operations, *integration.jobs, *callbacks]
    one = next((one for one in offered if one.name == name), None)
    must(one is not None, f"integration {integration.name!r} declares no {name!r}")
    assert one is not None
    async with lent(integration, one, call):
        result = await one.handler(call)
        if isinstance(result, Events):
            await check_stream(name, result)
    must(isinstance(result, msgspec.Struct), f"{name!r} must return a msgspec.Struct or a reply, not {result!r}")
    if not isinstance(result, Events):
        encoded = msgspec.json.encode(result).decode()
        must(not any(secret in encoded for secret in call.secrets.used), f"the reply of {name!r} contains a secret")
    declared = {job.name: job for job in integration.jobs}
    for job, payload in call.jobs:
        must(job in declared, f"{name!r} enqueues {job!r}, which is not declared")
        must(isinstance(payload, declared[job].payload), f"job {job!r} takes a {declared[job].payload.__name__}")
    if isinstance(one.charge, PerUnit):
        unit = one.charge.unit
        must(unit in COUNTED or unit in call.counted, f"{name!r} charges for {unit!r} but counted none")
        must(call.counted.get(unit, 0) <= one.charge.most, f"{name!r} counted more {unit!r} than its charge's `most`")
    assert isinstance(result, msgspec.Struct)
    return result


async def check_stream(name: str, events: Events) -> None:
    """Read a stream to its end, and check its events. Raises `AssertionError`."""
    async for item in events.stream:
        data = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        must(isinstance(data, msgspec.Struct), f"the stream of {name!r} must yield Structs, not {item!r}")
        msgspec.json.encode(data)


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
    declared = {job.name: job for job in integration.jobs}
    for job, payload in call.jobs:
        must(job in declared, f"{name!r} submits {job!r}, which is not declared")
        must(isinstance(payload, declared[job].payload), f"job {job!r} takes a {declared[job].payload.__name__}")
        must(
            isinstance(declared[job].charge, Free),
            f"{name!r} submits {job!r}, which has a price, but there is no customer to bill",
        )
    return call.jobs


class IntegrationContract:
    """The contract of integrations. Define the integration, and a successful call for each operation and job.

    With a call for a schedule, the schedule and the jobs that it submits also run, without a customer.
    """

    integration: ClassVar[Integration]
    secret: ClassVar[str] = "sk-secret-of-the-operator"  # noqa: S105

    def calls(self) -> Mapping[str, FakeCall]:
        """For each operation and job, a new call that succeeds; optionally for each schedule."""
        raise NotImplementedError("return a call for each operation and job here")

    def test_everything_that_it_declares_can_be_served(self) -> None:
        check_integration(self.integration)

    def test_every_operation_and_job_succeeds(self) -> None:
        for name in self.names():
            asyncio.run(run(self.integration, name, self.call(name)))

    def test_schedules_and_the_jobs_that_they_hand_in_need_no_customer(self) -> None:
        scheduled = [one.name for one in self.integration.schedules if one.name in self.calls()]
        for name in scheduled:
            for job, _ in asyncio.run(run_schedule(self.integration, name, self.call_without_customer(name))):
                asyncio.run(run(self.integration, job, self.call_without_customer(job)))

    def test_a_vendor_that_fails_comes_out_as_an_error_without_a_secret(self) -> None:
        for name in self.names():
            call = self.call(name)
            if not call.wire.answers:
                continue  # it has no vendor
            call.wire = FakeWire(VENDOR_FAILED)
            try:
                asyncio.run(run(self.integration, name, call))
            except KaixuError as error:
                for secret in (self.secret, *call.secrets.used):
                    must(secret not in f"{error} {error.hint}", f"the error of {name!r} contains a secret")
            else:
                raise AssertionError(f"{name!r} succeeds although the vendor failed")

    def test_nothing_works_any_more_when_the_call_was_settled(self) -> None:
        for name in self.names():
            call = self.call(name)
            asyncio.run(run(self.integration, name, call))
            must(call.closed, f"{name!r} leaves its call open")

    def names(self) -> list[str]:
        """The names of its operations and jobs."""
        offered: list[Operation | Job] = [*self.integration.operations, *self.integration.jobs]
        return [one.name for one in offered]

    def call(self, name: str) -> FakeCall:
        """A new call of one of them."""
        calls = self.calls()
        must(name in calls, f"`calls` has no call for {name!r}")
        return calls[name]

    def call_without_customer(self, name: str) -> FakeCall:
        """A new call of one of them without a customer."""
        call = self.call(name)
        call.customer_id = call.key_id = None
        return call


VENDOR_FAILED = UpstreamError("the vendor failed (500)")
