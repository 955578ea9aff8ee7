"""The ledger: admission and settlement in groups, also while the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

import asyncpg

from kaixu.plugin.errors import DatabaseAway, DatabaseBusy
from kaixu.store import admission
from kaixu.store.admission import Ask, Hold, Settled, Settlement, Verdict
from kaixu.store.group import Group
from kaixu.store.kept import KeptConnection
from kaixu.store.pool import AWAY, database
from kaixu.store.query import Connection
from kaixu.store.shares import Shares
from kaixu.store.skip_locked_accounts import SkipLockedAccounts
from kaixu.store.spool import Spool, line_of, read

log = logging.getLogger(__name__)
Item = TypeVar("Item")

#: Of settlements, by ticket.
Answers = dict[UUID, asyncio.Future[Settled | None]]

#: With this many calls in flight, groups wait for a moment before they are sent; the more calls, the longer.
BUSY_CALLS = 64
GATHER_S_A_CALL = 0.00006
MOST_GATHER_S = 0.004

#: How many spooled settlements are replayed in one statement.
REPLAYED_AT_ONCE = 200


#: Errors that a repetition does not help against: the database will never accept the row.
REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class InFlight(Protocol):
    """The calls in flight, as the ledger needs them."""

    def __len__(self) -> int: ...

    def holds(self) -> list[Hold]:
        """The reservations of all running calls that are not being settled yet."""
        ...


class Ledger:
    """Admits and settles the calls of one gateway process, through `pool`, which nothing else uses.

    `sent` is told each group: "admit" or "settle", its size, and its seconds.

    Results that calls write together with their settlements go through `general`.

    `admit` fails at once while the database is away. `settle` never fails: what the database does not take is in the
    spool, on the disk, before `settle` returns; what the disk does not take either stays in memory until one of them
    does.
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
        sent: Callable[[str, int, float], None] = lambda operation, size, seconds: None,
    ) -> None:
        self.pool = pool
        self.general = general or pool
        self._admits_on = KeptConnection(lambda: self.pool)
        self._settles_on = KeptConnection(lambda: self.pool)
        self.spool = spool
        self.owner = owner
        self.lifetime_s = lifetime_s
        self.default_rpm = default_rpm
        self.calls = calls
        self.away = False
        self.holds_may_be_lost = False  # the database may have crashed and forgotten holds, though it always answered
        self.holds_to_restore = False  # holds of locked accounts are still to be restored or released
        self.unwritten: list[Settlement] = []  # neither the database nor the disk has taken them yet
        self.unanswered_admissions: list[UUID] = []  # broken off: the database may hold money for these tickets
        self._admissions: Group[Ask, Verdict] = Group(self._admit, pause_s=self._pause_s, sent=partial(sent, "admit"))
        self._settlements: Group[Settlement, Settled | None] = Group(
            self._settle, pause_s=self._pause_s, sent=partial(sent, "settle")
        )
        self._admitted: SkipLockedAccounts[Ask, Verdict] = SkipLockedAccounts(
            lambda asks: admission.admit(
                self._admits_on, asks, owner=self.owner, lifetime_s=self.lifetime_s, default_rpm=self.default_rpm
            ),
            lambda asks: admission.locked_asks(self.pool, asks),
            account=lambda ask: ask.key_id if ask.key_hash is None else ask.key_hash,
        )
        self._settled: SkipLockedAccounts[Settlement, Settled] = SkipLockedAccounts(
            lambda settlements: admission.settle(self._settles_on, settlements),
            lambda settlements: admission.locked_customers(self.pool, [one.customer_id for one in settlements]),
            account=lambda settlement: settlement.customer_id,
        )
        self._reserved: SkipLockedAccounts[Hold, None] = SkipLockedAccounts(
            self._reserve_again,
            lambda holds: admission.locked_customers(self.pool, [hold.customer_id for hold in holds]),
            account=lambda hold: hold.customer_id,
        )
        self._restoring = asyncio.Lock()
        # Calls that write results use at most half of these connections, and those of one customer a quarter.
        self._writers = Shares.halves(max(1, self.general.get_max_size() // 2))
        self._settling_meanwhile: Answers | None = None  # settled while holds are restored
        self._maybe_restored: Answers = {}  # of these, those whose hold may have been restored

    def _pause_s(self) -> float:
        calls = len(self.calls)
        return 0.0 if calls < BUSY_CALLS else min(calls * GATHER_S_A_CALL, MOST_GATHER_S)

    def admit(self, ask: Ask) -> asyncio.Future[Verdict]:
        """Admit one call with the next group. Raises `DatabaseAway` at once where that is known."""
        if self.away:
            raise DatabaseAway("the database does not answer", hint="Try again shortly.", retry_after_s=2)
        return self._admissions.put(ask)

    def settle(self, settlement: Settlement) -> asyncio.Future[Settled | None]:
        """Settle with the next group. None: the database is away, the settlement is on the disk and will be written."""
        answer = self._settlements.put(settlement)
        if self._settling_meanwhile is not None:
            self._settling_meanwhile[settlement.ticket] = answer
        return answer

    def settle_alongside(
        self, settlement: Settlement, write: Callable[[Connection], Awaitable[None]]
    ) -> asyncio.Future[Settled | None]:
        """Settle in one transaction with what `write` writes: both or neither.

        Raises what `write` raises, `DatabaseAway` and `DatabaseBusy`. Where the connection was lost during the commit
        both may be written all the same; a release that follows then changes nothing.
        """
        answer = asyncio.ensure_future(self._settle_alongside(settlement, write))
        if self._settling_meanwhile is not None:
            self._settling_meanwhile[settlement.ticket] = answer
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
    def queued(self) -> dict[str, int]:
        """How many calls wait for the next group, by operation."""
        return {"admit": len(self._admissions), "settle": len(self._settlements)}

    @property
    def waiting(self) -> bool:
        """Whether settlements wait to be written to the database."""
        return self.spool.waiting or bool(self.unwritten)

    async def _admit(self, asks: Sequence[Ask]) -> Sequence[Verdict | Exception]:
        try:
            if self.holds_may_be_lost:  # first of all, so that no call gets the money of a forgotten hold
                await self.restore_holds()
            return await self._admitted(asks)
        except DatabaseAway:
            self.away = True
            self.unanswered_admissions += [ask.ticket for ask in asks]
            raise

    async def _settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled | None]:
        if not self.away:
            try:
                answers = await self._settled(settlements)
            except DatabaseAway:
                self.away = True
            except asyncpg.PostgresError:
                if len(settlements) > 1:  # one bad row must not keep the others from being written
                    return [(await self._settle([one]))[0] for one in settlements]
                log.exception(
                    "settlement %s was refused by the database; it stays in the spool",
                    settlements[0].ticket,
                )
            else:
                if late := busy_items(settlements, answers):
                    await self._spool(late)
                return [None if isinstance(answer, DatabaseBusy) else answer for answer in answers]
        await self._spool(list(settlements))
        return [None] * len(settlements)

    async def _spool(self, settlements: list[Settlement]) -> None:
        """Write to the spool; to memory where the disk is full or broken."""
        try:
            await asyncio.to_thread(self.spool.append, settlements)
        except OSError:
            log.exception("the spool cannot be written; %d settlements are kept in memory", len(settlements))
            self.unwritten += settlements

    async def resume(self) -> bool:
        """Admit calls again if the database answers. Returns whether it does.

        Order matters: first the holds of running calls are restored, so that no new call gets their money; then the
        spool is written; then new calls are admitted.
        """
        try:
            async with asyncio.timeout(3):
                await self.pool.fetchval("select 1")
            await self.restore_holds()
            await self.replay()
        except (DatabaseAway, *AWAY):
            return False
        self.away = False
        return True

    async def restore_holds(self) -> None:
        """Restore the holds of running calls that the database has forgotten, and release holds that no call has.

        Holds of a locked account are left for the next time. Raises `DatabaseAway`.
        """
        async with self._restoring:
            self.holds_may_be_lost = self.holds_to_restore = False
            holds, self._settling_meanwhile = self.calls.holds(), {}
            try:
                if holds and busy_items(holds, await self._reserved(holds)):
                    self.holds_to_restore = True
            except asyncpg.PostgresError:
                log.exception("the holds of running calls could not be restored")
                self.holds_to_restore = True
            except BaseException:
                self.holds_may_be_lost = True
                raise
            finally:
                settling, self._settling_meanwhile = self._settling_meanwhile, None
                tickets = [hold.ticket for hold in holds if hold.ticket in settling]
                self._maybe_restored |= {ticket: settling[ticket] for ticket in tickets}
            await self._release_leftovers()

    async def _reserve_again(self, holds: list[Hold]) -> list[None]:
        await admission.reserve_again(self.pool, holds, owner=self.owner, lifetime_s=self.lifetime_s)
        return [None] * len(holds)

    async def _release_leftovers(self) -> None:
        """Release holds of broken-off admissions, and those restored just after their call was settled.

        Raises `DatabaseAway`.
        """
        if self._maybe_restored:
            await asyncio.wait(self._maybe_restored.values())
            for ticket, answer in self._maybe_restored.items():  # a spooled settlement frees its hold itself
                if not answer.cancelled() and answer.exception() is None and answer.result() is not None:
                    self.unanswered_admissions.append(ticket)
            self._maybe_restored = {}
        if not self.unanswered_admissions:
            return
        tickets, self.unanswered_admissions = self.unanswered_admissions, []
        try:
            await admission.release(self.pool, tickets)
        except DatabaseBusy:
            self.unanswered_admissions += tickets
            self.holds_to_restore = True
        except BaseException:
            self.unanswered_admissions += tickets
            raise

    async def renew(self) -> None:
        """Postpone the expiry of the holds of running calls and of unwritten settlements. Raises `DatabaseAway`."""
        tickets = [hold.ticket for hold in self.calls.holds()]
        tickets += [settlement.ticket for settlement in self.unwritten]
        if tickets:
            renewed = await admission.renew(self.pool, tickets, owner=self.owner, lifetime_s=self.lifetime_s)
            # The missing ones are being settled just now, or were forgotten.
            self.holds_may_be_lost |= renewed < len(tickets)

    async def replay(self) -> None:
        """Write the settlements in the spool: this process's, and those of dead processes. Raises `DatabaseAway`."""
        if self.unwritten:
            unwritten, self.unwritten = self.unwritten, []
            try:
                self.unwritten += await self._replay(unwritten)
            except BaseException:
                self.unwritten += unwritten  # those already in the database are skipped the next time
                raise
        files = await asyncio.to_thread(self.spool.claim_files)
        try:
            while files:
                path, file = files[0]
                content = await asyncio.to_thread(read, path)
                if content.unreadable:
                    await asyncio.to_thread(self.spool.put_aside, path.name, content.unreadable)
                    log.error("%d lines of %s cannot be read and were put aside", len(content.unreadable), path.name)
                late = await self._replay(content.settlements)
                if late:  # if the disk is full now, the file stays
                    await asyncio.to_thread(self.spool.append, late)
                if len(late) < len(content.settlements):
                    log.warning("replayed %d settlements from %s", len(content.settlements) - len(late), path.name)
                self.spool.remove(path, file)
                del files[0]
        finally:
            for _, file in files:  # not written: unlocked, so that the next round takes them
                file.close()

    async def _replay(self, settlements: list[Settlement]) -> list[Settlement]:
        """Write settlements; return those that could not be written yet. Raises `DatabaseAway`."""
        late: list[Settlement] = []
        for start in range(0, len(settlements), REPLAYED_AT_ONCE):
            late += await self._write(settlements[start : start + REPLAYED_AT_ONCE])
        return late

    async def _write(self, settlements: list[Settlement]) -> list[Settlement]:
        try:
            return busy_items(settlements, await self._settled(settlements))
        except asyncpg.PostgresError as error:
            if len(settlements) > 1:
                return [late for one in settlements for late in await self._write([one])]
            if not isinstance(error, REFUSED):
                log.warning("settlement %s is not written yet: %s", settlements[0].ticket, error)
                return settlements
            # It would be refused for ever: put aside, for `kaixu doctor` to show.
            log.exception("settlement %s is refused by the database and was put aside", settlements[0].ticket)
            await asyncio.to_thread(self.spool.put_aside, f"{settlements[0].ticket}.jsonl", [line_of(settlements[0])])
            return []

    async def drained(self) -> None:
        """Wait until every admission and settlement under way is answered."""
        await self._admissions.drained()
        await self._settlements.drained()
        await self._admits_on.close()
        await self._settles_on.close()
        if self.unwritten:  # the last chance: the process is about to end
            unwritten, self.unwritten = self.unwritten, []
            await self._settle(unwritten)
            for lost in self.unwritten:
                log.critical("a settlement could be written nowhere: %s", line_of(lost).decode().strip())


def busy_items(items: Sequence[Item], answers: Sequence[object]) -> list[Item]:
    """Those of `items` whose account was locked."""
    return [item for item, answer in zip(items, answers, strict=True) if isinstance(answer, DatabaseBusy)]
