"""The books: admission and settlement in groups, and what happens while the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

import asyncpg

from kaixu.plugin.errors import DatabaseAway, DatabaseBusy
from kaixu.store import admission
from kaixu.store.admission import Ask, Hold, Settled, Settlement, Verdict
from kaixu.store.group import Group
from kaixu.store.pool import AWAY, database
from kaixu.store.query import Connection
from kaixu.store.shares import Shares
from kaixu.store.skip_locked_accounts import SkipLockedAccounts
from kaixu.store.spool import Spool, line_of, read

log = logging.getLogger(__name__)
Item = TypeVar("Item")

#: From so many calls in flight on, batches gather for a moment before they leave; the more calls, the longer.
BUSY_CALLS = 64
GATHER_S_A_CALL = 0.00006
MOST_GATHER_S = 0.004

#: How many spooled settlements are replayed in one statement.
REPLAYED_AT_ONCE = 200


#: What the database will never take, however often it is asked.
REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class InFlight(Protocol):
    """The calls in flight, as the ledger needs them."""

    def __len__(self) -> int: ...

    def holds(self) -> list[Hold]:
        """The reservations of all running calls that are not being settled yet."""
        ...


class Ledger:
    """One gateway process's way to the money: through `pool`, which nothing else uses. What calls write alongside
    their settlements goes through `general`.

    `admit` fails at once while the database is away; `settle` never fails: what
    cannot be written goes to the spool, on the disk, before it returns; and where
    the disk takes nothing either, it is kept here until one of them does.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        spool: Spool,
        *,
        owner: UUID,
        lifetime_s: int,
        default_rpm: int,
        calls: InFlight,
        general: asyncpg.Pool | None = None,
    ) -> None:
        self.pool = pool
        self.general = general or pool
        self.spool = spool
        self.owner = owner
        self.lifetime_s = lifetime_s
        self.default_rpm = default_rpm
        self.calls = calls
        self.away = False
        self.doubtful = False  # whether the database may have forgotten holds without having been missed
        self.owing = False  # whether holds of locked accounts are still to be put back, or to be released
        self.kept: list[Settlement] = []  # what neither the database nor the disk has taken yet
        self.unanswered: list[UUID] = []  # tickets whose admission broke off: the database may hold money for them
        self._admissions: Group[Ask, Verdict] = Group(self._admit, pause_s=self._pause_s)
        self._settlements: Group[Settlement, Settled | None] = Group(self._settle, pause_s=self._pause_s)
        self._admitted: SkipLockedAccounts[Ask, Verdict] = SkipLockedAccounts(
            lambda asks: admission.admit(
                self.pool, asks, owner=self.owner, lifetime_s=self.lifetime_s, default_rpm=self.default_rpm
            ),
            lambda asks: admission.locked_asks(self.pool, asks),
            account=lambda ask: ask.key_id if ask.key_hash is None else ask.key_hash,
        )
        self._settled: SkipLockedAccounts[Settlement, Settled] = SkipLockedAccounts(
            lambda settlements: admission.settle(self.pool, settlements),
            lambda settlements: admission.locked_customers(self.pool, [one.customer_id for one in settlements]),
            account=lambda settlement: settlement.customer_id,
        )
        self._reserved: SkipLockedAccounts[Hold, None] = SkipLockedAccounts(
            self._reserve_again,
            lambda holds: admission.locked_customers(self.pool, [hold.customer_id for hold in holds]),
            account=lambda hold: hold.customer_id,
        )
        self._putting_back = asyncio.Lock()
        # Calls that write what they made take half of these connections, and those of one customer a quarter.
        self._writers = Shares.halves(max(1, self.general.get_max_size() // 2))
        self._ending: dict[UUID, asyncio.Future[Settled | None]] | None = None  # settled while holds are put back
        self._ended: dict[UUID, asyncio.Future[Settled | None]] = {}  # of these, those whose hold was put back perhaps

    def _pause_s(self) -> float:
        calls = len(self.calls)
        return 0.0 if calls < BUSY_CALLS else min(calls * GATHER_S_A_CALL, MOST_GATHER_S)

    def admit(self, ask: Ask) -> asyncio.Future[Verdict]:
        """Put one call into the next group. Raises `DatabaseAway` at once where that is known."""
        if self.away:
            raise DatabaseAway("the database does not answer", hint="Try again shortly.", retry_after_s=2)
        return self._admissions.put(ask)

    def settle(self, settlement: Settlement) -> asyncio.Future[Settled | None]:
        """Settle with the next group. None: the database is away, the settlement is on the disk and will be written."""
        answer = self._settlements.put(settlement)
        if self._ending is not None:
            self._ending[settlement.ticket] = answer
        return answer

    def settle_alongside(
        self, settlement: Settlement, write: Callable[[Connection], Awaitable[None]]
    ) -> asyncio.Future[Settled | None]:
        """Settle in one transaction with what `write` writes: both or neither.

        Raises what `write` raises, `DatabaseAway` and `DatabaseBusy`. Where the connection was lost just then both
        may be written all the same; a release that follows finds that and changes nothing.
        """
        answer = asyncio.ensure_future(self._settle_alongside(settlement, write))
        if self._ending is not None:
            self._ending[settlement.ticket] = answer
        return answer

    async def _settle_alongside(
        self, settlement: Settlement, write: Callable[[Connection], Awaitable[None]]
    ) -> Settled | None:
        if self.away:
            raise DatabaseAway("the database does not answer", hint="Try again shortly.", retry_after_s=2)
        with database():
            async with (
                self._writers.one(settlement.customer_id),
                self.general.acquire() as connection,
                connection.transaction(),
            ):
                await write(connection)
                return (await admission.settle(connection, [settlement]))[0]

    @property
    def waiting(self) -> bool:
        """Whether settlements wait to be written to the database."""
        return self.spool.waiting or bool(self.kept)

    async def _admit(self, asks: Sequence[Ask]) -> Sequence[Verdict | Exception]:
        try:
            if self.doubtful:  # first of all, so that nobody is let into the room of a forgotten hold
                await self.put_back()
            return await self._admitted(asks)
        except DatabaseAway:
            self.away = True
            self.unanswered += [ask.ticket for ask in asks]
            raise

    async def _settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled | None]:
        if not self.away:
            try:
                answers = await self._settled(settlements)
            except DatabaseAway:
                self.away = True
            except asyncpg.PostgresError:
                if len(settlements) > 1:  # one bad row must not hold up the others
                    return [(await self._settle([one]))[0] for one in settlements]
                log.exception(
                    "settlement %s was refused by the database; it is kept in the spool",
                    settlements[0].ticket,
                )
            else:
                if late := busy_ones(settlements, answers):
                    await self._keep(late)
                return [None if isinstance(answer, DatabaseBusy) else answer for answer in answers]
        await self._keep(list(settlements))
        return [None] * len(settlements)

    async def _keep(self, settlements: list[Settlement]) -> None:
        """Spool what the database does not take now; keep it here where the disk does not take it either."""
        try:
            await asyncio.to_thread(self.spool.append, settlements)
        except OSError:
            log.exception("the spool cannot be written; %d settlements are kept in memory", len(settlements))
            self.kept += settlements

    async def come_back(self) -> bool:
        """Look whether the database is there again; if so put things right and let calls in. Returns whether it is.

        Order matters: the holds of running calls first, so that nobody is let into
        their room; then what was spooled; then new calls.
        """
        try:
            await asyncio.wait_for(self.pool.fetchval("select 1"), 3)
            await self.put_back()
            await self.replay()
        except (DatabaseAway, *AWAY):
            return False
        self.away = False
        return True

    async def put_back(self) -> None:
        """Put back the holds of running calls that the database has forgotten, and release what nobody runs.

        Those of an account that somebody has locked are left for the next time. Raises `DatabaseAway`.
        """
        async with self._putting_back:
            self.doubtful = self.owing = False
            holds, self._ending = self.calls.holds(), {}
            try:
                if holds and busy_ones(holds, await self._reserved(holds)):
                    self.owing = True
            except asyncpg.PostgresError:
                log.exception("the holds of running calls could not be put back")
                self.owing = True
            except BaseException:
                self.doubtful = True
                raise
            finally:
                ending, self._ending = self._ending, None
                self._ended |= {hold.ticket: ending[hold.ticket] for hold in holds if hold.ticket in ending}
            await self._release_ended()

    async def _reserve_again(self, holds: list[Hold]) -> list[None]:
        await admission.reserve_again(self.pool, holds, owner=self.owner, lifetime_s=self.lifetime_s)
        return [None] * len(holds)

    async def _release_ended(self) -> None:
        """Release what broke off, and what was put back just after its call had been settled. Raises `DatabaseAway`."""
        if self._ended:
            await asyncio.wait(self._ended.values())
            for ticket, answer in self._ended.items():  # what is in the spool frees its hold itself
                if not answer.cancelled() and answer.exception() is None and answer.result() is not None:
                    self.unanswered.append(ticket)
            self._ended = {}
        if not self.unanswered:
            return
        asked, self.unanswered = self.unanswered, []
        try:
            await admission.release(self.pool, asked)
        except DatabaseBusy:
            self.unanswered += asked
            self.owing = True
        except BaseException:
            self.unanswered += asked
            raise

    async def renew(self) -> None:
        """Push back the expiry of what is running, or not yet written. Raises `DatabaseAway`."""
        tickets = [hold.ticket for hold in self.calls.holds()]
        tickets += [settlement.ticket for settlement in self.kept]
        if tickets:
            found = await admission.renew(self.pool, tickets, owner=self.owner, lifetime_s=self.lifetime_s)
            # Fewer may be some that are being settled just now, or that were forgotten.
            self.doubtful |= found < len(tickets)

    async def replay(self) -> None:
        """Settle what is in the spool: our own, and what dead processes left behind. Raises `DatabaseAway`."""
        if self.kept:
            kept, self.kept = self.kept, []
            try:
                self.kept += await self._replay(kept)
            except BaseException:
                self.kept += kept  # what of it was written is not written again
                raise
        files = await asyncio.to_thread(self.spool.take)
        try:
            while files:
                path, file = files[0]
                content = await asyncio.to_thread(read, path)
                if content.unreadable:
                    await asyncio.to_thread(self.spool.put_aside, path.name, content.unreadable)
                    log.error("%d lines of %s cannot be read and were put aside", len(content.unreadable), path.name)
                late = await self._replay(content.settlements)
                if late:  # where the disk does not take them again, the file stays
                    await asyncio.to_thread(self.spool.append, late)
                if len(late) < len(content.settlements):
                    log.warning("replayed %d settlements from %s", len(content.settlements) - len(late), path.name)
                self.spool.forget(path, file)
                del files[0]
        finally:
            for _, file in files:  # not settled: unlocked, so that the next round finds it
                file.close()

    async def _replay(self, settlements: list[Settlement]) -> list[Settlement]:
        """Write what was spooled; return what could not be written yet. Raises `DatabaseAway`."""
        late: list[Settlement] = []
        for start in range(0, len(settlements), REPLAYED_AT_ONCE):
            late += await self._write_again(settlements[start : start + REPLAYED_AT_ONCE])
        return late

    async def _write_again(self, settlements: list[Settlement]) -> list[Settlement]:
        try:
            return busy_ones(settlements, await self._settled(settlements))
        except asyncpg.PostgresError as error:
            if len(settlements) > 1:
                return [late for one in settlements for late in await self._write_again([one])]
            if not isinstance(error, REFUSED):
                log.warning("settlement %s is not written yet: %s", settlements[0].ticket, error)
                return settlements
            # It would be refused for ever; it is put aside for `kaixu doctor` to show, not thrown away.
            log.exception("settlement %s is refused by the database and was put aside", settlements[0].ticket)
            await asyncio.to_thread(self.spool.put_aside, f"{settlements[0].ticket}.jsonl", [line_of(settlements[0])])
            return []

    async def drained(self) -> None:
        """Wait until every admission and settlement under way has its answer."""
        await self._admissions.drained()
        await self._settlements.drained()
        if self.kept:  # the process is about to end, and they with it
            kept, self.kept = self.kept, []
            await self._settle(kept)
            for lost in self.kept:
                log.critical("a settlement could be written nowhere: %s", line_of(lost).decode().strip())


def busy_ones(items: Sequence[Item], answers: Sequence[object]) -> list[Item]:
    """Those of `items` whose account was locked."""
    return [item for item, answer in zip(items, answers, strict=True) if isinstance(answer, DatabaseBusy)]
