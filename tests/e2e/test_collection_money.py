"""What an ingest costs that comes to nothing: what the vendor has done, whoever kept it from being stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from tests.support.embedding import DIMENSIONS, Account, House, assert_collections_balance, house
from tests.support.money import spent_and_held


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway for all tests here."""
    with house(server_dsn, pristine, tmp_path_factory.mktemp("money")) as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Their database."""
    return shared.dsn


@pytest.fixture(autouse=True)
async def books(pool: asyncpg.Pool) -> AsyncIterator[None]:
    """After every test the books add up, and collections hold what their figures say."""
    yield
    await assert_collections_balance(pool)


@pytest.fixture
async def account(shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> Account:
    """A new customer."""
    return await shared.account(http, pool)


def texts(count: int, *, first: int = 0) -> dict[str, str]:
    """So many documents."""
    return {f"doc{at}": f"text {at}" for at in range(first, first + count)}


async def test_who_has_no_money_left_may_look_but_not_ask(
    shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    poor = await shared.account(http, pool, cap_nusd=90_000)
    assert (await poor.store("docs", {"a": "x" * 40})).status == 200
    assert (await poor.store("docs", {"b": "x" * 40})).status_and_code == (402, "CAP_REACHED")
    assert (await poor.search("docs", "x" * 40)).status_and_code == (402, "CAP_REACHED")
    assert (await poor.search("docs", vector=[1.0] * DIMENSIONS)).status == 200
    assert (await poor.show(name="docs", export=1)).status == 200


async def test_where_one_of_the_vendors_batches_fails_nothing_is_stored_and_the_others_are_paid_for(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    # Longer together than this vendor takes at once: each goes alone.
    long = "word " * 28_000
    given = {"first": long, "second": long, "bad": f"boom {uuid4()} {long}"}
    before, asked = shared.vendor.tokens, len(shared.vendor.requests)
    with shared.vendor.holding("boom"):
        failing = asyncio.ensure_future(account.store("docs", given, provider="thousands", model="batched"))
        await shared.vendor.is_reached()
        while shared.vendor.tokens - before < 2 * len(long):
            await asyncio.sleep(0.02)
    answer = await failing
    assert answer.status_and_code == (502, "UPSTREAM_ERROR")
    assert answer.json["usage"]["input_tokens"] == 2 * len(long)
    assert answer.json["usage"]["cost_usd"] == answer.json["month"]["spent_usd"] != "0.00"
    assert len(shared.vendor.requests) - asked == 3
    assert shared.vendor.tokens - before == 2 * len(long)
    assert (await account.show()).json["collections"] == []
    spent, held = await spent_and_held(pool, account.customer_id)
    assert held == 0
    assert spent == 2 * len(long) * 1000
    event = await pool.fetchrow(
        "select end_reason, cost_nusd, units - 'call' as units from kaixu.usage_event where customer_id = $1",
        account.customer_id,
    )
    assert event is not None
    assert (event["end_reason"], event["cost_nusd"], event["units"]) == ("upstream_error", spent, {})
    assert (await account.store("docs", {"first": "fine"})).status == 200


async def event_of(pool: asyncpg.Pool, account: Account) -> tuple[str, int, str | None]:
    """How the newest call ended, what it cost, and what kept it from being delivered."""
    row = await pool.fetchrow(
        "select end_reason, cost_nusd, units ->> 'undelivered' from kaixu.usage_event where customer_id = $1 "
        "order by id desc limit 1",
        account.customer_id,
    )
    assert row is not None
    return row[0], row[1], row[2]


async def test_a_collection_deleted_while_the_vendor_works_does_not_make_its_work_free(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    await account.store("docs", texts(2))
    before, _ = await spent_and_held(pool, account.customer_id)
    with shared.vendor.holding("deleted-meanwhile"):
        storing = asyncio.ensure_future(account.store("docs", {"x": "deleted-meanwhile"}))
        await shared.vendor.is_reached()
        await account.remove(name="docs")
    answer = await storing
    assert answer.status_and_code == (404, "UNKNOWN_COLLECTION")
    cost = len("deleted-meanwhile") * 1000
    assert await spent_and_held(pool, account.customer_id) == (before + cost, 0)
    assert await event_of(pool, account) == ("undelivered", cost, "UNKNOWN_COLLECTION")
    assert answer.json["usage"]["input_tokens"] == len("deleted-meanwhile")
    assert (await account.show()).json["collections"] == []


async def test_a_collection_of_another_model_made_while_the_vendor_works_does_not_make_it_free(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    with shared.vendor.holding("overtaken"):
        storing = asyncio.ensure_future(account.store("docs", {"x": "overtaken"}))
        await shared.vendor.is_reached()
        await account.make({"name": "docs", "provider": "up", "model": "other"})
    assert (await storing).status_and_code == (409, "MODEL_MISMATCH")
    cost = len("overtaken") * 1000
    assert await spent_and_held(pool, account.customer_id) == (cost, 0)
    assert await event_of(pool, account) == ("undelivered", cost, "MODEL_MISMATCH")


async def test_room_that_was_taken_away_while_the_vendor_works_does_not_make_it_free(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    with shared.vendor.holding("lowered"):
        storing = asyncio.ensure_future(account.store("docs", {"x": "lowered"}))
        await shared.vendor.is_reached()
        await pool.execute("update kaixu.customer set max_vectors = 0 where id = $1", account.customer_id)
    assert (await storing).status_and_code == (402, "VECTORS_FULL")
    cost = len("lowered") * 1000
    assert await spent_and_held(pool, account.customer_id) == (cost, 0)
    assert await event_of(pool, account) == ("undelivered", cost, "VECTORS_FULL")
    assert (await account.show()).json["collections"] == []


async def test_a_store_that_meets_a_re_embedding_that_is_called_off_is_stored_after_all(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    await account.store("docs", texts(2))
    # Not of the other model: the re-embedding may have sent a batch before it was called off, which is billed.
    spent_on_calls = "select sum(cost_nusd) from kaixu.usage_event where customer_id = $1 and model <> 'other'"
    before = await pool.fetchval(spent_on_calls, account.customer_id)
    with shared.vendor.holding("text 1"):
        again = asyncio.ensure_future(account.store("docs", {"doc1": "text 1"}))
        await shared.vendor.is_reached()
        assert (await account.make({"name": "docs", "reembed": {"provider": "up", "model": "other"}})).status == 202
        with_old = await account.search("docs", "text 0", top_k=1)
        assert with_old.json["results"][0]["doc_id"] == "doc0"
        await account.remove(name="docs", reembed=1)
        # Called off in time: the first is stored after all.
    assert (await again).status == 200
    spent = await pool.fetchval(spent_on_calls, account.customer_id) - before
    assert spent == 2 * len("text 1") * 1000


async def test_a_client_that_leaves_while_the_vendor_works_has_stored_nothing(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    with shared.vendor.holding("left-alone"):
        storing = asyncio.ensure_future(account.store("docs", {"x": "left-alone"}))
        await shared.vendor.is_reached()
        storing.cancel()
        while await pool.fetchval("select count(*) from kaixu.reservation where customer_id = $1", account.customer_id):
            await asyncio.sleep(0.02)
    assert (await account.show()).json["collections"] == []
    event = await pool.fetchrow(
        "select end_reason from kaixu.usage_event where customer_id = $1 and operation = 'embed'", account.customer_id
    )
    assert event is not None
    assert event["end_reason"] == "client_gone"
