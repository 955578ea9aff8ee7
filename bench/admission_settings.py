"""What settings of the server do to admission and settlement on a disk: `python -m bench.admission_settings`.

So many connections call at the same time as there are gateways, each for a customer of its own: a gateway sends one group
of settlements at a time. Each setting is measured for some seconds, in two rounds. `BENCH_HOME`: a folder on the disk.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg

from bench.admission_side import OWNER, settlement
from kaixu.metering.identity import new_ticket
from kaixu.store import admission
from kaixu.store.admission import Ask
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import prepare_connection
from tests.support.money import customer, virtual_key

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
CONNECTIONS = (1, 32)
SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {"commit_delay": "200"},
    {"commit_delay": "1000"},
    {"wal_compression": "on"},
    {"synchronous_commit": "off"},
)


async def calls(db: Any, key: int, until: float) -> list[float]:
    """One gateway: call after call; the seconds of each settlement."""
    took = []
    while perf_counter() < until:
        ask = Ask(new_ticket(), None, None, key, None, None, 0, "chat", "up", "up", "m", "ai", 1, 1000, 500, "r")
        [verdict] = await admission.admit(db, [ask], owner=OWNER, lifetime_s=600, default_rpm=10**6)
        began = perf_counter()
        await admission.settle(db, [settlement(ask, verdict)])
        took.append(perf_counter() - began)
    return took


async def measured(dsn: str, keys: list[int], count: int) -> tuple[float, float, float]:
    """Calls a second, the median of a settlement in milliseconds, and bytes of WAL a call."""
    connections = [await asyncpg.connect(dsn) for _ in range(count)]
    for connection in connections:
        await prepare_connection(connection)
    await asyncio.gather(*(calls(*one, perf_counter() + 0.5) for one in zip(connections, keys, strict=False)))
    await connections[0].execute("checkpoint")
    at = await connections[0].fetchval("select pg_current_wal_insert_lsn()")
    until = perf_counter() + SECONDS
    took = await asyncio.gather(*(calls(*one, until) for one in zip(connections, keys, strict=False)))
    every = [one for of_one in took for one in of_one]
    wal = await connections[0].fetchval("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)::float8", at)
    for connection in connections:
        await connection.close()
    return len(every) / SECONDS, statistics.median(every) * 1e3, wal / len(every)


async def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-", dir=os.environ.get("BENCH_HOME")))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home)
    dsn = await asyncio.to_thread(embedded.start)
    try:
        connection = await asyncpg.connect(dsn)
        await prepare_connection(connection)
        await migrate(connection)
        await ensure_partitions(connection)
        keys = []
        for _ in range(max(CONNECTIONS)):
            owner = await customer(connection, cap_nusd=10**15)
            keys.append((await virtual_key(connection, owner, rpm_limit=10**7, monthly_cap_nusd=10**15))[0])
        print(
            f"{datetime.now(UTC):%Y-%m-%d}\n\n| setting | gateways | calls a second | settlement, p50 | WAL a call |\n|---|---|---|---|---|"
        )
        for setting in SETTINGS * 2:
            for name, value in setting.items():
                await connection.execute(f"alter system set {name} = '{value}'")
            await connection.execute("select pg_reload_conf()")
            for count in CONNECTIONS:
                rate, p50_ms, wal = await measured(dsn, keys, count)
                shown = ", ".join(f"{name} = {value}" for name, value in setting.items()) or "as it comes"
                print(f"| {shown} | {count} | {rate:,.0f} | {p50_ms:.2f} ms | {wal:,.0f} bytes |", flush=True)
            await connection.execute("alter system reset all")
        await connection.close()
    finally:
        embedded.server.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
