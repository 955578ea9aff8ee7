"""The transaction of an integration without tables: on a connection of the gateway; it runs no statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kaixu.plugin.blob import MOST_LISTED, Blob, KeptBlob
from kaixu.plugin.errors import TicketClosed
from kaixu.plugin.job import JobView
from kaixu.plugin.webhook import WebhookEvent

from .charge_effects import NOBODY, Charging, apply_as_gateway, require_done
from .customer_effects import GatheredEffects
from .failures import note_handled
from .jobs import insert_job
from .plugin_blobs import GATEWAY_DROP, GATEWAY_KEEP, GATEWAY_KEPT, GATEWAY_USE, BlobNote, kept_of, require_found
from .plugin_credits import GatheredCredits
from .plugin_jobs import unended_job
from .plugin_transaction import (
    CustomersTransaction,
    HandledBefore,
    MakeEvent,
    MakeJob,
    NotAllowed,
    known_customer,
    no_webhooks,
    view_of,
)
from .pool import database
from .rights import Rights
from .webhook_events import store_event

#: A job's state, for the gateway in the place of an integration's role.
GATEWAY_VIEW = "select * from kaixu.job_view(p_job_id => $1, p_integration => $2, p_customer_id => $3)"


class JobsOnly(CustomersTransaction):
    """The transaction of an integration without tables: it submits jobs, and runs no statements."""

    def __init__(
        self,
        integration: str,
        connection: Any,
        is_open: Callable[[], bool],
        make_job: MakeJob,
        customer_id: int | None = None,
        make_event: MakeEvent = no_webhooks,
        blobs_of: int | None = None,
        charging: Charging = NOBODY,
        rights: Rights | None = None,
        pool: asyncpg.Pool | None = None,
    ) -> None:
        rights = rights or Rights(integration, customer_id)
        super().__init__(charging, rights)
        self._integration = integration
        self._connection = connection
        self._is_open = is_open
        self._make_job = make_job
        self._customer_id = customer_id
        self._make_event = make_event
        self._blobs_of = blobs_of
        self.credits = GatheredCredits(rights)
        self.effects = GatheredEffects(rights)
        self._gateway_pool = pool or connection
        self._reader = connection
        self.over = False

    def _no_tables(self) -> NotAllowed:
        return NotAllowed("this integration declares no tables, so it has no statements either")

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Raises `NotAllowed`."""
        raise self._no_tables()

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """Raises `NotAllowed`."""
        raise self._no_tables()

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Raises `NotAllowed`."""
        raise self._no_tables()

    async def execute(self, sql: str, *args: Any) -> str:
        """Raises `NotAllowed`."""
        raise self._no_tables()

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
        """Submit a job in this transaction."""
        self._require_open()
        new_job = self.credits.rights.job_for(customer_id, self._make_job(job, payload, delay_s, key, serial))
        with database(), known_customer():
            job_id = await insert_job(self._connection, new_job)
            if new_job.blobs and job_id == new_job.id:
                require_found(
                    was_found=await self._connection.fetchval(
                        GATEWAY_USE, job_id, self._integration, new_job.customer_id, list(new_job.blobs)
                    )
                )
            return job_id

    async def receive(self, webhook: str, event: WebhookEvent, body: bytes = b"") -> bool:
        """Store an event of a vendor and its job in this transaction; whether it was new."""
        self._require_open()
        new_event = self._make_event(webhook, event, body)
        if new_event is None:
            return False
        with database():
            return await store_event(self._connection, new_event)

    async def job(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """A job of this integration and of the call's customer. Raises `NotFound`."""
        owner = self._customer_of_job(customer_id)
        with database():
            row = await self._connection.fetchrow(GATEWAY_VIEW, job_id, self._integration, owner)
        return view_of(row, job_id)

    async def cancel(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """Cancel such a job in this transaction. Raises `NotFound`."""
        owner = self._customer_of_job(customer_id)
        with database():
            await self._connection.fetchval(
                "select kaixu.cancel_job(p_job_id => $1, p_integration => $2, p_customer_id => $3)",
                job_id,
                self._integration,
                owner,
            )
        return await self.job(job_id, customer_id=customer_id)

    async def wake(self, job: str, *, key: str, customer_id: int | None = None) -> bool:
        """Let a job run at once; whether it waits."""
        owner = self._customer_of_job(customer_id)
        kind = self._rights.job_named(job)
        job_id = await unended_job(self._reader, kind, key, owner)
        with database():
            waits: bool = await self._connection.fetchval(
                "select kaixu.wake_job(p_job_id => $1, p_integration => $2, p_customer_id => $3)",
                job_id,
                self._integration,
                owner,
            )
        return waits

    async def keep(self, blob: Blob, name: str, *, for_s: float) -> None:
        """Keep a blob. Raises `NotFound`, `ValueError`."""
        self._require_open()
        note = BlobNote(self._blobs_of, name, blob, for_s)
        with database():
            require_found(
                was_found=await self._connection.fetchval(
                    GATEWAY_KEEP, self._integration, note.customer_id, note.blob_id, note.name, note.for_s
                )
            )

    async def kept(self, prefix: str = "", *, customer_id: int | None = None) -> Sequence[KeptBlob]:
        """The kept blobs. Raises `TooLarge`, `ValueError`."""
        note = BlobNote(self._owner_of_blobs(customer_id), prefix)
        with database():
            return kept_of(
                await self._connection.fetch(
                    GATEWAY_KEPT, self._integration, note.customer_id, note.name, MOST_LISTED + 1
                )
            )

    async def drop(self, prefix: str, *, customer_id: int | None = None) -> int:
        """Remove kept blobs; how many. Raises `ValueError`."""
        note = BlobNote(self._owner_of_blobs(customer_id), prefix)
        with database():
            count: int = await self._connection.fetchval(GATEWAY_DROP, self._integration, note.customer_id, note.name)
        return count

    async def do_effects(self) -> None:
        """See `PluginTransaction.do_effects`."""
        customers = self._customers()
        if not customers:
            return
        if not self._is_open():
            raise TicketClosed("the call has been settled; nothing is done for customers any more")
        if self._locks_first(customers):
            await self.effects.apply(self._connection, customers)
        await self.credits.book(self._connection)
        for charging, gathered in self._charges.take():
            require_done(await apply_as_gateway(self._connection, charging, gathered), charging)

    async def failure_handled(self, job_id: UUID) -> None:
        """See `Transaction.failure_handled`."""
        with database():
            if not await note_handled(self._connection, job_id):
                raise HandledBefore

    def _require_open(self) -> None:
        if self.over or not self._is_open():
            raise TicketClosed("the call has been settled; its database is closed")


@asynccontextmanager
async def jobs_transaction(
    pool: asyncpg.Pool,
    integration: str,
    *,
    is_open: Callable[[], bool],
    make_job: MakeJob,
    customer_id: int | None = None,
    make_event: MakeEvent = no_webhooks,
    blobs_of: int | None = None,
    charging: Charging = NOBODY,
    rights: Rights | None = None,
) -> AsyncIterator[JobsOnly]:
    """A transaction of an integration without tables: on a connection of the gateway."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            transaction = JobsOnly(
                integration, connection, is_open, make_job, customer_id, make_event, blobs_of, charging, rights, pool
            )
            try:
                yield transaction
                transaction.over = True
                await transaction.do_effects()
            finally:
                transaction.over = True
