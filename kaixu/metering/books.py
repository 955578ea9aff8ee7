"""The books: admission and settlement in groups, and what happens while the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg

from kaixu.plugin.errors import DatabaseAway, DatabaseBusy
from kaixu.store import admission
from kaixu.store.admission import Ask, Hold, Settled, Settlement, Verdict
from kaixu.store.group import Group
from kaixu.store.pool import AWAY
from kaixu.store.spool import Spool, line_of, read

log = logging.getLogger(__name__)

#: From so many calls in flight on, batches gather for a moment before they leave; the more calls, the longer.
BUSY_CALLS = 64
GATHER_S_A_CALL = 0.00006
MOST_GATHER_S = 0.004

#: How many spooled settlements are replayed in one statement.
REPLAYED_AT_ONCE = 200


#: What the database will never take, however often it is asked.
REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class Books:
    """One gateway process's way to the money.

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
        running: Callable[[], list[Hold]],
        calls: Callable[[], int] = lambda: 0,
    ) -> None:
        self.pool = pool
        self.spool = spool
        self.owner = owner
        self.lifetime_s = lifetime_s
        self.default_rpm = default_rpm
        self.running = running
        self.calls = calls
        self.away = False
        self.doubtful = False  # whether the database may have forgotten holds without having been missed
        self.kept: list[Settlement] = []  # what neither the database nor the disk has taken yet
        self.unanswered: list[UUID] = []  # tickets whose admission broke off: the database may hold money for them
        self._admissions: Group[Ask, Verdict] = Group(self._admit, pause_s=self._pause_s)
        self._settlements: Group[Settlement, Settled | None] = Group(self._settle, pause_s=self._pause_s)

    def _pause_s(self) -> float:
        calls = self.calls()
        return 0.0 if calls < BUSY_CALLS else min(calls * GATHER_S_A_CALL, MOST_GATHER_S)

    def admit(self, ask: Ask) -> asyncio.Future[Verdict]:
        """Put one call into the next group. Raises `DatabaseAway` at once where that is known."""
        if self.away:
            raise DatabaseAway("the database does not answer", hint="Try again shortly.", retry_after_s=2)
        return self._admissions.put(ask)

    def settle(self, settlement: Settlement) -> asyncio.Future[Settled | None]:
        """Settle with the next group. None: the database is away, the settlement is on the disk and will be written."""
        return self._settlements.put(settlement)

    @property
    def waiting(self) -> bool:
        """Whether settlements wait to be written to the database."""
        return self.spool.waiting or bool(self.kept)

    async def _admit(self, asks: Sequence[Ask]) -> Sequence[Verdict | Exception]:
        try:
            return await admission.admit(
                self.pool, asks, owner=self.owner, lifetime_s=self.lifetime_s, default_rpm=self.default_rpm
            )
        except DatabaseBusy as error:
            if len(asks) == 1:
                return [error]
            # Whoever's account is locked must not hold up the others.
            return [one for (one,) in await asyncio.gather(*(self._admit([ask]) for ask in asks))]
        except DatabaseAway:
            self.away = True
            self.unanswered += [ask.ticket for ask in asks]
            raise

    async def _settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled | None]:
        if not self.away:
            try:
                return await admission.settle(self.pool, settlements)
            except DatabaseBusy:
                if len(settlements) > 1:
                    return [one for (one,) in await asyncio.gather(*(self._settle([one]) for one in settlements))]
            except DatabaseAway:
                self.away = True
            except asyncpg.PostgresError:
                if len(settlements) > 1:  # one bad row must not hold up the others
                    return [(await self._settle([one]))[0] for one in settlements]
                log.exception(
                    "settlement %s was refused by the database; it is kept in the spool",
                    settlements[0].ticket,
                )
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
            if self.unanswered:
                asked, self.unanswered = self.unanswered, []
                try:
                    await admission.release(self.pool, asked)
                except DatabaseAway:
                    self.unanswered += asked
                    raise
            await self.replay()
        except (DatabaseAway, *AWAY):
            return False
        self.away = False
        return True

    async def put_back(self) -> None:
        """Put back the holds of running calls that the database has forgotten. Raises `DatabaseAway`."""
        self.doubtful = False
        holds = self.running()
        if holds:
            try:
                await admission.reserve_again(self.pool, holds, owner=self.owner, lifetime_s=self.lifetime_s)
            except BaseException:
                self.doubtful = True
                raise

    async def renew(self) -> None:
        """Push back the expiry of what is running, or not yet written. Raises `DatabaseAway`."""
        tickets = [hold.ticket for hold in self.running()]
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
                await self._replay(kept)
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
                await self._replay(content.settlements)
                log.warning("replayed %d settlements from %s", len(content.settlements), path.name)
                self.spool.forget(path, file)
                del files[0]
        finally:
            for _, file in files:  # not settled: unlocked, so that the next round finds it
                file.close()

    async def _replay(self, settlements: list[Settlement]) -> None:
        for start in range(0, len(settlements), REPLAYED_AT_ONCE):
            await self._write_again(settlements[start : start + REPLAYED_AT_ONCE])

    async def _write_again(self, settlements: list[Settlement]) -> None:
        try:
            await admission.settle(self.pool, settlements)
        except (DatabaseBusy, asyncpg.PostgresError) as error:
            if len(settlements) > 1:
                for one in settlements:
                    await self._write_again([one])
            elif isinstance(error, REFUSED):
                # It would be refused for ever; it is put aside for `kaixu doctor` to show, not thrown away.
                log.exception("settlement %s is refused by the database and was put aside", settlements[0].ticket)
                await asyncio.to_thread(
                    self.spool.put_aside, f"{settlements[0].ticket}.jsonl", [line_of(settlements[0])]
                )
            else:
                log.warning("settlement %s is not written yet: %s", settlements[0].ticket, error)
                await self._keep(settlements)

    async def drained(self) -> None:
        """Wait until every admission and settlement under way has its answer."""
        await self._admissions.drained()
        await self._settlements.drained()
        if self.kept:  # the process is about to end, and they with it
            kept, self.kept = self.kept, []
            await self._settle(kept)
            for lost in self.kept:
                log.critical("a settlement could be written nowhere: %s", line_of(lost).decode().strip())
