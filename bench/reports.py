"""Measures for bench/REPORTS.md: every list, chart and report on demo data, alone and 20 at a time; a long export.

BENCH_CUSTOMERS and BENCH_EVENTS set the size; BENCH_DSN: a database with demo data that is there already; BENCH_ONLY:
only paths that contain this, and nothing is written; BENCH_NOTE: a remark. Times are those of a client on the same
machine, from the request to the last byte.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
import psutil

from bench.load import table
from bench.report_paths import NOT_MEASURED, OPERATOR, USER
from kaixu.accounts.demo import Demo, seed_demo
from kaixu.edge.tokens import make_session_token
from kaixu.store.demo import find_demo
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.pool import open_pool
from tests.support.process import SECRETS, Process

HERE = Path(__file__).parent
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "100000"))
EVENTS = int(os.environ.get("BENCH_EVENTS", "5000000"))
ROUNDS = int(os.environ.get("BENCH_REPORT_ROUNDS", "5"))
ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
ONLY = os.environ.get("BENCH_ONLY", "")
NOTE = f"{os.environ['BENCH_NOTE']}\n\n" if "BENCH_NOTE" in os.environ else ""

#: The targets: alone, and the slowest twentieth of 20 at a time; rows of CSV per second.
MOST_MS, MOST_P95_MS, LEAST_ROWS = 300, 1000, 50_000
AT_A_TIME = 20

CONFIG = """
gateway: {readings_per_minute: 1000000}
lanes: {local: {plugin: echo, models: {local-chat: {type: chat, price: {input: 1, output: 2}}}}}
"""


class Subject(msgspec.Struct, frozen=True):
    """A customer to report about: values for the paths, and the session of one of its keys."""

    names: dict[str, str]
    session: str


class Timing(msgspec.Struct, frozen=True):
    """The times of one path in milliseconds, and how many requests were refused or failed."""

    alone: list[float]
    together: list[float]
    failed: int


def percentile(times: list[float], part: float) -> float:
    """The time that `part` of the requests need at most."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


async def subjects(pool: asyncpg.Pool, demo: Demo) -> list[Subject]:
    """The largest customer, the tenth, a middle one, and a small one."""
    found = []
    for number in (1, 10, demo.customers // 100, demo.customers // 2):
        customer_id = demo.first_customer + max(number, 1) - 1
        row = await pool.fetchrow(
            "select k.id, k.key_last4, (select e.id from kaixu.usage_event e where e.customer_id = k.customer_id"
            " order by e.created_at desc limit 1) as event from kaixu.virtual_key k where k.customer_id = $1"
            " and k.revoked_at is null order by k.id limit 1",
            customer_id,
        )
        assert row is not None
        await pool.execute("update kaixu.customer set is_active = true where id = $1", customer_id)
        session = make_session_token(
            SECRETS["JWT_SECRET"], key_id=row["id"], customer_id=customer_id, key_last4=row["key_last4"], ttl_s=86400
        )
        names = {
            "customer": str(customer_id),
            "key": str(row["id"]),
            "event": str(row["event"]),
            "month": f"{demo.until:%Y-%m}",
        }
        found.append(Subject(names, session))
    return found


async def is_served(http: aiohttp.ClientSession, url: str, token: str) -> bool:
    """Whether there is such an endpoint; one that is listed before it is made is left out."""
    async with http.get(url.partition("?")[0], headers={"authorization": f"Bearer {token}"}) as response:
        return response.status != 404 or not (await response.json())["error"].startswith("No such endpoint")


async def measure(
    http: aiohttp.ClientSession, url: str, path: str, token: str | None, those: Iterator[Subject], count: int
) -> Timing:
    """The times of one path; `token`: the operator's, else each customer's own."""
    failed = 0

    async def one() -> float:
        nonlocal failed
        subject = next(those)
        headers = {"authorization": f"Bearer {token or subject.session}"}
        start = time.perf_counter()
        async with http.get(f"{url}/api/{path.format(**subject.names)}", headers=headers) as response:
            await response.read()
            failed += response.status != 200
        return (time.perf_counter() - start) * 1000

    for _ in range(count):  # warm
        await one()
    alone = [await one() for _ in range(ROUNDS * count)]

    async def worker() -> list[float]:
        return [await one() for _ in range(ROUNDS)]

    together = await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))
    return Timing(alone, [each for times in together for each in times], failed)


class Long(msgspec.Struct, frozen=True):
    """One long export: rows per second, megabytes, and how much memory the gateway had more at most."""

    rows: int
    seconds: float
    megabytes: float
    growth_mb: float


async def export(http: aiohttp.ClientSession, url: str, token: str, process: psutil.Process, columns: str) -> Long:
    """A long file of all customers."""
    before = process.memory_info().rss
    most, size, last = before, 0, b""
    start = time.perf_counter()
    path = f"admin-export?customer_id=all&from=2000-01-01&limit={ROWS}{columns}"
    async with http.get(f"{url}/api/{path}", headers={"authorization": f"Bearer {token}"}) as response:
        assert response.status == 200, await response.text()
        next_look = start
        async for piece in response.content.iter_any():
            size += len(piece)
            last = (last + piece)[-100:]
            if time.perf_counter() > next_look:
                most = max(most, process.memory_info().rss)
                next_look = time.perf_counter() + 0.05
    seconds = time.perf_counter() - start
    count = re.search(rb'rows"?: ?(\d+)', last.splitlines()[-1])
    assert count is not None, last
    return Long(int(count[1]), seconds, size / 1e6, (most - before) / 1e6)


#: A function that is read, in the source of its routes.
READ = re.compile(r'"GET",\s*(?:function_paths\()?"((?:admin|user|gateway-heartbeat)-[a-z-]+)"')


def unmeasured() -> list[str]:
    """The functions of operators and customers that are read and not in the list."""
    served = {name for path in (HERE.parent / "kaixu" / "api").rglob("*.py") for name in READ.findall(path.read_text())}
    return sorted(served - {path.partition("?")[0] for path in (*OPERATOR, *USER)} - NOT_MEASURED)


async def main() -> None:
    """Measure and write."""
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-"))
    dsn = os.environ.get("BENCH_DSN") or EmbeddedPostgres(home).start()
    pool = await open_pool(dsn, most=3, statement_s=None)
    async with pool.acquire() as connection:
        await migrate(connection)
    demo = await find_demo(pool)
    if demo is None or not demo.is_complete:
        demo = await seed_demo(
            pool, customers=CUSTOMERS, events=EVENTS, seed=1, force=False, progress=lambda line: print(line)
        )
    gateway = await Process(home / "gateway", dsn, CONFIG).start()
    assert gateway.process is not None
    process = psutil.Process(gateway.process.pid)
    rows = [["endpoint", "p50", "p95", "p50 of 20", "p95 of 20", "failed", ""]]
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            async with http.post(
                f"{gateway.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}
            ) as response:
                token = (await response.json())["token"]
            those = await subjects(pool, demo)
            for path, credential in [*((path, token) for path in OPERATOR), *((path, None) for path in USER)]:
                if ONLY not in path or not await is_served(http, f"{gateway.url}/api/{path}", token):
                    continue
                timing = await measure(http, gateway.url, path, credential, cycle(those), len(those))
                slow = percentile(timing.alone, 0.95) > MOST_MS or percentile(timing.together, 0.95) > MOST_P95_MS
                rows.append(
                    [
                        f"`{path}`",
                        f"{statistics.median(timing.alone):,.0f} ms",
                        f"{percentile(timing.alone, 0.95):,.0f} ms",
                        f"{statistics.median(timing.together):,.0f} ms",
                        f"{percentile(timing.together, 0.95):,.0f} ms",
                        str(timing.failed),
                        "**slow**" if slow else "",
                    ]
                )
                print(rows[-1])
            exports = [["export", "rows", "rows/s", "MB", "memory more"]]
            for name, columns in (
                ("the contract's columns", ""),
                ("again", ""),
                ("12 columns", "&columns=created_at,customer_id,api_key_id,key_last4,provider,model,app_id,end_user,"
                               "request_id,cost_usd,end_reason,duration_ms"),
                ("NDJSON", "&format=ndjson"),
            ):  # fmt: skip
                long = await export(http, gateway.url, token, process, columns)
                exports.append(
                    [name, f"{long.rows:,}", f"{long.rows / long.seconds:,.0f}", f"{long.megabytes:,.0f}", f"{long.growth_mb:,.0f} MB"]
                )  # fmt: skip
                print(exports[-1])
        missing = unmeasured()
    finally:
        await gateway.stop()
        await pool.close()
    if ONLY:
        return
    load = os.getloadavg()
    (HERE / "REPORTS.md").write_text(
        f"""# Reports, lists and exports

`make bench-reports`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors (load {load[0]:.1f}), everything on one machine: {demo.customers:,} customers and {demo.events:,} calls of `kaixu seed-demo --seed {demo.seed}`. Each request is about one of four customers in turn: the largest, the tenth, one of the largest hundredth, and a small one. Times are those of a client on the same machine until the last byte; "of 20": 20 requests at a time.

{NOTE}Targets: p95 alone at most {MOST_MS} ms, p95 of 20 at most {MOST_P95_MS:,} ms, {LEAST_ROWS:,} rows/s.

{table(rows)}

Not in this list: {", ".join(f"`{name}`" for name in missing) or "nothing"}.

## Long exports

All customers, oldest first, streamed by COPY. Memory: how much more the gateway's process had at most than before.

{table(exports)}
"""
    )


if __name__ == "__main__":
    asyncio.run(main())
