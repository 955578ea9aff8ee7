"""Collections through a real gateway: embedded, stored, searched, shown, taken out and in again, re-embedded."""

from __future__ import annotations

import array
import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.embedding import DIMENSIONS, Account, Answer, House, house, vector_of
from tests.support.money import assert_books_balance, spent_and_held

ANIMALS = {
    "cat": "the cat sleeps on the sofa",
    "dog": "the dog barks at the cat",
    "car": "a car drives on the road",
    "sun": "sunshine warms every stone",
}


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway for all tests here."""
    with house(server_dsn, pristine, tmp_path_factory.mktemp("collections")) as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Its database."""
    return shared.dsn


@pytest.fixture
async def account(shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> AsyncIterator[Account]:
    """A new customer; what it has done adds up at the end."""
    yield await shared.account(http, pool)
    await assert_books_balance(pool)


def ids(answer: Answer) -> list[str]:
    """The documents that were found, best first."""
    assert answer.status == 200, answer
    return [one["doc_id"] for one in answer.json["results"]]


def lines(answer: Answer) -> list[dict[str, Any]]:
    """NDJSON."""
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines() if line.strip()]


async def until(account: Account, name: str, state: str) -> dict[str, Any]:
    """A collection whose re-embedding has come to this state."""
    for _ in range(600):
        shown: dict[str, Any] = (await account.show(name=name)).json["collection"]
        if shown["reembedding"]["state"] == state:
            return shown
        await asyncio.sleep(0.05)
    raise AssertionError(shown)


async def test_vectors_alone_are_made_for_clients_old_and_new(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    old = await account.embed("a text", outputDimensionality=8, taskType="RETRIEVAL_QUERY", title="ignored")
    new = await account.embed(["a text", "two"], dimensions=8)
    assert (old.status, new.status) == (200, 200)
    assert [body["dimensions"] for body in shared.vendor.requests[-2:]] == [8, 8]
    assert (old.json["provider"], old.json["model"], old.json["dimensions"], old.json["count"]) == ("up", "words", 8, 1)
    assert new.json["embeddings"][0] == old.json["embeddings"][0]
    assert len(new.json["embeddings"]) == 2
    assert new.json["usage"]["input_tokens"] == new.json["usage"]["total_tokens"] == 9
    assert new.json["usage"]["cost_usd"] == "0.000009"
    assert set(old.json) >= {"usage", "month", "telemetry"}
    assert "collection" not in old.json
    assert (await account.show()).json["collections"] == []
    assert await spent_and_held(pool, account.customer_id) == (15_000, 0)


async def test_vectors_come_as_base64_on_request(account: Account) -> None:
    plain = (await account.embed("a text")).json["embeddings"][0]
    text = (await account.embed("a text", encoding_format="base64")).json["embeddings"][0]
    assert array.array("f", base64.b64decode(text)).tolist() == pytest.approx(plain)
    assert len(plain) == DIMENSIONS


@pytest.mark.parametrize(
    ("fields", "collection"),
    [
        ({}, None),
        ({"store": False}, None),
        ({"store": False, "collection": "docs"}, None),
        ({"collection": ""}, None),
        ({"collection": "docs"}, "docs"),
        ({"store": True, "collection": "docs"}, "docs"),
        ({"store": True}, "default"),
        ({"store": True, "collection": ""}, "default"),
        ({"collection": " my docs/ä "}, "my-docs--"),
        ({"collection": "a\nb"}, "a-b"),
    ],
)
async def test_what_is_stored_where_goes_by_collection_and_store(
    account: Account, fields: dict[str, Any], collection: str | None
) -> None:
    answer = await account.embed("a text", **fields)
    assert answer.status == 200, answer
    assert (answer.json.get("collection"), answer.json.get("stored")) == (collection, 1 if collection else None)
    assert ("embeddings" in answer.json) is (collection is None)
    listed = (await account.show()).json["collections"]
    assert [(one["name"], one["vectors"]) for one in listed] == ([(collection, 1)] if collection else [])


async def test_documents_are_replaced_by_their_ids(account: Account, pool: asyncpg.Pool) -> None:
    first = await account.store("docs", ANIMALS, include_embeddings=True)
    assert (first.json["stored"], first.json["replaced"], first.json["doc_ids"]) == (4, 0, list(ANIMALS))
    assert len(first.json["embeddings"]) == 4
    again = await account.store("docs", {"cat": "a cat in the kitchen", "new": "something new"})
    assert (again.json["stored"], again.json["replaced"]) == (2, 1)
    assert await account.vectors("docs") == 5
    assert (await account.show(name="docs", doc_id="cat")).json["document"]["text"] == "a cat in the kitchen"
    unnamed = await account.embed(["x", "y"], collection="docs")
    assert len(set(unnamed.json["doc_ids"])) == 2
    assert await account.vectors("docs") == 7
    twice = await account.embed(["x", "y"], collection="docs", doc_ids=["a", "a"])
    assert twice.status_and_code == (422, "DUPLICATE_DOC_ID")
    letters = sum(map(len, [*ANIMALS.values(), "a cat in the kitchen", "something new", "xy"]))
    assert await spent_and_held(pool, account.customer_id) == (letters * 1000, 0)


async def test_metadata_is_one_for_all_or_one_for_each(account: Account) -> None:
    tricky = {"deep": {"list": [1, 2.5, None, True, "\\u0000 as text"]}, "year": 2020, "": "no name", "big": 10**30}
    await account.store("docs", {"a": "one", "b": "two"}, metadata=tricky)
    await account.store("docs", {"c": "three", "d": "four"}, metadata=[{"year": 2021}, None])
    shown = [(await account.show(name="docs", doc_id=one)).json["document"]["metadata"] for one in "abcd"]
    assert shown == [tricky, tricky, {"year": 2021}, {}]


async def test_long_texts_are_cut_and_found_by_chunk_or_whole(account: Account) -> None:
    text = "The cat sleeps.  It dreams.\n\n" + "Cars drive on roads. " * 20 + "A whale sings below."
    stored = await account.store(
        "docs", {"long": text, "short": "whale"}, chunk={"size": 16, "overlap": 6, "by": "sentences"}, metadata={"k": 1}
    )
    assert stored.json["doc_ids"] == ["long", "short"]
    count = stored.json["stored"]
    assert count > 5
    stats = (await account.show(name="docs")).json["collection"]
    assert (stats["vectors"], stats["documents"]) == (count, 2)
    document = (await account.show(name="docs", doc_id="long", vectors=1)).json["document"]
    assert document["text"] == text
    assert [one["chunk"] for one in document["chunks"]] == list(range(count - 1))
    assert all(text[one["starts_at"] :].startswith(one["text"]) for one in document["chunks"])
    assert all(len(one["embedding"]) == DIMENSIONS for one in document["chunks"])
    found = (await account.search("docs", "A whale sings below.", top_k=2)).json["results"]
    assert (found[0]["doc_id"], found[0]["chunk"]) == ("long", count - 2)
    assert "whale" in found[0]["text"]
    whole = (await account.search("docs", "A whale sings below.", top_k=5, parent=True)).json["results"]
    assert {one["doc_id"]: one["text"] for one in whole} == {"long": text, "short": "whale"}
    shorter = await account.store("docs", {"long": "whale"})
    assert (shorter.json["stored"], shorter.json["replaced"]) == (1, count - 1)
    assert await account.vectors("docs") == 2


async def test_what_is_nearest_comes_first(account: Account, shared: House, pool: asyncpg.Pool) -> None:
    await account.store(
        "docs", ANIMALS, metadata=[{"kind": "pet", "n": 1}, {"kind": "pet", "n": 2}, {"kind": "thing"}, {}]
    )
    before = await spent_and_held(pool, account.customer_id)
    answer = await account.search("docs", "the cat sleeps on the sofa")
    body = answer.json
    assert ids(answer)[0] == "cat"
    assert body["matches"] == body["results"]
    assert [one["rank"] for one in body["results"]] == [1, 2, 3, 4]
    assert body["results"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert [one["score"] for one in body["results"]] == sorted((one["score"] for one in body["results"]), reverse=True)
    assert body["results"][0]["id"] == "cat"
    assert (body["count"], body["total_items"], body["top_k"], body["ok"]) == (4, 4, 8, True)
    assert body["usage"]["input_tokens"] == 26
    assert (await spent_and_held(pool, account.customer_id))[0] - before[0] == 26_000

    assert ids(
        await account.call("POST", "gateway-embed-search", {"collection": "docs", "input": "cat", "topK": 1})
    ) == ["cat"]
    assert len(ids(await account.search("docs", "cat", top_k=100))) == 4
    assert ids(await account.search("docs", "the cat sleeps on the sofa", threshold=0.99)) == ["cat"]
    assert ids(await account.search("docs", "cat", threshold=-1, filter={"kind": "pet"})) == ["cat", "dog"]
    assert ids(await account.search("docs", "cat", filter={"n": {"$gte": 2}})) == ["dog"]
    assert ids(await account.search("docs", "cat", filter={"$not": {"kind": "pet"}, "kind": {"$in": ["thing"]}})) == [
        "car"
    ]
    assert ids(await account.search("docs", "cat", filter={"kind": "none"})) == []


async def test_a_vector_of_ones_own_costs_nothing(account: Account, shared: House, pool: asyncpg.Pool) -> None:
    await account.store("docs", ANIMALS)
    asked, before = len(shared.vendor.requests), await spent_and_held(pool, account.customer_id)
    vector = vector_of(ANIMALS["dog"], DIMENSIONS)
    for factor in (1, 1e-12, 1e12, 10**12):
        found = (await account.search("docs", vector=[one * factor for one in vector], top_k=1)).json["results"]
        assert (found[0]["doc_id"], found[0]["score"]) == ("dog", pytest.approx(1, abs=1e-5))
    assert (len(shared.vendor.requests), await spent_and_held(pool, account.customer_id)) == (asked, before)


async def test_hybrid_search_also_finds_words(account: Account) -> None:
    texts = {f"n{at}": f"road number {at} and code ZX{at:03}" for at in range(60)}
    await account.store("docs", texts | ANIMALS, language="english")
    answer = await account.search("docs", "ZX042 barking", hybrid=True, top_k=3)
    assert {"n42", "dog"} <= set(ids(answer))
    assert all("fused_score" in one for one in answer.json["results"])
    narrow = await account.search("docs", "cats", hybrid=True, filter={"none": 1})
    assert ids(narrow) == []
    for odd in ("& | ! ( ' : * \\ <->", "a & b", "'", "\\", "the", "🙂", "x" * 5000, "<b>cat</b>"):
        assert (await account.search("docs", odd, hybrid=True)).status == 200


async def test_the_most_results_are_a_hundred(account: Account) -> None:
    await account.store("docs", {f"n{at}": f"text {at}" for at in range(120)})
    assert len(ids(await account.search("docs", "text", top_k=100))) == 100
    assert len(ids(await account.search("docs", "text", top_k=100, hybrid=True))) == 100


async def test_collections_are_listed_in_pages_with_their_figures(account: Account) -> None:
    for name in ("b", "a", "c"):
        await account.store(name, ANIMALS)
    listed = (await account.show()).json
    assert [one["name"] for one in listed["collections"]] == ["a", "b", "c"]
    first = listed["collections"][0]
    assert (first["vectors"], first["dimensions"], first["provider"], first["model"]) == (4, DIMENSIONS, "up", "words")
    assert first["created_at"] <= first["updated_at"]
    page = (await account.show(limit=2)).json
    assert ([one["name"] for one in page["collections"]], page["next_after"]) == (["a", "b"], "b")
    assert [one["name"] for one in (await account.show(limit=2, after="b")).json["collections"]] == ["c"]
    stats = (await account.show(name="a")).json["collection"]
    assert (stats["documents"], stats["text_bytes"]) == (4, sum(map(len, ANIMALS.values())))


async def test_documents_are_shown_in_pages(account: Account) -> None:
    await account.store("docs", {"long": "word " * 100, **ANIMALS}, chunk={"size": 16})
    seen: list[tuple[str, int]] = []
    more: dict[str, Any] | None = {}
    while more is not None:
        page = (await account.show(name="docs", documents=1, limit=3, **more)).json
        assert len(page["documents"]) <= 3
        seen += [(one["doc_id"], one["chunk"]) for one in page["documents"]]
        more = page["next"]
    assert len(seen) == len(set(seen)) == await account.vectors("docs")
    assert {doc_id for doc_id, _ in seen} == {"long", *ANIMALS}
    behind = (await account.show(name="docs", documents=1, after="long")).json["documents"]
    assert [one["doc_id"] for one in behind] == ["sun"]


async def test_what_was_exported_is_imported_as_it_was(account: Account, shared: House, pool: asyncpg.Pool) -> None:
    text = "First here.   Then there. \n" * 10
    await account.store("docs", ANIMALS, metadata={"n": [1, {"x": None}]}, language="german")
    await account.store("docs", {"long": text}, chunk={"size": 16, "overlap": 4})
    exported = await account.show(name="docs", export=1)
    head, *rows, last = lines(exported)
    assert head == {
        "collection": "docs",
        "provider": "up",
        "model": "words",
        "dimensions": DIMENSIONS,
        "language": "german",
    }
    assert last == {"exported": len(rows)}
    asked, spent = len(shared.vendor.requests), await spent_and_held(pool, account.customer_id)
    back = await account.make(exported.body, name="copy", **{"import": 1})
    assert (back.status, back.json["stored"], back.json["replaced"]) == (200, len(rows), 0)
    assert (len(shared.vendor.requests), await spent_and_held(pool, account.customer_id)) == (asked, spent)
    copy_head, *copied, _ = lines(await account.show(name="copy", export=1))
    assert (copied, copy_head) == (rows, head | {"collection": "copy"})
    assert (await account.show(name="copy", doc_id="long")).json["document"]["text"] == text
    again = await account.make(exported.body, name="docs", **{"import": 1})
    assert again.json["replaced"] == len(rows)


async def test_a_large_collection_is_exported_to_its_end(account: Account) -> None:
    await account.store("docs", {f"doc {at}": f"text {at}" for at in range(601)}, dimensions=4)
    head, *rows, last = lines(await account.show(name="docs", export=1))
    assert (head["dimensions"], len(rows), last) == (4, 601, {"exported": 601})
    assert len({row["doc_id"] for row in rows}) == 601
    back = b"\r\n".join(json.dumps(row).encode() for row in [head, *rows, last])
    assert (await account.make(back, name="copy", **{"import": 1})).json["stored"] == 601


async def test_an_import_without_vectors_is_embedded(account: Account, pool: asyncpg.Pool) -> None:
    body = b'{"doc_id": "a", "text": "the cat"}\n\n{"doc_id": 5, "text": "a car", "metadata": {"n": 1}}'
    answer = await account.make(body, name="docs", provider="up", model="words", **{"import": 1})
    assert (answer.status, answer.json["stored"]) == (200, 2)
    assert await spent_and_held(pool, account.customer_id) == (12_000, 0)
    assert ids(await account.search("docs", "cat", top_k=1)) == ["a"]
    more = await account.make(b'{"doc_id": "b", "text": "x"}', name="docs", **{"import": 1})
    assert (more.status, await account.vectors("docs")) == (200, 3)


async def test_a_collection_is_made_empty_renamed_and_deleted(account: Account, pool: asyncpg.Pool) -> None:
    body = {"name": "docs", "provider": "up", "model": "words", "dimensions": 8}
    made = await account.make(body)
    assert (made.status, made.json["collection"]["vectors"]) == (200, 0)
    assert (await account.make(body)).status == 200
    assert ids(await account.search("docs", "nothing there")) == []
    assert (await account.store("docs", ANIMALS)).status_and_code == (409, "DIMENSIONS_MISMATCH")
    assert (await account.store("docs", ANIMALS, dimensions=8)).status == 200
    assert (await account.store("docs", ANIMALS, dimensions=8, model="other")).status_and_code == (
        409,
        "MODEL_MISMATCH",
    )
    assert (await account.search("docs", vector=[1.0] * 9)).status_and_code == (409, "DIMENSIONS_MISMATCH")

    await account.store("taken", {"x": "x"})
    assert (await account.rename("docs", "taken")).status_and_code == (409, "CONFLICT")
    renamed = await account.rename("docs", "new name")
    assert (renamed.status, renamed.json["collection"]["name"]) == (200, "new-name")
    assert (await account.show(name="docs")).status_and_code == (404, "UNKNOWN_COLLECTION")
    assert await account.vectors("new-name") == 4

    gone = await account.remove(name="new-name", doc_id="cat")
    assert (gone.json["deleted"], gone.json["vectors"], await account.vectors("new-name")) == ("cat", 1, 3)
    assert (await account.show(name="new-name", doc_id="cat")).status_and_code == (404, "UNKNOWN_DOCUMENT")
    assert (await account.remove(name="new-name", doc_id="cat")).json["vectors"] == 0
    assert (await account.remove(name="new-name")).json == {"ok": True, "deleted": "new-name", "vectors": 3}
    assert (await account.remove(name="new-name")).json["vectors"] == 0
    assert (await account.search("new-name", "cat")).status_and_code == (404, "UNKNOWN_COLLECTION")
    assert (await account.store("new-name", {"a": "again"}, model="other")).status == 200
    written = await pool.fetch("select action from kaixu.audit_event where meta->>'request_id' is null order by id")
    assert {"COLLECTION_RENAME", "COLLECTION_DELETE"} <= {row["action"] for row in written}


async def test_a_collection_goes_on_its_way_to_another_length(
    account: Account, shared: House, pool: asyncpg.Pool
) -> None:
    await account.store("docs", ANIMALS | {"slow": "treacle flows slowly"}, metadata={"n": 1})
    spent = (await spent_and_held(pool, account.customer_id))[0]
    reembed = {"name": "docs", "reembed": {"provider": "up", "model": "words", "dimensions": 8}}
    with shared.vendor.holding("treacle"):
        started = await account.make(reembed)
        assert (started.status, started.json["reembedding"]["state"]) == (202, "running")
        await shared.vendor.is_reached()
        shown = (await account.show(name="docs")).json["collection"]
        assert (shown["dimensions"], shown["vectors"], shown["reembedding"]["total"]) == (DIMENSIONS, 5, 5)
        assert [one["name"] for one in (await account.show()).json["collections"]] == ["docs"]
        refused = [
            await account.store("docs", {"x": "x"}),
            await account.make(b'{"doc_id": "b", "text": "x"}', name="docs", **{"import": 1}),
            await account.remove(name="docs", doc_id="cat"),
            await account.rename("docs", "other"),
            await account.make(reembed),
        ]
        assert [one.status_and_code for one in refused] == [(409, "COLLECTION_BUSY")] * len(refused)
        assert ids(await account.search("docs", "the cat sleeps on the sofa", top_k=1)) == ["cat"]
        assert len(lines(await account.show(name="docs", export=1))) == 7
    done = await until(account, "docs", "done")
    assert (done["dimensions"], done["vectors"], done["reembedding"]["percent"]) == (8, 5, 100)
    assert ids(await account.search("docs", "the cat sleeps on the sofa", top_k=1)) == ["cat"]
    assert (await account.show(name="docs", doc_id="cat")).json["document"]["metadata"] == {"n": 1}
    assert (await account.store("docs", {"x": "x"}, dimensions=8)).status == 200
    letters = sum(map(len, ANIMALS.values())) + len("treacle flows slowly")
    expected = spent + (letters + len("the cat sleeps on the sofa") * 2 + 1) * 1000
    assert await spent_and_held(pool, account.customer_id) == (expected, 0)


async def test_a_re_embedding_is_called_off(account: Account, shared: House) -> None:
    await account.store("docs", {"slow": "molasses flow slowly"})
    reembed = {"name": "docs", "reembed": {"provider": "up", "model": "other", "dimensions": 8}}
    with shared.vendor.holding("molasses"):
        assert (await account.make(reembed)).status == 202
        await shared.vendor.is_reached()
        assert (await account.remove(name="docs", reembed=1)).json["cancelled"] is True
        assert (await account.remove(name="docs", reembed=1)).json["cancelled"] is False
        shown = (await account.show(name="docs")).json["collection"]
        assert (shown["model"], shown["dimensions"], shown["reembedding"]["state"]) == (
            "words",
            DIMENSIONS,
            "cancelled",
        )
        assert (await account.store("docs", {"x": "x"})).status == 200
    assert (await account.make(reembed)).status == 202
    shown = await until(account, "docs", "done")
    assert (shown["model"], shown["vectors"]) == ("other", 2)


async def test_a_re_embedding_that_runs_out_of_money_says_so_and_goes_on_later(
    account: Account, pool: asyncpg.Pool
) -> None:
    await account.store("docs", ANIMALS)
    spent = (await spent_and_held(pool, account.customer_id))[0]
    cap = "update kaixu.customer set monthly_cap_nusd = $2 where id = $1"
    await pool.execute(cap, account.customer_id, spent + 1)
    reembed = {"name": "docs", "reembed": {"provider": "up", "model": "words", "dimensions": 8}}
    assert (await account.make(reembed)).status == 202
    failed = await until(account, "docs", "failed")
    assert (failed["reembedding"]["code"], failed["dimensions"]) == ("CAP_REACHED", DIMENSIONS)
    await pool.execute(cap, account.customer_id, 10**12)
    assert (await account.store("docs", {"new": "x"})).status == 200
    assert (await account.make(reembed)).status == 202
    done = await until(account, "docs", "done")
    assert (done["dimensions"], done["vectors"]) == (8, len(ANIMALS) + 1)


async def test_chat_answers_from_what_it_looked_up(account: Account, shared: House) -> None:
    await account.store("docs", ANIMALS)
    answer = await account.call(
        "POST",
        "gateway-chat",
        {
            "provider": "up",
            "model": "talk",
            "messages": [{"role": "user", "content": "where sleeps the cat"}],
            "retrieve": {"collection": "docs", "top_k": 1},
        },
    )
    assert answer.status == 200, answer
    assert [one["doc_id"] for one in answer.json["citations"]] == ["cat"]
    assert 'Passage [1]: """the cat sleeps on the sofa"""' in shared.vendor.requests[-1]["messages"][-1]["content"]
    assert [line["operation"] for line in answer.json["bill"]["lines"]] == ["search", "chat"]


async def test_the_model_on_this_machine_finds_by_meaning(account: Account, pool: asyncpg.Pool) -> None:
    stored = await account.store("docs", ANIMALS, provider="local", model="here", dimensions=128)
    assert (stored.status, stored.json["dimensions"]) == (200, 128)
    assert ids(await account.search("docs", "a kitten naps on the couch", top_k=1)) == ["cat"]
    assert ids(await account.search("docs", "vehicles on the highway", top_k=1)) == ["car"]
    assert await spent_and_held(pool, account.customer_id) == (0, 0)
