"""The runs that `IntegrationContract` makes of examples: in the integration's own tables, with a vendor that answers
from a list, and stopped where a test wants it to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import asyncpg
import httpx
import msgspec

from kaixu.plugin.operation import Integration, Operation
from kaixu.plugin.options import Options
from kaixu.plugin.reaction import Crossing, EventName
from kaixu.plugin.webhook import Webhook, WebhookDelivery, WebhookEvent

from .blobs import FakeBlobs
from .checks import must
from .example import Example
from .failures import CapturedLog
from .integrations import FakeCall, offered_by, run, run_schedule
from .tables import RealStatements, Snapshot, Tables
from .watch import other_tasks, watching
from .wire import FakeWire, Reply

#: When webhooks of examples are signed: far from now, so that a clock that is not `now` shows.
SIGNED_AT = datetime(2021, 3, 1, 12, tzinfo=UTC)

#: What the wire reads of an answer as a whole here; 160 MiB in a gateway.
WHOLE_BYTES = 8 << 20

#: The customer of an example; in a call without one, its secrets and settings are still that one's.
FIRST_CUSTOMER = 1

#: The name of the crossing that an example of a reaction is about.
CROSSING = UUID("00000000-0000-4000-8000-0000000c0551")

#: How long a handler may take to end after it was cancelled.
PATIENCE_S = 2.0


class Points:
    """The places where a handler waits: before requests and statements. It stops at the one numbered `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.passed = 0
        self.reached = asyncio.Event()
        self.goes_on = asyncio.Event()
        self._stop = stop

    async def pause(self) -> None:
        """One of these places."""
        self.passed += 1
        if self.passed == self._stop:
            self.reached.set()
            await self.goes_on.wait()


class Outcome(msgspec.Struct):
    """How a run has ended: with a result, or an error. `notes`: what it did besides; `log`: what it logged."""

    call: FakeCall
    result: object = None
    error: BaseException | None = None
    notes: list[str] = []
    log: list[str] = []


class Session:
    """Runs of one test, one after another, which see each other's rows, secrets and jobs."""

    def __init__(
        self, integration: Integration, options: Options, tables: Tables | None, connection: asyncpg.Connection | None
    ) -> None:
        self.integration = integration
        self.options = options
        self.tables = tables
        self.connection = connection
        self.secrets: dict[int, dict[str, str]] = {}
        self.settings: dict[int, dict[str, Any]] = {}
        self.blobs: dict[int | None, FakeBlobs] = {}
        self.keys: dict[tuple[str, int | None, str], UUID] = {}

    async def reset(self) -> None:
        """As if nothing had happened."""
        self.secrets, self.settings, self.blobs, self.keys = {}, {}, {}, {}
        if self.tables is not None and self.connection is not None:
            await self.tables.make(self.connection)

    async def snapshot(self, ignored: Sequence[str] = ()) -> Snapshot:
        """All rows of the integration."""
        if self.tables is None or self.connection is None:
            return {}
        return await self.tables.snapshot(self.connection, ignored)

    async def rows_of(self, customer_id: int) -> Snapshot:
        """The rows of one customer."""
        if self.tables is None or self.connection is None:
            return {}
        return await self.tables.rows_of(self.connection, customer_id)

    async def prepare(self, example: Example, customer_id: int | None = 1) -> object:
        """Do what comes before an example; return its input."""
        for sql in example.sql:
            must(self.connection is not None, "an example has `sql`, but the integration has no tables")
            assert self.connection is not None
            await self.connection.execute(sql)
        results: list[object] = []
        for name, earlier in example.before:
            body = await self.prepare(earlier, customer_id)
            outcome = await self.run(name, earlier, body, customer_id=customer_id)
            if outcome.error is not None:
                raise AssertionError(
                    f"{name!r}, before the example, fails: {error_text(outcome.error)}"
                ) from outcome.error
            results.append(outcome.result)
        return example.body(results) if callable(example.body) else example.body

    async def run(
        self,
        name: str,
        example: Example,
        body: object,
        *,
        customer_id: int | None = 1,
        answer: Callable[[int, Callable[[], Reply]], Reply] | None = None,
        points: Points | None = None,
        timeout_s: float | None = None,
        seen: list[Outcome] | None = None,
    ) -> Outcome:
        """Run an example as the core would. `answer`: changes the answer to the request of a number, from 1.

        Only cancellation is raised; `seen` has the outcome so far even then.
        """
        call = self.call_of(name, example, body, customer_id)
        wire = FakeWire(*example.wire)
        call.wire = wire if answer is None else ChangedWire(wire, answer)
        call.wire.most_whole_bytes = WHOLE_BYTES
        points = points or Points()
        call.pause = points.pause
        call.timeout_s = timeout_s
        call.database.connection = self.connection
        if self.tables is not None and self.connection is not None:
            call.database.real = RealStatements(self.tables, self.connection, points.pause)
        call.database.keys = self.keys
        options = repr(call.options)
        before = asyncio.all_tasks()
        outcome = Outcome(call, notes=[], log=[])
        if seen is not None:
            seen.append(outcome)
        with CapturedLog() as log, watching() as watch:
            try:
                if name in {one.name for one in self.integration.schedules}:
                    await run_schedule(self.integration, name, call)
                else:
                    outcome.result = await run(self.integration, name, call)
            except Exception as error:  # noqa: BLE001 - the test checks its type
                outcome.error = error
            finally:
                self.keys = call.database.keys
                store = call.database.store
                self.secrets |= {number: one.values for number, one in store.secrets.items()}
                self.settings |= {number: one.values for number, one in store.settings.items()}
                self.blobs[customer_id] = call.blobs
        for _ in range(3):  # whoever has only to be closed gets the time for it
            await asyncio.sleep(0)
        tasks = other_tasks(before)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE_S)
            outcome.notes.append("it leaves a task behind, which runs after the call: await it, or enqueue a job")
        if call.wire.open or call.wire.abandoned:
            outcome.notes.append("it leaves an answer open: read it inside `async with call.wire.send(…)`")
        if call.wire.late:
            outcome.notes.append("it uses the wire of a call that is over")
        if repr(call.options) != options:
            outcome.notes.append("it changes its options, which all calls share")
        outcome.notes += watch.seen
        outcome.log = log.lines
        return outcome

    def call_of(self, name: str, example: Example, body: object, customer_id: int | None) -> FakeCall:
        """The call of an example."""
        webhook = webhook_named(self.integration, name)
        operation = offered_by(self.integration).get(name)
        is_scheduled = name in {one.name for one in self.integration.schedules}
        if webhook is not None:
            body = self.delivery(webhook, example, body)
            customer_id = None
        elif isinstance(operation, Operation):
            must(
                isinstance(body, operation.body),
                f"the example of {name!r} must have a {operation.body.__name__} as its body, not {body!r:.80}",
            )
        if is_scheduled:
            customer_id = None
        key_id = customer_id
        if name.startswith(f"{self.integration.name}.reactions."):
            key_id = None
            body = crossing_of(name, body, customer_id)
        call = FakeCall(
            body,
            options=self.options if example.options is None else example.options,
            customer_id=customer_id,
            key_id=key_id,
            secrets={**example.secrets, **self.secrets.get(customer_id or 0, {})},
            settings={**example.settings, **self.settings.get(customer_id or 0, {})},
            unique_values=example.unique_values,
            caller=example.caller,
            upload=example.upload,
            kept=example.kept,
        )
        call.books |= example.books
        store = call.database.store
        for number in {FIRST_CUSTOMER, *self.secrets, *self.settings} - {customer_id}:
            is_first = customer_id is None and number == FIRST_CUSTOMER
            given = (example.secrets, example.settings) if is_first else ({}, {})
            store.secrets_of(number).values = {**given[0], **self.secrets.get(number, {})}
            store.settings_of(number).values = {**given[1], **self.settings.get(number, {})}
        call.customers.known = list(example.customers)
        call.customers.settings = dict(example.unique_values)
        if example.balance is not None and customer_id is not None:
            call.database.ledger.balances[customer_id] = example.balance
        if (earlier := self.blobs.get(customer_id)) is not None:
            call.blobs.contents |= earlier.contents
            call.blobs.kept |= earlier.kept
        return call

    def delivery(self, webhook: Webhook, example: Example, body: object) -> WebhookDelivery:
        """What the handler of a webhook gets of an example."""
        if isinstance(body, WebhookDelivery):
            return body
        must(
            isinstance(body, bytes) and example.sign is not None,
            f"the example of webhook {webhook.name!r} must have its bytes as `body`, and `sign`, for its headers",
        )
        assert isinstance(body, bytes)
        return WebhookDelivery(verified(webhook, example, body, self.options, SIGNED_AT), body)


def crossing_of(name: str, body: object, customer_id: int | None) -> Crossing:
    """What a reaction gets of an example: its own body, or what has happened to the customer."""
    if isinstance(body, Crossing):
        return body
    on = cast(EventName, name.rpartition(".")[2])
    must(body is None, f"the example of {name!r} must have a Crossing as its body, or none")
    return Crossing(
        CROSSING, on, customer_id or FIRST_CUSTOMER, balance_nusd=0, threshold_nusd=1, cap_nusd=1, spent_nusd=1
    )


class ChangedWire(FakeWire):
    """A wire whose answers a test changes."""

    def __init__(self, wire: FakeWire, answer: Callable[[int, Callable[[], Reply]], Reply]) -> None:
        super().__init__(*wire.answers)
        self._answer = answer

    def next_reply(self, request: httpx.Request) -> Reply:
        """The changed answer."""
        return self._answer(len(self.requests), lambda: super(ChangedWire, self).next_reply(request))


def webhook_named(integration: Integration, name: str) -> Webhook | None:
    """The webhook of a name like "shop.webhooks.events"."""
    return next((one for one in integration.webhooks if name == f"{integration.name}.webhooks.{one.name}"), None)


def verified(webhook: Webhook, example: Example, body: bytes, options: Options, now: datetime) -> WebhookEvent:
    """The event of an example that is signed and arrives at `now`."""
    assert example.sign is not None
    headers = lower(example.sign(body, now))
    try:
        event = webhook.verify(body, headers, example.options or options, now)
    except Exception as error:
        raise AssertionError(
            f"webhook {webhook.name!r} refuses its own example, signed and received at {now:%Y-%m-%d}: "
            f"{error_text(error)}. Is the age of a signature compared with `now`, and not with the clock?"
        ) from error
    must(isinstance(event, WebhookEvent), f"`verify` of webhook {webhook.name!r} must return a WebhookEvent")
    return event


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as `verify` gets them: by name in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def error_text(error: BaseException) -> str:
    """An error in a message."""
    return f"{type(error).__name__}: {error}"


@asynccontextmanager
async def session(integration: Integration, options: Options, tables: Tables | None) -> AsyncIterator[Session]:
    """A session with the tables as they are at first."""
    async with AsyncExitStack() as stack:
        connection = None if tables is None else await stack.enter_async_context(tables.connect())
        one = Session(integration, options, tables, connection)
        await one.reset()
        yield one


async def stopped(work: Callable[[Points], Awaitable[Outcome]], at: int) -> Outcome | None:
    """Cancel a run where it waits for the time `at`, and return how it has ended nevertheless; None: as it should.

    Raises `AssertionError` for one that goes on.
    """
    points = Points(at)
    task = asyncio.ensure_future(work(points))
    reached = asyncio.ensure_future(points.reached.wait())
    await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    if task.done():
        return None  # it waits less often than before
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
    if not done:
        points.goes_on.set()  # else it would never end
        await asyncio.wait([task], timeout=PATIENCE_S)
        raise AssertionError("it goes on after it was cancelled: do not catch CancelledError, or raise it again")
    return None if task.cancelled() else task.result()
