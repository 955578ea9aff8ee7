"""Measures for bench/PAGES.md: what a first visit of each page transfers, when it is usable, and whether it jumps.

BENCH_DSN: a database with demo data that is there already, such as the one of `bench.reports` (100,000 customers and
5 million calls); without it a small one is made, as the tests of pages have it. BENCH_ONLY: only pages whose names
contain this, and nothing is written. Times are those of the browser on the same machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from playwright.sync_api import Browser

from bench.load import table
from tests.support.operators import insert_session
from tests.web.blocking import run
from tests.web.gateway import Gateway, config_of, running
from tests.web.measures import Loading, loading_of
from tests.web.pages import PAGES, PageState
from tests.web.seed import OPERATORS, Seed, SeedCustomer, SeedKey, session_id
from tests.web.stage import browsing, seeded_gateway
from tests.web.vendor import page_vendor

HERE = Path(__file__).parent
DSN = os.environ.get("BENCH_DSN", "")
ONLY = os.environ.get("BENCH_ONLY", "")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))

#: The targets: compressed bytes, milliseconds, and the sum of layout shifts.
MOST_BYTES, MOST_USABLE_MS, MOST_SERVER_MS, MOST_SHIFT = 150_000, 1000, 300, 0.05


async def seed_of(dsn: str) -> Seed:
    """What paths of pages are filled with, from a database of `kaixu seed-demo`; adds a session of an owner."""
    connection = await asyncpg.connect(dsn)
    try:
        email, name = OPERATORS["owner"]
        operator_id = await connection.fetchval(
            "insert into kaixu.operator (email, name, role) values ($1, $2, 'owner')"
            " on conflict (email) do update set name = excluded.name returning id",
            email,
            name,
        )
        await connection.execute("delete from kaixu.operator_session where operator_id = $1", operator_id)
        await insert_session(connection, session_id("owner"), operator_id=operator_id, method="password")
        row = await connection.fetchrow(
            """
            select c.id, c.email, k.id as key_id, k.key_last4, k.label, e.id as event, e.request_id, e.month
              from kaixu.demo d
              join kaixu.customer c on c.id = d.first_customer
              join kaixu.virtual_key k on k.id = d.first_key
             cross join lateral (select e.id, e.request_id, to_char(e.month, 'YYYY-MM') as month
                                   from kaixu.usage_event e
                                  where e.customer_id = c.id order by e.created_at desc limit 1) e
            """
        )
        assert row is not None, "BENCH_DSN has no demo data"
        key = SeedKey(row["key_id"], f"kx_live_{row['key_last4']}", row["label"])
        names = {"event": str(row["event"]), "request": row["request_id"], "month": row["month"]}
        return Seed(
            {"owner": operator_id},
            {"northwind": SeedCustomer(row["id"], row["email"], {key.label: key})},
            {**names, "invoice": "INV-1", "invitation": "none"},
        )
    finally:
        await connection.close()


@contextmanager
def measured_gateway() -> Iterator[Gateway]:
    """The gateway before the large database, or before a small one."""
    if not DSN:
        with seeded_gateway() as gateway:
            yield gateway
        return
    with tempfile.TemporaryDirectory() as home, page_vendor() as vendor:
        seed = run(seed_of(DSN))
        with running(Path(home) / "gateway", DSN, config_of(vendor.url), seed) as gateway:
            yield gateway


def visits(browser: Browser, gateway: Gateway, page: PageState) -> tuple[Loading, Loading]:
    """The first visit after a warm-up of the server, and the medians of all."""
    loading_of(browser, gateway, page)
    all_visits = [loading_of(browser, gateway, page) for _ in range(ROUNDS)]
    return all_visits[0], Loading(
        *(statistics.median(getattr(visit, name) for visit in all_visits) for name in Loading.__struct_fields__)
    )


def main() -> int:
    """Measure, write bench/PAGES.md, and return how many pages miss a target."""
    rows, missed = [], 0
    # Demo data has no issued invoice.
    pages = [page for page in PAGES if page.is_main and ONLY in page.name and not (DSN and "{invoice}" in page.path)]
    with measured_gateway() as gateway, browsing() as browser:
        size = gateway.rows(
            "select (select count(*) from kaixu.customer) as customers, (select count(*) from kaixu.usage_event) as events"
        )[0]
        for page in pages:
            first, median = visits(browser, gateway, page)
            is_met = (
                first.transferred_bytes < MOST_BYTES
                and median.usable_ms < MOST_USABLE_MS
                and median.server_ms <= MOST_SERVER_MS
                and median.shift <= MOST_SHIFT
            )
            missed += not is_met
            rows.append(
                [
                    page.name,
                    f"{first.transferred_bytes / 1000:.1f}",
                    str(first.requests),
                    f"{median.server_ms:.0f}",
                    f"{median.painted_ms:.0f}",
                    f"{median.usable_ms:.0f}",
                    f"{median.shift:.3f}",
                    "yes" if is_met else "**no**",
                ]
            )
            print(" | ".join(rows[-1]), flush=True)
    head = ["page", "first visit, kB", "requests", "server, ms", "first paint, ms", "usable, ms", "shift", "met"]
    text = f"""# Pages

{datetime.now(UTC):%Y-%m-%d}: {size["customers"]:,} customers, {size["events"]:,} calls; Chromium on the same machine, with an empty cache at each visit, the median of {ROUNDS}. Targets: {MOST_BYTES // 1000} kB compressed, server {MOST_SERVER_MS} ms, usable in {MOST_USABLE_MS} ms, layout shifts of {MOST_SHIFT} in all. `python -m bench.pages` measures again.

{table([head, *rows])}
"""
    if not ONLY:
        (HERE / "PAGES.md").write_text(text, encoding="utf-8")
    return missed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
