"""Write exports by COPY: Postgres makes the lines, and memory holds a few pieces of them, however long the file is.

A file whose transfer was broken off says so: its last line ends in `-partial`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date

import asyncpg
import msgspec

from kaixu.accounts.customers import no_customer
from kaixu.plugin.errors import NotFound, Overloaded, RateLimited, StatementTooSlow
from kaixu.store import customers
from kaixu.store.clock import this_month
from kaixu.store.pool import database
from kaixu.store.query import Query

from .export import Export, export_name
from .export_invoice import encode_csv, encode_ndjson, invoice_lines
from .export_sql import event_values, events_sql, summary_sql
from .own_key import OwnKey
from .time_range import Clock, read_clock

Sink = Callable[[bytes], Awaitable[None]]

#: How long an export waits for its turn.
WAIT_S = 5.0

#: How long one export of an operator may take, and one of a customer: it holds a connection.
OPERATOR_S = 3600.0
CUSTOMER_S = 300.0

#: How long a client may take for one piece of at most some 64 KB: a slower one holds a connection for nothing.
STALLED_S = 60.0

#: How long the last line of a broken export may wait for a client that reads slowly.
BROKEN_S = 5.0

#: Characters that JSON never contains unescaped: with them as quote and delimiter, COPY writes JSON as it is.
NEVER_IN_JSON = ("\x01", "\x02")


class KeyChain(msgspec.Struct, frozen=True):
    """The chain of a customer's key."""

    chain_id: int


CHAIN = Query(KeyChain, "select chain_id from kaixu.virtual_key where id = $1 and customer_id = $2")


class Subject(msgspec.Struct, frozen=True):
    """What an export's parameters name, as it is in the database: its month, and the chain of its key."""

    month: date
    chain_id: int | None


@dataclass
class CustomerTurn:
    """The turn of one customer, and how many of its exports run or wait."""

    turn: asyncio.Semaphore
    users: int = 0


async def acquired(turn: asyncio.Semaphore) -> bool:
    """Wait for a turn, at most `WAIT_S`; whether it was got."""
    try:
        async with asyncio.timeout(WAIT_S):
            await turn.acquire()
    except TimeoutError:
        return False
    return True


class Exports:
    """The exports of one process. Half of the pool's connections, at least one, may be used for them at a time.

    Customers leave one of several to operators.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.most = max(1, pool.get_max_size() // 2)
        self._places = asyncio.Semaphore(self.most)
        self._customers_places = asyncio.Semaphore(max(1, self.most - 1))
        self._of_customers: dict[int, CustomerTurn] = {}

    async def clock(self) -> Clock:
        """The database's time and the reporting zone."""
        with database():
            return await read_clock(self.pool)

    async def find_subject(self, export: Export) -> Subject:
        """Look up customer, key and month. Raises `NotFound`."""
        with database():
            async with self.pool.acquire(timeout=WAIT_S) as connection:
                if export.customer_id is not None and await customers.customer(connection, export.customer_id) is None:
                    raise no_customer(export.customer_id)
                chain = None
                if export.key_id is not None:
                    chain = await CHAIN.one(connection, export.key_id, export.customer_id)
                    if chain is None:
                        raise NotFound(f"customer {export.customer_id} has no key {export.key_id}")
                month = export.month or await this_month(connection)
                return Subject(month, None if chain is None else chain.chain_id)

    @asynccontextmanager
    async def place(self, export: Export) -> AsyncIterator[None]:
        """Wait for a turn: a customer has one at a time. Raises `Overloaded`, `RateLimited`."""
        async with self._turn_of_customer(export), AsyncExitStack() as held:
            for places in (self._places,) if export.for_operator else (self._customers_places, self._places):
                if not await acquired(places):
                    raise Overloaded(
                        f"{self.most} exports are running; more at a time are not allowed",
                        hint="Try again when one of them has ended.",
                        retry_after_s=5,
                    )
                held.callback(places.release)
            yield

    @asynccontextmanager
    async def _turn_of_customer(self, export: Export) -> AsyncIterator[None]:
        if export.for_operator or export.customer_id is None:
            yield
            return
        own = self._of_customers.setdefault(export.customer_id, CustomerTurn(asyncio.Semaphore(1)))
        own.users += 1
        try:
            if not await acquired(own.turn):
                raise RateLimited(
                    "an export of this account is running",
                    hint="Try again when it has ended.",
                    retry_after_s=2,
                    code="TOO_MANY_AT_ONCE",
                )
            try:
                yield
            finally:
                own.turn.release()
        finally:
            own.users -= 1
            if not own.users:
                self._of_customers.pop(export.customer_id, None)

    async def write(self, export: Export, subject: Subject, sink: Sink) -> int:
        """Write all lines to `sink`, which may wait; return the number of rows. All of it is one snapshot.

        A failure before the first output is raised and nothing else; after it, the last line says `-partial` and
        the failure is raised then. Raises `Overloaded`, `RateLimited`, `StatementTooSlow`, `DatabaseAway`.
        """
        async with self.place(export):
            lines = Lines(export, sink)
            try:
                with database():
                    async with (
                        self.pool.acquire(timeout=WAIT_S) as connection,
                        connection.transaction(isolation="repeatable_read", readonly=True),
                    ):
                        rows = await self._rows(connection, export, subject, lines)
            except BaseException:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BROKEN_S):
                        await lines.break_off()
                raise
            await lines.end(rows)
            return rows

    async def _rows(
        self, connection: asyncpg.pool.PoolConnectionProxy, export: Export, subject: Subject, lines: Lines
    ) -> int:
        seconds = OPERATOR_S if export.for_operator else CUSTOMER_S
        # The pool's limit is for reports that answer at once; the client's pace counts here, too.
        await connection.execute(f"set local statement_timeout = {seconds * 1000:.0f}")
        if export.kind == "invoice":
            assert export.customer_id is not None
            found = await invoice_lines(connection, export.customer_id, subject.month, subject.chain_id)
            encode = encode_csv if export.format == "csv" else encode_ndjson
            await lines.put(encode(found[: export.limit], export.columns))
            return len(found[: export.limit])
        if export.kind == "events":
            sql, values = events_sql(export), event_values(export, subject.month, subject.chain_id)
        else:
            sql = summary_sql(export)
            values = [subject.month, export.customer_id, subject.chain_id, export.limit]
        quote, delimiter = '"', ","
        if export.format == "ndjson":
            sql = f"select row_to_json(line)::text from ({sql}) line"  # noqa: S608 - made from fixed tables
            quote, delimiter = NEVER_IN_JSON
        status = await connection.copy_from_query(
            sql, *values, output=lines.put, format="csv", timeout=seconds, quote=quote, delimiter=delimiter
        )
        return int(status.rpartition(" ")[2])


class Lines:
    """The lines of one export on their way to a sink: the header first, the count last."""

    def __init__(self, export: Export, sink: Sink) -> None:
        self.export = export
        self.sink = sink
        self.has_begun = False
        self.ends = 0  # line breaks outside of quotes so far
        self.is_quoted = False

    async def put(self, data: bytes | bytearray) -> None:
        """Pass on some lines, which are whole."""
        if not self.has_begun:
            self.has_begun = True
            if self.export.format == "csv":
                data = ",".join(self.export.columns).encode() + b"\n" + data
                self.ends = -1
        self.count(data)
        try:
            async with asyncio.timeout(STALLED_S):
                await self.sink(bytes(data))
        except TimeoutError:
            raise StatementTooSlow("the client reads too slowly", hint="Ask for less at a time.") from None

    def count(self, data: bytes | bytearray) -> None:
        """Count the rows; a cell in quotes may contain line breaks."""
        if self.export.format == "ndjson" or (b'"' not in data and not self.is_quoted):
            self.ends += data.count(b"\n")
            return
        for at, part in enumerate(data.split(b'"')):
            self.is_quoted = self.is_quoted != (at > 0)
            if not self.is_quoted:
                self.ends += part.count(b"\n")

    async def end(self, rows: int) -> None:
        """The end of a whole file: the number of its rows, and whether there may be more."""
        if not self.has_begun:
            await self.put(b"")
        if not self.export.has_count:
            return
        is_cut, zone = rows == self.export.limit, self.export.zone
        if self.export.format == "csv":
            notes = [note for note in ("limit reached" if is_cut else "", f"days of {zone}" if zone else "") if note]
            suffix = f" ({'; '.join(notes)})" if notes else ""
            await self.sink(f"# rows: {rows}{suffix}\n".encode())
        else:
            named = {"zone": zone} if zone else {}
            await self.sink(msgspec.json.encode({"rows": rows, "limit_reached": is_cut, **named}) + b"\n")

    async def break_off(self) -> None:
        """The end of a file that is not whole. Nothing was sent before the first line."""
        if not self.has_begun:
            return
        if self.export.format == "csv":
            await self.sink(f"# rows: {self.ends}-partial\n".encode())
        else:
            await self.sink(msgspec.json.encode({"rows": self.ends, "partial": True}) + b"\n")


def file_name(export: Export, subject: Subject, own: OwnKey | None = None) -> str:
    """The name of an export's file."""
    return export_name(export, subject.month, None if own is None else own.key_last4)
