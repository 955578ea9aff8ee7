"""Why did a call fail? Each failure leaves one event that names the customer, the key, the place and the vendor's words.

Words of the vendor are cleaned: of its key, of the client's key and of the prompt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.money import customer, virtual_key
from tests.support.process import Process, free_port

PROMPT = "the patient is called Melanie and lives at the old harbour"
VENDOR_KEY = "vendor-key-4711-that-nobody-may-see"


#: An integration whose operation asks the vendor.
PLUGIN = """
import httpx, msgspec
from kaixu.plugin import Integration, Operation, Options, PerCall, WireUrl, hookimpl

class AskOptions(Options):
    url: WireUrl

class Ask(msgspec.Struct):
    text: str

async def now(call):
    headers = {"authorization": "Bearer %s"}
    body = {"model": "status-401", "text": call.body.text}
    request = httpx.Request("POST", call.options.url + "/chat/completions", json=body, headers=headers)
    async with call.wire.send(request) as response:
        await response.aread()
    return call.body

@hookimpl
def register_integrations(register):
    register(Integration("ask", options=AskOptions, operations=[Operation("ask.now", now, Ask, PerCall("call"), on_failure="release")]))
"""


class QuotingVendor:
    """Fails as the model's name says, and quotes the key and the prompt in its errors."""

    def __init__(self) -> None:
        self.traceparents: list[str | None] = []
        self.runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        app.router.add_post("/v1/embeddings", self.answer)
        self.runner = web.AppRunner(app, handler_cancellation=True)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An error; a stream that is cut; or nothing."""
        body = await request.json()
        self.traceparents.append(request.headers.get("traceparent"))
        kind, _, number = body["model"].rpartition("-")
        words = f"refused {request.headers['authorization']}: you sent {PROMPT}"
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "cut":
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            chunk = {"choices": [{"index": 0, "delta": {"content": "one "}}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            error = {"error": {"message": words, "code": "server_error"}}
            await response.write(b"data: " + json.dumps(error).encode() + b"\n\n")
            return response
        return web.json_response({"error": {"message": words}}, status=int(number))


MODELS = ("status-401", "status-429", "status-500", "status-400", "hang-1", "cut-1")


@pytest.fixture
async def vendor() -> AsyncIterator[QuotingVendor]:
    """A vendor that fails."""
    vendor = QuotingVendor()
    await vendor.start()
    yield vendor
    assert vendor.runner is not None
    await vendor.runner.cleanup()


@pytest.fixture
async def process(tmp_path: Path, dsn: str, vendor: QuotingVendor) -> AsyncIterator[Process]:
    """A gateway with one lane to the failing vendor, and one to where nobody listens."""

    def lane(name: str, url: str) -> str:
        chats = "\n".join(f"      {model}: {{type: chat, price: {{input: 1, output: 2}}}}" for model in MODELS)
        embeds = "\n".join(
            f"      {model}-embed: {{type: embed, upstream: {model}, dimensions: 8, price: {{input: 1}}}}"
            for model in MODELS
        )
        return f"""
  {name}:
    plugin: openai
    base_url: {url}
    api_key: {VENDOR_KEY}
    retries: 0
    timeouts: {{first_byte_s: 0.3, between_bytes_s: 0.3}}
    models:
{chats}
{embeds}
"""

    lanes = lane("up", vendor.url) + lane("dead", f"http://127.0.0.1:{free_port()}/v1")
    ask = f"integrations:\n  ask: {{plugin: ./ask.py, url: '{vendor.url}', price: {{call: 0.001}}}}\n"
    process = Process(tmp_path / "gateway", dsn, f"gateway: {{}}\nlanes:\n{lanes}\n{ask}")
    (process.home / "ask.py").write_text(PLUGIN % VENDOR_KEY)
    await process.start()
    yield process
    await process.stop()


class Caller:
    """A customer's caller; every call has a request id of its own."""

    def __init__(self, process: Process, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
        self.process, self.pool, self.http = process, pool, http
        self.customer_id = self.key_id = 0
        self.key = ""
        self.calls = 0

    async def setup(self) -> Caller:
        """Make the customer and its key."""
        self.customer_id = await customer(self.pool)
        self.key_id, self.key = await virtual_key(self.pool, self.customer_id)
        return self

    async def post(self, path: str, body: Mapping[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
        """Make a call; its status and the one monitor event of its failure."""
        self.calls += 1
        request_id = f"failing-{self.calls}"
        sent = {"authorization": f"Bearer {self.key}", "x-kaixu-request-id": request_id} | headers
        async with self.http.post(f"{self.process.url}{path}", json=body, headers=sent) as response:
            await response.read()
            status = response.status
        return status, await self.event(request_id)

    async def event(self, request_id: str) -> dict[str, Any]:
        """The failure event of a request, once it is written."""
        async with asyncio.timeout(10):
            while True:
                rows = await self.pool.fetch(
                    "select * from kaixu.gateway_event where request_id = $1 and detail is distinct from 'tries'",
                    request_id,
                )
                if rows:
                    [row] = rows
                    return dict(row)
                await asyncio.sleep(0.05)


@pytest.fixture
async def caller(process: Process, pool: asyncpg.Pool) -> AsyncIterator[Caller]:
    """A customer's caller."""
    async with aiohttp.ClientSession() as http:
        yield await Caller(process, pool, http).setup()


MESSAGES = [{"role": "user", "content": f"Please help: {PROMPT}."}]

#: How each endpoint is called, and how often its vendor is tried.
ENDPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/api/gateway-chat", {"messages": MESSAGES}),
    "stream": ("/api/gateway-stream", {"messages": MESSAGES}),
    "openai": ("/v1/chat/completions", {"messages": MESSAGES}),
    "openai stream": ("/v1/chat/completions", {"messages": MESSAGES, "stream": True}),
    "responses": ("/v1/responses", {"input": PROMPT}),
    "anthropic": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9}),
    "anthropic stream": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9, "stream": True}),
    "embeddings": ("/v1/embeddings", {"input": PROMPT}),
}


def body_of(endpoint: str, lane: str, model: str) -> tuple[str, dict[str, Any]]:
    """The path and the body of a call."""
    path, body = ENDPOINTS[endpoint]
    name = f"{model}-embed" if endpoint == "embeddings" else model
    if path.startswith("/api/"):
        return path, body | {"provider": lane, "model": name}
    return path, body | {"model": f"{lane}/{name}"}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_failed_call_s_event_names_customer_key_place_and_the_vendor_s_cleaned_words(
    endpoint: str, caller: Caller
) -> None:
    expected = {
        "status-401": ("UPSTREAM_ERROR", 401),
        "status-429": ("UPSTREAM_BUSY", 429),
        "status-500": ("UPSTREAM_ERROR", 500),
        "status-400": ("UPSTREAM_REJECTED", 400),
        "hang-1": ("UPSTREAM_TIMEOUT", None),
    }
    for model, (code, upstream_status) in expected.items():
        path, body = body_of(endpoint, "up", model)
        _, event = await caller.post(path, body, **{"x-kaixu-app": "shop", "x-kaixu-build": "7"})
        assert (event["app_id"], event["build_id"]) == ("shop", "7")
        assert event["request_bytes"] > 30
        assert event["response_bytes"] > 30
        assert len(event["ip_hash"]) == 16
        name = f"{model}-embed" if endpoint == "embeddings" else model
        assert (event["kind"], event["error_code"], event["upstream_status"]) == ("error", code, upstream_status)
        assert (event["customer_id"], event["key_id"]) == (caller.customer_id, caller.key_id), (model, event)
        assert (event["provider"], event["model"]) == ("up", name)
        assert event["deployment"] == "up"
        assert event["upstream_body"] == event["extra"].get("vendor", {}).get("words")
        [tried] = event["extra"]["tried"]
        assert (tried["deployment"], tried["error"]) == ("up", code)
        if upstream_status is not None:
            assert "refused …" in event["extra"]["vendor"]["words"]
        told = str(event)
        for secret in (VENDOR_KEY, caller.key, PROMPT, "Melanie"):
            assert secret not in told
    path, body = body_of(endpoint, "dead", "status-500")
    _, event = await caller.post(path, body)
    assert (event["provider"], event["customer_id"], event["error_code"]) == (
        "dead",
        caller.customer_id,
        "UPSTREAM_ERROR",
    )


@pytest.mark.parametrize("endpoint", ["stream", "openai stream", "anthropic stream"])
async def test_a_stream_that_breaks_off_leaves_an_event_though_its_status_was_200(
    endpoint: str, caller: Caller
) -> None:
    path, body = body_of(endpoint, "up", "cut-1")
    status, event = await caller.post(path, body)
    assert (status, event["kind"], event["customer_id"]) == (200, "error", caller.customer_id)
    assert (event["provider"], event["model"], event["http_status"]) == ("up", "cut-1", 502)
    assert "refused …" in event["extra"]["vendor"]["words"]
    for secret in (VENDOR_KEY, caller.key, PROMPT):
        assert secret not in str(event)


async def test_refusals_of_the_gateway_name_the_customer_and_the_model(caller: Caller, pool: asyncpg.Pool) -> None:
    path, body = body_of("chat", "up", "status-500")
    poor = await Caller(caller.process, pool, caller.http).setup()
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 0 where id = $1", poor.customer_id)
    poor.calls = 100
    status, event = await poor.post(path, body)
    assert (status, event["kind"], event["error_code"]) == (402, "blocked", "CAP_REACHED")
    assert (event["customer_id"], event["key_id"], event["provider"], event["model"]) == (
        poor.customer_id,
        poor.key_id,
        "up",
        "status-500",
    )


async def test_a_failed_job_s_attempts_are_events_with_the_customer(caller: Caller, pool: asyncpg.Pool) -> None:
    _, body = body_of("chat", "up", "status-401")
    headers = {"authorization": f"Bearer {caller.key}", "x-kaixu-request-id": "a-job"}
    async with caller.http.post(f"{caller.process.url}/api/gateway-job-submit", json=body, headers=headers) as response:
        assert response.status in (200, 202), await response.text()
    event = await caller.event("a-job")
    assert (event["function_name"], event["error_code"], event["upstream_status"]) == (
        "job:chat",
        "UPSTREAM_ERROR",
        401,
    )
    assert (event["customer_id"], event["key_id"], event["provider"], event["model"]) == (
        caller.customer_id,
        caller.key_id,
        "up",
        "status-401",
    )
    assert event["extra"]["attempt"] == 1
    assert PROMPT not in str(event)


async def test_a_trace_goes_on_to_the_vendor_and_is_in_the_event(caller: Caller, vendor: QuotingVendor) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    path, body = body_of("chat", "up", "status-401")
    _, event = await caller.post(path, body, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    _, untraced = await caller.post(path, body, traceparent="00-nonsense-00f067aa0ba902b7-01")
    [sent, nothing] = vendor.traceparents
    assert nothing is None
    assert "traceparent" not in untraced["extra"]
    assert sent is not None
    spans = {"00f067aa0ba902b7", sent.split("-")[2], event["extra"]["traceparent"].split("-")[2]}
    assert (len(spans), sent.split("-")[1], event["extra"]["traceparent"].split("-")[1]) == (3, trace, trace)


async def test_health_and_doctor_say_that_a_vendor_refuses_all_calls(
    caller: Caller, process: Process, pool: asyncpg.Pool
) -> None:
    async def health(**headers: str) -> dict[str, Any]:
        async with caller.http.get(f"{process.url}/api/health", headers=headers) as response:
            assert response.status == 200  # it can serve; clients look at the status
            body: dict[str, Any] = await response.json()
            return body

    assert (await health())["status"] == "ready"
    path, body = body_of("chat", "up", "status-401")
    for _ in range(3):
        await caller.post(path, body)
    seen = await health()
    assert (seen["ok"], seen["status"]) == (True, "degraded")
    assert seen["why"] == ["lane up fails: none of its last 3 calls was answered"]
    assert "vendors" not in seen
    doctor = await process.command("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(doctor.stdout)}
    assert doctor.returncode == 1
    assert rows["vendor of up"]["state"] == "wrong"
    detail = rows["vendor of up"]["detail"]
    assert detail.startswith("0 of the last 3 calls were answered (5 minutes); the last failure: UPSTREAM_ERROR, the v")
    assert "the vendor answered 401 (credential): refused …" in detail
    assert "vendor of dead" not in rows
    for text in (doctor.stdout, process.log.read_text()):
        for secret in (VENDOR_KEY, caller.key, PROMPT):
            assert secret not in text
    assert "lane up, model status-401: the first calls failed, 3 so far; UPSTREAM_ERROR" in process.log.read_text()
    assert await pool.fetchval("select count(*) from kaixu.gateway_event where error_code = 'LANE_FAILS'") == 1


async def test_a_failed_operation_names_the_customer_and_the_vendor_s_cleaned_words(caller: Caller) -> None:
    status, event = await caller.post("/v1/ask/now", {"text": PROMPT})
    assert (status, event["kind"], event["error_code"], event["upstream_status"]) == (
        502,
        "error",
        "UPSTREAM_ERROR",
        401,
    )
    assert (event["customer_id"], event["key_id"]) == (caller.customer_id, caller.key_id)
    assert (event["provider"], event["model"]) == ("ask", "ask.now")
    assert "refused …" in event["extra"]["vendor"]["words"]
    for secret in (VENDOR_KEY, caller.key, PROMPT):
        assert secret not in str(event)
