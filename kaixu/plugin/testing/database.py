"""A database for tests: it answers from a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec

from kaixu.plugin.blob import Blob, KeptBlob
from kaixu.plugin.errors import NotFound, TicketClosed
from kaixu.plugin.job import JobView
from kaixu.plugin.money import Balance
from kaixu.plugin.webhook import WebhookEvent

from .blobs import FakeBlobs
from .checks import must
from .money import FakeGrants, FakeLedger


class FakeDatabase:
    """Answers each statement with the next of `results`: rows for a fetch, a value for `fetchval`, a tag for `execute`.

    `statements` contains what was run; `enqueued` the jobs of the open transaction; `views` what `job` returns; `blobs`
    is what `keep`, `kept` and `drop` work on, at once.
    """

    def __init__(self, results: Sequence[Any] = (), blobs: FakeBlobs | None = None) -> None:
        self.blobs = blobs or FakeBlobs({}, lambda: None)
        self.results = list(results)
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.enqueued: list[tuple[str, msgspec.Struct]] = []
        self.views: dict[UUID, JobView] = {}
        self.received: list[tuple[str, WebhookEvent]] = []
        self.closed = False
        self.ledger = FakeLedger(FakeGrants(), 1)

    def _next(self, sql: str, args: tuple[Any, ...]) -> Any:
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
        self.statements.append((sql, args))
        must(bool(self.results), f"no result is left for {sql!r}")
        return self.results.pop(0)

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """See `Database.fetch`."""
        rows: Sequence[Mapping[str, Any]] = self._next(sql, args)
        return rows

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """See `Database.fetchrow`."""
        row: Mapping[str, Any] | None = self._next(sql, args)
        return row

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """See `Database.fetchval`."""
        return self._next(sql, args)

    async def execute(self, sql: str, *args: Any) -> str:
        """See `Database.execute`."""
        return str(self._next(sql, args))

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
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
        self.enqueued.append((job, payload))
        return uuid4()

    async def receive(self, webhook: str, event: WebhookEvent, body: bytes = b"") -> bool:
        """See `Database.receive`; stored in `received`."""
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
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
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
        self.ledger.add(customer_id, amount_nusd, key=key, month=month, source=source, reference=reference)

    async def balance(self, customer_id: int | None = None) -> Balance:
        """What is in `ledger.balances`."""
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
        return self.ledger.balance(customer_id)

    async def job(self, job_id: UUID) -> JobView:
        """The view of it in `views`. Raises `NotFound` where there is none."""
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")
        if job_id not in self.views:
            raise NotFound(f"there is no job {job_id}")
        return self.views[job_id]

    async def cancel(self, job_id: UUID) -> JobView:
        """Cancel a job that is in `views`. Raises `NotFound` where it is not."""
        view = await self.job(job_id)
        if view.status not in ("succeeded", "failed"):
            self.views[job_id] = view = msgspec.structs.replace(view, status="cancelled", error="JOB_CANCELLED")
        return view

    def _require_open(self) -> None:
        if self.closed:
            raise TicketClosed("the call has been settled; its database is closed")

    async def keep(self, blob: Blob, name: str, *, for_s: float) -> None:
        """See `Database.keep`."""
        self._require_open()
        self.blobs.keep(blob, name, for_s)

    async def kept(self, prefix: str = "") -> Sequence[KeptBlob]:
        """See `Database.kept`."""
        self._require_open()
        return self.blobs.named(prefix)

    async def drop(self, prefix: str) -> int:
        """See `Database.drop`."""
        self._require_open()
        return self.blobs.drop(prefix)
