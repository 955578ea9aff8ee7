"""What lies in a gateway's spool: settlements that are not in the database."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kaixu.store.spool import read


class SpoolState(msgspec.Struct, frozen=True):
    """`waiting`: settlements to be written when the database is back; `refused`: those that it will not take."""

    waiting: int
    refused: int
    refused_folder: Path


def spool_state(home: Path) -> SpoolState:
    """The spool in a data folder."""
    spool = home / "spool"
    refused = spool / "refused"
    return SpoolState(
        waiting=sum(read(path).lines for path in spool.glob("*.jsonl")),
        refused=sum(read(path).lines for path in refused.glob("*.jsonl")),
        refused_folder=refused,
    )
