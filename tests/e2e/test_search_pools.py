"""Whoever holds up the searches holds up nobody's calls: money has connections of its own."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.conftest import memory
from tests.support.embedding import DIMENSIONS, Account, Answer, House, assert_collections_balance, house
from tests.support.money import spent_and_held
from tests.support.process import SECRETS, Process

VECTOR = [1.0] * DIMENSIONS


@pytest.fixture(scope="module")
def patient(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway whose searches may take as long as a test."""
    sizes = "database: {money: 2, general: 4, searches: 4, search_s: 100, searches_per_customer: 5}"
    with house(server_dsn, pristine, tmp_path_factory.mktemp("patient"), gateway=sizes) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway whose searches may take next to no time."""
    sizes = "database: {search_s: 0.2, report_s: 0.2}"
    with house(server_dsn, pristine, tmp_path_factory.mktemp("hasty"), gateway=sizes) as made:
        yield made


@pytest.fixture
def dsn(request: pytest.FixtureRequest) -> str:
    """The database of the gateway that the test is about."""
    name = "patient" if "patient" in request.fixturenames else "hasty"
    made: House = request.getfixturevalue(name)
    return made.dsn


@asynccontextmanager
async def locked(dsn: str, table: str = "kaixu.document") -> AsyncIterator[None]:
    """Nobody reads a table before the end of the block."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"lock table {table} in access exclusive mode")
            yield
    finally:
        await connection.close()


async def waiting(pool: asyncpg.Pool, kind: str, count: int) -> None:
    """Return when so many connections of a kind wait for a lock."""
    async with asyncio.timeout(30):
        while count != await pool.fetchval(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            " and application_name like $1",
            f"kaixu {kind} %",
        ):
            await asyncio.sleep(0.02)


async def chat(account: Account) -> Answer:
    """A call of a model."""
    body = {"provider": "up", "model": "talk", "messages": [{"role": "user", "content": "hello"}]}
    return await account.call("POST", "gateway-chat", body)


async def test_chats_go_on_while_all_connections_for_searches_are_held(
    patient: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    first, second, other = [await patient.account(http, pool) for _ in range(3)]
    for account in (first, second):
        assert (await account.store("docs", {"a": "one", "b": "two"})).status == 200
    async with locked(patient.dsn):
        heavy = [asyncio.ensure_future(first.search("docs", vector=VECTOR)) for _ in range(5)]
        await waiting(pool, "searches", 2)  # half of the connections, and no more
        refused = await first.search("docs", "a question")
        assert refused.status_and_code == (429, "TOO_MANY_SEARCHES")
        assert "usage" not in refused.json
        assert (await first.show(name="docs", export=1)).status_and_code == (429, "TOO_MANY_SEARCHES")
        heavy += [asyncio.ensure_future(second.search("docs", vector=VECTOR)) for _ in range(3)]
        await waiting(pool, "searches", 4)
        # Storing waits, too; all of it together takes two of the four general connections.
        heavy += [asyncio.ensure_future(second.store("docs", {f"c{at}": "three"})) for at in range(3)]
        heavy += [asyncio.ensure_future(first.store("docs", {f"c{at}": "three"})) for at in range(3)]
        await waiting(pool, "general", 2)
        for account in (other, first):
            for answer in await asyncio.gather(*(chat(account) for _ in range(5))):
                assert answer.status == 200, answer
        assert not any(one.done() for one in heavy[:8])
    for answer in await asyncio.gather(*heavy):
        assert answer.status == 200, answer
    await assert_collections_balance(pool)


async def test_a_search_that_takes_too_long_says_so_and_its_question_is_paid_for(
    hasty: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    account = await hasty.account(http, pool)
    assert (await account.store("docs", {"a": "one"})).status == 200
    before, _ = await spent_and_held(pool, account.customer_id)
    async with locked(hasty.dsn):
        by_vector = await account.search("docs", vector=VECTOR)
        answer = await account.search("docs", "a question")
        asked = [{"role": "user", "content": "a question"}]
        with_passages = await account.call(
            "POST",
            "gateway-chat",
            {"provider": "up", "model": "talk", "messages": asked, "retrieve": {"collection": "docs"}},
        )
    assert (
        by_vector.status_and_code == answer.status_and_code == with_passages.status_and_code == (422, "SEARCH_TOO_SLOW")
    )
    assert answer.json["usage"]["input_tokens"] == len("a question")
    assert await spent_and_held(pool, account.customer_id) == (before + 2 * len("a question") * 1000, 0)
    rows = await pool.fetch(
        "select end_reason, units ->> 'undelivered' from kaixu.usage_event"
        " where customer_id = $1 and operation = 'search' and cost_nusd > 0",
        account.customer_id,
    )
    assert [tuple(row) for row in rows] == [("undelivered", "SEARCH_TOO_SLOW")] * 2
    assert (await account.search("docs", "a question")).status == 200
    await assert_collections_balance(pool)


async def whole_export(account: Account) -> bytes | None:
    """An export that has its last line; None for one that was cut off."""
    try:
        answer = await account.show(name="docs", export=1)
    except aiohttp.ClientError:
        return None
    return answer.body if b'"exported"' in answer.body else None


async def test_a_list_or_an_export_that_takes_too_long_ends(
    hasty: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    account = await hasty.account(http, pool)
    assert (await account.store("docs", {"a": "one"})).status == 200
    async with locked(hasty.dsn):
        for fields in ({}, {"documents": 1}, {"doc_id": "a"}):
            assert (await account.show(name="docs", **fields)).status_and_code == (422, "SEARCH_TOO_SLOW")
        assert await whole_export(account) is None
    assert await whole_export(account) is not None


async def test_a_filter_that_compares_too_much_is_refused_before_its_question_is_embedded(
    hasty: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    account = await hasty.account(http, pool)
    assert (await account.store("docs", {"a": "one"})).status == 200
    asked = len(hasty.vendor.requests)
    many = {"$or": [{f"field{at}": {"$in": list(range(200))}} for at in range(30)]}
    assert (await account.search("docs", "one", filter=many)).status_and_code == (422, "FILTER_TOO_LARGE")
    await pool.execute("update kaixu.collection set vectors = 60000000 where customer_id = $1", account.customer_id)
    answer = await account.search("docs", "one", filter={"lang": "en"})
    assert answer.status_and_code == (422, "FILTER_TOO_LARGE")
    assert len(hasty.vendor.requests) == asked
    await pool.execute("update kaixu.collection set vectors = 1 where customer_id = $1", account.customer_id)
    assert (await account.search("docs", "one", filter={"lang": "en"})).status == 200


async def test_a_report_that_takes_too_long_says_so(
    hasty: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    login = {"password": SECRETS["ADMIN_PASSWORD"]}
    async with http.post(f"{hasty.url}/api/admin-login", json=login) as response:
        headers = {"authorization": f"Bearer {(await response.json())['token']}"}
    url = f"{hasty.url}/api/admin-customers"
    async with locked(hasty.dsn, "kaixu.customer"), http.get(url, headers=headers) as response:
        said = await response.json()
    assert (response.status, said["code"]) == (503, "DATABASE_TOO_SLOW")


@pytest.fixture
async def alone() -> AsyncIterator[Process]:
    """A gateway with an embedded Postgres of its own: the other gateways of this test process use one server."""
    home = Path(tempfile.mkdtemp(prefix="kaixu-tests-", dir=memory()))
    home.chmod(0o755)
    gateway = Process(home, None, "lanes: {}\ngateway: {database: {search_s: 0.2, report_s: 0.2}}\n")
    try:
        yield await gateway.start()
    finally:
        await gateway.stop()
        shutil.rmtree(home, ignore_errors=True)


async def test_doctor_adds_up_the_connections_of_all_gateways(alone: Process) -> None:
    told = json.loads((await alone.command("doctor", "--json")).stdout)
    [row] = [one for one in told if one["what"] == "connections"]
    assert row["state"] == "ok"
    assert re.match(r"at most 20 for each process of gateways, [1-9] running: \d+ of the server's \d+; ", row["detail"])
