"""Jobs as clients see them: handed in, looked at, done; and everything that may go wrong meanwhile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Client, Process
from tests.support.vendor import Vendor

from .conftest import Start

COST = 14 * 1000 + 4 * 2000
SECRET_WORDS = "the launch code is 0000"


class Jobs:
    """A client that hands jobs in."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.http, self.url, self.headers = client.http, client.url, client.headers

    async def submit(self, model: str = "ok", **fields: Any) -> tuple[int, dict[str, Any]]:
        body = {"provider": "up", "model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
        headers = self.headers | body.pop("headers", {})
        async with self.http.post(f"{self.url}/api/gateway-job-submit", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def get(self, what: str, job_id: str, **more: str) -> tuple[int, dict[str, Any]]:
        params = {"id": job_id, **more}
        url = f"{self.url}/api/gateway-job-{what}"
        async with self.http.get(url, params=params, headers=self.headers) as response:
            return response.status, await response.json()

    async def cancel(self, job_id: str) -> tuple[int, dict[str, Any]]:
        url = f"{self.url}/api/gateway-job-cancel"
        async with self.http.post(url, json={"id": job_id}, headers=self.headers) as response:
            return response.status, await response.json()

    async def ended(self, job_id: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                status, said = await self.get("status", job_id)
                assert status == 200, said
                if said["status"] not in ("queued", "running"):
                    return said
                await asyncio.sleep(0.05)

    async def done(self, model: str = "ok", **fields: Any) -> dict[str, Any]:
        status, said = await self.submit(model, **fields)
        assert status == 202, said
        return await self.ended(said["job_id"])


@pytest.fixture
async def gateway(start: Start) -> Process:
    return (await start(gateway="jobs: {workers: 4, lease_s: 2, attempts: 2}"))[0]


@pytest.fixture
async def customer_id(pool: asyncpg.Pool) -> int:
    return await customer(pool)


@pytest.fixture
async def jobs(gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int) -> Jobs:
    return Jobs(Client(http, gateway.url, (await virtual_key(pool, customer_id))[1]))


async def test_a_job_is_handed_in_done_and_billed_once(
    jobs: Jobs, pool: asyncpg.Pool, customer_id: int, vendor: Vendor
) -> None:
    status, said = await jobs.submit(_kaixu_meta={"any": "thing"})
    assert status == 202
    assert said["status_url"] == f"{jobs.url}/api/gateway-job-status?id={said['job_id']}"
    assert {"id", "schema", "kaixu_system_hash"} <= said["build"].keys()
    assert (said["provider"], said["requested_model"]) == ("up", "ok")
    ended = await jobs.ended(said["job_id"])
    job = ended["job"]
    assert (ended["status"], job["status"], job["output_len"], job["error"]) == ("succeeded", "succeeded", 16, None)
    assert (job["usage"]["input_tokens"], job["usage"]["output_tokens"], job["usage"]["cost_usd"]) == (
        14,
        4,
        "0.000022",
    )
    async with jobs.http.get(said["result_url"], headers=jobs.headers) as response:
        result = await response.json()
        assert response.status == 200
    assert (result["output_text"], result["finish_reason"]) == ("wd0 wd1 wd2 wd3 ", "stop")
    assert result["usage"] == job["usage"]
    assert result["routing"] == {"deployment": "up", "tries": 1}
    assert vendor.requests[0]["max_completion_tokens"] == 4096
    assert await spent_and_held(pool, customer_id) == (COST, 0)
    [event] = await pool.fetch("select operation, request_id from kaixu.usage_event")
    assert (event["operation"], event["request_id"]) == ("job:chat", said["request_id"])
    await assert_books_balance(pool)


async def test_a_hand_in_counts_once_for_its_rate_and_looking_does_not(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    _, key = await virtual_key(pool, await customer(pool), rpm_limit=2)
    jobs = Jobs(Client(http, gateway.url, key))
    first = await jobs.done()
    await jobs.done()
    for _ in range(5):
        assert (await jobs.get("status", first["job"]["id"]))[0] == 200
    status, said = await jobs.submit()
    assert (status, said["code"]) == (429, "RATE_LIMITED")
    assert said["ratelimit"]["remaining"] == 0


async def test_a_cap_that_is_reached_is_told_flat(
    gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    _, key = await virtual_key(pool, await customer(pool, cap_nusd=20_000_000), monthly_cap_nusd=1000)
    status, said = await Jobs(Client(http, gateway.url, key)).submit()
    assert status == 402
    assert (said["scope"], said["cap_cents"], said["spent_cents"], len(said["month"])) == ("key", 0, 0, 7)
    assert await pool.fetchval("select count(*) from kaixu.job") == 0
    await assert_books_balance(pool)


async def test_policy_is_asked_again_when_it_runs(
    jobs: Jobs, pool: asyncpg.Pool, customer_id: int, vendor: Vendor
) -> None:
    blockers = [(await jobs.submit("hang"))[1]["job_id"] for _ in range(4)]
    waiting = (await jobs.submit())[1]["job_id"]
    while await pool.fetchval("select count(*) from kaixu.job where status = 'running'") < 4:
        await asyncio.sleep(0.02)
    await pool.execute('update kaixu.customer set allowed_models = \'{"up": ["hang"]}\'')
    for blocker in blockers:
        assert (await jobs.cancel(blocker))[0] == 200
    ended = await jobs.ended(waiting)
    assert (ended["status"], ended["job"]["code"]) == ("failed", "MODEL_NOT_ALLOWED")
    status, said = await jobs.get("result", waiting)
    assert (status, said["code"], said["job"]["status"]) == (500, "MODEL_NOT_ALLOWED", "failed")
    assert [one["model"] for one in vendor.requests] == ["hang"] * 4


async def test_another_customer_finds_nothing_and_a_second_key_of_the_same_does(
    jobs: Jobs, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int
) -> None:
    job_id = (await jobs.done())["job"]["id"]
    stranger = Jobs(Client(http, jobs.url, (await virtual_key(pool, await customer(pool)))[1]))
    for what in ("status", "result"):
        assert (await stranger.get(what, job_id))[0] == 404
    assert (await stranger.cancel(job_id))[0] == 404
    second = Jobs(Client(http, jobs.url, (await virtual_key(pool, customer_id))[1]))
    assert (await second.get("result", job_id))[0] == 200


@pytest.fixture
async def refused(refusing: Process, http: aiohttp.ClientSession, refusing_pool: asyncpg.Pool) -> Jobs:
    """A customer of this test's own, at the gateway that these tests share."""
    return Jobs(Client(http, refusing.url, (await virtual_key(refusing_pool, await customer(refusing_pool)))[1]))


@pytest.mark.parametrize(
    "job_id",
    ["nonsense", "' or 1=1", "x" * 500, "e9efb73e-9d45-413f-b221-38a195371c92"],
    ids=["word", "sql", "long", "unknown"],
)
async def test_what_is_no_job_is_not_found(refused: Jobs, job_id: str) -> None:
    for what in ("status", "result"):
        status, said = await refused.get(what, job_id)
        assert (status, said["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("job_id", ["", "\0"], ids=["empty", "nul"])
async def test_what_cannot_be_a_job_is_refused(refused: Jobs, job_id: str) -> None:
    assert (await refused.get("status", job_id))[0] == 400


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"messages": []}, 400, "BAD_REQUEST"),
        ({"model": "unknown"}, 400, "UNKNOWN_MODEL"),
        ({"retrieve": {"collection": "x"}}, 422, "INVALID_FIELD"),
        ({"webhook": {"url": "http://example.com"}}, 422, "INVALID_FIELD"),
        ({"webhook": {"url": "https://user:pass@example.com"}}, 422, "INVALID_FIELD"),
        ({"webhook": {"address": "https://example.com"}}, 422, "INVALID_FIELD"),
        ({"headers": {"idempotency-key": " "}}, 422, "INVALID_FIELD"),
        ({"headers": {"authorization": "Bearer kx_live_" + "x" * 43}}, 401, "UNAUTHENTICATED"),
    ],
    ids=["no-messages", "model", "retrieve", "webhook-http", "webhook-user", "webhook-field", "blank-key", "wrong-key"],
)
async def test_what_cannot_be_done_is_said_at_once(
    refused: Jobs, refusing_pool: asyncpg.Pool, fields: dict[str, Any], status: int, code: str
) -> None:
    answered, said = await refused.submit(**fields)
    assert (answered, said["code"]) == (status, code)
    assert await refusing_pool.fetchval("select count(*) from kaixu.job") == 0


async def test_the_same_idempotency_key_is_the_same_job(jobs: Jobs, pool: asyncpg.Pool, vendor: Vendor) -> None:
    said = await asyncio.gather(*(jobs.submit(headers={"idempotency-key": "once"}) for _ in range(8)))
    assert {status for status, _ in said} == {202}
    [job_id] = {one["job_id"] for _, one in said}
    await jobs.ended(job_id)
    assert len(vendor.requests) == 1
    assert await pool.fetchval("select count(*) from kaixu.usage_event") == 1


async def test_a_failure_that_may_pass_is_tried_again_and_one_that_will_not_is_told(
    jobs: Jobs, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    vendor.failures_left = 1
    assert (await jobs.done())["status"] == "succeeded"
    ended = await jobs.done("status-400")
    assert (ended["status"], ended["job"]["code"], ended["job"]["attempts"]) == ("failed", "UPSTREAM_REJECTED", 1)
    ended = await jobs.done("status-500")
    assert (ended["status"], ended["job"]["code"], ended["job"]["attempts"]) == ("failed", "UPSTREAM_ERROR", 2)
    assert "vendor secret" not in str(ended)
    assert await pool.fetchval("select count(*) from kaixu.usage_event") == 1


async def test_a_job_that_waits_is_cancelled_at_once_and_a_running_one_is_billed_for_what_it_used(
    jobs: Jobs, pool: asyncpg.Pool, customer_id: int, vendor: Vendor
) -> None:
    job_id = (await jobs.submit("stream-3000-20"))[1]["job_id"]  # a minute: it does not end before it is cancelled
    while vendor.delivered < 3:
        await asyncio.sleep(0.02)
    status, said = await jobs.cancel(job_id)
    assert status == 200
    assert said["job"]["cancelling"] or said["status"] == "cancelled"  # the worker may be faster than the reply
    ended = await jobs.ended(job_id)
    assert (ended["status"], ended["job"]["code"]) == ("cancelled", "JOB_CANCELLED")
    assert 0 < ended["job"]["usage"]["output_tokens"] < 3000
    assert (await spent_and_held(pool, customer_id))[1] == 0
    assert (await jobs.get("result", job_id))[0] == 409
    done = await jobs.done()
    status, said = await jobs.cancel(done["job"]["id"])
    assert (status, said["code"]) == (409, "JOB_ENDED")
    await assert_books_balance(pool)


async def test_nothing_of_a_job_can_be_read_in_the_database(jobs: Jobs, pool: asyncpg.Pool) -> None:
    await jobs.done(messages=[{"role": "user", "content": SECRET_WORDS}])
    [row] = await pool.fetch("select j::text as said, payload, result from kaixu.job j")
    for text in (SECRET_WORDS, "wd0"):
        assert text not in row["said"]
        assert text.encode() not in row["payload"] + row["result"]


async def test_a_stop_gives_running_jobs_back_and_the_next_gateway_does_them(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, vendor: Vendor
) -> None:
    first, second = await start(2, gateway="grace_s: 0, jobs: {workers: 2}")
    jobs = Jobs(Client(http, first.url, (await virtual_key(pool, customer_id))[1]))
    ids = [(await jobs.submit("stream-50-5"))[1]["job_id"] for _ in range(6)]
    assert await first.stop() == 0
    jobs.url = second.url
    for job_id in ids:
        ended = await jobs.ended(job_id)
        assert (ended["status"], ended["job"]["usage"]["output_tokens"]) == ("succeeded", 50)
    assert (await spent_and_held(pool, customer_id)) == (6 * (14_000 + 50 * 2000), 0)
    await assert_books_balance(pool)


async def test_a_gateway_that_dies_loses_no_job_and_bills_none_twice(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int
) -> None:
    first, second = await start(2, gateway="on_lost: charge, reservation_s: 2, jobs: {workers: 4, lease_s: 1}")
    jobs = Jobs(Client(http, first.url, (await virtual_key(pool, customer_id))[1]))
    ids = [(await jobs.submit("stream-50-5"))[1]["job_id"] for _ in range(8)]
    while not await pool.fetchval("select count(*) from kaixu.job where status = 'running'"):
        await asyncio.sleep(0.02)
    first.kill()
    jobs.url = second.url
    for job_id in ids:
        assert (await jobs.ended(job_id))["status"] == "succeeded"
    async with asyncio.timeout(20):
        while (await spent_and_held(pool, customer_id))[1]:
            await asyncio.sleep(0.05)
    assert (await spent_and_held(pool, customer_id))[0] == 8 * (14_000 + 50 * 2000)
    assert await pool.fetchval("select count(*) from kaixu.usage_event") == 8
    await assert_books_balance(pool)


class Receiver:
    """Where webhooks go; it fails as often as it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.failures_left = 0

    async def hear(self, request: web.Request) -> web.Response:
        self.heard.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        if self.failures_left:
            self.failures_left -= 1
            return web.Response(status=500)
        return web.Response()


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


async def test_the_end_is_told_signed_without_a_text_and_again_where_it_was_not_heard(
    start: Start,
    http: aiohttp.ClientSession,
    pool: asyncpg.Pool,
    receiver: tuple[Receiver, str],
    vendor: Vendor,
) -> None:
    heard, url = receiver
    heard.failures_left = 1
    [process] = await start(gateway="jobs: {webhook_http: true, webhook_private: true}")
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    bearer = (await virtual_key(pool, await customer(pool)))[1]
    jobs = Jobs(Client(http, process.url, bearer, traceparent=f"00-{trace}-{parent}-01"))
    status, said = await jobs.submit(webhook={"url": url}, messages=[{"role": "user", "content": SECRET_WORDS}])
    assert (status, said["webhook"]["url"]) == (202, url)
    async with asyncio.timeout(30):
        while (await jobs.get("status", said["job_id"]))[1]["job"]["webhook"] is None:
            await asyncio.sleep(0.05)
        while (waiting := (await jobs.get("status", said["job_id"]))[1]["job"]["webhook"])["attempts"] < 1:
            await asyncio.sleep(0.05)
        await pool.execute(
            "update kaixu.job set webhook_after = now() where webhook_after is not null and webhook_attempts = 1"
        )
        while (waiting := (await jobs.get("status", said["job_id"]))[1]["job"]["webhook"])["state"] != "told":
            await pool.execute(
                "update kaixu.job set webhook_after = least(webhook_after, now()) where webhook_attempts = 1"
            )
            await asyncio.sleep(0.1)
    assert waiting["attempts"] >= 2
    traces = [headers["traceparent"].split("-") for headers in [*vendor.headers, *(one for one, _ in heard.heard)]]
    assert {one[1] for one in traces} == {trace}
    assert len({parent, *(one[2] for one in traces)}) == len(traces) + 1  # each has a span of its own
    for headers, body in heard.heard:
        assert SECRET_WORDS.encode() not in body
        message = json.loads(body)
        assert (message["type"], message["data"]["job_id"]) == ("job.succeeded", said["job_id"])
        assert message["data"]["usage"]["cost_usd"] == "0.000022"
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(said["webhook"]["secret"].removeprefix("whsec_"))
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{wanted}"
    assert len({headers["webhook-id"] for headers, _ in heard.heard}) == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "10.0.0.1", "[::ffff:127.0.0.1]"]
)
async def test_nobody_inside_is_told(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool, receiver: tuple[Receiver, str], host: str
) -> None:
    heard, url = receiver
    [process] = await start(gateway="jobs: {webhook_http: true}")
    jobs = Jobs(Client(http, process.url, (await virtual_key(pool, await customer(pool)))[1]))
    status, said = await jobs.submit(webhook={"url": url.replace("127.0.0.1", host)})
    assert status == 202
    await jobs.ended(said["job_id"])
    async with asyncio.timeout(20):
        while "the webhook of job" not in process.log.read_text():
            await asyncio.sleep(0.05)
    assert heard.heard == []
