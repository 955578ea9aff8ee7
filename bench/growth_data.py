"""The databases of `bench.growth`: customers that have called before, and usage events."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.scale import OWNER, ask, settlement
from kaixu.accounts.demo import seed_demo
from kaixu.accounts.key_material import key_hash
from kaixu.store import admission
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import open_pool
from tests.support.process import SECRETS

GROUP = 64
#: Customers of the demo that the usage events are of.
DEMO_CUSTOMERS = 1000

CUSTOMERS = """
    insert into kaixu.customer (id, email, monthly_cap_nusd, allowed_providers, max_devices_per_key)
    overriding system value
    select n, 'c' || n || '@example.com', 1000000000000000, array['up', 'plain'], 3
      from generate_series(1, $1::integer) n
"""
KEYS = """
    insert into kaixu.virtual_key (id, chain_id, customer_id, key_hash, key_last4, rpm_limit, rpd_limit,
                                   monthly_cap_nusd, max_devices)
    select n, n, n, hash, 'last', 10000000, 1000000000, 1000000000000000, 3
      from unnest($1::bytea[]) with ordinality as x (hash, n)
"""
DEVICES = """
    insert into kaixu.device (chain_id, install_id, customer_id)
    select n, 'bench-device', n from generate_series(1, $1::integer) n
"""
SEQUENCES = """
    select setval(pg_get_serial_sequence('kaixu.customer', 'id'), $1::integer),
           setval(pg_get_serial_sequence('kaixu.virtual_key', 'id'), $1::integer)
"""


def key_of(number: int) -> str:
    """The key of a customer; bench/keys.lua makes the same."""
    return f"kx_live_{number:043d}"


def start_postgres(home: Path) -> str:
    """The Postgres in `home`, which stays up until `stop_postgres`; returns its address."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    return EmbeddedPostgres(home, keep_running=True).start()


def stop_postgres(home: Path) -> None:
    """Stop it."""
    embedded = EmbeddedPostgres(home)
    embedded.start()
    embedded.server.cleanup()


def in_database(dsn: str, name: str) -> str:
    """The address of another database of the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def prepare(dsn: str, customers: int, events: int) -> str:
    """Make a database, unless it is there: returns its name. `customers` have called once, `events` are of the demo."""
    name = f"growth_{customers}_{events}"
    admin = await asyncpg.connect(dsn)
    try:
        if await admin.fetchval("select exists (select from pg_database where datname = $1)", name):
            return name
        making = f"{name}_making"
        await admin.execute(f"drop database if exists {making} with (force)")
        await admin.execute(f"create database {making}")
        await fill(in_database(dsn, making), customers, events)
        await admin.execute(f"alter database {making} rename to {name}")
        await admin.execute("checkpoint")
    finally:
        await admin.close()
    return name


async def fill(dsn: str, customers: int, events: int) -> None:
    """Make the rows of a new database."""
    pool = await open_pool(dsn, most=2, statement_s=None)
    try:
        async with pool.acquire() as connection:
            await migrate(connection)
            await ensure_partitions(connection)
            await connection.execute(CUSTOMERS, customers)
            hashes = [key_hash(SECRETS["KEY_PEPPER"], key_of(number)) for number in range(1, customers + 1)]
            await connection.execute(KEYS, hashes)
            await connection.execute(DEVICES, customers)
            await connection.execute(SEQUENCES, customers)
            await connection.execute("analyze")
            await connection.execute("set synchronous_commit = off")
            for start in range(1, customers + 1, GROUP):
                await call_once(pool, connection, range(start, min(start + GROUP, customers + 1)))
        if events:
            await seed_demo(pool, customers=DEMO_CUSTOMERS, events=events, seed=1, force=True, progress=say)
        async with pool.acquire() as connection:
            await connection.execute("vacuum analyze")
    finally:
        await pool.close()


async def call_once(pool: asyncpg.Pool, connection: asyncpg.pool.PoolConnectionProxy, numbers: range) -> None:
    """Admit and settle a call of each customer, so that its rows of this month exist."""
    asks = [ask(number) for number in numbers]
    verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=10**6)
    await admission.settle(connection, [settlement(*pair) for pair in zip(asks, verdicts, strict=True)])


def say(line: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(line + "\n")


def prepare_all(home: Path, sizes: list[tuple[int, int]]) -> None:
    """Make all databases."""
    dsn = start_postgres(home)
    for customers, events in sizes:
        say(f"{customers:,} customers, {events:,} events")
        asyncio.run(prepare(dsn, customers, events))
