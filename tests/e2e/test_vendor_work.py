"""What a vendor has done is in the books, whatever became of the call: for every operation and every failure after it.

A customer pays nothing for an answer that came to nothing by no fault of its own; the operator's cost is recorded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from kaixu.reports.reconcile import reconcile
from kaixu.store.pool import open_pool
from tests.support.failing import CHAT, DIMENSIONS, EMBED, FailingVendor
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.vendors.stage import database

PLUGIN = """
import time
import httpx, msgspec
from kaixu.plugin import (
    Integration, Job, NotFound, Operation, Options, PerCall, PerUnit, Retry, WireUrl, hookimpl,
)

class AskOptions(Options):
    url: WireUrl

class Ask(msgspec.Struct):
    how: str

class Asked(msgspec.Struct):
    job: str = ""

async def asked(call):
    request = httpx.Request("POST", call.options.url + "/plain", json={})
    async with call.wire.send(request) as response:
        await response.aread()
    call.count("pages", 3)
    if call.body.how == "refuse":
        raise NotFound("there is no such thing")
    if call.body.how == "break":
        raise ValueError("a bug")
    return Asked()

async def files(call):
    url = call.options.url + "/plain"
    async with call.scratch(1_000_000) as folder:
        def work():
            (folder / "file").write_bytes(b"x" * 100)
            return call.wire.blocking().send(httpx.Request("POST", url, content=(folder / "file").read_bytes()))
        await call.in_thread(work)
        async with call.wire.send(httpx.Request("POST", url + "/nowhere", content=b"x" * 50), accept={404}):
            pass
        if call.body.how == "slow":
            await call.in_thread(time.sleep, 2.2)
        return Asked(f"{folder.parent.name} {folder.stat().st_mode & 0o777:o}")

async def later(call):
    async with call.db() as db:
        return Asked(str(await db.enqueue("ask.work", call.body)))

@hookimpl
def register_integrations(register):
    register(Integration(
        "ask", options=AskOptions,
        operations=[
            Operation("ask.now", asked, Ask, PerCall("call"), on_failure="release"),
            Operation("ask.later", later, Ask, PerCall("call"), on_failure="release"),
            Operation("ask.files", files, Ask, PerUnit("byte", unit="bytes_sent", most=1000), timeout_s=2, on_failure="release"),
        ],
        jobs=[Job("ask.work", asked, Ask, PerCall("call"), retry=Retry(attempts=1), on_failure="release")],
    ))
"""

CONFIG = """
gateway: {{jobs: {{attempts: 1}}}}
lanes:
  up:
    plugin: openai
    base_url: {url}
    api_key: sk-vendor
    retries: 0
    models:
      fine: {{type: chat, price: {{input: 1, output: 2}}, cost: {{input: 0.5, output: 1}}}}
      words: {{type: embed, dimensions: 32, price: {{input: 1}}, cost: {{input: 0.5}}}}
      fixed: {{type: embed, dimensions: 32, fixed_dimensions: true, price: {{input: 1}}, cost: {{input: 0.5}}}}
{models}
  mixed:
    plugin: openai
    base_url: {url}
    api_key: sk-vendor
    retries: 0
    models:
      chat:
        type: chat
        price: {{input: 1, output: 2}}
        cost: {{input: 0.5, output: 1}}
        upstream: usage-then-nonsense
        fallback: [up/fine]
integrations:
  ask: {{plugin: ./ask, url: '{url}', price: {{call: 0.001, byte: 0.000001}}}}
"""

PAGES = 1_000_000


def config(url: str) -> str:
    """With a model for each failure."""
    chat = [
        f"      {name}: {{type: chat, price: {{input: 1, output: 2}}, cost: {{input: 0.5, output: 1}}}}"
        for name in CHAT
    ]
    embed = [
        f"      {name}: {{type: embed, dimensions: {DIMENSIONS}, price: {{input: 1}}, cost: {{input: 0.5}}}}"
        for name in EMBED
    ]
    return CONFIG.format(url=url, models="\n".join(chat + embed))


class Caller:
    """A new customer."""

    def __init__(self, stage: Stage, customer_id: int, key: str) -> None:
        self.stage = stage
        self.customer_id = customer_id
        self.headers = {"authorization": f"Bearer {key}"}

    async def post(self, path: str, body: Any, **params: str) -> tuple[int, bytes]:
        """One call, read to its end; a stream may end early."""
        url = f"{self.stage.process.url}{path}"
        async with self.stage.http.post(url, json=body, headers=self.headers, params=params) as response:
            return response.status, await response.read()

    async def batch(self, endpoint: str, body: Any) -> None:
        """A batch of one line, to its end."""
        line = json.dumps({"custom_id": "a", "method": "POST", "url": endpoint, "body": body})
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", line, filename="lines.jsonl")
        url = f"{self.stage.process.url}/v1/files"
        async with self.stage.http.post(url, data=form, headers=self.headers) as response:
            file = await response.json()
            assert response.status == 200, file
        wanted = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h"}
        status, said = await self.post("/v1/batches", wanted)
        assert status == 200, said
        async with asyncio.timeout(30):
            while not await self.events():
                await asyncio.sleep(0.05)

    async def ended(self, job_id: str) -> None:
        """Wait until a job has ended."""
        async with asyncio.timeout(30):
            while await self.stage.pool.fetchval("select completed_at is null from kaixu.job where id = $1", job_id):
                await asyncio.sleep(0.05)

    async def events(self) -> list[asyncpg.Record]:
        """The customer's usage events, once nothing is held any more."""
        async with asyncio.timeout(30):
            while await self.stage.pool.fetchval(
                "select count(*) from kaixu.reservation where customer_id = $1", self.customer_id
            ):
                await asyncio.sleep(0.05)
        return await self.stage.pool.fetch(
            "select * from kaixu.usage_event where customer_id = $1 order by id", self.customer_id
        )


class Stage:
    """One gateway, its vendor, its database."""

    def __init__(
        self, process: Process, vendor: FailingVendor, pool: asyncpg.Pool, http: aiohttp.ClientSession
    ) -> None:
        self.process = process
        self.vendor = vendor
        self.pool = pool
        self.http = http

    async def caller(self) -> Caller:
        """A new customer's key."""
        customer_id = await customer(self.pool)
        return Caller(self, customer_id, (await virtual_key(self.pool, customer_id, role="owner"))[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One for all tests here."""
    vendor = FailingVendor()
    await vendor.start()
    home = tmp_path_factory.mktemp("vendor-work")
    own = database(server_dsn, pristine)
    dsn = await asyncio.to_thread(own.__enter__)
    try:
        process = Process(home, dsn, config(vendor.url))
        (home / "ask").mkdir()
        (home / "ask" / "__init__.py").write_text(PLUGIN)
        (home / "scratch" / "call-of-a-killed-gateway").mkdir(parents=True)
        await process.start()
        pool = await open_pool(dsn)
        async with aiohttp.ClientSession() as http:
            yield Stage(process, vendor, pool, http)
        await pool.close()
        await process.stop()
    finally:
        await asyncio.to_thread(own.__exit__, None, None, None)
    await vendor.stop()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def only(caller: Caller, operation: str) -> asyncpg.Record:
    """The one event of an operation; and the books add up."""
    found = [event for event in await caller.events() if event["operation"] == operation]
    assert len(found) == 1, found
    await assert_books_balance(caller.stage.pool, reservations=None)
    async with caller.stage.pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    return found[0]


def assert_told_and_unbilled(event: asyncpg.Record) -> None:
    """The event says what the vendor's work has cost, and the customer pays nothing."""
    assert event["end_reason"] == "undelivered"
    assert event["cost_nusd"] == 0
    assert event["vendor_cost_nusd"] > 0
    assert event["units"]["unbilled_nusd"] > 0
    assert event["units"]["undelivered"]


QUESTION = [{"role": "user", "content": "hello there"}]

BodyOf = Callable[[str], dict[str, Any]]

CHATS: dict[str, tuple[str, BodyOf]] = {
    "native": ("/api/gateway-chat", lambda model: {"provider": "up", "model": model, "messages": QUESTION}),
    "native-stream": ("/api/gateway-stream", lambda model: {"provider": "up", "model": model, "messages": QUESTION}),
    "openai": ("/v1/chat/completions", lambda model: {"model": f"up/{model}", "messages": QUESTION}),
    "openai-stream": (
        "/v1/chat/completions",
        lambda model: {"model": f"up/{model}", "messages": QUESTION, "stream": True},
    ),
    "responses": ("/v1/responses", lambda model: {"model": f"up/{model}", "input": "hello there"}),
    "messages": ("/v1/messages", lambda model: {"model": f"up/{model}", "messages": QUESTION, "max_tokens": 1000}),
    "messages-stream": (
        "/v1/messages",
        lambda model: {"model": f"up/{model}", "messages": QUESTION, "max_tokens": 1000, "stream": True},
    ),
}


@pytest.mark.parametrize("failure", CHAT)
@pytest.mark.parametrize("door", CHATS)
async def test_a_chat_that_fails_after_the_vendor_worked(stage: Stage, door: str, failure: str) -> None:
    caller = await stage.caller()
    path, body = CHATS[door]
    before = stage.vendor.worked[failure]
    try:
        await caller.post(path, body(failure))
    except aiohttp.ClientError:
        assert door.endswith("stream")
    assert stage.vendor.worked[failure] == before + 1
    event = await only(caller, "chat")
    tells, speaks = CHAT[failure]
    if speaks and door.endswith("stream"):
        assert event["end_reason"] == "upstream_error"
        assert event["cost_nusd"] > 0
        assert event["vendor_cost_nusd"] > 0
        return
    assert_told_and_unbilled(event)
    if tells:
        assert (event["input_tokens"], event["output_tokens"]) >= (1000, 500)
        assert event["vendor_cost_nusd"] >= 1000 * 500 + 500 * 1000


EMBEDS: dict[str, tuple[str, BodyOf, str]] = {
    "embed": ("/api/gateway-embed", lambda model: {"provider": "up", "model": model, "input": ["a b", "c d"]}, "embed"),
    "openai": ("/v1/embeddings", lambda model: {"model": f"up/{model}", "input": ["a b", "c d"]}, "embed"),
    "store": (
        "/api/gateway-embed",
        lambda model: {"provider": "up", "model": model, "input": ["a b", "c d"], "collection": "docs"},
        "embed",
    ),
}


@pytest.mark.parametrize(
    ("door", "failure"),
    # A vector of any length is an answer where nothing else is compared with it.
    [(door, failure) for door in EMBEDS for failure in EMBED if failure != "too-short" or door == "store"],
)
async def test_an_embedding_that_fails_after_the_vendor_worked(stage: Stage, door: str, failure: str) -> None:
    caller = await stage.caller()
    path, body, operation = EMBEDS[door]
    status, _ = await caller.post(path, body(failure))
    assert status == 502
    event = await only(caller, operation)
    assert_told_and_unbilled(event)
    if failure in ("all-zero", "not-finite"):  # what the lane itself refuses brings no usage along
        assert event["input_tokens"] == 1000


@pytest.mark.parametrize(
    ("way", "failure"),
    [
        (way, failure)
        for way in ("search", "retrieve", "batch line", "re-embedding")
        for failure in EMBED
        if failure not in ("too-few", "differing") and (failure != "too-short" or way != "batch line")
    ],
)
async def test_an_embedding_for_something_else_that_fails(stage: Stage, way: str, failure: str) -> None:
    caller = await stage.caller()
    made = {"name": "docs", "provider": "up", "model": failure}
    if way in ("search", "retrieve"):
        line = {"doc_id": "a", "text": "a b", "embedding": [1.0] * DIMENSIONS}
        url = f"{stage.process.url}/api/gateway-embed-collections"
        params = {"import": "1", "name": "docs", "provider": "up", "model": failure}
        async with stage.http.post(url, data=json.dumps(line), headers=caller.headers, params=params) as response:
            assert response.status == 200, await response.text()
    if way == "search":
        assert (await caller.post("/api/gateway-embed-search", {"collection": "docs", "query": "a b"}))[0] == 502
        operation = "search"
    elif way == "retrieve":
        body = {"provider": "up", "model": "fine", "messages": QUESTION, "retrieve": {"collection": "docs"}}
        assert (await caller.post("/api/gateway-chat", body))[0] == 502
        operation = "search"
    elif way == "batch line":
        await caller.batch("/v1/embeddings", {"model": f"up/{failure}", "input": ["a b"]})
        operation = "job:embed"
    else:
        store = {"provider": "up", "model": "words", "input": ["a b"], "collection": "docs"}
        assert (await caller.post("/api/gateway-embed", store))[0] == 200
        body = {"name": "docs", "reembed": {"provider": "up", "model": failure}}
        assert (await caller.post("/api/gateway-embed-collections", body))[0] == 202
        async with asyncio.timeout(30):
            while not [one for one in await caller.events() if one["model"] == made["model"]]:
                await asyncio.sleep(0.05)
        async with stage.http.delete(
            f"{stage.process.url}/api/gateway-embed-collections", params={"name": "docs"}, headers=caller.headers
        ):
            pass
        event = next(one for one in await caller.events() if one["model"] == failure)
        assert_told_and_unbilled(event)
        return
    assert_told_and_unbilled(await only(caller, operation))


@pytest.mark.parametrize("failure", ["usage-then-nonsense", "words-then-cut", "silent-cut"])
@pytest.mark.parametrize("way", ["job", "batch line"])
async def test_a_chat_in_the_background_that_fails(stage: Stage, way: str, failure: str) -> None:
    caller = await stage.caller()
    if way == "job":
        status, said = await caller.post(
            "/api/gateway-job-submit", {"provider": "up", "model": failure, "messages": QUESTION}
        )
        assert status == 202, said
        await caller.ended(json.loads(said)["job_id"])
    else:
        await caller.batch("/v1/chat/completions", {"model": f"up/{failure}", "messages": QUESTION})
    assert_told_and_unbilled(await only(caller, "job:chat"))


@pytest.mark.parametrize("how", ["refuse", "break"])
@pytest.mark.parametrize("way", ["now", "later"])
async def test_an_integration_that_fails_after_it_used_its_wire(stage: Stage, way: str, how: str) -> None:
    caller = await stage.caller()
    status, said = await caller.post(f"/v1/ask/{way}", {"how": how})
    if way == "later":
        assert status == 200, said
        await caller.ended(json.loads(said)["job"])
    else:
        assert status == (404 if how == "refuse" else 502)
    event = await only(caller, "ask.now" if way == "now" else "job:ask.work")
    assert (event["end_reason"], event["cost_nusd"]) == ("undelivered", 0)
    assert event["units"]["pages"] == 3
    assert event["units"]["unbilled_nusd"] == PAGES
    assert event["units"]["undelivered"] == ("NOT_FOUND" if how == "refuse" else "INTEGRATION_FAILED")


async def test_bytes_that_a_vendor_accepted_are_billed_and_the_temporary_files_are_gone(stage: Stage) -> None:
    caller = await stage.caller()
    status, said = await caller.post("/v1/ask/files", {"how": "well"})
    folder, _, mode = json.loads(said)["job"].partition(" ")
    assert (status, mode) == (200, "700")
    assert (stage.process.home / "scratch" / folder).is_dir(), "each process has a folder of its own"
    event = await only(caller, "ask.files")
    assert (event["end_reason"], event["cost_nusd"], event["usage_source"]) == ("complete", 100_000, "counted")
    assert event["units"]["bytes_sent"] == 100, "the vendor did not accept the other 50"
    assert list((stage.process.home / "scratch").glob("*/*")) == []


async def test_a_call_whose_thread_outlives_its_time_is_settled_when_the_thread_has_ended(stage: Stage) -> None:
    caller = await stage.caller()
    status, said = await caller.post("/v1/ask/files", {"how": "slow"})
    assert (status, json.loads(said)["code"]) == (504, "OPERATION_TIMEOUT")
    event = await only(caller, "ask.files")
    assert event["duration_ms"] >= 600
    assert (event["end_reason"], event["cost_nusd"]) == ("undelivered", 0)
    assert (event["units"]["bytes_sent"], event["units"]["unbilled_nusd"]) == (100, 100_000)
    assert list((stage.process.home / "scratch").glob("*/*")) == []


async def test_a_try_that_came_to_nothing_is_told_beside_the_one_that_answered(stage: Stage) -> None:
    caller = await stage.caller()
    body = {"provider": "mixed", "model": "chat", "messages": QUESTION}
    status, said = await caller.post("/api/gateway-chat", body)
    assert status == 200, said
    event = await only(caller, "chat")
    once = 1000 * 500 + 500 * 1000
    assert (event["end_reason"], event["cost_nusd"]) == ("complete", 1000 * 1000 + 500 * 2000)
    assert event["vendor_cost_nusd"] == 2 * once
    assert event["units"]["call"]["failed"] == {
        "tries": 1, "input_tokens": 1000, "output_tokens": 500, "estimated": False,
    }  # fmt: skip


@pytest.mark.parametrize("way", ["import", "create", "re-embed"])
async def test_vectors_that_a_model_cannot_have_are_refused_before_a_vendor_is_asked(stage: Stage, way: str) -> None:
    caller = await stage.caller()
    url = f"{stage.process.url}/api/gateway-embed-collections"
    before = stage.vendor.worked["fixed"]
    if way == "import":
        line = json.dumps({"doc_id": "a", "text": "a b", "embedding": [1.0, 2.0, 3.0]})
        params = {"import": "1", "name": "docs", "provider": "up", "model": "fixed"}
        async with stage.http.post(url, data=line, headers=caller.headers, params=params) as response:
            status, said = response.status, await response.json()
    elif way == "create":
        status, raw = await caller.post(
            "/api/gateway-embed-collections", {"name": "docs", "provider": "up", "model": "fixed", "dimensions": 3}
        )
        said = json.loads(raw)
    else:
        store = {"provider": "up", "model": "words", "input": ["a b"], "collection": "docs"}
        assert (await caller.post("/api/gateway-embed", store))[0] == 200
        wanted = {"name": "docs", "reembed": {"provider": "up", "model": "fixed", "dimensions": 3}}
        status, raw = await caller.post("/api/gateway-embed-collections", wanted)
        said = json.loads(raw)
    assert (status, said.get("code")) == (409, "DIMENSIONS_MISMATCH")
    assert stage.vendor.worked["fixed"] == before


async def test_a_collection_that_holds_such_vectors_already_is_never_asked_of_a_vendor(stage: Stage) -> None:
    """As collections were that had been filled before imports were checked."""
    caller = await stage.caller()
    await stage.pool.execute(
        "insert into kaixu.collection (customer_id, name, provider, model, dimensions, language)"
        " values ($1, 'old', 'up', 'fixed', 3, 'english')",
        caller.customer_id,
    )
    before = stage.vendor.worked["fixed"]
    store = {"provider": "up", "model": "fixed", "input": ["a b"], "collection": "old"}
    chat = {"provider": "up", "model": "fine", "messages": QUESTION, "retrieve": {"collection": "old"}}
    for path, body in (
        ("/api/gateway-embed", store),
        ("/api/gateway-embed-search", {"collection": "old", "query": "a b"}),
        ("/api/gateway-chat", chat),
    ):
        status, said = await caller.post(path, body)
        assert (status, json.loads(said)["code"]) == (409, "DIMENSIONS_MISMATCH")
    assert stage.vendor.worked["fixed"] == before
    assert await caller.events() == []


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [("40001", 503, "DATABASE_BUSY"), ("57P01", 503, "DATABASE_AWAY"), ("23514", 500, "INTERNAL")],
    ids=["busy", "away", "a bug"],
)
async def test_what_the_database_did_not_store_is_told_and_not_billed(
    stage: Stage, state: str, status: int, code: str
) -> None:
    """The database fails within the transaction that stores and settles: only the settlement is written, another way."""
    caller = await stage.caller()
    await stage.pool.execute(
        """
        create or replace function public.doomed() returns trigger language plpgsql as $$
        begin
            if new.doc_id like 'doomed%' then raise exception 'no' using errcode = substr(new.doc_id, 8); end if;
            return new;
        end $$;
        create or replace trigger doomed before insert on kaixu.document for each row execute function public.doomed();
        """
    )
    body = {"provider": "up", "model": "words", "input": ["a b"], "collection": "docs", "doc_ids": [f"doomed-{state}"]}
    got, said = await caller.post("/api/gateway-embed", body)
    assert (got, json.loads(said)["code"]) == (status, code)
    event = await only(caller, "embed")
    assert_told_and_unbilled(event)
    assert event["units"]["undelivered"] == code
    assert not await stage.pool.fetchval(
        "select count(*) from kaixu.document where customer_id = $1", caller.customer_id
    )
