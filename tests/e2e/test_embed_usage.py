"""The operator's card of embeddings tells what a real gateway embedded, stored and searched, to the nano-dollar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.config.price import usd
from tests.support.embedding import DIMENSIONS, Account, House, assert_collections_balance, house
from tests.support.money import spent_and_held
from tests.support.process import SECRETS


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway for all tests here."""
    with house(server_dsn, pristine, tmp_path_factory.mktemp("card"), gateway="max_vectors: 10") as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Its database."""
    return shared.dsn


async def operator_of(shared: House, http: aiohttp.ClientSession) -> Account:
    """The operator."""
    async with http.post(f"{shared.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        return Account(http, shared.url, 0, 0, (await response.json())["token"])


async def test_the_card_tells_every_call_that_was_billed_and_none_that_was_not(
    shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    account, operator = await shared.account(http, pool), await operator_of(shared, http)
    assert (await account.store("docs", {"a": "one", "b": "two", "c": "three"})).status == 200
    assert (await account.embed("four!")).status == 200
    assert (await account.search("docs", "question")).status == 200
    lines = [{"doc_id": at, "text": at, "embedding": [1.0] * DIMENSIONS} for at in ("d", "e")]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert (await account.make(body, name="docs", **{"import": 1})).status == 200
    assert (await account.store("docs", {str(at): "x" for at in range(6)})).status_and_code == (402, "VECTORS_FULL")
    assert (await account.search("no-such", "question")).status_and_code == (404, "UNKNOWN_COLLECTION")
    spent, _ = await spent_and_held(pool, account.customer_id)
    card: dict[str, Any] = (await operator.call("GET", "admin-embed-usage", customer_id=account.customer_id)).json
    assert card["totals"] == {
        "embed_calls": 3,
        "search_calls": 1,
        "vectors": 4,
        "vectors_stored": 5,
        "tokens": 11 + 5 + 8,
        "cost_cents": 0,
        "cost_usd": usd(spent),
    }
    assert spent > 0
    told = [
        (one["operation"], f"{one['provider']}/{one['model']}", one["vectors"], one["vectors_stored"], one["tokens"])
        for one in card["events"]
    ]
    assert told == [
        ("import", "up/words", 0, 2, 0),
        ("search", "up/words", 0, 0, 8),
        ("embed", "up/words", 1, 0, 5),
        ("embed", "up/words", 3, 3, 11),
    ]
    events = (await operator.call("GET", "admin-usage", customer_id=account.customer_id)).json["events"]
    assert [one["units"] for one in events] == [
        {"stored": 2},
        {"searches": 1},
        {"vectors": 1},
        {"vectors": 3, "stored": 3},
    ]
    await assert_collections_balance(pool)
