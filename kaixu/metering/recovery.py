"""Background work on holds and settlements: renew, expire lost calls, resume after an outage of the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.plugin.errors import DatabaseAway, DatabaseBusy
from kaixu.store import admission
from kaixu.store.books import expire_charges

from .ledger import Ledger

log = logging.getLogger(__name__)

#: How often a database that is away is tried again, in seconds.
ROUND_S = 0.5

#: How often spools of dead processes of this data folder are looked for, in seconds.
SPOOLS_S = 30


class Recovery:
    """The background loop of one gateway process."""

    def __init__(
        self, ledger: Ledger, monitor: Monitor, *, charge_lost: bool, revive: Callable[[], Awaitable[None]] | None
    ) -> None:
        self.ledger = ledger
        self.monitor = monitor
        self.charge_lost = charge_lost
        self.revive = revive
        self.resumed_at = monotonic()

    async def run(self) -> None:
        """Run until cancelled. One loop, so that an outage, a renewal and the reaper never overlap."""
        renewed = expired = spools_checked = monotonic()
        while True:
            await asyncio.sleep(ROUND_S)
            if self.ledger.away:
                await self.run_step(self.resume_after_outage)
                continue
            if self.ledger.holds_may_be_lost or self.ledger.holds_to_restore:
                await self.run_step(self.ledger.restore_holds)
            if self.ledger.waiting or monotonic() - spools_checked >= SPOOLS_S:
                spools_checked = monotonic()
                await self.run_step(self.ledger.replay)
            if monotonic() - renewed >= self.ledger.lifetime_s / 4:
                renewed = monotonic()
                await self.run_step(self.ledger.renew)
            if monotonic() - expired >= min(5.0, self.ledger.lifetime_s / 2):
                expired = monotonic()
                await self.run_step(self.expire_holds)

    async def run_step(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do one piece of work; its failure never ends the loop."""
        try:
            await work()
        except DatabaseBusy:
            log.warning("the database is busy; trying again")
        except DatabaseAway:
            self.ledger.away = True
        except Exception:
            log.exception("a round of recovery failed")

    async def resume_after_outage(self) -> None:
        """Start the embedded database again, if there is one, and try to resume."""
        if self.revive is not None:
            try:
                await self.revive()
            except Exception as error:  # noqa: BLE001 - the next round tries again
                log.warning("the embedded database does not start: %s", error)
        if await self.ledger.resume():
            self.resumed_at = monotonic()
            log.warning("the database is back")
            self.monitor.record(MonitorEvent(kind="database_back", level="warn"))

    async def expire_holds(self) -> None:
        """Expire holds that were not renewed. Waits after an outage, during which none could be renewed."""
        if monotonic() - self.resumed_at < self.ledger.lifetime_s / 2:
            return
        await expire_charges(self.ledger.pool)
        for lost in await admission.expire(self.ledger.pool, charge=self.charge_lost):
            log.warning(
                "call %s was lost with its gateway; charged %d of %d nano-dollars",
                lost.request_id,
                lost.cost_nusd,
                lost.held_nusd,
            )
            self.monitor.record(
                MonitorEvent(
                    kind="lost",
                    level="warn",
                    request_id=lost.request_id,
                    customer_id=lost.customer_id,
                    key_id=lost.key_id,
                    provider=lost.provider,
                    model=lost.model,
                    extra={
                        "ticket": str(lost.ticket),
                        "held_nusd": lost.held_nusd,
                        "cost_nusd": lost.cost_nusd,
                    },
                )
            )
