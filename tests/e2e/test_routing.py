"""Several deployments behind one model, as clients and operators see them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process
from tests.support.vendor import Vendor

Serve = Callable[..., Awaitable[Process]]


@pytest.fixture
async def serve(tmp_path: Path, dsn: str, vendor: Vendor) -> AsyncIterator[Serve]:
    """Start a gateway with lane `up`, whose models are given; `more` are further lanes."""
    running: list[Process] = []

    async def serve(models: str, *, lane: str = "retries: 0,", more: str = "", **environment: str) -> Process:
        config = f"""
lanes:
  up: {{plugin: openai, base_url: "{vendor.url}", api_key: k, {lane} models: {{
    {models} }} }}
  echo: {{plugin: echo, models: {{echo: {{type: chat, price: {{input: 5, output: 5}}}}}}}}
  {more}
"""
        process = Process(tmp_path / f"gateway{len(running)}", dsn, config, **environment)
        running.append(process)
        return await process.start()

    yield serve
    for process in running:
        assert await process.stop() == 0


def model(name: str, deployments: str, more: str = "") -> str:
    return f"{name}: {{type: chat, price: {{input: 1, output: 2}}, deployments: [{deployments}], {more}}}"


@pytest.fixture
async def key(pool: asyncpg.Pool) -> str:
    return (await virtual_key(pool, await customer(pool)))[1]


async def events(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    """Usage events, oldest first."""
    rows = await pool.fetch("select *, units -> 'call' as course from kaixu.usage_event order by id")
    return [dict(row) for row in rows]


async def test_nothing_is_tried_again_once_something_of_the_answer_is_out(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, key: str, vendor: Vendor
) -> None:
    process = await serve(model("m", "{upstream: cut-3}, {upstream: ok, priority: 1}"), lane="retries: 5,")
    client = Client(http, process.url, key)
    _, frames = await client.stream("m")
    assert [name for name, _ in frames if name != "meta"] == ["delta", "delta", "delta", "error"]
    error = frames[-1][1]
    assert (error["status"], error["routing"]) == (502, {"deployment": "up-1", "tries": 1})
    assert len(vendor.requests) == 1
    [event] = await events(pool)
    assert (event["end_reason"], event["course"]["tries"]) == ("upstream_error", 1)


async def test_the_reply_and_the_usage_event_say_who_served_and_how_many_tries_it_took(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, key: str
) -> None:
    process = await serve(
        model("m", "{upstream: status-500, name: main, cost: {input: 9, output: 9}}, {upstream: ok, name: spare, priority: 1}", "cost: {input: 0.5, output: 1}")
    )  # fmt: skip
    status, said = await Client(http, process.url, key).chat("m")
    assert (status, said["routing"]) == (200, {"deployment": "spare", "tries": 2})
    assert (said["provider"], said["model"]) == ("up", "m")
    [event] = await events(pool)
    assert event["course"]["deployment"] == "spare"
    assert [one["error"] for one in event["course"]["tried"]] == ["UPSTREAM_ERROR", None]
    assert (event["cost_nusd"], event["vendor_cost_nusd"]) == (14_000 + 2_000 * 4, 7_000 + 1_000 * 4)


async def test_a_dead_deployment_is_left_alone_and_tried_again_after_its_cool_down(
    serve: Serve, http: aiohttp.ClientSession, key: str, vendor: Vendor
) -> None:
    process = await serve(
        model("m", "{upstream: ok, name: main}, {upstream: stream-2-0, name: spare, priority: 1}"),
        lane="breaker: {failures: 3, cool_down_s: 1.5},",
    )
    client = Client(http, process.url, key)

    async def state() -> str:
        async with http.get(f"{process.url}/api/health") as response:
            said: str = (await response.json())["deployments"]["up/m"]["main"]
        return said

    vendor.sick = {"ok"}
    served = [(await client.chat("m"))[1]["routing"] for _ in range(6)]
    assert [one["tries"] for one in served] == [2, 2, 2, 1, 1, 1]
    assert {one["deployment"] for one in served} == {"spare"}
    assert [one["model"] for one in vendor.requests].count("ok") == 3
    assert await state() == "open"
    vendor.sick = set()
    async with asyncio.timeout(20):
        while await state() == "open":
            await asyncio.sleep(0.05)
    assert await state() == "half-open"
    assert (await client.chat("m"))[1]["routing"] == {"deployment": "main", "tries": 1}
    assert await state() == "closed"


async def test_deployments_that_cannot_do_what_is_asked_are_passed_over(
    serve: Serve, http: aiohttp.ClientSession, key: str, tmp_path: Path
) -> None:
    plain = """
from kaixu.plugin import ChatDelta, Finish, Lane, Options, hookimpl
class Plain(Lane):
    def __init__(self, options):
        pass
    async def chat(self, request, wire):
        yield ChatDelta("hello")
        yield Finish("stop")
@hookimpl
def register_lanes(register):
    register("plain", Plain, Options)
"""
    (tmp_path / "plain.py").write_text(plain)
    more = "plain: {plugin: ../plain.py, models: {unused: {type: chat, price: {input: 1, output: 1}}}}"
    process = await serve(model("m", "{lane: plain}, {upstream: ok, priority: 1}"), more=more)
    client = Client(http, process.url, key)
    assert (await client.chat("m"))[1]["routing"]["deployment"] == "plain"
    assert (await client.chat("m", temperature=1))[1]["routing"] == {"deployment": "up", "tries": 1}


async def test_a_model_whose_own_lane_is_off_is_served_by_its_fallback(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, key: str
) -> None:
    more = "off: {plugin: openai, api_key: '${NOT_SET}', models: {m: {type: chat, price: {input: 3, output: 4}, fallback: [up/n]}}}"
    process = await serve("n: {type: chat, upstream: ok, price: {input: 1, output: 2}}", more=more)
    status, said = await Client(http, process.url, key).chat("m", provider="off")
    assert (status, said["provider"], said["routing"]["deployment"]) == (200, "off", "up")
    [event] = await events(pool)
    assert (event["provider"], event["model"], event["cost_nusd"]) == ("off", "m", 14 * 3000 + 4 * 4000)
    await assert_books_balance(pool)


async def test_a_client_that_leaves_ends_the_tries(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, key: str, vendor: Vendor
) -> None:
    process = await serve(model("m", "{upstream: hang}, {upstream: ok, priority: 1}"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await Client(http, process.url, key).chat("m")
    async with asyncio.timeout(10):
        while await pool.fetchval("select count(*) from kaixu.reservation"):
            await asyncio.sleep(0.02)
    assert [one["model"] for one in vendor.requests] == ["hang"]


async def test_embeddings_fall_over_too_and_are_billed_once(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, key: str, tmp_path: Path
) -> None:
    lane = """
from kaixu.plugin import Embeddings, Lane, Options, UpstreamError, Usage, hookimpl
class Mine(Options):
    dead: bool = False
class Counting(Lane):
    max_batch = 2
    def __init__(self, options):
        self.dead = options.dead
    async def embed(self, request, wire):
        if self.dead:
            raise UpstreamError("the vendor failed (500)")
        return Embeddings(tuple([1.0, float(len(one))] for one in request.inputs), Usage(3 * len(request.inputs)))
@hookimpl
def register_lanes(register):
    register("counting", Counting, Mine)
"""
    (tmp_path / "counting.py").write_text(lane)
    more = """
  dead: {plugin: ../counting.py, dead: true, retries: 0, models: {
    e: {type: embed, dimensions: 2, price: {input: 1}, deployments: [{}, {lane: well, priority: 1}]} } }
  well: {plugin: ../counting.py, models: {unused: {type: embed, dimensions: 2, price: {input: 1}}} }
"""
    process = await serve("n: {type: chat, upstream: ok, price: {input: 1, output: 2}}", more=more)
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "dead/e", "input": ["a", "bb", "ccc"]}
    async with http.post(f"{process.url}/v1/embeddings", json=body, headers=headers) as response:
        said = await response.json()
    assert response.status == 200, said
    assert [one["embedding"] for one in said["data"]] == [[1, 1], [1, 2], [1, 3]]
    assert said["kaixu"]["deployment"] == "well"
    [event] = await events(pool)
    assert (event["input_tokens"], event["cost_nusd"], event["course"]["tries"]) == (9, 9000, 4)


async def test_the_preamble_goes_before_everything_and_its_hash_is_shown(
    serve: Serve, http: aiohttp.ClientSession, key: str, vendor: Vendor
) -> None:
    process = await serve("n: {type: chat, upstream: ok, price: {input: 1, output: 2}}", lane="preamble: 'Be brief.',")
    client = Client(http, process.url, key)
    await client.chat("n", messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}])
    body = {"model": "up/n", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
    for path in ("/v1/chat/completions", "/v1/messages"):
        async with http.post(process.url + path, json=body, headers=client.headers) as response:
            assert response.status == 200, await response.text()
    assert [[turn["role"] for turn in one["messages"]] for one in vendor.requests] == [
        ["system", "system", "user"],
        ["system", "user"],
        ["system", "user"],
    ]
    assert all(one["messages"][0]["content"] == "Be brief." for one in vendor.requests)
    async with http.get(f"{process.url}/api/health") as response:
        health = await response.json()
    said = hashlib.sha256(b"Be brief.").hexdigest()
    assert (health["build"]["kaixu_system_hash"], health["preambles"]) == (said, {"up": said})


async def test_the_vendor_is_told_the_request_s_id(
    serve: Serve, http: aiohttp.ClientSession, key: str, vendor: Vendor
) -> None:
    process = await serve("n: {type: chat, upstream: ok, price: {input: 1, output: 2}}")
    await Client(http, process.url, key, **{"x-kaixu-request-id": "life-of-a-call"}).chat("n")
    assert vendor.headers[-1]["x-client-request-id"] == "life-of-a-call"
