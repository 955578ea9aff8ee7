"""Receivers that hang, fail and come back; customers' own webhooks."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from aiohttp import web

from kaixu.accounts.alert_webhooks import find_alert_webhook, set_alert_webhook
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.config.alerts_section import AlertsSection
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection, JobsSection
from kaixu.jobs import webhook_sender
from kaixu.jobs.alert_receivers import AlertReceivers
from kaixu.jobs.alert_test import TestResult, send_test_alert
from kaixu.jobs.alert_webhooks import AlertDelivery, CustomerAlertWebhooks
from kaixu.jobs.webhook_guard import PRIVATE_ADDRESS, AddressGuard
from kaixu.jobs.webhook_signing import customer_secret
from kaixu.ops.sealing import Sealer
from kaixu.ops.tasks import Tasks
from kaixu.plugin.errors import NotFound
from kaixu.store import job_webhooks
from kaixu.store.alerts import Delivery, queue_deliveries
from kaixu.store.webhook_deliveries import MOST_FAILURES
from tests.support.money import customer, virtual_key
from tests.support.smtp import smtp_server

SECRETS = Secrets("operator-password", "jwt-secret-0123456789", "key-pepper-0123456789", "encryption-0123456789")
SEALER = Sealer(SECRETS.db_encryption_key)
WHO = {"actor": "operator", "request_id": "r"}


class Receiver:
    """Webhooks by path. Those in `hanging` do not answer, those in `broken` answer 500."""

    def __init__(self) -> None:
        self.url = ""
        self.hanging: set[str] = set()
        self.broken: set[str] = set()
        self.requests: list[tuple[str, bytes, dict[str, str]]] = []

    async def receive(self, request: web.Request) -> web.Response:
        name = request.path.strip("/")
        self.requests.append((name, await request.read(), dict(request.headers)))
        if name in self.hanging:
            await asyncio.sleep(60)
        return web.Response(status=500 if name in self.broken else 200)

    def got(self, name: str) -> list[bytes]:
        """What one of them got."""
        return [body for path, body, _ in self.requests if path == name]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{name}", receiver.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


class Gateway:
    """One gateway's deliveries."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        alerts: dict[str, Any],
        *,
        private: bool = True,
        mail: Any = None,
        secrets: Secrets = SECRETS,
    ) -> None:
        section = AlertsSection.model_validate(alerts)
        current = CurrentConfig(Catalog(), GatewaySection(), alerts=section, mail=mail)
        self.receivers = AlertReceivers(Settings(), SECRETS, current)
        guard = AddressGuard(lambda: JobsSection(webhook_http=True, webhook_private=private))
        customers = CustomerAlertWebhooks(pool, SEALER, secrets.jwt_secrets, guard)
        self.tasks = Tasks()
        self.delivery = AlertDelivery(pool, self.receivers, customers, self.tasks)

    async def deliver(self, *, wait: bool = True) -> None:
        """One round to the operator's webhooks."""
        await self.delivery.round()
        while wait and self.delivery.busy:
            await asyncio.sleep(0.01)


async def queue(pool: asyncpg.Pool, destination: str, body: bytes = b"{}", customer_id: int | None = None) -> None:
    await queue_deliveries(pool, [Delivery(destination, "CAP_WARN_KEY", body, 1, customer_id)])


async def make_due(pool: asyncpg.Pool) -> None:
    await pool.execute("update kaixu.webhook_delivery set next_attempt_at = now() where next_attempt_at is not null")


async def told(pool: asyncpg.Pool) -> list[tuple[str, str | None]]:
    return [tuple(row) for row in await pool.fetch("select type, receiver from kaixu.alert order by id")]


async def test_a_receiver_that_hangs_delays_no_other(
    pool: asyncpg.Pool, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "TIMEOUT_S", 600.0)
    receiver.hanging = {"slow"}
    webhooks = {name: {"url": f"{receiver.url}/{name}"} for name in ("slow", "fast")}
    gateway = Gateway(pool, {"webhooks": webhooks})
    try:
        for body in (b"1", b"2", b"3"):
            for name in webhooks:
                await queue(pool, f"alerts:{name}", body)
            await gateway.deliver(wait=False)
            async with asyncio.timeout(20):
                while body not in receiver.got("fast"):
                    await asyncio.sleep(0.01)
                    await gateway.deliver(wait=False)
        assert gateway.delivery.busy >= {"alerts:slow"}
        assert receiver.got("slow") == [b"1"]
    finally:
        await gateway.tasks.stop()
    assert gateway.delivery.busy == set()


async def test_a_receiver_that_keeps_failing_is_told_once_and_so_is_its_return(
    pool: asyncpg.Pool, receiver: Receiver
) -> None:
    receiver.broken = {"ops"}
    gateways = [Gateway(pool, {"webhooks": {"ops": {"url": f"{receiver.url}/ops"}}}) for _ in range(2)]
    for body in (b"1", b"2"):
        await queue(pool, "alerts:ops", body)
    for attempt in range(1, MOST_FAILURES + 2):
        expected = [("WEBHOOK_FAILING", "alerts:ops")] if 2 * (attempt - 1) >= MOST_FAILURES else []
        assert await told(pool) == expected
        await asyncio.gather(*(one.deliver() for one in gateways))
        await make_due(pool)
    body = await pool.fetchval("select body from kaixu.alert")
    assert body == {"receiver": "alerts:ops", "failures": MOST_FAILURES, "error": "it answered 500", "is_final": False}
    receiver.broken = set()
    await asyncio.gather(*(one.deliver() for one in gateways))
    assert await told(pool) == [("WEBHOOK_FAILING", "alerts:ops"), ("WEBHOOK_WORKS", "alerts:ops")]
    assert await pool.fetchval("select count(*) from kaixu.receiver_failure") == 0


async def test_a_message_that_is_given_up_is_told_at_once(
    pool: asyncpg.Pool, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "PAUSES_S", ())
    receiver.broken = {"ops"}
    await queue(pool, "alerts:ops")
    await Gateway(pool, {"webhooks": {"ops": {"url": f"{receiver.url}/ops"}}}).deliver()
    assert await told(pool) == [("WEBHOOK_FAILING", "alerts:ops")]
    assert await pool.fetchval("select body->'is_final' from kaixu.alert") is True


async def test_the_webhooks_of_a_customers_jobs_are_a_receiver_too(pool: asyncpg.Pool) -> None:
    customer_id, job_id = await customer(pool), uuid4()
    key_id, _ = await virtual_key(pool, customer_id)
    await pool.execute(
        """
        insert into kaixu.job (id, customer_id, key_id, kind, request_id, payload, status, most_attempts, completed_at,
                               webhook, webhook_after)
        values ($1, $2, $3, 'chat', 'r', '', 'succeeded', 1, now(), '', now())
        """,
        job_id,
        customer_id,
        key_id,
    )
    [job] = await job_webhooks.claim_webhooks(pool, lease_s=60, most=1)
    await job_webhooks.record_failed(pool, job, error="TimeoutError", retry_in_s=None)
    assert await told(pool) == [("WEBHOOK_FAILING", f"jobs:{customer_id}")]
    await job_webhooks.record_delivered(pool, job_id)
    assert (await told(pool))[1:] == [("WEBHOOK_WORKS", f"jobs:{customer_id}")]


async def test_a_customers_own_webhook_gets_its_alerts_signed_with_its_secret(
    pool: asyncpg.Pool, receiver: Receiver
) -> None:
    customer_id = await customer(pool)
    await set_alert_webhook(pool, SEALER, customer_id, f"{receiver.url}/mine", **WHO)
    await queue(pool, f"customer:{customer_id}", b'{"type":"CAP_WARN_KEY"}', customer_id)
    await Gateway(pool, {}).delivery.customers_round()
    [(name, body, headers)] = receiver.requests
    assert (name, body) == ("mine", b'{"type":"CAP_WARN_KEY"}')
    key = base64.b64decode(customer_secret(SECRETS.jwt_secret, customer_id).removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"
    assert "x-kaixu-signature" not in headers, "the operator's key signs nothing for a customer"


async def test_while_jwt_secret_is_replaced_a_customers_webhook_is_signed_for_both(
    pool: asyncpg.Pool, receiver: Receiver
) -> None:
    customer_id = await customer(pool)
    await set_alert_webhook(pool, SEALER, customer_id, f"{receiver.url}/mine", **WHO)
    await queue(pool, f"customer:{customer_id}", b"{}", customer_id)
    secrets = dataclasses.replace(SECRETS, jwt_secret="a new secret", jwt_secret_old=SECRETS.jwt_secret)
    await Gateway(pool, {}, secrets=secrets).delivery.customers_round()
    [(_, body, headers)] = receiver.requests
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    keys = [
        base64.b64decode(customer_secret(secret, customer_id).removeprefix("whsec_")) for secret in secrets.jwt_secrets
    ]
    signatures = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    assert headers["webhook-signature"] == " ".join(f"v1,{one}" for one in signatures)


async def test_a_customers_webhook_in_a_private_network_gets_nothing(pool: asyncpg.Pool, receiver: Receiver) -> None:
    customer_id = await customer(pool)
    await set_alert_webhook(pool, SEALER, customer_id, f"{receiver.url}/mine", **WHO)
    await queue(pool, f"customer:{customer_id}", customer_id=customer_id)
    await Gateway(pool, {}, private=False).delivery.customers_round()
    assert receiver.requests == []
    assert await pool.fetchval("select last_error from kaixu.webhook_delivery") == PRIVATE_ADDRESS


async def test_one_customers_many_messages_leave_room_for_the_others(
    pool: asyncpg.Pool, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "AT_ONCE", 2)
    noisy, quiet = await customer(pool), await customer(pool)
    for customer_id in (noisy, quiet):
        await set_alert_webhook(pool, SEALER, customer_id, f"{receiver.url}/of-{customer_id}", **WHO)
    for _ in range(5):
        await queue(pool, f"customer:{noisy}", customer_id=noisy)
    await queue(pool, f"customer:{quiet}", customer_id=quiet)
    await Gateway(pool, {}).delivery.customers_round()
    assert sorted(name for name, _, _ in receiver.requests) == [f"of-{noisy}", f"of-{quiet}"]


async def test_many_gateways_deliver_each_message_of_customers_once(pool: asyncpg.Pool, receiver: Receiver) -> None:
    for at in range(12):
        customer_id = await customer(pool)
        await set_alert_webhook(pool, SEALER, customer_id, f"{receiver.url}/of-{customer_id}", **WHO)
        for _ in range(3):
            await queue(pool, f"customer:{customer_id}", b"%d" % at, customer_id)
    gateways = [Gateway(pool, {}) for _ in range(3)]
    for _ in range(4):
        await asyncio.gather(*(one.delivery.customers_round() for one in gateways))
    assert sorted(body for _, body, _ in receiver.requests) == sorted(b"%d" % at for at in range(12) for _ in range(3))


async def test_a_removed_webhook_gets_nothing_and_is_not_told_as_failing(
    pool: asyncpg.Pool, receiver: Receiver
) -> None:
    customer_id = await customer(pool)
    await set_alert_webhook(pool, SEALER, customer_id, f"{receiver.url}/mine", **WHO)
    await queue(pool, f"customer:{customer_id}", b"before", customer_id)
    await set_alert_webhook(pool, SEALER, customer_id, None, **WHO)
    await queue(pool, f"customer:{customer_id}", b"after", customer_id)  # its dispatch had begun before
    await Gateway(pool, {}).delivery.customers_round()
    rows = await pool.fetch("select last_error, next_attempt_at from kaixu.webhook_delivery order by created_at")
    assert [tuple(row) for row in rows] == [
        ("the webhook was removed", None),
        ("the customer has no webhook any more", None),
    ]
    assert (receiver.requests, await told(pool)) == ([], [])


async def test_only_the_host_of_a_customers_webhook_is_stored_in_the_clear(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    await set_alert_webhook(pool, SEALER, customer_id, "https://hooks.example.com:8443/T0/secret?token=1", **WHO)
    assert await find_alert_webhook(pool, SEALER, customer_id) == "https://hooks.example.com:8443/…"
    stored = await pool.fetch("select url::text as text from kaixu.alert_webhook")
    audit = await pool.fetch("select after::text as text from kaixu.audit_event")
    assert "secret" not in str([row["text"] for row in (*stored, *audit)])
    with pytest.raises(NotFound):
        await set_alert_webhook(pool, SEALER, 999, "https://hooks.example.com/", **WHO)


async def test_a_test_says_what_failed_at_each_receiver(
    pool: asyncpg.Pool, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaixu.jobs.alert_test.TIMEOUT_S", 0.5)
    receiver.broken, receiver.hanging = {"broken"}, {"hanging"}
    webhooks = {name: {"url": f"{receiver.url}/{name}"} for name in ("good", "broken", "hanging")}
    webhooks["nobody"] = {"url": "http://127.0.0.1:9/secret"}
    async with smtp_server() as mailbox:
        mail = mailbox.section()
        gateway = Gateway(pool, {"webhooks": webhooks, "mail": ["ops@example.com"]}, mail=mail)
        results = await send_test_alert(gateway.receivers)
        assert len(mailbox.messages) == 1
    assert results == [
        TestResult("alerts:good", None),
        TestResult("alerts:broken", "it answered 500"),
        TestResult("alerts:hanging", "it did not answer within 0.5 s"),
        TestResult("alerts:nobody", "no connection (ClientConnectorError)"),
        TestResult("ops@example.com", None),
    ]
    assert msgspec.json.decode(receiver.got("good")[0])["type"] == "TEST"
    without = Gateway(pool, {"mail": ["ops@example.com"]})
    [result] = await send_test_alert(without.receivers)
    assert result.error == "kaixu.yaml has no section `mail:`, so no mail is sent"
