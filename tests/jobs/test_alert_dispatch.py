"""Alerts are handed to their receivers once, and to nobody whom they do not concern."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from kaixu.accounts.alert_webhooks import set_alert_webhook
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.config.alerts_section import AlertsSection, AlertWebhookSection
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.mail_section import MailSection
from kaixu.jobs import alert_dispatch
from kaixu.jobs.alert_dispatch import AlertDispatch
from kaixu.jobs.alert_receivers import AlertReceivers
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.sealing import Sealer
from kaixu.reports.alert_messages import WORDS
from kaixu.store.alerts import raise_alert
from tests.support.money import customer, virtual_key

SECRETS = Secrets("operator-password", "jwt-secret-0123456789", "key-pepper-0123456789", "encryption-0123456789")
SEALER = Sealer(SECRETS.db_encryption_key)
MAIL = MailSection.model_validate({"host": "localhost", "from": "gateway@example.com"})

#: The figures of each type, as SQL writes them.
CAP = {"month": "2026-11", "cap_nusd": 20 * 10**9, "spent_nusd": 17 * 10**9, "pct": 85, "threshold_pct": 85}
BODIES: dict[str, dict[str, Any]] = {
    "CAP_WARN_CUSTOMER": CAP,
    "CAP_WARN_KEY": CAP,
    "CAP_REACHED_CUSTOMER": CAP,
    "CAP_REACHED_KEY": CAP,
    "CALLS_REFUSED_CUSTOMER": CAP,
    "CALLS_REFUSED_KEY": CAP,
    "CAP_RECOVERED_CUSTOMER": CAP,
    "CAP_RECOVERED_KEY": CAP,
    "CAP_WARN_BOOK": CAP | {"book": "push", "title": "Pushes"},
    "CAP_REACHED_BOOK": CAP | {"book": "push", "title": "Pushes"},
    "CAP_RECOVERED_BOOK": CAP | {"book": "push", "title": "Pushes"},
    "TOPPED_UP": CAP | {"amount_nusd": 5 * 10**9, "extra_nusd": 5 * 10**9, "source": "manual"},
    "VENDOR_DOWN": {"provider": "up", "upstream": "gpt", "reason": "UPSTREAM_ERROR"},
    "VENDOR_BACK": {"provider": "up", "upstream": "gpt", "down_s": 90},
    "WEBHOOK_FAILING": {"receiver": "alerts:ops", "failures": 4, "error": "it answered 500", "is_final": False},
    "WEBHOOK_WORKS": {"receiver": "alerts", "failed_s": 7300},
    "MARGIN_NEGATIVE": {
        "day": "2026-11-29", "subject": "model", "name": "up/m", "calls": 3, "spent_nusd": 1, "vendor_cost_nusd": 10**9,
        "margin_nusd": 1 - 10**9,
    },
    "MONTH_CLOSED": {"month": "2026-10", "invoices": 3, "total_cents": 123456, "not_issued": {"INVOICE_NO_ADDRESS": 1}},
}  # fmt: skip


def section(**fields: Any) -> AlertsSection:
    return AlertsSection.model_validate({"mail": ["ops@example.com"], **fields})


def hook(url: str = "https://hooks.example.com/secret-path", **fields: Any) -> AlertWebhookSection:
    return AlertWebhookSection.model_validate({"url": url, **fields})


class Gateway:
    """One gateway's dispatch, and what it has recorded in the monitor."""

    def __init__(self, pool: asyncpg.Pool, alerts: AlertsSection, *, mail: MailSection | None = MAIL) -> None:
        async def write(events: Sequence[MonitorEvent], batch_id: UUID) -> None:
            self.events += events

        self.events: list[MonitorEvent] = []
        self.monitor = Monitor(write)
        current = CurrentConfig(Catalog(), GatewaySection(), alerts=alerts, mail=mail)
        self.dispatch = AlertDispatch(pool, self.monitor, AlertReceivers(Settings(), SECRETS, current))

    async def round(self) -> None:
        await self.dispatch.round()
        await self.monitor.flush()


async def deliveries(pool: asyncpg.Pool) -> list[str]:
    rows = await pool.fetch("select destination || ' ' || event as line from kaixu.webhook_delivery order by 1")
    return [row["line"] for row in rows]


async def mails(pool: asyncpg.Pool) -> list[str]:
    rows = await pool.fetch("select recipient || ': ' || subject as line from kaixu.mail order by 1")
    return [row["line"] for row in rows]


@pytest.mark.parametrize("alert_type", BODIES)
async def test_each_alert_is_told_in_words_everywhere(pool: asyncpg.Pool, alert_type: str) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, label="build\nserver")
    await raise_alert(pool, alert_type, BODIES[alert_type], customer_id=customer_id, key_id=key_id)
    gateway = Gateway(pool, section(webhooks={"ops": hook()}))
    await gateway.round()
    assert await deliveries(pool) == [f"alerts:ops {alert_type}"]
    [mail] = await pool.fetch("select subject, body_text from kaixu.mail")
    assert mail["subject"].isprintable()
    for text in (mail["subject"], mail["body_text"]):
        assert not {"None", "nusd", "{", "secret-path"} & {*text.replace(".", " ").split()}
    [event] = gateway.events
    assert (event.kind, event.error_code, event.customer_id, event.key_id) == ("alert", alert_type, customer_id, key_id)
    assert "@" not in (event.error_message or "")


async def test_an_address_gets_no_flood_of_mails(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_dispatch, "MOST_MAILS", 3)
    gateway = Gateway(pool, section(webhooks={"ops": hook()}))
    for count in (2, 5):
        for _ in range(count):
            await raise_alert(pool, "VENDOR_DOWN", BODIES["VENDOR_DOWN"])
        await gateway.round()
    texts = [row["body_text"] for row in await pool.fetch("select body_text from kaixu.mail order by created_at")]
    assert [alert_dispatch.MORE in text for text in texts] == [False, False, True]
    assert len(await deliveries(pool)) == 7, "webhooks get all of them"
    assert await pool.fetchval("select count(*) from kaixu.alert where cardinality(mailed_to) = 1") == 3
    await pool.execute("update kaixu.mail set created_at = now() - interval '61 minutes'")
    await raise_alert(pool, "VENDOR_DOWN", BODIES["VENDOR_DOWN"])
    await gateway.round()
    assert len(await mails(pool)) == 4


async def test_an_alert_of_a_newer_gateway_holds_up_no_other(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    await raise_alert(pool, "A_NEW_TYPE", {"new_nusd": None, "more": {"a": 1}}, customer_id=customer_id)
    await raise_alert(pool, "VENDOR_BACK", {"provider": "up"})
    await raise_alert(pool, "TOPPED_UP", {"month": 7, "amount_nusd": "much"}, customer_id=customer_id)
    await raise_alert(pool, "VENDOR_DOWN", BODIES["VENDOR_DOWN"])
    await Gateway(pool, section(webhooks={"ops": hook()})).round()
    assert len(await deliveries(pool)) == 4
    assert await mails(pool) == [
        "ops@example.com: Alert A_NEW_TYPE of customer 1 (customer0@example.com)",
        "ops@example.com: Alert TOPPED_UP of customer 1 (customer0@example.com)",
        "ops@example.com: Alert VENDOR_BACK",
        "ops@example.com: Lane up, model gpt: calls fail",
    ]


def test_each_type_of_alert_has_words() -> None:
    assert {*WORDS} == {*BODIES}


@pytest.mark.parametrize(("alert_type", "owner"), [("CAP_WARN_CUSTOMER", "customer"), ("CAP_WARN_KEY", "key")])
async def test_the_names_of_the_contract_and_the_shorter_ones_are_in_the_json(
    pool: asyncpg.Pool, alert_type: str, owner: str
) -> None:
    customer_id = await customer(pool)
    key_id = (await virtual_key(pool, customer_id))[0] if owner == "key" else None
    await raise_alert(pool, alert_type, CAP, customer_id=customer_id, key_id=key_id)
    await Gateway(pool, section(webhooks={"ops": hook()})).round()
    body = msgspec.json.decode(await pool.fetchval("select body from kaixu.webhook_delivery"))
    alert_id, created_at = body.pop("alert_id"), body.pop("created_at")
    assert (alert_id, created_at[-1]) == (1, "Z")
    assert body == {
        "type": alert_type,
        "month": "2026-11",
        "customer_id": customer_id,
        "api_key_id": key_id,
        f"{owner}_cap_cents": 2000,
        f"{owner}_spent_cents": 1700,
        "cap_cents": 2000,
        "spent_cents": 1700,
        "pct": 85,
        "threshold_pct": 85,
    }


async def test_many_gateways_dispatch_each_alert_once(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_dispatch, "AT_ONCE", 3)
    for _ in range(20):
        await raise_alert(pool, "VENDOR_DOWN", BODIES["VENDOR_DOWN"])
    gateways = [Gateway(pool, section(webhooks={"ops": hook(), "two": hook()})) for _ in range(3)]
    await asyncio.gather(*(one.round() for one in gateways))
    assert len(await deliveries(pool)) == 40
    assert len(await mails(pool)) == 20
    assert sum(len(one.events) for one in gateways) == 20


async def test_a_dispatch_that_dies_half_way_is_made_again_as_a_whole(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await raise_alert(pool, "VENDOR_DOWN", BODIES["VENDOR_DOWN"])
    gateway = Gateway(pool, section(webhooks={"ops": hook()}))

    async def dies(*arguments: Any) -> None:
        raise LookupError

    with monkeypatch.context() as patch:
        patch.setattr(alert_dispatch, "queue_mails", dies)
        with pytest.raises(LookupError):
            await gateway.round()
    assert await deliveries(pool) == []
    await gateway.round()
    assert await deliveries(pool) == ["alerts:ops VENDOR_DOWN"]
    assert len(await mails(pool)) == 1


async def test_receivers_get_only_the_types_that_they_want(pool: asyncpg.Pool) -> None:
    webhooks = {"all": hook(), "vendors": hook(types=["VENDOR_DOWN"])}
    for alert_type in ("VENDOR_DOWN", "VENDOR_BACK"):
        await raise_alert(pool, alert_type, BODIES[alert_type])
    await Gateway(pool, section(webhooks=webhooks, mail_types=["VENDOR_BACK"])).round()
    assert await deliveries(pool) == ["alerts:all VENDOR_BACK", "alerts:all VENDOR_DOWN", "alerts:vendors VENDOR_DOWN"]
    assert await mails(pool) == ["ops@example.com: Lane up, model gpt: calls are answered again"]


async def test_a_failing_webhook_is_told_to_the_others_and_by_mail_not_to_itself(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "select kaixu.raise_alert('WEBHOOK_FAILING', $1, p_receiver => 'alerts:ops')", BODIES["WEBHOOK_FAILING"]
    )
    await Gateway(pool, section(webhooks={"ops": hook(), "two": hook()})).round()
    assert await deliveries(pool) == ["alerts:two WEBHOOK_FAILING"]
    assert await mails(pool) == ["ops@example.com: The webhook `ops` fails"]


async def test_without_mail_settings_no_mail_waits_for_ever(pool: asyncpg.Pool) -> None:
    await raise_alert(pool, "VENDOR_DOWN", BODIES["VENDOR_DOWN"])
    await Gateway(pool, section(customers=True), mail=None).round()
    assert await mails(pool) == []


@pytest.mark.parametrize(
    ("gateways", "own", "gets_mail"),
    [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
    ids=["off", "on", "off, but on for this one", "on, but off for this one"],
)
async def test_customers_are_mailed_where_the_operator_allows_it(
    pool: asyncpg.Pool, gateways: bool, own: bool | None, gets_mail: bool
) -> None:
    customer_id = await customer(pool, alert_mail=own)
    await raise_alert(pool, "CAP_WARN_CUSTOMER", CAP, customer_id=customer_id)
    await Gateway(pool, section(mail=[], customers=gateways)).round()
    mail = "customer0@example.com: Your account has used 85 % of its monthly cap"
    assert await mails(pool) == ([mail] if gets_mail else [])


async def test_customers_learn_only_of_their_own_caps_top_ups_and_webhooks(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    await set_alert_webhook(
        pool, SEALER, customer_id, "https://customer.example.com/", actor="operator", request_id="r"
    )
    for alert_type, body in BODIES.items():
        await raise_alert(pool, alert_type, body, customer_id=customer_id)
    await Gateway(pool, section(mail=[], customers=True)).round()
    secret = {"VENDOR_DOWN", "VENDOR_BACK", "MARGIN_NEGATIVE", "MONTH_CLOSED"}
    assert await deliveries(pool) == sorted(f"customer:{customer_id} {one}" for one in BODIES if one not in secret)
    assert len(await mails(pool)) == len(BODIES) - len(secret)


async def test_a_disabled_customer_and_an_address_that_is_none_get_no_mail(pool: asyncpg.Pool) -> None:
    for fields in ({"is_active": False}, {}):
        customer_id = await customer(pool, **fields)
        await raise_alert(pool, "CAP_WARN_CUSTOMER", CAP, customer_id=customer_id)
    await pool.execute("update kaixu.customer set email = 'a(b)@example..com' where is_active")
    await Gateway(pool, section(mail=[], customers=True)).round()
    assert await mails(pool) == []


async def test_an_alert_of_a_customer_that_is_gone_is_still_told_to_the_operator(pool: asyncpg.Pool) -> None:
    await raise_alert(pool, "CAP_WARN_CUSTOMER", CAP, customer_id=77)
    await Gateway(pool, section(customers=True)).round()
    assert await mails(pool) == ["ops@example.com: Customer 77 has used 85 % of its monthly cap"]


async def test_an_operator_that_is_a_customer_gets_one_mail(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    await raise_alert(pool, "CAP_WARN_CUSTOMER", CAP, customer_id=customer_id)
    await Gateway(pool, section(mail=["Customer0@example.com", "customer0@EXAMPLE.com"], customers=True)).round()
    assert len(await mails(pool)) == 1


async def test_an_alert_with_a_name_is_raised_once(pool: asyncpg.Pool) -> None:
    raised = await asyncio.gather(
        *(raise_alert(pool, "MONTH_CLOSED", BODIES["MONTH_CLOSED"], once="month_closed:2026-10") for _ in range(8))
    )
    assert sorted(raised) == [False] * 7 + [True]
