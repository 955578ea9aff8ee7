"""What an account may keep, and who may touch it: exact at two gateways, and no stranger sees a thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.embedding import DIMENSIONS, Account, Answer, House, assert_collections_balance, house
from tests.support.money import customer, spent_and_held
from tests.support.process import SECRETS

MOST_VECTORS = 30
MOST_COLLECTIONS = 4


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two gateways for all tests here."""
    limits = f"max_vectors: {MOST_VECTORS}, max_collections: {MOST_COLLECTIONS}"
    with house(server_dsn, pristine, tmp_path_factory.mktemp("limits"), count=2, gateway=limits) as made:
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


async def test_no_more_vectors_than_the_gateway_allows_and_no_vendor_is_asked(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    assert (await account.store("docs", texts(MOST_VECTORS))).status == 200
    asked, spent = len(shared.vendor.requests), await spent_and_held(pool, account.customer_id)
    for refused in (
        await account.store("docs", {"new": "x"}),
        await account.store("other", {"new": "x"}),
        await account.store("docs", texts(2, first=MOST_VECTORS - 1)),
        await account.make(b'{"doc_id": "new", "text": "x"}', name="docs", **{"import": 1}),
    ):
        assert refused.status_and_code == (402, "VECTORS_FULL")
    assert (len(shared.vendor.requests), await spent_and_held(pool, account.customer_id)) == (asked, spent)
    assert [one["name"] for one in (await account.show()).json["collections"]] == ["docs"]


async def test_a_full_account_may_replace_and_goes_on_after_a_deletion(account: Account) -> None:
    await account.store("docs", texts(MOST_VECTORS))
    again = await account.store("docs", texts(MOST_VECTORS))
    assert (again.status, again.json["replaced"]) == (200, MOST_VECTORS)
    await account.remove(name="docs", doc_id="doc0")
    assert (await account.store("docs", {"new": "x"})).status == 200
    assert (await account.store("docs", {"newer": "x"})).status_and_code == (402, "VECTORS_FULL")
    await account.remove(name="docs")
    assert (await account.store("other", texts(MOST_VECTORS))).status == 200


async def test_a_customers_own_limit_counts_before_the_gateways(
    shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    roomy = await shared.account(http, pool, max_vectors=MOST_VECTORS + 1)
    assert (await roomy.store("docs", texts(MOST_VECTORS + 1))).status == 200
    narrow = await shared.account(http, pool, max_vectors=0)
    assert (await narrow.store("docs", texts(1))).status_and_code == (402, "VECTORS_FULL")
    assert (await narrow.embed("a text")).status == 200


async def test_chunks_count_each(account: Account, shared: House) -> None:
    asked = len(shared.vendor.requests)
    refused = await account.store("docs", {"long": "word " * 400}, chunk={"size": 16})
    assert (refused.status_and_code, len(shared.vendor.requests)) == ((402, "VECTORS_FULL"), asked)


async def test_twenty_ingests_at_once_fill_it_to_the_last_vector_and_no_further(
    account: Account, shared: House
) -> None:
    at = [account.at(process.url) for process in shared.processes]
    asked = len(shared.vendor.requests)
    answers = await asyncio.gather(
        *(at[number % 2].store(f"docs{number % 2}", texts(3, first=number * 3)) for number in range(20))
    )
    assert sorted(one.status_and_code for one in answers) == [(200, None)] * 10 + [(402, "VECTORS_FULL")] * 10
    assert sum(one["vectors"] for one in (await account.show()).json["collections"]) == MOST_VECTORS
    assert len(shared.vendor.requests) - asked == 10


async def test_the_same_documents_stored_twenty_times_at_once_are_there_once(account: Account, shared: House) -> None:
    await account.store("docs", texts(MOST_VECTORS - 3))
    at = [account.at(process.url) for process in shared.processes]
    answers = await asyncio.gather(*(at[number % 2].store("docs", texts(3)) for number in range(20)))
    assert {one.status_and_code for one in answers} == {(200, None)}
    assert await account.vectors("docs") == MOST_VECTORS - 3


async def test_no_more_collections_than_the_gateway_allows(account: Account, shared: House) -> None:
    at = [account.at(process.url) for process in shared.processes]
    answers = await asyncio.gather(*(at[number % 2].store(f"docs{number}", {"x": "x"}) for number in range(12)))
    made = [one for one in answers if one.status == 200]
    assert len(made) == MOST_COLLECTIONS
    assert {one.status_and_code for one in answers if one.status != 200} == {(402, "COLLECTIONS_FULL")}
    body = {"name": "one-more", "provider": "up", "model": "words"}
    assert (await account.make(body)).status_and_code == (402, "COLLECTIONS_FULL")
    name = made[0].json["collection"]
    assert (await account.store(name, {"y": "y"})).status == 200
    await account.remove(name=name)
    assert (await account.make(body)).status == 200


async def test_viewers_search_and_look_but_change_nothing(
    account: Account, shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    await account.store("docs", texts(3))
    viewer = await shared.another_key(http, pool, account.customer_id, role="viewer")
    for allowed in (
        await viewer.embed("a text"),
        await viewer.search("docs", "text"),
        await viewer.show(),
        await viewer.show(name="docs"),
        await viewer.show(name="docs", export=1),
        await viewer.show(name="docs", doc_id="doc1"),
    ):
        assert allowed.status == 200
    asked = len(shared.vendor.requests)
    for refused in (
        await viewer.store("docs", texts(1)),
        await viewer.store("new", texts(1)),
        await viewer.make(b'{"doc_id": "a", "text": "x"}', name="docs", **{"import": 1}),
        await viewer.make(b'{"doc_id": "a", "text": "x", "embedding": [1]}', name="docs", **{"import": 1}),
        await viewer.make({"name": "new", "provider": "up", "model": "words"}),
        await viewer.make({"name": "docs", "reembed": {"provider": "up", "model": "other"}}),
        await viewer.rename("docs", "new"),
        await viewer.remove(name="docs", doc_id="doc1"),
        await viewer.remove(name="docs", reembed=1),
        await viewer.remove(name="docs"),
    ):
        assert refused.status_and_code == (403, "ROLE_TOO_LOW")
    assert (len(shared.vendor.requests), await account.vectors("docs")) == (asked, 3)
    deployer = await shared.another_key(http, pool, account.customer_id, role="deployer")
    assert (await deployer.store("docs", texts(1))).status == 200
    assert (await deployer.remove(name="docs")).status == 200


async def test_a_key_of_some_collections_sees_only_those(
    account: Account, shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    await account.store("mine", texts(2))
    await account.store("theirs", texts(2))
    narrow = await shared.another_key(http, pool, account.customer_id, allowed_collections=["mine", "later"])
    assert [one["name"] for one in (await narrow.show()).json["collections"]] == ["mine"]
    assert (await narrow.search("mine", "text")).status == 200
    assert (await narrow.store("mine", texts(3))).status == 200
    assert (await narrow.store("later", texts(1))).status == 200
    asked = len(shared.vendor.requests)
    for one in ("theirs", "absent"):
        assert (await narrow.store(one, texts(1))).status_and_code == (403, "COLLECTION_NOT_ALLOWED")
        assert (await narrow.make({"name": one, "provider": "up", "model": "words"})).status_and_code == (
            403,
            "COLLECTION_NOT_ALLOWED",
        )
        assert (
            await narrow.make(b'{"doc_id": "a", "text": "x"}', name=one, provider="up", model="words", **{"import": 1})
        ).status_and_code == (
            403,
            "COLLECTION_NOT_ALLOWED",
        )
        assert (await narrow.rename("mine", one)).status_and_code == (403, "COLLECTION_NOT_ALLOWED")
        assert (await narrow.show(name=one)).status_and_code == (404, "UNKNOWN_COLLECTION")
        assert (await narrow.search(one, "text")).status_and_code == (404, "UNKNOWN_COLLECTION")
        assert (await narrow.remove(name=one)).json["vectors"] == 0
    assert (len(shared.vendor.requests), await account.vectors("theirs")) == (asked, 2)
    nothing = await shared.another_key(http, pool, account.customer_id, allowed_collections=[])
    assert (await nothing.show()).json["collections"] == []
    assert (await nothing.store("mine", texts(1))).status_and_code == (403, "COLLECTION_NOT_ALLOWED")


Ask = Callable[[Account, str], Coroutine[Any, Any, Answer]]

#: Everything that can be asked of a collection by its name, and that tells whether there is one.
ASKED: dict[str, Ask] = {
    "show": lambda who, name: who.show(name=name),
    "document": lambda who, name: who.show(name=name, doc_id="doc1"),
    "pages": lambda who, name: who.show(name=name, documents=1),
    "export": lambda who, name: who.show(name=name, export=1),
    "search": lambda who, name: who.search(name, "text"),
    "search-vector": lambda who, name: who.search(name, vector=[1.0] * DIMENSIONS),
    "rename": lambda who, name: who.rename(name, "stolen"),
    "delete": lambda who, name: who.remove(name=name),
    "delete-document": lambda who, name: who.remove(name=name, doc_id="doc1"),
    "cancel": lambda who, name: who.remove(name=name, reembed=1),
    "import": lambda who, name: who.make(b'{"doc_id": "a", "text": "x"}', name=name, **{"import": 1}),
    "reembed": lambda who, name: who.make({"name": name, "reembed": {"provider": "up", "model": "other"}}),
    "chat": lambda who, name: who.call(
        "POST",
        "gateway-chat",
        {
            "provider": "up",
            "model": "talk",
            "messages": [{"role": "user", "content": "hi"}],
            "retrieve": {"collection": name},
        },
    ),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
async def test_another_customers_collection_is_as_one_that_does_not_exist(
    account: Account, shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool, ask: Ask
) -> None:
    await account.store("secret", texts(3))
    stranger = await shared.account(http, pool)

    def told(answer: Answer, name: str) -> tuple[int, bytes]:
        body = {field: value for field, value in answer.json.items() if field not in ("request_id", "month")}
        return answer.status, repr(body).replace(name, "…").encode()

    existing, absent = await ask(stranger, "secret"), await ask(stranger, "absent")
    assert told(existing, "secret") == told(absent, "absent")
    assert existing.status in (200, 400, 404)
    assert (await stranger.show()).json["collections"] == []
    assert await account.vectors("secret") == 3


async def test_two_customers_have_collections_of_one_name(
    account: Account, shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    other = await shared.account(http, pool)
    await account.store("docs", {"a": "mine"})
    await other.store("docs", {"b": "yours", "a": "also yours"})
    assert [one["doc_id"] for one in (await account.search("docs", "yours")).json["results"]] == ["a"]
    assert (await account.show(name="docs", doc_id="a")).json["document"]["text"] == "mine"
    await other.remove(name="docs")
    assert await account.vectors("docs") == 1


async def test_an_operator_acts_in_a_customers_name(
    account: Account, shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    async with http.post(f"{shared.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        token = (await response.json())["token"]
    operator = Account(http, shared.url, 0, 0, token)
    mine = {"customer_id": account.customer_id}
    stored = await operator.store("docs", texts(2), **mine)
    assert (stored.status, stored.json["month"]["customer_spent_cents"] >= 0) == (200, True)
    assert (await spent_and_held(pool, account.customer_id))[0] > 0
    assert (await operator.search("docs", "text", **mine)).json["count"] == 2
    assert [one["name"] for one in (await operator.show(**mine)).json["collections"]] == ["docs"]
    assert (await operator.remove(name="docs", doc_id="doc0", **mine)).json["vectors"] == 1
    assert await account.vectors("docs") == 1
    assert (
        await pool.fetchval(
            "select count(*) from kaixu.audit_event where action = 'DOCUMENT_DELETE' and actor = 'admin'"
        )
        == 1
    )

    keyless = await customer(pool)
    for wrong, told in (
        ({}, (400, "BAD_REQUEST")),
        ({"customer_id": keyless}, (409, "NO_LIVE_KEY")),
        ({"customer_id": 10**9}, (404, "UNKNOWN_CUSTOMER")),
    ):
        for answer in (
            await operator.store("docs", texts(1), **wrong),
            await operator.embed("text", **wrong),
            await operator.search("docs", "text", **wrong),
            await operator.show(**wrong),
            await operator.remove(name="docs", **wrong),
            await operator.make(b'{"doc_id": "a", "text": "x"}', name="docs", **{"import": 1}, **wrong),
            await operator.make({"name": "docs", "provider": "up", "model": "words", **wrong}),
        ):
            assert answer.status_and_code == told, answer
    # A customer's own key cannot act for somebody else.
    assert (await account.show(customer_id=keyless)).json["collections"][0]["name"] == "docs"


async def test_a_revoked_key_opens_no_door(
    account: Account, shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    await account.store("docs", texts(2))
    revoked = await shared.another_key(http, pool, account.customer_id)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", revoked.key_id)
    stranger = Account(http, shared.url, 0, 0, "kx_live_" + "A" * 43)
    for who in (revoked, stranger):
        for name in ("docs", "absent"):
            answers = {how: await ask(who, name) for how, ask in ASKED.items()}
            answers["import-into"] = await who.make(
                b'{"doc_id": "a", "text": "x"}', name=name, provider="up", model="words", **{"import": 1}
            )
            if name == "absent" or who is stranger:
                del answers["import"]  # without a model there is nothing that could be asked for
            answers |= {
                "embed": await who.embed("text"),
                "store": await who.store(name, texts(1)),
                "list": await who.show(),
                "make": await who.make({"name": name, "provider": "up", "model": "words"}),
            }
            assert {how: answer.status for how, answer in answers.items()} == dict.fromkeys(answers, 401)
    assert await account.vectors("docs") == 2


async def test_what_costs_nothing_counts_for_the_rate(
    account: Account, shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    await account.store("docs", texts(2))
    slow = await shared.another_key(http, pool, account.customer_id, rpm_limit=4)
    assert (await slow.show()).status == 200
    assert (await slow.search("docs", vector=[1.0] * DIMENSIONS)).status == 200
    assert (await slow.show(name="absent")).status == 404
    assert (
        await slow.make(b'{"doc_id": "a", "text": "x", "embedding": [1]}', name="docs", **{"import": 1})
    ).status == 409
    for answer in (
        await slow.show(),
        await slow.search("docs", "text"),
        await slow.remove(name="docs"),
        await slow.store("docs", texts(1)),
    ):
        assert answer.status_and_code == (429, "RATE_LIMITED")
