"""Whatever is sent to the doors of collections, it is never the gateway that fails, and the error names the place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest
from yarl import URL

from kaixu.store.query import Connection
from tests.support.embedding import DIMENSIONS, Account, Answer, House, house
from tests.support.money import assert_books_balance

IMPORT = {"import": 1}


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway for all tests here."""
    with house(server_dsn, pristine, tmp_path_factory.mktemp("input")) as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Its database."""
    return shared.dsn


async def with_documents(shared: House, http: aiohttp.ClientSession, pool: Connection) -> Account:
    """A new customer with three documents."""
    account = await shared.account(http, pool)
    stored = await account.store("docs", {"a": "one", "b": "two", "c": "three"}, metadata={"n": 1})
    assert stored.status == 200, stored
    return account


@pytest.fixture
async def account(shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> AsyncIterator[Account]:
    """A new customer with three documents."""
    yield await with_documents(shared, http, pool)
    await assert_books_balance(pool)


@pytest.fixture(scope="module")
def unchanged(shared: House) -> Iterator[Account]:
    """A customer with three documents, for all tests that change nothing."""

    async def make() -> Account:
        connection = await asyncpg.connect(shared.dsn)
        async with aiohttp.ClientSession() as http:
            account = await with_documents(shared, http, connection)
        await connection.close()
        return account

    async def check() -> None:
        connection = await asyncpg.connect(shared.dsn)
        await assert_books_balance(connection)
        await connection.close()

    yield asyncio.run(make())
    asyncio.run(check())


@pytest.fixture
def patient(unchanged: Account, http: aiohttp.ClientSession) -> Account:
    """Its key, over this test's own connections."""
    return Account(http, unchanged.url, unchanged.customer_id, unchanged.key_id, unchanged.key)


def refused(answer: Answer, status: int, code: str | None = None, field: str | None = None) -> None:
    """It is an error as errors are told."""
    body = answer.json
    assert answer.status == status, answer
    assert body["error"]
    assert body["request_id"]
    assert code is None or body["code"] == code, body
    assert field is None or field in body["error"], body


def nested(depth: int) -> Any:
    """A value that deep."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


EMBED: list[tuple[dict[str, Any], int, str]] = [
    ({"input": None}, 400, "input"),
    ({"input": ""}, 422, "input"),
    ({"input": " \n"}, 422, "input"),
    ({"input": []}, 422, "input"),
    ({"input": ["a", ""]}, 422, "input[1]"),
    ({"input": 5}, 422, "input"),
    ({"input": {"a": 1}}, 422, "input"),
    ({"input": [1, 2]}, 422, "input[0]"),
    ({"input": ["a"] * 2049}, 422, "input"),
    ({"input": "a\0b"}, 422, "input"),
    ({"input": ["a", "a\0b"]}, 422, "input[1]"),
    ({"input": "x" * (2 * 1024 * 1024 + 1)}, 413, "input"),
    ({"input": "x" * 10_000_000}, 413, ""),
    ({"model": None}, 400, "model"),
    ({"model": 5}, 400, "model"),
    ({"model": "none"}, 400, "none"),
    ({"model": "a\0"}, 400, "model"),
    ({"model": "talk"}, 400, "talk"),
    ({"provider": 5}, 400, "provider"),
    ({"provider": "x" * 10_000}, 422, "provider"),
    ({"store": "yes"}, 422, "store"),
    ({"collection": 5}, 422, "collection"),
    ({"collection": False}, 422, "collection"),
    ({"collection": []}, 422, "collection"),
    ({"collection": {}, "store": True}, 422, "collection"),
    ({"collection": "x" * 121}, 422, "collection"),
    ({"collection": "  "}, 400, "collection"),
    ({"doc_ids": []}, 422, "doc_ids"),
    ({"doc_ids": ["a", "b"]}, 422, "doc_ids"),
    ({"doc_ids": {"a": 1}}, 422, "doc_ids"),
    ({"doc_ids": [""]}, 422, "doc_ids[0]"),
    ({"doc_ids": ["a\0"]}, 400, "doc_ids[0]"),
    ({"doc_ids": ["a\n"]}, 422, "doc_ids[0]"),
    ({"doc_ids": ["x" * 201]}, 422, "doc_ids[0]"),
    ({"doc_ids": [True]}, 422, "doc_ids[0]"),
    ({"doc_ids": [None]}, 422, "doc_ids[0]"),
    ({"doc_ids": [1.5]}, 422, "doc_ids[0]"),
    ({"input": ["x", "y"], "doc_ids": ["1", 1]}, 422, "doc_ids"),
    ({"metadata": 5}, 422, "metadata"),
    ({"metadata": "x"}, 422, "metadata"),
    ({"metadata": []}, 422, "metadata"),
    ({"metadata": [{}, {}]}, 422, "metadata"),
    ({"metadata": [5]}, 422, "metadata[0]"),
    ({"metadata": {"a": "\0"}}, 400, "metadata"),
    ({"metadata": {"a\0": 1}}, 400, "metadata"),
    ({"metadata": {"a": "\\\0"}}, 400, "metadata"),
    ({"metadata": {"a": "x" * 16_384}}, 413, "metadata"),
    ({"dimensions": 0}, 422, "dimensions"),
    ({"dimensions": -1}, 422, "dimensions"),
    ({"dimensions": 16_001}, 422, "dimensions"),
    ({"dimensions": "8"}, 422, "dimensions"),
    ({"dimensions": 1.5}, 422, "dimensions"),
    ({"dimensions": 10**30}, 422, "dimensions"),
    ({"outputDimensionality": "x"}, 422, "outputDimensionality"),
    ({"dimensions": 8}, 409, "dimensions"),
    ({"model": "other"}, 409, "up/words"),
    ({"language": "klingon"}, 422, "language"),
    ({"language": 5}, 422, "language"),
    ({"language": "english'; --"}, 422, "language"),
    ({"encoding_format": "hex"}, 422, "encoding_format"),
    ({"input_type": "x"}, 422, "input_type"),
    ({"taskType": 5}, 422, "taskType"),
    ({"truncate": 1}, 422, "truncate"),
    ({"include_embeddings": "x"}, 422, "include_embeddings"),
    ({"user": "x" * 501}, 422, "user"),
    ({"chunk": 5}, 422, "chunk"),
    ({"chunk": {"size": 5}}, 422, "chunk.size"),
    ({"chunk": {"size": 100, "overlap": 51}}, 422, "chunk.overlap"),
    ({"chunk": {"size": 8}, "input": "word " * 50_000}, 422, "chunk"),
    ({"chunk": {"size": 100}, "store": False}, 422, "chunk"),
]


@pytest.mark.parametrize(("fields", "status", "field"), EMBED, ids=lambda value: ascii(value)[:40])
async def test_an_ingest_that_is_wrong_is_refused_by_name(
    patient: Account, shared: House, fields: dict[str, Any], status: int, field: str
) -> None:
    asked = len(shared.vendor.requests)
    body = {"provider": "up", "model": "words", "input": "a text", "collection": "docs", **fields}
    refused(await patient.call("POST", "gateway-embed", body), status, field=field)
    assert (len(shared.vendor.requests), await patient.vectors("docs")) == (asked, 3)


SEARCH: list[tuple[dict[str, Any], int, str]] = [
    ({"query": None}, 400, "query"),
    ({"query": ""}, 422, "query"),
    ({"query": 5}, 422, "query"),
    ({"query": ["a"]}, 422, "query"),
    ({"query": "a\0"}, 400, "query"),
    ({"query": "x" * (2 * 1024 * 1024 + 1)}, 413, "query"),
    ({"collection": None}, 400, "collection"),
    ({"collection": 5}, 422, "collection"),
    ({"collection": "absent"}, 404, "absent"),
    ({"top_k": 0}, 422, "top_k"),
    ({"top_k": 101}, 422, "top_k"),
    ({"top_k": "5"}, 422, "top_k"),
    ({"top_k": 1.5}, 422, "top_k"),
    ({"top_k": True}, 422, "top_k"),
    ({"top_k": -(10**30)}, 422, "top_k"),
    ({"topK": 0}, 422, "topK"),
    ({"threshold": "0.5"}, 422, "threshold"),
    ({"threshold": 2}, 422, "threshold"),
    ({"threshold": -1.01}, 422, "threshold"),
    ({"threshold": True}, 422, "threshold"),
    ({"hybrid": 1}, 422, "hybrid"),
    ({"hybrid": True, "query": None, "vector": [1.0] * DIMENSIONS}, 422, "hybrid"),
    ({"parent": "x"}, 422, "parent"),
    ({"filter": 5}, 422, "filter"),
    ({"filter": []}, 422, "filter"),
    ({"filter": {"$where": 1}}, 422, "filter.$where"),
    ({"filter": {"a": {"$regex": "x"}}}, 422, "filter.a.$regex"),
    ({"filter": {str(at): at for at in range(1000)}}, 422, "filter"),
    ({"filter": {"$and": [{}] * 100_000}}, 422, "filter.$and"),
    ({"filter": {"a": {"$in": list(range(1000))}}}, 422, "filter.a.$in"),
    ({"filter": nested(100)}, 422, "filter"),
    ({"filter": {"a\0": 1}}, 400, "filter"),
    ({"filter": {"a": "\0"}}, 400, "filter"),
    ({"filter": {"a": 10**400}}, 422, "filter"),
    ({"vector": []}, 422, "vector"),
    ({"vector": "x"}, 422, "vector"),
    ({"vector": ["1"]}, 422, "vector"),
    ({"vector": [None]}, 422, "vector"),
    ({"vector": [True] * DIMENSIONS}, 422, "vector"),
    ({"vector": [0] * DIMENSIONS}, 422, "vector"),
    ({"vector": [1e-300] * DIMENSIONS}, 422, "vector"),
    ({"vector": [1e300] * DIMENSIONS}, 422, "vector"),
    ({"vector": [10**400] * DIMENSIONS}, 422, "vector"),
    ({"vector": [1.0] * 16_001}, 422, "vector"),
    ({"vector": [1.0] * (DIMENSIONS + 1)}, 409, "dimensions"),
    ({"vector": [1.0]}, 409, "dimensions"),
]


@pytest.mark.parametrize(("fields", "status", "field"), SEARCH, ids=lambda value: ascii(value)[:40])
async def test_a_search_that_is_wrong_is_refused_by_name(
    patient: Account, fields: dict[str, Any], status: int, field: str
) -> None:
    body = {"collection": "docs", "query": "a text", **fields}
    refused(await patient.call("POST", "gateway-embed-search", body), status, field=field)


BODIES = {
    "empty": b"",
    "no-json": b"{",
    "list": b"[]",
    "number": b"5",
    "nan": b'{"collection": "docs", "threshold": NaN, "vector": [NaN]}',
    "infinity": b'{"collection": "docs", "vector": [Infinity]}',
    "too-large": b'{"collection": "docs", "vector": [1e999]}',
    "surrogate": b'{"collection": "docs", "query": "\\ud800", "input": "\\ud800"}',
    "surrogate-in-utf-8": b'{"collection": "docs", "query": "\xed\xa0\x80", "input": "\xed\xa0\x80"}',
    "latin-1": b'{"collection": "d\xf6cs"}',
    "deep": b'{"a":' * 100_000,
    "deep-and-whole": b'{"filter": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep-metadata": b'{"provider": "up", "model": "words", "input": "x", "store": true, "metadata": '
    + b'{"a":' * 5000
    + b"1"
    + b"}" * 5001,
    "digits": b'{"collection": "docs", "top_k": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_json_object_is_a_400_at_every_door(patient: Account, body: bytes) -> None:
    for method, name in (
        ("POST", "gateway-embed"),
        ("POST", "gateway-embed-search"),
        ("POST", "gateway-embed-collections"),
        ("PATCH", "gateway-embed-collections"),
    ):
        answer = await patient.call(method, name, body)
        assert answer.status in (400, 422), (method, name, answer)
        refused(answer, answer.status)


LINE = {"doc_id": "a", "text": "x"}
VECTOR = [1.0] * DIMENSIONS


def ndjson(*rows: Any) -> bytes:
    """Lines."""
    return b"\n".join(json.dumps(row).encode() for row in rows)


IMPORTS: list[tuple[str, bytes, int, str]] = [
    ("nothing", b"", 400, "no document"),
    ("blank", b"\n \n", 400, "no document"),
    ("only-a-head", ndjson({"model": "words", "provider": "up"}), 400, "no document"),
    ("broken", ndjson(LINE) + b"\n\n{broken", 400, "line 3"),
    ("cut", ndjson(LINE) + b'\n{"doc_id": "b", "te', 400, "line 2"),
    ("list", ndjson(LINE, []), 400, "line 2"),
    ("latin-1", b'{"doc_id": "\xf6", "text": "x"}', 400, "line 1"),
    ("surrogate", b'{"doc_id": "a", "text": "\\ud800"}', 400, "line 1"),
    ("deep", b"[" * 100_000, 400, "line 1"),
    ("digits", b'{"doc_id": ' + b"9" * 5000 + b', "text": "x"}', 400, "line 1"),
    ("no-id", ndjson(LINE, {"text": "x"}), 422, "line 2.doc_id"),
    ("no-text", ndjson({"doc_id": "a"}), 422, "line 1.text"),
    ("empty-text", ndjson(LINE, {"doc_id": "b", "text": ""}), 422, "line 2.text"),
    ("nul", ndjson(LINE, {"doc_id": "b", "text": "a\0"}), 422, "line 2.text"),
    ("nul-in-id", ndjson({"doc_id": "a\0", "text": "x"}), 422, "line 1.doc_id"),
    ("metadata", ndjson({**LINE, "metadata": []}), 422, "line 1.metadata"),
    ("huge-metadata", ndjson({**LINE, "metadata": {"a": "x" * 20_000}}), 413, "line 1.metadata"),
    ("chunk", ndjson({**LINE, "chunk": -1}), 422, "line 1.chunk"),
    ("starts-at", ndjson({**LINE, "starts_at": 2**31 - 1}), 422, "line 1.starts_at"),
    ("twice", ndjson(LINE, LINE), 422, "line 2"),
    ("mixed", ndjson({**LINE, "embedding": VECTOR}, {"doc_id": "b", "text": "x"}), 422, "embedding"),
    ("mixed-lengths", ndjson({**LINE, "embedding": VECTOR}, {"doc_id": "b", "text": "x", "embedding": [1]}), 422, "length"),
    ("wrong-length", ndjson({**LINE, "embedding": [1.0]}), 409, "dimensions"),
    ("zero", ndjson({**LINE, "embedding": [0] * DIMENSIONS}), 422, "line 1.embedding"),
    ("null", ndjson({**LINE, "embedding": None}), 422, "line 1.embedding"),
    ("words", ndjson({**LINE, "embedding": ["x"]}), 422, "line 1.embedding"),
    ("nan", b'{"doc_id": "a", "text": "x", "embedding": [NaN]}', 400, "line 1"),
    ("huge", ndjson({**LINE, "embedding": [1e300] * DIMENSIONS}), 422, "line 1.embedding"),
    ("huge-whole", ndjson({**LINE, "embedding": [10**400] * DIMENSIONS}), 422, "line 1.embedding"),
    ("too-many", ndjson(*({"doc_id": str(at), "text": "x"} for at in range(2049))), 422, "2048"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "says"), [one[1:] for one in IMPORTS], ids=[one[0] for one in IMPORTS])
async def test_an_import_that_is_wrong_names_the_line_and_stores_nothing(
    patient: Account, shared: House, body: bytes, status: int, says: str
) -> None:
    asked = len(shared.vendor.requests)
    refused(await patient.make(body, name="docs", **IMPORT), status, field=says)
    assert (len(shared.vendor.requests), await patient.vectors("docs")) == (asked, 3)


async def test_an_import_says_which_model_or_is_refused(account: Account) -> None:
    body = ndjson(LINE)
    refused(await account.make(body, name="new", **IMPORT), 400, field="model")
    refused(await account.make(body, **IMPORT), 400, field="name")
    refused(await account.make(body, name="docs", provider="up", model="other", **IMPORT), 409, "MODEL_MISMATCH")
    refused(await account.make(body, name="new", provider="up", model="none", **IMPORT), 400)
    refused(await account.make(ndjson({"model": 5, "provider": []}, LINE), name="new", **IMPORT), 400)
    odd = ndjson({"provider": "up", "model": "words", "language": ["x"]}, LINE)
    assert (await account.make(odd, name="new", **IMPORT)).status == 200


MAKES: list[tuple[Any, int, str]] = [
    ({}, 400, "name"),
    ({"name": 5}, 422, "name"),
    ({"name": "new"}, 400, "model"),
    ({"name": "new", "provider": "up", "model": "unknown-length"}, 422, "dimensions"),
    ({"name": "new", "provider": "up", "model": "words", "dimensions": 0}, 422, "dimensions"),
    ({"name": "new", "provider": "up", "model": "words", "language": "x"}, 422, "language"),
    ({"name": "docs", "provider": "up", "model": "other"}, 409, "docs"),
    ({"name": "docs", "provider": "up", "model": "words", "dimensions": 5}, 409, "docs"),
    ({"name": "docs", "reembed": 5}, 422, "reembed"),
    ({"name": "docs", "reembed": None}, 422, "reembed"),
    ({"name": "docs", "reembed": {}}, 400, "model"),
    ({"name": "docs", "reembed": {"provider": "up", "model": "talk"}}, 400, "talk"),
    ({"name": "docs", "reembed": {"provider": "up", "model": "words", "dimensions": "x"}}, 422, "reembed.dimensions"),
    ({"name": "absent", "reembed": {"provider": "up", "model": "words"}}, 404, "absent"),
    ({"reembed": {"provider": "up", "model": "words"}}, 400, "name"),
]


@pytest.mark.parametrize(("body", "status", "says"), MAKES, ids=lambda value: ascii(value)[:40])
async def test_a_collection_that_cannot_be_made_is_refused_by_name(
    patient: Account, body: Any, status: int, says: str
) -> None:
    refused(await patient.make(body), status, field=says)


async def test_a_new_name_is_a_name(account: Account) -> None:
    for body, status in (
        ({"name": "docs"}, 400),
        ({"name": "docs", "new_name": ""}, 400),
        ({"name": "docs", "new_name": 5}, 422),
        ({"name": "docs", "new_name": "x" * 121}, 422),
        ({"new_name": "x"}, 400),
        ({"name": "absent", "new_name": "x"}, 404),
    ):
        refused(await account.call("PATCH", "gateway-embed-collections", body), status)
    refused(await account.rename("docs", "a\0"), 400, field="new_name")
    odd = await account.rename("docs", " ../ä\n<b> ")
    assert odd.json["collection"]["name"] == "..----b-"
    exported = await account.show(name=" ../ä\n<b> ", export=1)
    assert exported.status == 200


def exactly(text: str) -> URL:
    """An address that is sent as it stands."""
    return URL(text, encoded=True)


QUERIES = (
    "?name=%00", "?after=%00", "?after=" + "x" * 500, "?limit=0", "?limit=x", "?limit=201", "?limit=%D9%A3", "?limit=1.5",
    "?name=docs&doc_id=%00", "?name=docs&doc_id=" + "x" * 300, "?name=docs&doc_id=%ff%fe", "?name=" + "x" * 5000,
    "?name=docs&documents=1&after=%00", "?name=docs&documents=1&after=a&after_chunk=-1",
    "?name=docs&documents=1&after=a&after_chunk=99999999999999999999", "?name=docs&documents=1&limit=1000",
    "?name=docs&name=other&documents=1&documents=0", "?name=docs&export=1&export=1", "?" + "&".join(f"a{at}=1" for at in range(1000)),
    "?" + "name=docs&" * 1000, "?name=docs&doc_id=a&vectors=maybe", "?=&&&=", "?name=%F0%9F%99%82", "?name=docs&documents=1&after=%F0%9F%99%82",
    "?customer_id=%00", "?import=1&name=%00", "?reembed=1", "?name=docs&reembed=1",
)  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:40])
async def test_no_query_makes_the_gateway_fail(
    account: Account, http: aiohttp.ClientSession, shared: House, query: str
) -> None:
    url = exactly(f"{shared.url}/api/gateway-embed-collections{query}")
    for method in ("GET", "POST", "PATCH", "DELETE"):
        body = b"{}" if method in ("POST", "PATCH") else None
        async with http.request(method, url, data=body, headers=account.headers) as response:
            answer = Answer(response.status, await response.read())
        assert answer.status < 500, (method, answer)
        if answer.status >= 400:
            refused(answer, answer.status)


async def test_of_a_repeated_field_the_first_counts_and_a_thousand_are_refused(
    account: Account, http: aiohttp.ClientSession, shared: House
) -> None:
    await account.store("other", {"x": "x"})
    for query, status, vectors in (
        ("name=docs&name=other", 200, 3),
        ("name=other&name=docs", 200, 1),
        ("name=docs&" * 1000, 400, None),
    ):
        async with http.get(
            exactly(f"{shared.url}/api/gateway-embed-collections?{query}"), headers=account.headers
        ) as response:
            body = await response.json()
            assert (response.status, body.get("collection", {}).get("vectors")) == (status, vectors)


async def test_odd_documents_are_stored_as_they_are(account: Account) -> None:
    odd = {
        "emoji 🙂/ä?&=%": "text with 🙂 and \u2028 and \ufeff and \x7f and \x01",
        "../..": "'; drop table kaixu.document; --",
        "5": "\\u0000 and \\x00 and %00",
        "long": "x" * 300_000,
        "deep": "as deep as can be read",
    }
    metadata = [{"a.b": 1, "$gt": 2, "": {"deep": [[[[]]]]}}, {"x": 1.5e15}, {"x": "\\u0000"}, {"x": -0.0}, nested(300)]
    assert (await account.store("docs", odd, metadata=metadata)).status == 200
    for (doc_id, text), expected in zip(odd.items(), metadata, strict=True):
        document = (await account.show(name="docs", doc_id=doc_id)).json["document"]
        assert (document["text"], document["metadata"]) == (text, expected)
    assert (await account.search("docs", "drop table", hybrid=True)).status == 200
    exported = await account.show(name="docs", export=1)
    assert (await account.make(exported.body, name="copy", **IMPORT)).json["stored"] == 8


@pytest.mark.parametrize(
    "text",
    [
        " ".join(chr(0x4E00 + at % 20_000) + chr(0x4E00 + at // 20_000) for at in range(80_000)),
        " ".join(
            f"{chr(0x10400 + at % 40)}{chr(0x4E00 + at % 20_000)}-{chr(0x4E00 + at // 7)}" for at in range(80_000)
        ),
        " ".join(f"{at:x}-{at + 7:x}.{at:x}.com/{at:x}/{at:x}" for at in range(9_000)),
        "-".join(chr(0x4E00 + at % 20_000) + chr(0x4E00 + at // 20_000) for at in range(80_000)),
        "İ" * 300_000,
        "a " * 500_000,
    ],
    ids=["chinese", "hyphens", "addresses", "one-word", "longer-in-small-letters", "short"],
)
async def test_a_text_of_any_words_is_stored(account: Account, text: str) -> None:
    answer = await account.store("docs", {"words": text})
    assert answer.status == 200, answer
    assert (await account.search("docs", text[-20:], hybrid=True, top_k=1)).status == 200


async def test_a_very_long_question_is_searched_for(account: Account) -> None:
    question = " ".join(f"word{at}" for at in range(150_000))
    for hybrid in (False, True):
        assert (await account.search("docs", question, hybrid=hybrid)).status == 200
    assert (await account.search("docs", "x" * 2_000_000, hybrid=True)).status == 200


async def test_other_methods_are_refused(patient: Account) -> None:
    for method, name in (
        ("GET", "gateway-embed"),
        ("DELETE", "gateway-embed-search"),
        ("PUT", "gateway-embed-collections"),
    ):
        refused(await patient.call(method, name), 405, "METHOD_NOT_ALLOWED")


async def test_a_retrieval_that_is_wrong_is_refused_before_the_vendor_is_asked(patient: Account, shared: House) -> None:
    asked = len(shared.vendor.requests)
    chat: dict[str, Any] = {"provider": "up", "model": "talk", "messages": [{"role": "user", "content": "hi"}]}
    for retrieve, status, field in (
        (5, 422, "retrieve"),
        ({}, 400, "retrieve.collection"),
        ({"collection": "absent"}, 404, "absent"),
        ({"collection": "docs", "top_k": 0}, 422, "retrieve.top_k"),
        ({"collection": "docs", "top_k": 51}, 422, "retrieve.top_k"),
        ({"collection": "docs", "filter": {"$x": 1}}, 422, "retrieve.filter.$x"),
        ({"collection": "docs", "threshold": 5}, 422, "retrieve.threshold"),
        ({"collection": "docs", "max_characters": 5}, 422, "retrieve.max_characters"),
        ({"collection": "docs", "more": 1}, 422, "retrieve.more"),
    ):
        refused(await patient.call("POST", "gateway-chat", chat | {"retrieve": retrieve}), status, field=field)
    nul = chat | {"messages": [{"role": "user", "content": "a\0"}], "retrieve": {"collection": "docs"}}
    refused(await patient.call("POST", "gateway-chat", nul), 422)
    none = chat | {"messages": [{"role": "assistant", "content": "x"}], "retrieve": {"collection": "docs"}}
    refused(await patient.call("POST", "gateway-chat", none), 422)
    assert len(shared.vendor.requests) == asked
