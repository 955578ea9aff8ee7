"""Reports to the database which deployments fail here, so that all gateways together tell it once."""

from __future__ import annotations

import asyncpg

from kaixu.store.vendor_state import VendorReport, note_vendor_calls

from .recent_calls import LEAST_FAILURES, PlaceCalls, RecentCalls

#: Seconds between reports.
REPORT_S = 2.0

#: A deployment is back when it has answered, and has not failed for so long, as far as any gateway knows.
BACK_S = 30.0


class VendorWatch:
    """One gateway's reports. `down`: the deployments that are down, as all gateways see it."""

    def __init__(self, pool: asyncpg.Pool, recent: RecentCalls, *, back_s: float = BACK_S) -> None:
        self.pool = pool
        self.recent = recent
        self.back_s = back_s
        self.down: set[tuple[str, str]] = set()

    async def round(self) -> None:
        """Report what has happened since the last round. Raises `DatabaseAway`."""
        reported = {
            name: (report_of(name, place), place)
            for name, place in self.recent.by_place.items()
            if place.alarmed or name in self.down
        }
        for _, place in reported.values():
            place.answered_lately = place.failed_lately = False
        try:
            self.down = await note_vendor_calls(
                self.pool, [report for report, _ in reported.values()], back_s=self.back_s
            )
        except BaseException:
            for report, place in reported.values():  # reported again with the next round
                place.answered_lately |= report.has_answered
                place.failed_lately |= report.has_failed
            raise


def report_of(name: tuple[str, str], place: PlaceCalls) -> VendorReport:
    """What is reported of one deployment. A single failure among answers is no sign that it is still down."""
    failure = place.last_failure
    return VendorReport(
        lane=name[0],
        upstream=name[1],
        is_failing=place.alarmed,
        has_failed=place.failed_lately and place.failures_in_a_row >= LEAST_FAILURES,
        has_answered=place.answered_lately,
        reason=None if failure is None else failure.without_words,
    )
