"""What clients and operators hear when a vendor refuses: by the doors' own codes, and in the vendor's words."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import anthropic
import asyncpg
import openai
import pytest
from aiohttp import web

from tests.e2e.test_routing import events
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import SECRETS, Client, Process

TOO_LONG = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "code": "context_length_exceeded",
    }
}
BOTH_TOO_LONG = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 1000 in the completion).",
        "code": "context_length_exceeded",
    }
}

#: By the vendor's model: status, headers, body.
REFUSALS: dict[str, tuple[int, dict[str, str], Any]] = {
    "long": (400, {}, TOO_LONG),
    "both": (400, {}, BOTH_TOO_LONG),
    "gone": (404, {}, {"error": {"message": "The model `gone` has been decommissioned", "code": "model_not_found"}}),
    "filter": (400, {}, {"error": {"message": "filtered", "code": "content_filter"}}),
    "field": (400, {}, {"error": {"message": "no", "code": "unsupported_parameter", "param": "temperature"}}),
    "image": (400, {}, {"error": {"message": "no", "code": "image_parse_error"}}),
    "quota": (429, {}, {"error": {"message": "pay, key vendor-key of ada@example.com", "code": "insufficient_quota"}}),
    "region": (403, {}, {"error": {"message": "no", "code": "unsupported_country_region_territory"}}),
    "busy": (429, {}, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
    "busy-later": (429, {"retry-after": "30"}, {"error": {"message": "slow down"}}),
    "overloaded": (529, {}, {"error": {"message": "overloaded"}}),
}  # fmt: skip
MODELS = (*REFUSALS, "event-long", "event-busy", "ok")


class Refusing:
    """A vendor that refuses as its model's name says, and counts by model and key."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.keys: list[str] = []
        self.bad: dict[str, int] = {}  # keys and the status that they get
        self.url = ""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        model = (await request.json())["model"]
        key = request.headers["authorization"].removeprefix("Bearer ")
        self.requests[model] += 1
        self.keys.append(key)
        if key in self.bad:
            return web.json_response({"error": {"message": f"refused {key}"}}, status=self.bad[key])
        if model in REFUSALS:
            status, headers, body = REFUSALS[model]
            return web.json_response(body, status=status, headers=headers)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        chunks: list[Any] = [
            {"choices": [{"index": 0, "delta": {"content": "hello"}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 1}},
        ]
        if model == "event-long":
            chunks = [TOO_LONG]
        elif model == "event-busy":
            chunks = [{"error": {"code": 429, "message": "slow down"}}]
        for chunk in chunks:
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def vendor() -> AsyncIterator[Refusing]:
    vendor = Refusing()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", vendor.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield vendor
    await runner.cleanup()


def routed(name: str, *upstreams: str) -> str:
    tries = ", ".join(f"{{upstream: {one}, name: {one}, priority: {at}}}" for at, one in enumerate(upstreams))
    return f"      {name}: {{type: chat, price: {{input: 1, output: 2}}, deployments: [{tries}]}}"


def config_of(vendor: Refusing) -> str:
    models = [f"      {name}: {{type: chat, price: {{input: 1, output: 2}}}}" for name in MODELS]
    models += [
        routed("long-ok", "long", "ok"), routed("gone-ok", "gone", "ok"), routed("event-ok", "event-long", "ok"),
        routed("busy-ok", "busy", "ok"), routed("quota-ok", "quota", "ok"), routed("filter-ok", "filter", "ok"),
        routed("long-gone", "long", "gone"), routed("long-quota", "long", "quota"),
    ]  # fmt: skip
    listed = "\n".join(models)
    return f"""
lanes:
  up:
    plugin: openai
    base_url: {vendor.url}
    api_key: vendor-key
    public_name: The Vendor
    breaker: {{failures: 100, cool_down_s: 0.001}}
    models:
{listed}
  many:
    plugin: openai
    base_url: {vendor.url}
    api_keys: [secret-one, secret-two, secret-three]
    retries: 0
    models:
      m: {{type: chat, upstream: ok, price: {{input: 1, output: 2}}}}
"""


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str, vendor: Refusing) -> AsyncIterator[Process]:
    vendor.requests.clear()
    vendor.keys.clear()
    vendor.bad = {}
    process = await Process(tmp_path / "gateway", dsn, config_of(vendor)).start()
    yield process
    assert await process.stop() == 0


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_clients_hear_what_they_can_act_on(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Refusing
) -> None:
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    native = Client(http, gateway.url, key)
    expected = {
        "long": (422, "CONTEXT_TOO_LONG", 400, "context_length_exceeded"),
        "event-long": (422, "CONTEXT_TOO_LONG", 400, "context_length_exceeded"),
        "gone": (404, "MODEL_GONE", 404, "model_not_found"),
        "filter": (422, "CONTENT_REFUSED", 400, "content_filter"),
        "field": (422, "PARAMETER_REFUSED", 400, "unsupported_parameter"),
        "image": (422, "IMAGE_REFUSED", 400, "invalid_image"),
        "quota": (502, "UPSTREAM_QUOTA", 502, "upstream_quota"),
        "region": (502, "UPSTREAM_REGION", 502, "upstream_region"),
        "busy": (429, "UPSTREAM_BUSY", 429, "upstream_busy"),
        "event-busy": (429, "UPSTREAM_BUSY", 429, "upstream_busy"),
        "overloaded": (503, "UPSTREAM_BUSY", 503, "upstream_busy"),
    }
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        for model, (status, code, openai_status, openai_code) in expected.items():
            got, body = await native.chat(model)
            assert (got, body["code"]) == (status, code), model
            for stream in (False, True):
                with pytest.raises(openai.APIStatusError) as caught:
                    await client.chat.completions.create(
                        model=f"up/{model}", messages=[{"role": "user", "content": "hi"}], max_tokens=10, stream=stream
                    )
                assert (caught.value.status_code, caught.value.code) == (openai_status, openai_code), model
                if openai_status == 502:
                    assert caught.value.response.headers["x-should-retry"] == "false"
                if openai_status in (429, 503):
                    assert int(caught.value.response.headers["retry-after"]) <= 2
        with pytest.raises(openai.BadRequestError) as long:
            await client.responses.create(model="up/long", input="hi")
        assert long.value.code == "context_length_exceeded"
        said = long.value.response.json()
        assert (said["limit_tokens"], said["input_tokens"], said["error"]["type"]) == (
            8192,
            9000,
            "invalid_request_error",
        )
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as claude:
        for model, words in {
            "long": "prompt is too long: 9000 tokens > 8192 maximum",
            "both": "input length and `max_tokens` exceed context limit: 8000 + 1000 > 8192",
        }.items():
            with pytest.raises(anthropic.BadRequestError) as too_long:
                await claude.messages.create(
                    model=f"up/{model}", max_tokens=10, messages=[{"role": "user", "content": "hi"}]
                )
            error = too_long.value.response.json()["error"]
            assert error["type"] == "invalid_request_error"
            assert error["message"].startswith(words)
    assert await spent_and_held(pool, customer_id) == (0, 0)
    await assert_books_balance(pool)


async def test_another_deployment_is_asked_where_it_may_serve(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Refusing
) -> None:
    client = Client(http, gateway.url, (await virtual_key(pool, await customer(pool)))[1])
    for model in ("long-ok", "gone-ok", "event-ok", "busy-ok", "quota-ok"):
        began = monotonic()
        status, said = await client.chat(model)
        assert (status, said["routing"]["deployment"]) == (200, "ok"), model
        assert monotonic() - began < 1.5
    asked = vendor.requests["ok"]
    status, said = await client.chat("filter-ok")
    assert (status, vendor.requests["ok"]) == (422, asked), "what one vendor's rules refuse is not taken to another"
    for model in ("long-gone", "long-quota"):
        status, said = await client.chat(model)
        assert (status, said["code"]) == (422, "CONTEXT_TOO_LONG"), "the client can shorten; the rest is the operator's"


async def test_a_busy_vendor_is_not_waited_for_long(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Refusing
) -> None:
    key = (await virtual_key(pool, await customer(pool)))[1]
    native = Client(http, gateway.url, key)
    began = monotonic()
    assert (await native.chat("busy"))[0] == 429
    assert monotonic() - began < 2
    assert vendor.requests["busy"] > 1, "it was tried again"
    began = monotonic()
    assert (await native.chat("busy-later"))[0] == 429
    assert monotonic() - began < 1
    assert vendor.requests["busy-later"] == 1, "a time that is too long to wait for is the client's"
    began = monotonic()
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key) as client:
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(
                model="up/busy", messages=[{"role": "user", "content": "hi"}], max_tokens=10
            )
    assert monotonic() - began < 12, "with the SDK's own two further tries"


async def test_operators_see_the_vendor_s_own_words_without_secrets(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Refusing
) -> None:
    key = (await virtual_key(pool, await customer(pool)))[1]
    for model in ("quota", "quota-ok", "event-long"):
        await Client(http, gateway.url, key, **{"x-kaixu-request-id": model}).chat(model)
    await Client(http, gateway.url, key, **{"x-kaixu-request-id": "streamed"}).stream("quota")
    async with asyncio.timeout(10):
        while await pool.fetchval("select count(*) from kaixu.gateway_event") < 7:
            await asyncio.sleep(0.05)
    rows = await pool.fetch("select * from kaixu.gateway_event where request_id is not null")
    by_request = Counter((row["request_id"], row["detail"] or row["kind"], row["upstream_status"]) for row in rows)
    assert by_request["quota", "error", 429] == 1
    assert by_request["quota-ok", "tries", 429] == 1
    assert by_request["streamed", "error", 429] == 1
    told = " ".join(str(row["extra"]) for row in rows)
    assert "pay, key" in told
    assert "maximum context length is 8192" in told
    assert "vendor-key" not in told
    assert "ada@example.com" not in told
    for request, words in {
        "quota": "vendor's error: 429 (quota), [insufficient_quota] pay, key",
        "quota-ok": "vendor's error: 429 (quota), [insufficient_quota] pay, key",
        "event-long": "(context), [context_length_exceeded] This model's maximum context length",
    }.items():
        said = await gateway.command("trace", request)
        assert words in said.stdout, said.stdout
        assert "vendor-key" not in said.stdout
    log = gateway.log.read_text()
    assert "pay, key" not in log
    assert "pay, key" not in str(await events(pool))


async def test_several_keys_are_used_in_turn_and_a_refused_one_is_left_alone(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Refusing
) -> None:
    client = Client(http, gateway.url, (await virtual_key(pool, await customer(pool)))[1])
    for _ in range(3):
        assert (await client.chat("m", provider="many"))[0] == 200
    assert vendor.keys == ["secret-one", "secret-two", "secret-three"]
    vendor.bad = {"secret-one": 401, "secret-two": 429}
    vendor.keys.clear()
    for _ in range(4):
        assert (await client.chat("m", provider="many"))[0] == 200
    assert Counter(vendor.keys) == {"secret-one": 1, "secret-two": 1, "secret-three": 4}
    used = [event["course"] for event in await events(pool)]
    assert [json.loads(one)["keys"] if isinstance(one, str) else one["keys"] for one in used[:3]] == [
        {"key-1": 1}, {"key-2": 1}, {"key-3": 1},
    ]  # fmt: skip
    assert "secret-" not in str(await events(pool))
    async with http.post(f"{gateway.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        token = (await response.json())["token"]
    async with http.get(f"{gateway.url}/api/health", headers={"authorization": f"Bearer {token}"}) as response:
        states = (await response.json())["keys"]["many"]
    assert {label: one["state"] for label, one in states.items()} == {
        "key-1": "cooling", "key-2": "cooling", "key-3": "ready",
    }  # fmt: skip
    async with http.get(f"{gateway.url}/api/health") as response:
        assert "keys" not in await response.json()
    rows = json.loads((await gateway.command("usage", "lanes", "--json")).stdout)
    assert {row["key"]: row["calls"] for row in rows} == {"key-1": 1, "key-2": 1, "key-3": 5}
    vendor.bad |= {"secret-three": 429}
    status, said = await client.chat("m", provider="many")
    assert (status, said["code"]) == (429, "UPSTREAM_BUSY")
    await assert_books_balance(pool)


async def test_replies_name_the_provider_as_the_operator_wants_it(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, key)
    for asked in ("up", "The Vendor", "THE VENDOR"):
        status, said = await client.chat("ok", provider=asked)
        assert (status, said["provider"], said["requested_provider"]) == (200, "The Vendor", asked)
    _, frames = await client.stream("ok")
    assert [data["provider"] for name, data in frames if name in ("meta", "done")] == ["The Vendor", "The Vendor"]
    assert {event["provider"] for event in await events(pool)} == {"up"}
    async with http.get(f"{gateway.url}/v1/models", headers=client.headers) as response:
        listed = (await response.json())["data"]
    assert {one["owned_by"] for one in listed if one["kaixu"]["model"] == "ok"} == {"The Vendor"}


async def test_the_environment_names_all_lanes_that_have_no_name_of_their_own(
    tmp_path: Path, dsn: str, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    lane = "plugin: echo, models: {m: {type: chat, price: {input: 1, output: 1}}}"
    process = await Process(
        tmp_path / "named",
        dsn,
        f"lanes:\n  kaixu: {{{lane}}}\n  other: {{{lane}}}\n",
        KAIXU_PUBLIC_PROVIDER_NAME="kAIxu",
    ).start()
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, process.url, key)
    for asked in ("kaixu", "KAIXU", "other"):
        status, said = await client.chat("m", provider=asked)
        assert (status, said["provider"]) == (200, "kAIxu")
    _, frames = await client.stream("m", provider="kaixu")
    assert frames[0][1]["provider"] == "kAIxu"
    assert await process.stop() == 0
