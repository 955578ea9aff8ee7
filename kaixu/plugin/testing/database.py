"""A database for tests: it answers from a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from kaixu.plugin.blob import Blob, KeptBlob
from kaixu.plugin.errors import NotFound, TicketClosed
from kaixu.plugin.job import JobView
from kaixu.plugin.money import Balance
from kaixu.plugin.operation import Free, Integration
from kaixu.plugin.webhook import WebhookEvent

from .blobs import FakeBlobs
from .charges import FakeCharges
from .checks import must
from .money import FakeLedger
from .tables import RealStatements

#: Characters of a job's key, as the core has it.
MOST_NAME = 500


class FakeDatabase(FakeCharges):
    """Answers each statement with the next of `results`: rows for a fetch, a value for `fetchval`, a tag for `execute`.

    `statements` contains what was run; `enqueued` the jobs of the open transaction; `views` what `job` returns; `blobs`
    is what `keep`, `kept` and `drop` work on, at once. `waiting` names the jobs that `wake` finds, with their keys, and
    `woken` those that it has woken.
    """

    def __init__(self, results: Sequence[Any] = (), blobs: FakeBlobs | None = None) -> None:
        super().__init__()
        self.blobs = blobs or FakeBlobs({}, lambda: None)
        self.blobs_of_others: dict[int, FakeBlobs] = {}
        self.results = list(results)
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.enqueued: list[tuple[str, msgspec.Struct]] = []
        self.views: dict[UUID, JobView] = {}
        self.received: list[tuple[str, WebhookEvent]] = []
        self.closed = False
        self.is_open = False
        self.integration: Integration | None = None
        self.has_key = True
        self.waiting: set[tuple[str, str]] = set()
        self.woken: list[tuple[str, str]] = []
        self.keys: dict[tuple[str, int | None, str], UUID] = {}
        self.connection: asyncpg.Connection | None = None
        self.real: RealStatements | None = None
        self.ledger = FakeLedger(self.grants, 1)

    def _require_open(self) -> None:
        if self.closed or not self.is_open:
            raise TicketClosed("the call has been settled; its database is closed")

    def _record(self, sql: str, args: tuple[Any, ...]) -> RealStatements | None:
        self._require_open()
        self.statements.append((sql, args))
        must(self.real is not None or bool(self.results), f"no result is left for {sql!r}")
        return self.real

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """See `Database.fetch`."""
        real = self._record(sql, args)
        rows: Sequence[Mapping[str, Any]] = self.results.pop(0) if real is None else await real.fetch(sql, args)
        return rows

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """See `Database.fetchrow`."""
        real = self._record(sql, args)
        if real is not None:
            return next(iter(await real.fetch(sql, args)), None)
        row: Mapping[str, Any] | None = self.results.pop(0)
        return row

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """See `Database.fetchval`."""
        real = self._record(sql, args)
        if real is not None:
            return next((value for row in await real.fetch(sql, args) for value in row.values()), None)
        return self.results.pop(0)

    async def execute(self, sql: str, *args: Any) -> str:
        """See `Database.execute`."""
        real = self._record(sql, args)
        return str(self.results.pop(0) if real is None else await real.execute(sql, args))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """One transaction: in the integration's tables, if it has been given some (`connection`)."""
        must(not self.is_open, "it opens a transaction inside another")
        self.is_open = True
        try:
            async with self.connection.transaction() if self.connection is not None else nullcontext():
                yield
        finally:
            self.is_open = False

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
        self._require_open()
        owner = self.customer_id
        if customer_id is not None:
            owner = self.customer_for(customer_id)
        if self.integration is not None:
            has_key = self.has_key and owner == self.customer_id
            require_job(self.integration, job, payload, has_key=has_key)
        for what, text in (("key", key), ("serial", serial)):
            if text is not None and not 0 < len(text) <= MOST_NAME:
                raise ValueError(f"`{what}` of a job must have 1 to {MOST_NAME} characters")
        known = None if key is None else self.keys.get((job, owner, key))
        if known is not None:
            return known
        self.enqueued.append((job, payload))
        job_id = uuid4()
        if key is not None:
            self.keys[job, owner, key] = job_id
        return job_id

    async def receive(self, webhook: str, event: WebhookEvent, body: bytes = b"") -> bool:
        """See `Database.receive`; stored in `received`, if the webhook lists the type."""
        self._require_open()
        if self.integration is not None:
            declared = next((one for one in self.integration.webhooks if one.name == webhook), None)
            if declared is None:
                raise ValueError(f"integration `{self.integration.name}` has no webhook `{webhook}`")
            if declared.types is not None and event.type not in declared.types:
                return False
        if any(known.id == event.id for _, known in self.received):
            return False
        self.received.append((webhook, event))
        return True

    async def credit(
        self,
        customer_id: int,
        amount_nusd: int,
        *,
        key: str,
        month: str | None = None,
        source: str | None = None,
        reference: str | None = None,
    ) -> None:
        """See `Database.credit`; booked in `ledger` when the transaction ends well."""
        self._require_open()
        self.ledger.add(customer_id, amount_nusd, key=key, month=month, source=source, reference=reference)

    async def balance(self, customer_id: int | None = None) -> Balance:
        """What is in `ledger.balances`."""
        self._require_open()
        return self.ledger.balance(customer_id)

    async def job(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """The view of it in `views`. Raises `NotFound` where there is none."""
        self._require_open()
        if customer_id is not None:
            self.customer_for(customer_id)
        if job_id not in self.views:
            raise NotFound(f"there is no job {job_id}", hint="Jobs are deleted some days after their end.")
        return self.views[job_id]

    async def wake(self, job: str, *, key: str, customer_id: int | None = None) -> bool:
        """Whether the job is in `waiting`, with its key."""
        self._require_open()
        if customer_id is not None:
            self.customer_for(customer_id)
        if self.integration is not None and job not in {one.name for one in self.integration.jobs}:
            raise ValueError(f"integration `{self.integration.name}` has no job `{job}`")
        if (job, key) not in self.waiting:
            return False
        self.woken.append((job, key))
        return True

    async def cancel(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """Cancel a job that is in `views`. Raises `NotFound` where it is not."""
        view = await self.job(job_id, customer_id=customer_id)
        if view.status not in ("succeeded", "failed"):
            self.views[job_id] = view = msgspec.structs.replace(view, status="cancelled", error="JOB_CANCELLED")
        return view

    async def keep(self, blob: Blob, name: str, *, for_s: float) -> None:
        """See `Database.keep`."""
        self._require_open()
        self.blobs.keep(blob, name, for_s)

    async def kept(self, prefix: str = "", *, customer_id: int | None = None) -> Sequence[KeptBlob]:
        """See `Database.kept`."""
        return self._blobs_of(customer_id).named(prefix)

    async def drop(self, prefix: str, *, customer_id: int | None = None) -> int:
        """See `Database.drop`."""
        return self._blobs_of(customer_id).drop(prefix)

    def _blobs_of(self, customer_id: int | None) -> FakeBlobs:
        """The blobs of a customer: in `blobs`, or in `blobs_of_others`."""
        self._require_open()
        if customer_id is None or (number := self.customer_for(customer_id)) == self.customer_id:
            return self.blobs
        return self.blobs_of_others.setdefault(number, FakeBlobs({}, lambda: None))


def require_job(integration: Integration, name: str, payload: object, *, has_key: bool) -> None:
    """Check what is enqueued. Raises what the core raises: `ValueError`, `TypeError`."""
    job = next((one for one in integration.jobs if one.name == name), None)
    if job is None:
        raise ValueError(f"integration `{integration.name}` has no job `{name}`")
    if not isinstance(payload, job.payload):
        raise TypeError(f"job `{name}` takes a {job.payload.__name__}")
    if not has_key and not isinstance(job.charge, Free):
        raise ValueError(f"job `{name}` has a price, and there is no key that it could be billed to")
