"""Batches: a file with one call per line becomes one job per line; all are submitted, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec

from kaixu.jobs.payloads import JobOutcome, ModelCall, seal, unseal
from kaixu.metering.gate import Caller, Gate
from kaixu.ops.sealing import Sealer, about_file
from kaixu.plugin.errors import NotFound, RateLimited
from kaixu.store import batches as store
from kaixu.store import job_rows
from kaixu.store.batches import BatchRow as BatchRow  # for the API, which must not import the store
from kaixu.store.batches import FileRow as FileRow
from kaixu.store.batches import LineRow as LineRow
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .access import admitted_customer, customer_id_of
from .queue import parse_uuid

#: The time limit of a batch; after it, queued jobs are cancelled.
WINDOW_S = 24 * 3600.0

#: Lines, and bytes of lines, that are read at once.
LINES_AT_ONCE = 200
LINE_BYTES_AT_ONCE = 1024 * 1024

#: Files whose size is computed at once. That is expensive, and done once per file.
SIZES_AT_ONCE = 2


class BatchLine(msgspec.Struct, frozen=True):
    """One line of a batch: a call, or its error. `provider` and `model` are the public names."""

    custom_id: str | None
    call: ModelCall | None
    provider: str | None = None
    model: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class StoredLine(msgspec.Struct, frozen=True):
    """A stored line: fields of `ModelCall`, and the client's id."""

    provider: str = ""
    model: str = ""
    custom_id: str | None = None


class Batches:
    """Create, find and cancel batches and their files, for customers."""

    def __init__(self, pool: asyncpg.Pool, gate: Gate, sealer: Sealer, nudge: Callable[[], None]) -> None:
        self.pool = pool
        self.gate = gate
        self.sealer = sealer
        self.nudge = nudge
        self.sizing = asyncio.Semaphore(SIZES_AT_ONCE)

    async def store_file(self, caller: Caller, purpose: str, filename: str, content: bytes) -> FileRow:
        """Store a file. Raises as admission does."""
        file_id = uuid4()
        async with self.gate.free(caller, "files") as ticket:
            customer_id = customer_id_of(ticket)

            async def write(connection: Connection) -> None:
                await store.insert_file(
                    connection,
                    file_id=file_id,
                    customer_id=customer_id,
                    purpose=purpose,
                    filename=filename,
                    size=len(content),
                    content=self.sealer.seal(content, about_file(file_id)),
                )

            ticket.end_reason, ticket.alongside = "released", write
        return await self.find_file(caller, str(file_id))

    async def find_file(self, caller: Caller, file_id: str) -> FileRow:
        """A file of the caller's customer. Raises as admission does, and `NotFound`."""
        async with admitted_customer(self.gate, caller, "job:files") as customer_id:
            with database():
                row = await store.find_file(self.pool, parse_uuid(file_id, no_file), customer_id=customer_id)
        if row is None:
            raise no_file(file_id)
        return row

    async def content(self, row: FileRow) -> bytes:
        """The content of a file. Raises `NotFound` if it was deleted meanwhile."""
        with database():
            content = await store.content_of(self.pool, row.id)
        if content is None:
            raise no_file(str(row.id))
        return self.sealer.open(content, about_file(row.id))

    async def list_files(self, caller: Caller, *, after: str | None, newest_first: bool, limit: int) -> list[FileRow]:
        """A page of the customer's files, starting after file `after`. Raises as admission does, and `NotFound`."""
        async with admitted_customer(self.gate, caller, "job:files") as customer_id:
            with database():
                last = None
                if after is not None:
                    last = await store.find_file(self.pool, parse_uuid(after, no_file), customer_id=customer_id)
                    if last is None:
                        raise no_file(after)
                return await store.list_files(
                    self.pool,
                    customer_id=customer_id,
                    after=last,
                    newest_first=newest_first,
                    limit=limit,
                )

    async def file_size(self, batch: BatchRow, *, succeeded: bool, pieces: Callable[[], AsyncIterator[bytes]]) -> int:
        """The size of an ended batch's output or error file. `pieces` writes the file, if its size is unknown."""
        async with self.sizing:
            with database():
                sizes = await store.sizes_of(self.pool, batch.id)
            known = None if sizes is None else sizes.output_bytes if succeeded else sizes.error_bytes
            if known is not None:
                return known
            size = 0
            async for piece in pieces():
                size += len(piece)
            with database():
                await store.set_size(self.pool, batch.id, succeeded=succeeded, size=size)
            return size

    async def delete_file(self, caller: Caller, file_id: str) -> None:
        """Delete a file; its batches go on. Raises `NotFound`."""
        async with admitted_customer(self.gate, caller, "job:files") as customer_id:
            with database():
                deleted = await store.delete_file(self.pool, parse_uuid(file_id, no_file), customer_id=customer_id)
        if not deleted:
            raise no_file(file_id)

    async def create(
        self,
        caller: Caller,
        *,
        endpoint: str,
        file: FileRow,
        metadata: dict[str, Any],
        lines: Sequence[BatchLine],
        attempts: int,
        most_waiting: int,
    ) -> BatchRow:
        """Submit a batch. Raises as admission does, and `RateLimited` if too many jobs are queued."""
        batch_id = uuid4()
        kind = "embed" if endpoint.endswith("embeddings") else "chat"
        async with self.gate.free(caller, "batch-create") as ticket:
            customer_id = customer_id_of(ticket)
            rows = await asyncio.to_thread(lambda: [self.row_of(kind, line) for line in lines])

            async def write(connection: Connection) -> None:
                waiting = await job_rows.count_queued(connection, customer_id, most_waiting)
                if waiting + len(rows) > most_waiting:
                    raise RateLimited(
                        f"{waiting} jobs of this account are queued; with these it would be more than {most_waiting}",
                        hint="Submit more when some of them have ended, or submit fewer at once.",
                        retry_after_s=60,
                        code="TOO_MANY_JOBS",
                    )
                await store.insert_batch(
                    connection,
                    batch_id=batch_id,
                    customer_id=customer_id,
                    key_id=ticket.verdict.key_id or 0,
                    install_id=ticket.ask.install_id,
                    app_id=ticket.ask.app_id,
                    build_id=ticket.ask.build_id,
                    endpoint=endpoint,
                    input_file_id=file.id,
                    metadata=metadata,
                    request_id=ticket.ask.request_id,
                    window_s=WINDOW_S,
                    attempts=attempts,
                    lines=rows,
                )

            ticket.end_reason, ticket.alongside = "released", write
        self.nudge()
        return await self.find(caller, str(batch_id))

    def row_of(self, kind: str, line: BatchLine) -> store.NewLine:
        """A line as a new job, sealed together with its `custom_id`."""
        job_id = uuid4()
        value = msgspec.to_builtins(line.call) if line.call is not None else {}
        return store.NewLine(
            job_id,
            kind,
            seal(self.sealer, job_id, "payload", value | {"custom_id": line.custom_id}),
            line.provider,
            line.model,
            line.error_code,
            line.error_message,
        )

    async def find(self, caller: Caller, batch_id: str) -> BatchRow:
        """A batch of the caller's customer. Raises as admission does, and `NotFound`."""
        async with admitted_customer(self.gate, caller, "job:batches") as customer_id:
            with database():
                row = await store.find_batch(self.pool, parse_uuid(batch_id, no_batch), customer_id=customer_id)
        if row is None:
            raise no_batch(batch_id)
        return row

    async def list_newest(self, caller: Caller, limit: int) -> list[BatchRow]:
        """The newest batches of the caller's customer."""
        async with admitted_customer(self.gate, caller, "job:batches") as customer_id:
            with database():
                return await store.list_batches(self.pool, customer_id=customer_id, limit=limit)

    async def cancel(self, caller: Caller, batch_id: str) -> BatchRow:
        """Cancel the jobs of a batch that have not ended. Raises as `find` does."""
        async with admitted_customer(self.gate, caller, "job:batches") as customer_id:
            with database():
                async with self.pool.acquire() as connection, connection.transaction():
                    await store.cancel_batch(connection, parse_uuid(batch_id, no_batch), customer_id=customer_id)
        return await self.find(caller, batch_id)

    async def lines(
        self, batch: BatchRow, *, succeeded: bool
    ) -> AsyncIterator[tuple[LineRow, str | None, JobOutcome | None]]:
        """The succeeded or failed lines, in the order of the file, with `custom_id` and result."""
        after = 0
        while True:
            with database():
                rows = await store.lines_of(
                    self.pool,
                    batch.id,
                    succeeded=succeeded,
                    after=after,
                    limit=LINES_AT_ONCE,
                    most_bytes=LINE_BYTES_AT_ONCE,
                )
            if not rows:
                return
            for row in rows:
                stored = msgspec.json.decode(unseal(self.sealer, row.id, "payload", row.payload), type=StoredLine)
                outcome = None
                if row.result is not None:
                    outcome = msgspec.json.decode(unseal(self.sealer, row.id, "result", row.result), type=JobOutcome)
                yield row, stored.custom_id, outcome
            after = rows[-1].line


def no_file(file_id: str) -> NotFound:
    """The error for a file that does not exist or belongs to another customer."""
    return NotFound(f"there is no file `{file_id[:60]}`", field="id")


def no_batch(batch_id: str) -> NotFound:
    """The error for a batch that does not exist or belongs to another customer."""
    return NotFound(f"there is no batch `{batch_id[:60]}`", field="id")
