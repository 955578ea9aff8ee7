"""`admin-alerts`, `admin-alert-webhook`, and the thresholds of customers and keys."""

from __future__ import annotations

from datetime import date
from typing import Any

import asyncpg
import pytest

from kaixu.store.alerts import AlertMail, Delivery, queue_deliveries, queue_mails, raise_alert
from kaixu.store.cap_alerts import check_noted_caps
from kaixu.store.clock import this_month
from tests.support.money import customer, virtual_key

from .conftest import Operator

BODY = {"month": "2026-11", "cap_nusd": 20 * 10**9, "spent_nusd": 17 * 10**9, "pct": 85, "threshold_pct": 85}


async def alert(pool: asyncpg.Pool, alert_type: str = "CAP_WARN_CUSTOMER", **fields: Any) -> int:
    """An alert's id."""
    await raise_alert(pool, alert_type, BODY, **fields)
    number: int = await pool.fetchval("select max(id) from kaixu.alert")
    return number


async def test_the_list_shows_what_was_told_and_who_has_it(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    number = await alert(pool, customer_id=customer_id)
    names = ("alerts", "alerts:later", "alerts:never")
    await queue_deliveries(pool, [Delivery(name, "CAP_WARN_CUSTOMER", b"{}", number, None) for name in names])
    await pool.execute(
        """
        update kaixu.webhook_delivery
           set attempts = 6, last_error = case when destination <> 'alerts' then 'it answered 500' end,
               delivered_at = case when destination = 'alerts' then now() end,
               next_attempt_at = case when destination = 'alerts:later' then now() end
        """
    )
    await queue_mails(pool, [AlertMail(number, "ops@example.com", "subject", "text", customer_id)])
    body = await operator.get("admin-alerts")
    created_at = body["alerts"][0].pop("created_at")
    assert created_at.endswith("Z")
    assert body == {
        "ok": True,
        "alerts": [
            {
                "id": number,
                "type": "CAP_WARN_CUSTOMER",
                "level": "warn",
                "customer_id": customer_id,
                "api_key_id": None,
                "message": f"Customer {customer_id} has used 85 % of its monthly cap",
                "figures": {
                    "month": "2026-11",
                    "cap_cents": 2000,
                    "customer_cap_cents": 2000,
                    "spent_cents": 1700,
                    "customer_spent_cents": 1700,
                    "pct": 85,
                    "threshold_pct": 85,
                },
                "webhooks": [
                    {"receiver": "alerts", "state": "sent", "attempts": 6, "error": None},
                    {"receiver": "alerts:later", "state": "waiting", "attempts": 6, "error": "it answered 500"},
                    {"receiver": "alerts:never", "state": "failed", "attempts": 6, "error": "it answered 500"},
                ],
                "mails": [{"receiver": "ops@example.com", "state": "waiting", "attempts": 0, "error": None}],
            }
        ],
        "next_before_id": None,
    }


async def test_pages_and_filters(pool: asyncpg.Pool, operator: Operator) -> None:
    one, two = await customer(pool), await customer(pool)
    ids = [await alert(pool, customer_id=customer_id) for customer_id in (one, two, one)]
    ids.append(await alert(pool, "CAP_REACHED_CUSTOMER", customer_id=one))

    async def listed(query: str) -> tuple[list[int], int | None]:
        body = await operator.get(f"admin-alerts?{query}")
        return [row["id"] for row in body["alerts"]], body["next_before_id"]

    assert await listed("limit=3") == (ids[:0:-1], ids[1])
    assert await listed(f"limit=3&before_id={ids[1]}") == ([ids[0]], None)
    assert await listed(f"customer_id={two}") == ([ids[1]], None)
    assert await listed(f"customer_id={one}&type=cap_reached_customer") == ([ids[3]], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "type=NONSENSE", "before_id=-1", "customer_id=a"])
async def test_a_wrong_query_has_its_field(operator: Operator, query: str) -> None:
    status, body = await operator.ask("GET", f"admin-alerts?{query}")
    assert (status, body["code"]) == (422, "INVALID_FIELD")


async def test_a_customers_webhook_is_set_shown_without_its_path_and_removed(
    pool: asyncpg.Pool, operator: Operator
) -> None:
    customer_id = await customer(pool)
    path = f"admin-alert-webhook?customer_id={customer_id}"
    assert (await operator.get(path))["url"] is None
    given = {"customer_id": customer_id, "url": "https://hooks.example.com/T0/secret"}
    made = await operator.send("PUT", "admin-alert-webhook", given)
    assert made["url"] == "https://hooks.example.com/…"
    assert made["secret"].startswith("whsec_")
    assert await operator.get(path) == {"ok": True, "customer_id": customer_id, "url": "https://hooks.example.com/…"}
    gone = await operator.send("PUT", "admin-alert-webhook", {"customer_id": customer_id, "url": None})
    assert gone == {"ok": True, "customer_id": customer_id, "url": None, "secret": None}
    actions = await pool.fetch("select action from kaixu.audit_event order by id")
    assert [row["action"] for row in actions] == ["ALERT_WEBHOOK_SET", "ALERT_WEBHOOK_REMOVE"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"customer_id": 1}, 400),
        ({"customer_id": 999, "url": None}, 404),
        ({"customer_id": 999, "url": "https://hooks.example.com/"}, 404),
        ({"customer_id": 1, "url": "http://hooks.example.com/"}, 422),
        ({"customer_id": 1, "url": "https://"}, 422),
        ({"customer_id": 1, "url": "https://user:password@hooks.example.com/"}, 422),
        ({"customer_id": 1, "url": "https://hooks.example.com/" + "a" * 2000}, 422),
        ({"customer_id": 1, "url": "https://[::1/"}, 422),
        ({"customer_id": 1, "url": 7}, 422),
        ({"customer_id": 1, "url": None, "secret": "x"}, 400),
    ],
)
async def test_a_wrong_webhook_has_its_status(operator: Operator, body: dict[str, Any], status: int) -> None:
    reply = await operator.ask("PUT", "admin-alert-webhook", body)
    assert reply[0] == status, reply
    assert "password" not in str(reply[1])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([100, 50, 50], [50, 100]),
        ("85, 50", [50, 85]),
        (["60"], [60]),
        ([], []),
        ("", None),
        (None, None),
    ],
)
async def test_thresholds_are_sorted_percentages(
    pool: asyncpg.Pool, operator: Operator, given: object, kept: list[int] | None
) -> None:
    customer_id = await customer(pool, alert_thresholds=[1])
    key_id, _ = await virtual_key(pool, customer_id, alert_thresholds=[1])
    body = await operator.send("PATCH", f"admin-customers?customer_id={customer_id}", {"alert_thresholds": given})
    assert body["customer"]["alert_thresholds"] == kept
    body = await operator.send("PATCH", f"admin-keys?key_id={key_id}", {"alert_thresholds": given})
    assert body["key"]["alert_thresholds"] == kept


@pytest.mark.parametrize("given", [[0], [101], [1.5], ["x"], {"a": 1}, 50, True, [True], [[50]], list(range(1, 12))])
async def test_other_thresholds_are_refused(pool: asyncpg.Pool, operator: Operator, given: object) -> None:
    customer_id = await customer(pool)
    path = f"admin-customers?customer_id={customer_id}"
    status, body = await operator.ask("PATCH", path, {"alert_thresholds": given})
    assert (status, body["code"]) == (422, "INVALID_FIELD")


async def spent(pool: asyncpg.Pool, customer_id: int, key_id: int, month: date) -> None:
    await pool.execute(
        "insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, $2, $3)",
        customer_id,
        month,
        8 * 10**9,
    )
    await pool.execute(
        "insert into kaixu.key_month (chain_id, customer_id, month, spent_nusd) values ($1, $2, $3, $4)",
        key_id,
        customer_id,
        month,
        8 * 10**9,
    )


@pytest.mark.parametrize(
    ("of_customer", "of_key", "expected"),
    [
        ({"monthly_cap_cents": 1000}, {}, ["CAP_WARN_CUSTOMER"]),
        ({}, {"monthly_cap_cents": 900}, ["CAP_WARN_KEY"]),
        ({"alert_thresholds": [1], "monthly_cap_cents": 10000}, {}, ["CAP_WARN_CUSTOMER"]),
        ({}, {"monthly_cap_cents": 5000, "alert_thresholds": [1]}, ["CAP_WARN_KEY"]),
        ({"email": "other@example.com"}, {"label": "other"}, []),
    ],
    ids=["customer's cap", "key's cap", "customer's thresholds", "key's thresholds", "something else"],
)
async def test_a_change_that_makes_a_crossing_is_told_without_a_call(
    pool: asyncpg.Pool, operator: Operator, of_customer: Any, of_key: Any, expected: list[str]
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await spent(pool, customer_id, key_id, await this_month(pool))
    if of_customer:
        await operator.send("PATCH", f"admin-customers?customer_id={customer_id}", of_customer)
    if of_key:
        await operator.send("PATCH", f"admin-keys?key_id={key_id}", of_key)
    await check_noted_caps(pool, [50], most=100)
    assert [row["type"] for row in await pool.fetch("select type from kaixu.alert order by id")] == expected


async def test_new_thresholds_of_a_customer_hold_for_its_keys(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=20 * 10**9)
    await spent(pool, customer_id, key_id, await this_month(pool))
    await operator.send("PATCH", f"admin-customers?customer_id={customer_id}", {"alert_thresholds": [30]})
    await check_noted_caps(pool, [50], most=100)
    assert [row["type"] for row in await pool.fetch("select type from kaixu.alert")] == ["CAP_WARN_KEY"]
