"""Alerts reach the operator's webhook, also after failures and crashes of gateways."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web

from kaixu.jobs.alert_receivers import WebhookReceiver
from kaixu.jobs.alert_webhooks import AlertWebhooks
from kaixu.jobs.webhook_sender import LEASE_S, PAUSES_S, Message, WebhookSender
from kaixu.jobs.webhook_signing import alert_headers, alert_key
from kaixu.store.alerts import ALERTS, Delivery, queue_deliveries
from kaixu.store.webhook_deliveries import DueDelivery, claim_deliveries, prune_deliveries, record_failed

KEY = alert_key("a secret")


class Receiver:
    """An operator's webhook. Answers the next requests with `statuses`, then with 200."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self.ids: list[str] = []

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        signature = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
        assert request.headers["x-kaixu-signature"] == f"sha256={signature}"
        assert request.headers["content-type"] == "application/json"
        signed_headers = {name: request.headers[name] for name in ("webhook-id", "webhook-timestamp")}
        expected = alert_headers(
            KEY, UUID(signed_headers["webhook-id"]), int(signed_headers["webhook-timestamp"]), body
        )
        assert request.headers["webhook-signature"] == expected["webhook-signature"]
        self.ids.append(signed_headers["webhook-id"])
        self.bodies.append(body)
        await asyncio.sleep(0.01)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield receiver
    await runner.cleanup()


@pytest.fixture
def sender(pool: asyncpg.Pool, receiver: Receiver) -> WebhookSender[DueDelivery]:
    return WebhookSender(AlertWebhooks(pool, at(receiver.url)))


def at(url: str, name: str = ALERTS) -> WebhookReceiver:
    """A receiver of the operator's."""
    return WebhookReceiver(name, url, KEY)


async def queue(pool: asyncpg.Pool, body: bytes = b"{}", *, name: str = ALERTS) -> None:
    await queue_deliveries(pool, [Delivery(name, "CAP_WARN_CUSTOMER", body, 1, None)])


async def due_in_s(pool: asyncpg.Pool) -> float | None:
    seconds: float | None = await pool.fetchval(
        "select extract(epoch from next_attempt_at - clock_timestamp())::float from kaixu.webhook_delivery"
    )
    return seconds


async def make_due(pool: asyncpg.Pool) -> None:
    await pool.execute("update kaixu.webhook_delivery set next_attempt_at = now() where next_attempt_at is not null")


async def test_a_queued_alert_is_delivered_once_by_whichever_gateway_is_there(
    pool: asyncpg.Pool, sender: WebhookSender[DueDelivery], receiver: Receiver
) -> None:
    await queue(pool, b'{"type":"CAP_WARN_CUSTOMER"}')  # and the gateway that raised it is gone
    await sender.round()
    await make_due(pool)
    await sender.round()
    assert receiver.bodies == [b'{"type":"CAP_WARN_CUSTOMER"}']
    assert await pool.fetchval("select delivered_at is not null from kaixu.webhook_delivery")


async def test_a_receiver_that_fails_gets_the_same_alert_again_after_growing_pauses(
    pool: asyncpg.Pool, sender: WebhookSender[DueDelivery], receiver: Receiver
) -> None:
    receiver.statuses = [500, 302]
    await queue(pool)
    for pause_s in PAUSES_S[:2]:
        await sender.round()
        seconds = await due_in_s(pool)
        assert seconds is not None
        assert pause_s - 3 < seconds <= pause_s
        await sender.round()  # not due yet
        await make_due(pool)
    await sender.round()
    assert receiver.bodies == [b"{}"] * 3
    assert len(set(receiver.ids)) == 1, "a receiver can tell that it has a message"
    assert await due_in_s(pool) is None


async def test_an_alert_is_abandoned_after_its_last_attempt(
    pool: asyncpg.Pool, sender: WebhookSender[DueDelivery], receiver: Receiver
) -> None:
    receiver.statuses = [500]
    await queue(pool)
    await pool.execute("update kaixu.webhook_delivery set attempts = $1", len(PAUSES_S))
    await sender.round()
    await sender.round()
    [row] = await pool.fetch("select next_attempt_at, delivered_at, last_error from kaixu.webhook_delivery")
    assert tuple(row) == (None, None, "it answered 500")
    assert len(receiver.bodies) == 1


class Odd(AlertWebhooks):
    """An outbox whose first alert fails in a way that nobody has thought of."""

    def message(self, row: DueDelivery) -> Message:
        if row.body == b"odd":
            raise LookupError("odd")
        return super().message(row)

    def refusal(self, url: str) -> str | None:
        if url.endswith("/odd"):
            raise LookupError("odd")
        return None


async def test_an_attempt_that_cannot_be_made_does_not_end_the_others(pool: asyncpg.Pool, receiver: Receiver) -> None:
    await queue(pool, b"odd")
    await queue(pool, b"usual")
    with pytest.raises(LookupError):
        await WebhookSender(Odd(pool, at(receiver.url))).round()
    assert receiver.bodies == [b"usual"]
    assert await pool.fetchval("select body from kaixu.webhook_delivery where delivered_at is not null") == b"usual"


async def test_whatever_sending_raises_is_a_failed_attempt(pool: asyncpg.Pool, receiver: Receiver) -> None:
    await queue(pool)
    await WebhookSender(Odd(pool, at(receiver.url + "odd"))).round()
    assert await pool.fetchval("select last_error from kaixu.webhook_delivery") == "LookupError"
    assert (await due_in_s(pool) or 0) < PAUSES_S[0]


async def test_two_gateways_deliver_no_alert_twice(
    pool: asyncpg.Pool, sender: WebhookSender[DueDelivery], receiver: Receiver
) -> None:
    other = WebhookSender(AlertWebhooks(pool, at(receiver.url)))
    bodies = [b'{"customer_id":%d}' % customer_id for customer_id in range(1, 51)]
    for body in bodies:
        await queue(pool, body)
    for _ in range(3):
        await asyncio.gather(sender.round(), other.round())
    assert sorted(receiver.bodies) == sorted(bodies)


async def test_an_attempt_whose_gateway_died_is_made_again_when_its_lease_is_over(
    pool: asyncpg.Pool, sender: WebhookSender[DueDelivery], receiver: Receiver
) -> None:
    await queue(pool)
    [died] = await claim_deliveries(pool, ALERTS, lease_s=LEASE_S, most=10)
    await sender.round()
    assert receiver.bodies == []
    await make_due(pool)
    await sender.round()
    await record_failed(pool, died, error="too late to count", retry_in_s=1)
    assert (receiver.bodies, await due_in_s(pool)) == ([b"{}"], None)


async def test_a_late_failure_does_not_end_the_attempt_of_another_gateway(pool: asyncpg.Pool) -> None:
    await queue(pool)
    [late] = await claim_deliveries(pool, ALERTS, lease_s=LEASE_S, most=10)
    await make_due(pool)
    await claim_deliveries(pool, ALERTS, lease_s=LEASE_S, most=10)
    await record_failed(pool, late, error="too late to count", retry_in_s=None)
    seconds = await due_in_s(pool)
    assert seconds is not None
    assert seconds > LEASE_S - 5


@pytest.mark.parametrize("column", ["created_at", "next_attempt_at"])
async def test_an_alert_from_before_the_clock_was_set_back_is_delivered(
    pool: asyncpg.Pool, sender: WebhookSender[DueDelivery], receiver: Receiver, column: str
) -> None:
    await queue(pool)
    await pool.execute(f"update kaixu.webhook_delivery set {column} = now() + interval '5 hours'")
    await sender.round()
    assert receiver.bodies == [b"{}"]
    assert await pool.fetchval("select created_at <= clock_timestamp() from kaixu.webhook_delivery")


async def test_old_deliveries_are_removed(pool: asyncpg.Pool) -> None:
    for body in (b"1", b"2"):
        await queue(pool, body)
    await pool.execute("update kaixu.webhook_delivery set created_at = now() - interval '31 days' where body = '1'")
    assert await prune_deliveries(pool, days=30) == 1
    assert [row["body"] for row in await pool.fetch("select body from kaixu.webhook_delivery")] == [b"2"]
