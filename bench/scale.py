"""What a call costs Postgres as customers grow: admission and settlement, without a gateway.

    make bench-scale

`BENCH_CUSTOMERS`: numbers of customers, "10,1000" by default; `BENCH_CALLS`: calls for each figure. CPU is that of the
process of Postgres that serves them; WAL and disk are counted in bytes, so a busy machine does not change them.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil

from kaixu.metering.identity import new_ticket
from kaixu.store import admission
from kaixu.store.admission import Ask, Settlement, Verdict
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import prepare_connection

CUSTOMERS = [int(one) for one in os.environ.get("BENCH_CUSTOMERS", "10,1000").split(",")]
CALLS = int(os.environ.get("BENCH_CALLS", "960"))
GROUPS = (1, 24)
OWNER = uuid4()

SEED = """
    insert into kaixu.customer (id, email, monthly_cap_nusd) overriding system value
    select n, 'c' || n || '@example.com', 1000000000000000 from generate_series(1, $1::integer) n
"""
KEYS = """
    insert into kaixu.virtual_key (id, chain_id, customer_id, key_hash, key_last4, rpm_limit)
    select n, n, n, sha256(n::text::bytea), 'last', 10000000 from generate_series(1, $1::integer) n
"""


class Figures(NamedTuple):
    """What a call took."""

    client_us: float
    cpu_us: float
    wal_bytes: float
    disk_bytes: float


def ask(key_id: int) -> Ask:
    """A call of a key, as a chat asks for it."""
    return Ask(
        new_ticket(), None, None, key_id, None, None, 0, "chat", "up", "up", "m", "ai", 1, 1000, 500, f"request-{key_id}",
        app_id="app",
    )  # fmt: skip


def settlement(call: Ask, verdict: Verdict) -> Settlement:
    """The settlement of an admitted call."""
    assert verdict.refused is None, verdict.refused
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    return Settlement(
        call.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, "ai", "chat", "up", "m", 1, None,
        call.request_id, datetime.now(UTC), 800, "complete", "provider", 700, 350, 300, 400, 0, 0, 0,
        {"call": {"tries": 1, "deployment": "up"}}, app_id="app",
    )  # fmt: skip


async def run(connection: asyncpg.Connection, keys: list[int], group: int) -> Figures:
    """Admit and settle a call for each of `keys`, in groups."""
    process = psutil.Process(connection.get_server_pid())
    pool: Any = connection
    await connection.execute("checkpoint")
    state = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn, pg_database_size(current_database())"
    wal, disk = await connection.fetchrow(state)  # type: ignore[misc]
    cpu, began = sum(process.cpu_times()[:2]), perf_counter()
    for start in range(0, len(keys), group):
        asks = [ask(key_id) for key_id in keys[start : start + group]]
        verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=10**6)
        await admission.settle(connection, [settlement(*pair) for pair in zip(asks, verdicts, strict=True)])
    took, used = perf_counter() - began, sum(process.cpu_times()[:2]) - cpu
    wal_after, disk_after = await connection.fetchrow(state)  # type: ignore[misc]
    count = len(keys)
    return Figures(took / count * 1e6, used / count * 1e6, float(wal_after - wal) / count, (disk_after - disk) / count)


async def measured(dsn: str, customers: int) -> list[tuple[str, int, Figures, int]]:
    """The figures of a database with so many customers: calls of many of them, and of one."""
    name = f"scale_{customers}"
    admin = await asyncpg.connect(dsn)
    await admin.execute(f"create database {name}")
    await admin.close()
    connection = await asyncpg.connect(urlunsplit(urlsplit(dsn)._replace(path=f"/{name}")))
    try:
        await migrate(connection)
        await ensure_partitions(connection)
        await connection.execute(SEED, customers)
        await connection.execute(KEYS, customers)
        await connection.execute("analyze")
        await prepare_connection(connection)
        chosen = random.Random(customers)
        rows = []
        for group in GROUPS:
            await run(connection, [1] * group * 4, group)  # plans, pages
            many = [1 + chosen.randrange(customers) for _ in range(CALLS)]
            for what, keys in (("many customers", many), ("one customer", [1] * CALLS)):
                figures = await run(connection, keys, group)
                size: int = await connection.fetchval("select pg_database_size(current_database())")
                rows.append((what, group, figures, size))
        return rows
    finally:
        await connection.close()


async def main() -> None:
    """Measure, and write a table."""
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-"))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home)
    dsn = await asyncio.to_thread(embedded.start)
    out = sys.stdout.write
    try:
        out(
            "| customers | calls of | calls a group | client, µs a call | CPU of Postgres, µs a call | WAL, bytes a call | disk, bytes a call | database, MB |\n"
        )
        out("|---|---|---|---|---|---|---|---|\n")
        for customers in CUSTOMERS:
            for what, group, one, size in await measured(dsn, customers):
                cells = (one.client_us, one.cpu_us, one.wal_bytes, one.disk_bytes, size / 2**20)
                out(f"| {customers:,} | {what} | {group} | " + " | ".join(f"{cell:,.0f}" for cell in cells) + " |\n")
    finally:
        embedded.server.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
