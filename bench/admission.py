"""Admission and settlement of two checkouts side by side, in one Postgres: what the two statements take, without a gateway.

    python -m bench.admission OTHER_CHECKOUT

OTHER_CHECKOUT is a folder with another commit (`git worktree add`), A; this checkout is B. Each has a database of its own
with its own functions; their groups alternate (A B B A …), so that both see the same machine. `BENCH_RUNS`: how often. The time
is that of the client, the CPU that of Postgres' process.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil

from kaixu.store import admission
from kaixu.store.admission import Ask, Settlement, Verdict
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import prepare_connection
from tests.conftest import memory
from tests.support.money import customer, virtual_key

HERE = Path(__file__).parents[1]
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
GROUPS = (1, 24)
GROUPS_A_RUN = 300
CUSTOMERS = 24
OWNER = uuid4()

MIGRATE = """
import asyncio, sys, asyncpg
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    await migrate(connection)
    await ensure_partitions(connection)
asyncio.run(main())
"""


class Side:
    """A database with the schema of one checkout."""

    def __init__(self, connection: asyncpg.Connection, keys: list[int]) -> None:
        self.connection = connection
        self.keys = keys
        self.at = 0
        self.process = psutil.Process(connection.get_server_pid())

    def cpu_s(self) -> float:
        """What its process of Postgres has computed."""
        times = self.process.cpu_times()
        return times.user + times.system

    def asks(self, count: int) -> list[Ask]:
        """A group of calls of as many customers."""
        self.at += count
        return [
            Ask(
                uuid4(), None, None, self.keys[(self.at + n) % len(self.keys)], None, None, 0, "chat", "up", "up", "m",
                "ai", 1, 1000, 500, "r",
            )
            for n in range(count)
        ]  # fmt: skip

    async def group(self, count: int) -> tuple[float, float]:
        """The seconds of an admission and of a settlement."""
        asks = self.asks(count)
        began = perf_counter()
        pool: Any = self.connection
        verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=10**6)
        admitted = perf_counter()
        await admission.settle(self.connection, [settlement(*one) for one in zip(asks, verdicts, strict=True)])
        return admitted - began, perf_counter() - admitted


def settlement(ask: Ask, verdict: Verdict) -> Settlement:
    """The settlement of an admitted call."""
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    return Settlement(
        ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, "ai", "chat", "up", "m", 1, None,
        "r", datetime.now(UTC), 1, "complete", "provider", 700, 350, 3, 4, 0, 0, 0, None,
    )  # fmt: skip


async def opened(dsn: str, name: str, checkout: Path) -> Side:
    """A database of `checkout` with customers whose calls no limit stops."""
    admin = await asyncpg.connect(dsn)
    await admin.execute(f"create database {name}")
    await admin.close()
    own = urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-c", MIGRATE, own], check=True, env=environment, cwd=checkout)
    connection = await asyncpg.connect(own)
    await prepare_connection(connection)
    keys = []
    for _ in range(CUSTOMERS):
        owner = await customer(connection, cap_nusd=10**15)
        keys.append((await virtual_key(connection, owner, rpm_limit=10**7, monthly_cap_nusd=10**15))[0])
    return Side(connection, keys)


async def measured(sides: Sequence[Side], count: int) -> list[tuple[float, float, float]]:
    """One run: the medians of admission and settlement of each side, and the CPU of both a group, in microseconds."""
    before = [side.cpu_s() for side in sides]
    times: list[list[tuple[float, float]]] = [[] for _ in sides]
    for turn in range(GROUPS_A_RUN):
        for at in (0, 1) if turn % 2 else (1, 0):
            times[at].append(await sides[at].group(count))
    used = [(side.cpu_s() - then) / GROUPS_A_RUN * 1e6 for side, then in zip(sides, before, strict=True)]
    return [
        (statistics.median(one[0] for one in side) * 1e6, statistics.median(one[1] for one in side) * 1e6, cpu)
        for side, cpu in zip(times, used, strict=True)
    ]


def cell(values: Sequence[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(values):,.0f} µs ({min(values):,.0f} to {max(values):,.0f})"


async def main(other: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-", dir=memory()))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home)
    dsn = await asyncio.to_thread(embedded.start)
    try:
        sides = [await opened(dsn, "a", other), await opened(dsn, "b", HERE)]
        await measured(sides, 1)  # plans, pages
        print("| statement | calls a group | A | B | B / A |\n|---|---|---|---|---|")
        for count in GROUPS:
            runs = [await measured(sides, count) for _ in range(RUNS)]
            for at, statement in enumerate(("admit", "settle", "both: CPU of Postgres")):
                a, b = ([run[side][at] for run in runs] for side in (0, 1))
                ratios = [one / two for one, two in zip(b, a, strict=True)]
                shown = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
                print(f"| {statement} | {count} | {cell(a)} | {cell(b)} | {shown} |")
    finally:
        embedded.server.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve()))
