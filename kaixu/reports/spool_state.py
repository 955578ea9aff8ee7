"""A gateway's spool: settlements that are not in the database yet."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kaixu.store.spool import read


class SpoolState(msgspec.Struct, frozen=True):
    """The number of settlements: `waiting` for the database; `refused` by it."""

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
