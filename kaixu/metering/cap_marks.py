"""Up to where caps need no check: for many caps, in little memory."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import date

from kaixu.store.cap_alerts import CheckedCap

#: The cap, and the spending at its next threshold, in nano-dollars.
MARK = struct.Struct("<qq")

#: The next threshold of a cap that has none left: a spending that no cap reaches.
NEVER_NUSD = 2**63 - 1


class CapMarks:
    """The next threshold of caps in one month, the newest that was seen; at most `most` caps are remembered.

    A mark takes some 150 bytes: one integer for the cap, 16 bytes for the amounts.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.month = date.min
        self.marks: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self.marks)

    def is_below(self, customer_id: int, chain_id: int, month: date, spent_nusd: int, cap_nusd: int) -> bool:
        """Whether a cap that is still as high is known to lie below its next threshold."""
        mark = self.marks.get(customer_id << 64 | chain_id)
        if mark is None or month != self.month:
            return False
        marked_cap_nusd, next_nusd = MARK.unpack(mark)
        return bool(marked_cap_nusd == cap_nusd and spent_nusd < next_nusd)

    def remember(self, checked: Iterable[CheckedCap]) -> None:
        """Remember the next thresholds; where there are too many, all others are forgotten."""
        for one in checked:
            if one.month > self.month:
                self.marks.clear()
                self.month = one.month
            if one.month == self.month:
                if len(self.marks) >= self.most:
                    self.marks.clear()
                next_nusd = NEVER_NUSD if one.next_nusd is None else one.next_nusd
                self.marks[one.customer_id << 64 | one.chain_id] = MARK.pack(one.cap_nusd, next_nusd)

    def forget(self) -> None:
        """Forget all thresholds."""
        self.marks.clear()
