"""What authors of integrations test with: a call without a gateway, and the contract that operations keep."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID, uuid4

import msgspec

from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError
from kaixu.plugin.operation import Free, Integration, Job, Operation, PerUnit, Schedule

from .checks import must
from .wire import FakeWire

#: What the core counts of every call.
COUNTED = frozenset({"calls", "bytes_in", "bytes_out", "seconds"})


class FakeDatabase:
    """Answers each statement with the next of `results`: rows for a fetch, a value for `fetchval`, a tag for `execute`.

    `statements` keeps what was run; `jobs` what was handed in and committed.
    """

    def __init__(self, results: Sequence[Any] = ()) -> None:
        self.results = list(results)
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.handed_in: list[tuple[str, msgspec.Struct]] = []
        self.closed = False

    def _next(self, sql: str, args: tuple[Any, ...]) -> Any:
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
        self.statements.append((sql, args))
        must(bool(self.results), f"no result is left for {sql!r}")
        return self.results.pop(0)

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Rows."""
        rows: Sequence[Mapping[str, Any]] = self._next(sql, args)
        return rows

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """A row."""
        row: Mapping[str, Any] | None = self._next(sql, args)
        return row

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """A value."""
        return self._next(sql, args)

    async def execute(self, sql: str, *args: Any) -> str:
        """A tag."""
        return str(self._next(sql, args))

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """A job."""
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
        self.handed_in.append((job, payload))
        return uuid4()


class FakeCall:
    """A call without a gateway. After `close` everything on it raises `TicketClosed`, as when it was settled.

    `customer_id=None, key_id=None` is the call of a schedule, or of a job that a schedule handed in: nobody's.
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
    ) -> None:
        self.body = body
        self.options = options
        self.wire = wire or FakeWire()
        self.database = FakeDatabase(results)
        self.customer_id = customer_id
        self.key_id = key_id
        self.request_id = "request"
        self.counted: dict[str, int] = {}
        self.jobs: list[tuple[str, msgspec.Struct]] = []
        self.told: list[tuple[int, int]] = []
        self.closed = False

    def close(self) -> None:
        """The call is settled."""
        self.closed = True
        self.wire.close()
        self.database.closed = True

    def _insist(self) -> None:
        if self.closed:
            raise TicketClosed("the call has been settled")

    def count(self, unit: str, n: int) -> None:
        """Count."""
        self._insist()
        must(isinstance(n, int) and n >= 0, f"units are whole numbers from 0 on, not {n!r}")
        self.counted[unit] = self.counted.get(unit, 0) + n

    @asynccontextmanager
    async def db(self) -> AsyncIterator[FakeDatabase]:
        """A transaction: jobs are handed in when it is left without an error."""
        self._insist()
        self.database.handed_in = []
        yield self.database  # what is raised in the block undoes it all, jobs too
        self.jobs += self.database.handed_in
        self.database.handed_in = []

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """A job."""
        async with self.db() as db:
            return await db.enqueue(job, payload, delay_s=delay_s, key=key)

    async def progress(self, done: int, of: int) -> None:
        """How far it is."""
        self._insist()
        self.told.append((done, of))


def check_integration(integration: Integration) -> None:
    """Whether everything that it declares can be served. Raises `AssertionError` with what cannot."""
    offered: list[Operation | Job | Schedule] = [*integration.operations, *integration.jobs, *integration.schedules]
    names = [one.name for one in offered]
    must(len(set(names)) == len(names), f"a name is declared twice: {sorted(names)}")
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
        msgspec.json.schema(body)  # raises for what could not be read from JSON
        if isinstance(one.charge, Free):
            must(bool(one.charge.why.strip()), f"{one.name!r} is free and must say why")
        if isinstance(one.charge, PerUnit):
            must(one.charge.most > 0 and one.charge.per > 0, f"{one.name!r}: `most` and `per` must be at least 1")


async def run(integration: Integration, name: str, call: FakeCall) -> msgspec.Struct:
    """Run one operation or job as the core would, and close the call. Raises what the handler raises.

    For a schedule see `run_schedule`.

    The handler must give a Struct that can be sent, hand in only jobs that are declared, and count what it charges.
    """
    offered: list[Operation | Job] = [*integration.operations, *integration.jobs]
    one = next((one for one in offered if one.name == name), None)
    must(one is not None, f"integration {integration.name!r} declares no {name!r}")
    assert one is not None
    try:
        async with asyncio.timeout(one.timeout_s):
            said = await one.handler(call)
    finally:
        call.close()
    must(isinstance(said, msgspec.Struct), f"{name!r} must return a msgspec.Struct, not {said!r}")
    msgspec.json.encode(said)
    declared = {job.name: job for job in integration.jobs}
    for job, payload in call.jobs:
        must(job in declared, f"{name!r} hands in {job!r}, which is not declared")
        must(isinstance(payload, declared[job].payload), f"job {job!r} takes a {declared[job].payload.__name__}")
    if isinstance(one.charge, PerUnit):
        unit = one.charge.unit
        must(unit in COUNTED or unit in call.counted, f"{name!r} charges for {unit!r} and counted none")
        must(call.counted.get(unit, 0) <= one.charge.most, f"{name!r} counted more {unit!r} than its charge's `most`")
    assert isinstance(said, msgspec.Struct)
    return said


async def run_schedule(integration: Integration, name: str, call: FakeCall) -> list[tuple[str, msgspec.Struct]]:
    """Run one schedule as the core would, and close the call. Returns the jobs that it handed in.

    The call must be nobody's, and the jobs declared and free: there is no customer who could pay. Raises what the
    handler raises.
    """
    one = next((one for one in integration.schedules if one.name == name), None)
    must(one is not None, f"integration {integration.name!r} declares no schedule {name!r}")
    assert one is not None
    must(
        call.customer_id is None and call.key_id is None,
        f"schedule {name!r} is nobody's: customer_id and key_id are None",
    )
    try:
        async with asyncio.timeout(one.timeout_s):
            await one.handler(call)
    finally:
        call.close()
    declared = {job.name: job for job in integration.jobs}
    for job, payload in call.jobs:
        must(job in declared, f"{name!r} hands in {job!r}, which is not declared")
        must(isinstance(payload, declared[job].payload), f"job {job!r} takes a {declared[job].payload.__name__}")
        must(isinstance(declared[job].charge, Free), f"{name!r} hands in {job!r}, which has a price that nobody pays")
    return call.jobs


class IntegrationContract:
    """What every integration keeps: say what it is, and for each operation and job a call that succeeds.

    With a call for a schedule, too, the schedule runs, and so do the jobs that it hands in, without a customer.
    """

    integration: ClassVar[Integration]
    secret: ClassVar[str] = "sk-secret-of-the-operator"  # noqa: S105

    def calls(self) -> Mapping[str, FakeCall]:
        """For each operation and job, a new call that succeeds; where you like, for each schedule, too."""
        raise NotImplementedError("say how your operations are called")

    def test_everything_that_it_declares_can_be_served(self) -> None:
        check_integration(self.integration)

    def test_every_operation_and_job_succeeds(self) -> None:
        for name in self.names():
            asyncio.run(run(self.integration, name, self.call(name)))

    def test_schedules_and_the_jobs_that_they_hand_in_need_no_customer(self) -> None:
        scheduled = [one.name for one in self.integration.schedules if one.name in self.calls()]
        for name in scheduled:
            for job, _ in asyncio.run(run_schedule(self.integration, name, self.nobodys_call(name))):
                asyncio.run(run(self.integration, job, self.nobodys_call(job)))

    def test_a_vendor_that_fails_comes_out_as_an_error_without_a_secret(self) -> None:
        for name in self.names():
            call = self.call(name)
            if not call.wire.answers:
                continue  # it asks nobody
            call.wire = FakeWire(VENDOR_FAILED)
            try:
                asyncio.run(run(self.integration, name, call))
            except KaixuError as error:
                must(self.secret not in f"{error} {error.hint}", f"{name!r} tells the secret")
            else:
                raise AssertionError(f"{name!r} takes a vendor's failure for success")

    def test_nothing_works_any_more_when_the_call_was_settled(self) -> None:
        for name in self.names():
            call = self.call(name)
            asyncio.run(run(self.integration, name, call))
            must(call.closed, f"{name!r} keeps its call open")

    def names(self) -> list[str]:
        """Its operations and jobs."""
        offered: list[Operation | Job] = [*self.integration.operations, *self.integration.jobs]
        return [one.name for one in offered]

    def call(self, name: str) -> FakeCall:
        """A new call of one of them."""
        calls = self.calls()
        must(name in calls, f"say in `calls` how {name!r} is called")
        return calls[name]

    def nobodys_call(self, name: str) -> FakeCall:
        """A new call of one of them without a customer."""
        call = self.call(name)
        call.customer_id = call.key_id = None
        return call


VENDOR_FAILED = UpstreamError("the vendor failed (500)")
