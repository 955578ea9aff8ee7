"""How far a reader has come in a table with ascending ids, and which ids below may still appear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: How long a missing id is looked for, in seconds: a transaction that takes longer is an event's no longer.
LOOKED_FOR_S = 60.0

#: How many gaps are looked for; beyond that the oldest are forgotten.
MAX_GAPS = 500

#: No id is greater.
MAX_ID = 2**63 - 1


class Gap(NamedTuple):
    """Ids that were not there when greater ones were: given back by a rollback, or not committed yet."""

    first: int
    last: int
    until: float


class Position:
    """The greatest id seen, and the gaps below it.

    Ids are given before their transaction commits, so a smaller id can become visible after a greater one.
    """

    def __init__(self, seen: Sequence[int], now: float) -> None:
        """`seen`: the newest ids, ascending; gaps between them are looked for."""
        self.last = seen[0] - 1 if seen else 0
        self.gaps: list[Gap] = []
        self.advance(seen, now)

    def advance(self, ids: Iterable[int], now: float) -> None:
        """Note ids that were read, ascending."""
        for one in ids:
            if one > self.last:
                if one > self.last + 1:
                    self.gaps.append(Gap(self.last + 1, one - 1, now + LOOKED_FOR_S))
                self.last = one
            else:
                self._fill(one)
        self.gaps = [gap for gap in self.gaps if gap.until > now][-MAX_GAPS:]

    def _fill(self, one: int) -> None:
        """Take an id out of its gap."""
        for at, gap in enumerate(self.gaps):
            if gap.first <= one <= gap.last:
                parts = Gap(gap.first, one - 1, gap.until), Gap(one + 1, gap.last, gap.until)
                self.gaps[at : at + 1] = [part for part in parts if part.first <= part.last]
                return

    def ranges(self) -> tuple[list[int], list[int]]:
        """The first and the last id of each range to read: the gaps, and all that is new."""
        return [gap.first for gap in self.gaps] + [self.last + 1], [gap.last for gap in self.gaps] + [MAX_ID]
