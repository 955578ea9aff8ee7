"""Two gateways issue the same invoices at once and are killed in between, their Postgres too: no gap, nothing twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from kaixu.plugin.errors import KaixuError
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import AWAY, open_pool
from tests.e2e.test_crashes import kill_postgres
from tests.invoices.books import NOVEMBER, OCTOBER, bill_to, call, lost_call
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.operators import admin_headers, insert_session
from tests.support.process import Process
from tests.support.size import size

from .test_books import own_postgres as own_postgres  # a fixture
from .test_books import started_again

CUSTOMERS = size(6, 40)
CONFIG = """
lanes:
  echo: {plugin: echo, models: {chat: {type: chat, price: {input: 1, output: 2}}}}
invoices:
  seller: {name: Kaixu GmbH, address: [Lange Straße 1, 10115 Berlin], country: DE, tax_id: DE136695976}
  tax: [{countries: [DE], rate: 19}]
"""


async def send(http: aiohttp.ClientSession, url: str, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """One request of an operator; (0, {}) if there is no reply."""
    try:
        async with http.post(f"{url}/api/{name}", json=body, headers=admin_headers()) as response:
            return response.status, await response.json()
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return 0, {}


async def test_numbers_have_no_gaps_whoever_is_killed(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path
) -> None:
    embedded, dsn = own_postgres
    draw = random.Random(14)
    gateways = [Process(tmp_path / f"gateway{at}", dsn, CONFIG) for at in range(2)]
    pool = await open_pool(dsn)
    statuses: set[int] = set()
    try:
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        await insert_session(pool)
        accounts = []
        for _ in range(CUSTOMERS):
            customer_id = await customer(pool)
            key_id, _ = await virtual_key(pool, customer_id)
            await bill_to(pool, customer_id)
            for month in (OCTOBER, NOVEMBER):
                await call(pool, customer_id, key_id, month, draw.randrange(1, 10**12))
            lost = await lost_call(pool, customer_id, key_id, OCTOBER, 10**10)
            accounts.append((customer_id, key_id, lost))
        ended = asyncio.Event()

        async def issue(http: aiohttp.ClientSession, at: int) -> None:
            while not ended.is_set():
                customer_id, key_id, lost = draw.choice(accounts)
                month = draw.choice(("2025-10", "2025-11"))
                kind = draw.choice(("one", "one", "all", "void", "credit", "truth"))
                if kind == "truth":
                    try:
                        await call(pool, customer_id, key_id, OCTOBER, draw.randrange(2 * 10**10), ticket=lost)
                    except (*AWAY, asyncpg.PostgresError, KaixuError):
                        await asyncio.sleep(0.1)
                    continue
                url = gateways[at].url
                if kind in ("void", "credit"):
                    try:
                        name = await pool.fetchval(
                            "select name from kaixu.invoice where kind = 'invoice' order by random() limit 1"
                        )
                    except (*AWAY, asyncpg.PostgresError, KaixuError):
                        await asyncio.sleep(0.1)
                        continue
                    more = {"amount_cents": 1} if kind == "credit" else {}
                    status, _ = await send(http, url, f"admin-invoice-{kind}", {"number": name, "reason": "x", **more})
                elif kind == "one":
                    status, _ = await send(
                        http, url, "admin-invoice-finalize", {"customer_id": customer_id, "month": month}
                    )
                else:
                    status, _ = await send(http, url, "admin-invoice-finalize", {"all": True})
                statuses.add(status)
                await asyncio.sleep(0.05 if status in (0, 503) else 0)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
            issuing = [asyncio.ensure_future(issue(http, at % 2)) for at in range(6)]
            for turn in range(size(3, 20)):
                await asyncio.sleep(0.7 + draw.random())
                if turn % 2:
                    kill_postgres(embedded)
                    await asyncio.to_thread(embedded.revive)
                    await pool.expire_connections()
                else:
                    gateways[turn % 4 // 2].kill()
                    await started_again(gateways[turn % 4 // 2])
            ended.set()
            await asyncio.gather(*issuing)
            for _ in range(2):
                status, _ = await send(http, gateways[0].url, "admin-invoice-finalize", {"all": True})
            assert status == 200
        assert not {500, 501} & statuses, statuses
        await no_gaps_and_nothing_twice(pool)
        await assert_books_balance(pool)
        names = [row["name"] for row in await pool.fetch("select name from kaixu.invoice order by id")]
        assert len(names) > CUSTOMERS
        for name in names[::10]:
            done = await gateways[0].command("invoices", "verify", name)
            assert "wrong" not in done.stdout, done.stdout
    finally:
        for gateway in gateways:
            await gateway.stop()
        pool.terminate()


async def no_gaps_and_nothing_twice(pool: asyncpg.Pool) -> None:
    """Each series counts from 1, each month has one invoice in force, and the lines in force bill what was used."""
    for row in await pool.fetch(
        "select s.series, s.last_number, array_agg(i.number order by i.number) as numbers "
        "from kaixu.invoice_series s left join kaixu.invoice i using (series) group by 1, 2"
    ):
        assert row["numbers"] == list(range(1, row["last_number"] + 1)), row["series"]
    in_force = "i.kind = 'invoice' and not exists (select 1 from kaixu.invoice_void v where v.invoice_id = i.id)"
    twice = await pool.fetch(
        f"select customer_id, month from kaixu.invoice i where {in_force} group by 1, 2 having count(*) > 1"
    )
    assert twice == []
    wrong = await pool.fetch(
        f"""
        select customer_id, month, e.spent, l.billed
          from (select customer_id, month, sum(cost_nusd) as spent from kaixu.usage_event group by 1, 2) e
          left join (select l.customer_id, l.month, sum(l.amount_nusd) as billed
                       from kaixu.invoice_line l join kaixu.invoice i on i.id = l.invoice_id
                      where {in_force} group by 1, 2) l using (customer_id, month)
         where l.billed > e.spent + 2 * 10::bigint ^ 10 or l.billed is null
        """
    )
    assert wrong == []
    sums = await pool.fetch(
        "select i.name from kaixu.invoice i left join kaixu.invoice_line l on l.invoice_id = i.id "
        "where i.kind = 'invoice' group by i.id having i.net_nusd <> coalesce(sum(l.amount_nusd), 0)"
    )
    assert sums == []
    audits = await pool.fetch(
        "select i.name from kaixu.invoice i left join kaixu.audit_event a "
        "on a.action in ('INVOICE_FINALIZE', 'INVOICE_CREDIT') and a.after ->> 'number' = i.name "
        "group by i.name having count(a.id) <> 1"
    )
    assert audits == []
