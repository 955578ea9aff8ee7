"""Notices caps whose thresholds may have been passed, and caps that refuse calls. Delays no call, decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import date
from time import monotonic

import asyncpg

from kaixu.plugin.errors import DatabaseAway
from kaixu.store.admission import Verdict
from kaixu.store.cap_alerts import Cap, RefusedCap, check_caps, check_noted_caps, note_refusals

from .cap_marks import CapMarks
from .month import Figures

log = logging.getLogger(__name__)

#: The pause in which caps are collected, so that many calls make one statement.
GATHER_S = 0.2

#: The pause while the database is away.
RETRY_S = 2.0

#: Caps in one statement.
AT_ONCE = 500

#: Caps that wait; beyond that they are checked when their usage is rolled up.
MOST_WAITING = 20_000

#: Caps whose next threshold is remembered; beyond that all are asked for again.
MOST_KNOWN = 50_000

#: A cap that refuses many calls is reported again only after this time.
REFUSED_AGAIN_S = 10.0


class CapWatch:
    """Checks the caps of this gateway's calls a moment after they were settled or refused.

    What is told is decided in SQL (`check_caps`, `note_refusals`); what is remembered here only saves queries. A check
    that is lost with its process is made up for: the roll-ups note every cap of which something was spent.

    `thresholds` are those of customers and keys without their own, in percent.
    """

    def __init__(self, pool: asyncpg.Pool, thresholds: Callable[[], Sequence[int]]) -> None:
        self.pool = pool
        self.thresholds = thresholds
        self.marks = CapMarks(MOST_KNOWN)
        self.spent: dict[Cap, None] = {}  # to be checked, oldest first
        self.refused: dict[Cap, RefusedCap] = {}
        self.refused_at: dict[Cap, float] = {}  # reported lately
        self.has_work = asyncio.Event()
        self.flushing = asyncio.Lock()

    def settled(self, customer_id: int, chain_id: int, figures: Figures) -> None:
        """A call was settled; `figures` are those of the month after it."""
        self.check(customer_id, 0, figures.month, figures.customer_spent_nusd, figures.customer_cap_nusd)
        if figures.key_cap_nusd is not None:
            self.check(customer_id, chain_id, figures.month, figures.key_spent_nusd, figures.key_cap_nusd)

    def check(self, customer_id: int, chain_id: int, month: date, spent_nusd: int, cap_nusd: int) -> None:
        """Note a cap to be checked, unless its next threshold is known to lie above the spending."""
        if self.marks.is_below(customer_id, chain_id, month, spent_nusd, cap_nusd):
            return
        if len(self.spent) < MOST_WAITING:
            self.spent[Cap(customer_id, chain_id, month)] = None
            self.has_work.set()

    def refuses(self, verdict: Verdict) -> None:
        """Admission has refused a call because of a cap; those of end users, days and so on are not told."""
        if verdict.customer_id is None or verdict.chain_id is None or len(self.refused) >= MOST_WAITING:
            return
        if verdict.scope in ("customer", "debt"):
            cap, cap_nusd = Cap(verdict.customer_id, 0, verdict.month), verdict.customer_cap_nusd
        elif verdict.scope == "key":
            cap, cap_nusd = Cap(verdict.customer_id, verdict.chain_id, verdict.month), verdict.key_cap_nusd
        else:
            return
        now = monotonic()
        reported_at = self.refused_at.get(cap)
        if cap_nusd is None or (reported_at is not None and now - reported_at < REFUSED_AGAIN_S):
            return
        if len(self.refused_at) >= MOST_WAITING:
            self.refused_at.clear()
        self.refused_at[cap] = now
        self.refused[cap] = RefusedCap(cap.customer_id, cap.chain_id, cap.month, cap_nusd)
        self.has_work.set()

    def forget(self) -> None:
        """Ask again for every threshold: a reload may have changed them."""
        self.marks.forget()

    async def run(self) -> None:
        """Check what was noted, until cancelled."""
        away = False
        while True:
            await self.has_work.wait()
            await asyncio.sleep(GATHER_S)
            try:
                await self.flush()
                away = False
            except DatabaseAway as error:
                if not away:
                    log.warning("alerts of caps wait: %s", error)
                away = True
                await asyncio.sleep(RETRY_S)
            except Exception:
                # Whatever is wrong must not end the loop.
                log.exception("alerts of caps failed")
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> None:
        """Check all that was noted. What fails is tried again. Raises `DatabaseAway`."""
        async with self.flushing:
            while self.refused:
                refused = list(self.refused.values())[:AT_ONCE]
                await note_refusals(self.pool, refused)
                for one in refused:
                    self.refused.pop(Cap(one.customer_id, one.chain_id, one.month), None)
            while self.spent:
                caps = list(self.spent)[:AT_ONCE]
                # Removed before the check: what is spent during it must be checked again.
                for cap in caps:
                    del self.spent[cap]
                try:
                    checked = await check_caps(self.pool, caps, self.thresholds())
                except BaseException:
                    self.spent.update(dict.fromkeys(caps))
                    raise
                self.marks.remember(checked)
            if not self.refused:
                self.has_work.clear()

    async def check_noted(self) -> None:
        """Check what roll-ups, top-ups and changes have noted. Raises `DatabaseAway`."""
        while await check_noted_caps(self.pool, self.thresholds(), most=AT_ONCE) == AT_ONCE:
            pass
