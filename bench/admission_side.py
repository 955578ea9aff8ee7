"""One checkout's admission and settlement, in a process of its own: `bench.admission` starts it and reads its figures.

    python bench/admission_side.py DSN       (its `kaixu` is that of PYTHONPATH)

Each line that it reads is "GROUPS CALLS": so many groups of so many calls. Each is answered by a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from uuid import uuid4

from kaixu.metering.identity import new_ticket
from kaixu.store import admission
from kaixu.store.admission import Ask, Settlement, Verdict
from kaixu.store.pool import open_pool

try:
    from kaixu.store.kept import KeptConnection
except ImportError:  # an older checkout takes a connection for each statement
    KeptConnection = None  # type: ignore[assignment, misc]

OWNER = uuid4()


class Side:
    """Groups of calls of many keys, on one connection, as the ledger sends them."""

    def __init__(self, pool: Any, keys: list[int], process: int) -> None:
        self.pool = pool
        self.keys = keys
        self.process = process
        self.at = 0

    def postgres_s(self) -> float:
        """The processor time of the connection's process of Postgres."""
        return int(Path(f"/proc/{self.process}/schedstat").read_text().split()[0]) / 1e9

    async def wal(self) -> tuple[int, int]:
        """Where the log of the database is, in bytes, and how many records the connection has written."""
        await self.pool.fetch("select pg_stat_force_next_flush()")
        [row] = await self.pool.fetch(
            "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint as at, wal_records from pg_stat_wal"
        )
        return row["at"], row["wal_records"]

    def asks(self, calls: int) -> list[Ask]:
        """Calls of one key each."""
        self.at += calls
        keys = [self.keys[(self.at + n) % len(self.keys)] for n in range(calls)]
        return [
            Ask(new_ticket(), None, None, key, None, None, 0, "chat", "up", "up", "m", "ai", 1, 1000, 500, "r")
            for key in keys
        ]

    async def admit(self, asks: list[Ask]) -> list[Verdict]:
        """Admit a group."""
        return await admission.admit(self.pool, asks, owner=OWNER, lifetime_s=600, default_rpm=10**6)

    async def measured(self, groups: int, calls: int) -> dict[str, float]:
        """Microseconds (the median) and, a call, processor time and bytes of the log, of both statements."""
        figures: dict[str, float] = {}
        asked = [self.asks(calls) for _ in range(groups)]
        verdicts: list[list[Verdict]] = []

        async def one(name: str, send: Any, items: list[Any]) -> list[Any]:
            answers, took = [], []
            (at, records), database_s, client_s = await self.wal(), self.postgres_s(), process_time()
            for item in items:
                began = perf_counter()
                answers.append(await send(item))
                took.append(perf_counter() - began)
            client_s, database_s = process_time() - client_s, self.postgres_s() - database_s
            then, more = await self.wal()
            figures[name] = statistics.median(took) * 1e6
            figures[f"{name}: CPU of Postgres a call"] = database_s / groups / calls * 1e6
            figures[f"{name}: CPU of the client a call"] = client_s / groups / calls * 1e6
            figures[f"{name}: bytes of WAL a call"] = (then - at) / groups / calls
            figures[f"{name}: records of WAL a call"] = (more - records) / groups / calls
            return answers

        verdicts = await one("admit", self.admit, asked)
        settlements = [list(map(settlement, *both)) for both in zip(asked, verdicts, strict=True)]
        await one("settle", lambda group: admission.settle(self.pool, group), settlements)
        return figures


def settlement(ask: Ask, verdict: Verdict) -> Settlement:
    """The settlement of an admitted call."""
    assert verdict.refused is None
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    return Settlement(
        ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, "ai", "chat", "up", "m", 1, None,
        "r", datetime.now(UTC), 1, "complete", "provider", 700, 350, 3, 4, 0, 0, 0, None,
    )  # fmt: skip


async def main(dsn: str) -> None:
    pool = await open_pool(dsn, least=1, most=1 if KeptConnection is None else 4)
    sender: Any = pool if KeptConnection is None else KeptConnection(lambda: pool)
    keys = [row["id"] for row in await sender.fetch("select id from kaixu.virtual_key order by id")]
    side = Side(sender, keys, (await sender.fetch("select pg_backend_pid() as process"))[0]["process"])
    for line in sys.stdin:
        groups, calls = map(int, line.split())
        print(json.dumps(await side.measured(groups, calls)), flush=True)
    pool.terminate()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
