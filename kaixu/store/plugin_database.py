"""The database for an integration's handlers: a transaction in their own schema, as their own role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kaixu.plugin.blob import Blob, KeptBlob
from kaixu.plugin.errors import Conflict, DatabaseAway, TicketClosed, TooLarge, UpstreamTimeout
from kaixu.plugin.job import JobView
from kaixu.plugin.statements import refusal_of, verb_of
from kaixu.plugin.webhook import WebhookEvent

from .charge_effects import APPLY_NOTE, NOBODY, Charging, RefusedHold, require_done, store_note
from .customer_effects import PLUGIN_APPLIES, GatheredEffects, RefusedEffect, require_applied
from .plugin_blobs import (
    PLUGIN_DROP,
    PLUGIN_KEEP,
    PLUGIN_KEPT,
    BlobNote,
    allow_blob_access,
    kept_of,
    require_found,
)
from .plugin_credits import PLUGIN_BOOKS, BookedCredit, GatheredCredits, require_booked
from .plugin_jobs import allow_job_access, store_plugin_job, unended_job
from .plugin_login import STATEMENT_S
from .plugin_pool import PluginPool
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

#: The most rows of one statement and the most text in them. Rows are read in batches, smaller ones if rows are large.
MOST_ROWS = 10_000
MOST_BYTES = 64 * 1024 * 1024
FIRST_ROWS = 16
ROWS_AT_ONCE = 1000
BYTES_AT_ONCE = 4 * 1024 * 1024

#: The client's own limit, for statements that the database does not end.
PATIENCE_S = STATEMENT_S + 1.0


#: How the tag of a statement that gives rows begins.
TAGS = {"insert": "INSERT 0", "update": "UPDATE", "delete": "DELETE", "merge": "MERGE"}


@contextmanager
def statement() -> Iterator[None]:
    """Around a plugin's statement: one that takes too long is the plugin's error, not an outage of the database."""
    try:
        with database():
            yield
    except DatabaseAway as error:
        if isinstance(error.__cause__, TimeoutError | asyncpg.QueryCanceledError):
            raise UpstreamTimeout(
                f"a statement of the integration took longer than {STATEMENT_S} s", code="OPERATION_TIMEOUT"
            ) from error
        raise


class PluginTransaction(CustomersTransaction):
    """A transaction as the plugin's role. Raises `NotAllowed`, `TicketClosed`, `DatabaseAway`, and Postgres' errors."""

    def __init__(
        self,
        plugin: PluginPool,
        connection: Any,
        is_open: Callable[[], bool],
        make_job: MakeJob,
        customer_id: int | None = None,
        make_event: MakeEvent = no_webhooks,
        blobs_of: int | None = None,
        charging: Charging = NOBODY,
        rights: Rights | None = None,
    ) -> None:
        rights = rights or Rights(plugin.login.name, customer_id)
        super().__init__(charging, rights)
        self._plugin = plugin
        self._connection = connection
        self._is_open = is_open
        self._make_job = make_job
        self._customer_id = customer_id
        self._make_event = make_event
        self.credits = GatheredCredits(rights)
        self.effects = GatheredEffects(rights)
        self._gateway_pool = self._reader = plugin.gateway_pool
        self._blobs_of = blobs_of
        self.jobs_submitted = 0
        self.over = False

    def _require_open(self) -> None:
        if self.over or not self._is_open():
            raise TicketClosed("the call has been settled; its database is closed")
        if not self._connection.is_in_transaction():
            raise NotAllowed("the transaction has ended")

    async def _prepared(self, sql: str) -> Any:
        self._require_open()
        if why := refusal_of(sql):
            raise NotAllowed(why)
        return await self._connection.prepare(sql, name="", timeout=PATIENCE_S)  # Postgres prepares one statement only

    async def _rows(self, prepared: Any, args: tuple[Any, ...]) -> list[Any]:
        """Every row, read a few at a time. Raises `TooLarge`."""
        cursor = await prepared.cursor(*args, timeout=PATIENCE_S)
        rows: list[Any] = []
        size = 0
        at_once = FIRST_ROWS
        while more := await cursor.fetch(at_once, timeout=PATIENCE_S):
            rows += more
            size += sum(len(value) for row in more for value in row.values() if isinstance(value, str | bytes))
            if len(rows) > MOST_ROWS:
                raise TooLarge(f"a statement returned more than {MOST_ROWS} rows")
            if size > MOST_BYTES:
                raise TooLarge(f"a statement returned more than {MOST_BYTES >> 20} MiB")
            at_once = min(ROWS_AT_ONCE, max(1, BYTES_AT_ONCE * len(rows) // max(size, 1)))
        return rows

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Every row. Raises `TooLarge` for more than `MOST_ROWS`."""
        with statement():
            return [dict(row) for row in await self._rows(await self._prepared(sql), args)]

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        with statement():
            row = await (await self._prepared(sql)).fetchrow(*args, timeout=PATIENCE_S)
        return None if row is None else dict(row)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first row's first column."""
        with statement():
            return await (await self._prepared(sql)).fetchval(*args, timeout=PATIENCE_S)

    async def execute(self, sql: str, *args: Any) -> str:
        """The command's tag."""
        with statement():
            prepared = await self._prepared(sql)
            if prepared.get_attributes():  # it returns rows: they are fetched up to the limit
                rows = await self._rows(prepared, args)
                return f"{TAGS.get(verb_of(sql), 'SELECT')} {len(rows)}"
            await prepared.fetch(*args, timeout=PATIENCE_S)
            return str(prepared.get_statusmsg())

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
        """Submit a job in this transaction: the gateway stores it, and the plugin's role submits it."""
        self._require_open()
        new_job = self.credits.rights.job_for(customer_id, self._make_job(job, payload, delay_s, key, serial))
        with statement():
            await store_plugin_job(self._plugin.gateway_pool, self._plugin.login.name, new_job)
            try:
                with known_customer():
                    job_id: UUID = await self._connection.fetchval(
                        "select kaixu__plugin.enqueue(p_job => $1)", new_job.id, timeout=PATIENCE_S
                    )
            except asyncpg.NoDataFoundError:
                self.jobs_submitted += 1
                require_found(was_found=False)
                raise
        self.jobs_submitted += 1
        return job_id

    async def receive(self, webhook: str, event: WebhookEvent, body: bytes = b"") -> bool:
        """Store an event of a vendor and its job in this transaction; whether it was new."""
        self._require_open()
        new_event = self._make_event(webhook, event, body)
        if new_event is None:
            return False
        with statement():
            await store_plugin_job(self._plugin.gateway_pool, self._plugin.login.name, new_event.job, new_event)
            is_new: bool = await self._connection.fetchval(
                "select kaixu__plugin.receive(p_job => $1)", new_event.job.id, timeout=PATIENCE_S
            )
        self.jobs_submitted += 1
        return is_new

    async def job(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """A job of this integration and of the call's customer. Raises `NotFound`."""
        access_id = await self._allow_access(job_id, self._customer_of_job(customer_id))
        with statement():
            row = await self._connection.fetchrow(PLUGIN_VIEW, access_id, timeout=PATIENCE_S)
        return view_of(row, job_id)

    async def cancel(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """Cancel such a job in this transaction. Raises `NotFound`."""
        access_id = await self._allow_access(job_id, self._customer_of_job(customer_id))
        with statement():
            await self._connection.execute(
                "select kaixu__plugin.cancel_job(p_access => $1)", access_id, timeout=PATIENCE_S
            )
        self.jobs_submitted += 1  # like a submitted one, it must not be rolled back unnoticed
        return await self.job(job_id, customer_id=customer_id)

    async def wake(self, job: str, *, key: str, customer_id: int | None = None) -> bool:
        """Let a job run at once; whether it waits."""
        owner = self._customer_of_job(customer_id)
        kind = self.credits.rights.job_named(job)
        with statement():
            job_id = await unended_job(self._plugin.gateway_pool, kind, key, owner)
            if job_id is None:
                return False
            access_id = await self._allow_access(job_id, owner)
            waits: bool = await self._connection.fetchval(
                "select kaixu__plugin.wake_job(p_access => $1)", access_id, timeout=PATIENCE_S
            )
        self.jobs_submitted += 1
        return waits

    async def keep(self, blob: Blob, name: str, *, for_s: float) -> None:
        """Keep a blob. Raises `NotFound`, `ValueError`."""
        require_found(was_found=await self._with_blobs(PLUGIN_KEEP, BlobNote(self._blobs_of, name, blob, for_s)))
        self.jobs_submitted += 1  # like a job, it must not be rolled back unnoticed

    async def kept(self, prefix: str = "", *, customer_id: int | None = None) -> Sequence[KeptBlob]:
        """The kept blobs. Raises `TooLarge`, `ValueError`."""
        note = BlobNote(self._owner_of_blobs(customer_id), prefix)
        with statement():
            access_id = await allow_blob_access(self._plugin.gateway_pool, self._plugin.login.name, note)
            return kept_of(await self._connection.fetch(PLUGIN_KEPT, access_id, timeout=PATIENCE_S))

    async def drop(self, prefix: str, *, customer_id: int | None = None) -> int:
        """Remove kept blobs; how many. Raises `ValueError`."""
        count: int = await self._with_blobs(PLUGIN_DROP, BlobNote(self._owner_of_blobs(customer_id), prefix))
        self.jobs_submitted += 1
        return count

    async def _with_blobs(self, sql: str, note: BlobNote) -> Any:
        self._require_open()
        with statement():
            access_id = await allow_blob_access(self._plugin.gateway_pool, self._plugin.login.name, note)
            return await self._connection.fetchval(sql, access_id, timeout=PATIENCE_S)

    async def _allow_access(self, job_id: UUID, customer_id: int | None) -> UUID:
        with statement():
            return await allow_job_access(self._plugin.gateway_pool, self._plugin.login.name, job_id, customer_id)

    async def do_effects(self) -> None:
        """Do what was gathered, last: the customers' rows are locked from here to the end of the transaction.

        Raises `NoRoom`, `TicketClosed`, `DatabaseBusy`, and as `require_applied`, `require_booked`.
        """
        customers = self._customers()
        if not customers:
            return
        if not self._is_open():
            raise TicketClosed("the call has been settled; nothing is done for customers any more")
        pool = self._plugin.gateway_pool
        with statement():
            # All of it is noted before the first row is locked: nobody waits for a connection with a lock in hand.
            effects = await self.effects.note(pool, customers) if self._locks_first(customers) else None
            credit = await self.credits.note(pool) if self.credits.requests else None
            charges = [(one, await store_note(pool, one, gathered)) for one, gathered in self._charges.take()]
            # A deferred trigger of the plugin would run at the commit, while customers are locked.
            await self._connection.execute("set constraints all immediate", timeout=PATIENCE_S)
        self.jobs_submitted += 1  # like a submitted job, it must not be rolled back unnoticed
        if effects is not None:
            row = await self._last(PLUGIN_APPLIES, effects)
            require_applied(None if row is None else RefusedEffect(*row))
        if credit is not None:
            with statement():
                rows = await self._connection.fetch(PLUGIN_BOOKS, credit, timeout=PATIENCE_S)
            require_booked([BookedCredit(**row) for row in rows])
        for charging, note_id in charges:
            row = await self._last(APPLY_NOTE, note_id)
            require_done(None if row is None else RefusedHold(*row), charging)

    async def _last(self, sql: str, note_id: UUID) -> Any:
        with statement():
            return await self._connection.fetchrow(sql, note_id, timeout=PATIENCE_S)

    async def failure_handled(self, job_id: UUID) -> None:
        """See `Transaction.failure_handled`."""
        with statement():
            if not await self._connection.fetchval(
                "select kaixu__plugin.failure_handled(p_job_id => $1)", job_id, timeout=PATIENCE_S
            ):
                raise HandledBefore


#: A job's state, for the role of an integration.
PLUGIN_VIEW = "select * from kaixu__plugin.job_view(p_access => $1)"


@asynccontextmanager
async def plugin_transaction(
    plugin: PluginPool,
    *,
    is_open: Callable[[], bool],
    make_job: MakeJob,
    customer_id: int | None = None,
    make_event: MakeEvent = no_webhooks,
    blobs_of: int | None = None,
    charging: Charging = NOBODY,
    rights: Rights | None = None,
) -> AsyncIterator[PluginTransaction]:
    """A transaction of an integration with tables; it commits when the block is left without an error.

    Raises `DatabaseAway`, `DatabaseBusy`, `NotAllowed`; a violated unique constraint becomes `Conflict`, unless the
    handler catches Postgres' error.
    """
    async with plugin.connection() as connection:
        transaction = PluginTransaction(
            plugin, connection, is_open, make_job, customer_id, make_event, blobs_of, charging, rights
        )
        try:
            yield transaction
            transaction.over = True
            if not connection.is_in_transaction():
                raise NotAllowed("a plugin may not end its transaction")
            await transaction.do_effects()
            with statement():
                tag = await connection.execute("commit", timeout=PATIENCE_S)
            if tag != "COMMIT" and transaction.jobs_submitted:
                raise NotAllowed("a statement had failed: no jobs were submitted or cancelled, nothing was charged")
        except asyncpg.UniqueViolationError as error:
            raise Conflict("this exists already") from error
        finally:
            transaction.over = True
