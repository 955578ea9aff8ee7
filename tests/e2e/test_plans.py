"""Plans of running gateways: what their customers pay, by which price version, and what a reload changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.accounts.customers import change_customer
from kaixu.reports.explain import explain
from kaixu.reports.reconcile import reconcile
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process

CONFIG = """
lanes:
  up:
    plugin: echo
    models:
      ok: {{type: chat, price: {{input: 1.000000007, output: 2.000000003}}, cost: {{input: 0.5, output: 1}}}}
      kept: {{type: chat, price: {{input: 1, output: 2}}, cached_price: {{input: 0.5, output: 0.5}}, cache: {{ttl: 10m}}}}
plans: {plans}
"""
BY = {"actor": "admin", "request_id": "request-1"}

#: 1.000000007 and 2.000000003 USD per million tokens, times 0.3333, rounded up to the nano-dollar.
A_THIRD = {"input": 333_300_003, "output": 666_600_001}
WHOLE = {"input": 1_000_000_007, "output": 2_000_000_003}


@pytest.fixture
async def processes(tmp_path: Path, dsn: str) -> AsyncIterator[list[Process]]:
    """Three gateways with a plan that costs a third."""
    config = CONFIG.format(plans="{third: {price_factor: 0.3333, cap: 10}}")
    made = [Process(tmp_path / f"gateway{at}", dsn, config) for at in range(3)]
    for one in made:
        await one.start()
    yield made
    for one in made:
        await one.stop()


async def billed(pool: asyncpg.Pool) -> list[tuple[int, int, int, dict[str, int], str | None]]:
    """The newest call first: its cost, tokens, the rates of the version it names, and the factor it names."""
    rows = await pool.fetch(
        """
        select e.cost_nusd, e.input_tokens, e.output_tokens, p.rates, e.units -> 'call' ->> 'price_factor'
          from kaixu.usage_event e join kaixu.price p on p.id = e.price_id
         order by e.id desc
        """
    )
    return [tuple(row) for row in rows]


def cost(tokens: tuple[int, int], rates: dict[str, int]) -> int:
    """What tokens cost at these rates, rounded half up."""
    return (tokens[0] * rates["input"] + tokens[1] * rates["output"] + 500_000) // 1_000_000


async def test_a_plan_s_customers_pay_its_price_from_the_call_on_that_follows_the_change(
    processes: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    clients = [Client(http, one.url, key) for one in processes]
    for plan, rates, factor in (
        ("starter", WHOLE, None),
        ("third", A_THIRD, "0.3333"),
        ("other", WHOLE, None),
        ("third", A_THIRD, "0.3333"),
    ):
        await change_customer(pool, customer_id, {"plan_name": plan}, **BY)
        for client in clients:  # whichever process serves the next call
            status, body = await client.chat(messages=[{"role": "user", "content": "some words " * 99}])
            assert status == 200, body
            [(nusd, *tokens, named, noted), *_] = await billed(pool)
            assert {kind: named[kind] for kind in rates} == rates
            assert nusd == cost((tokens[0], tokens[1]), rates)
            assert noted == factor
    for event_id in await pool.fetch("select id from kaixu.usage_event"):
        [explained] = await explain(pool, str(event_id[0]))
        assert explained.adds_up
        assert explained.priced_nusd == explained.event.cost_nusd
    await assert_books_balance(pool)
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_the_hold_is_at_the_plan_s_price_too(
    processes: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, processes[0].url, key)
    for plan in ("starter", "third"):
        await change_customer(pool, customer_id, {"plan_name": plan}, **BY)
        status, body = await client.chat(max_tokens=1000)
        assert status == 200, body
    whole, third = (row[0] for row in await pool.fetch("select granted_nusd from kaixu.usage_event order by id"))
    assert abs(third * 10_000 - whole * 3_333) <= 10_000


async def test_an_answer_from_the_cache_and_a_stream_are_at_the_plan_s_price(
    processes: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    customer_id = await customer(pool, plan_name="third")
    await change_customer(pool, customer_id, {"plan_name": "third", "is_active": False}, **BY)
    await change_customer(pool, customer_id, {"is_active": True}, **BY)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, processes[0].url, key)
    status, frames = await client.stream()
    assert (status, frames[-1][0]) == (200, "done")
    for _ in range(2):
        status, body = await client.chat("kept", temperature=0)
        assert status == 200, body
    [cached, first, streamed] = await billed(pool)
    assert (cached[3]["input"], first[3]["input"], streamed[3]["input"]) == (166_650_000, 333_300_000, 333_300_003)
    assert cached[4] == first[4] == streamed[4] == "0.3333"


async def test_calls_of_many_customers_at_once_are_each_at_their_own_price(
    processes: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    keys = []
    for at in range(6):
        customer_id = await customer(pool)
        await change_customer(pool, customer_id, {"plan_name": "third" if at % 2 else "other"}, **BY)
        keys.append((await virtual_key(pool, customer_id))[1])
    calls = [Client(http, processes[at % 3].url, keys[at % 6]).chat() for at in range(60)]
    assert {status for status, _ in await asyncio.gather(*calls)} == {200}
    rows = await pool.fetch(
        """
        select c.plan_name, p.rates -> 'input' as rate, count(*)
          from kaixu.usage_event e join kaixu.price p on p.id = e.price_id join kaixu.customer c on c.id = e.customer_id
         group by 1, 2 order by 1
        """
    )
    assert [tuple(row) for row in rows] == [("other", WHOLE["input"], 30), ("third", A_THIRD["input"], 30)]
    await assert_books_balance(pool)


async def test_a_reload_changes_plans_and_says_so(
    processes: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    customer_id = await customer(pool)
    await change_customer(pool, customer_id, {"plan_name": "third", "monthly_cap_cents": "plan"}, **BY)
    _, key = await virtual_key(pool, customer_id)
    [first, *others] = processes
    assert any("plan `third` has a new version" in one.log.read_text() for one in processes)  # at the start
    first.config.write_text(CONFIG.format(plans="{third: {price_factor: 0.5, cap: 20, devices: 2, providers: [upp]}}"))
    done = await first.command("reload", "--json")
    assert done.returncode == 0, done.stderr
    assert "plan `third` has a new version" in done.stdout
    assert "allows provider `upp`, which is no lane" in done.stdout
    row = await pool.fetchrow(
        "select monthly_cap_nusd, max_devices_per_key, price_factor_millionths from kaixu.customer"
    )
    assert row is not None
    assert tuple(row) == (20 * 10**9, 2, 500_000)
    status, body = await Client(http, others[0].url, key).chat()
    assert (status, body["code"]) == (403, "PROVIDER_NOT_ALLOWED"), body
    broken = CONFIG.format(plans="{third: {price_factor: 11, rpm: many, seats: 3}, '': {}}")
    first.config.write_text(broken)
    done = await first.command("reload")
    assert done.returncode == 1
    assert await pool.fetchval("select count(*) from kaixu.plan_version") == 2


async def test_check_names_every_mistake_of_a_plan(processes: list[Process]) -> None:
    processes[0].config.write_text(
        CONFIG.format(plans="{third: {price_factor: 11, rpm: many, seats: 3, cap: 0.001, providers: []}, fine: {}}")
    )
    done = await processes[0].command("check", "--no-database")
    assert done.returncode == 1
    for words in (
        "`price_factor` must be less than or equal to 10",
        "`rpm` must be a whole number",
        "`seats` is not a field of plan `third`",
        "`cap`",
        "`providers` must not be empty",
    ):
        assert words in done.stderr, done.stderr


async def listed(http: aiohttp.ClientSession, process: Process, key: str) -> dict[str, Any]:
    """The models as a key sees them, by id."""
    headers = {"authorization": f"Bearer {key}"}
    async with http.get(f"{process.url}/v1/models", headers=headers) as response:
        return {one["id"]: one["kaixu"] for one in (await response.json())["data"]}


async def test_the_list_of_models_has_the_prices_that_the_key_pays(
    processes: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    before = await listed(http, processes[0], key)
    assert before["ok"]["price_usd_per_million_tokens"]["input"] == "1.000000007"
    await change_customer(pool, customer_id, {"plan_name": "third"}, **BY)
    after = await listed(http, processes[0], key)
    assert after["ok"]["price_usd_per_million_tokens"]["input"] == "0.333300003"
