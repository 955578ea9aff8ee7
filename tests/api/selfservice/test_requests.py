"""`request-key`: a new address gets a key, a known one a link, within limits, in each mode."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import pytest

from kaixu.config.selfservice_section import SelfserviceSection
from tests.api.admin.conftest import Operator

from .conftest import GATEWAY, Visitor, a_customer, live_keys


async def test_a_new_address_gets_a_key_at_once(visitor: Visitor, pool: asyncpg.Pool) -> None:
    status, reply = await visitor.ask(" Ada@Example.com ")
    assert status == 200
    key = reply.pop("key")
    assert re.fullmatch(r"kx_live_[A-Za-z0-9_-]{48}", key)
    assert reply.pop("usage")
    assert reply.pop("message")
    assert reply == {
        "ok": True,
        "key_last4": key[-4:],
        "customer_id": reply["customer_id"],
        "plan": "starter",
        "limits": {
            "monthly_cap_cents": 2000,
            "monthly_cap_dollars": "$20.00",
            "requests_per_minute": 10,
            "max_devices": 3,
        },
        "endpoints": {
            "chat": f"{GATEWAY}/api/gateway-chat",
            "stream": f"{GATEWAY}/api/gateway-stream",
            "health": f"{GATEWAY}/api/health",
        },
    }
    row = await pool.fetchrow("select * from kaixu.virtual_key")
    assert row is not None
    assert (row["label"], row["role"], row["monthly_cap_nusd"], row["rpm_limit"], row["max_devices"]) == (
        "self-service", "deployer", 20_000_000_000, 10, 3,
    )  # fmt: skip
    customer = await pool.fetchrow("select * from kaixu.customer")
    assert customer is not None
    assert (customer["email"], customer["plan_name"], customer["monthly_cap_nusd"]) == (
        "ada@example.com", "starter", 20_000_000_000,
    )  # fmt: skip
    events = await pool.fetch("select actor, action, target from kaixu.audit_event order by id")
    assert [tuple(one) for one in events] == [
        ("self-service", "CUSTOMER_CREATE", f"customer:{customer['id']}"),
        ("self-service", "KEY_CREATE", f"key:{row['id']}"),
    ]
    assert key not in str([dict(one) for one in await pool.fetch("select * from kaixu.audit_event")])


async def test_without_mail_a_known_address_is_told_to_ask_the_operator(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator
) -> None:
    await a_customer(operator)
    visitor.services.current.mail = None
    before = await live_keys(pool)
    status, reply = await visitor.ask()
    assert (status, reply["code"], reply["hint"]) == (409, "KEY_NEEDS_OPERATOR", "Ask the operator for a key.")
    assert await live_keys(pool) == before
    status, _ = await visitor.ask("new@example.com")
    assert status == 200


async def test_keys_that_an_operator_made_count_too(visitor: Visitor, operator: Operator) -> None:
    customer = await a_customer(operator)
    for _ in range(3):
        await operator.send("POST", "admin-keys", {"customer_id": customer["id"]})
    assert [(await visitor.ask())[0] for _ in range(2)] == [409, 429]


async def test_the_order_of_the_checks(visitor: Visitor) -> None:
    response = await visitor.client.get("/api/request-key")
    assert response.status_code == 405
    for body in (b"", b"{", b"[]", b'"x"'):
        response = await visitor.client.post("/api/request-key", data=body)
        assert (response.status_code, (await response.get_json(force=True))["code"]) == (400, "BAD_JSON")


async def test_self_service_can_be_off_or_for_some_domains_only(visitor: Visitor, pool: asyncpg.Pool) -> None:
    visitor.mode("off")
    status, reply = await visitor.ask()
    assert (status, reply["code"]) == (403, "SELFSERVICE_OFF")
    visitor.mode("open", domains=["example.com", "*.example.org", "B\u00fccher.example"])
    for email, expected in {
        "ada@example.com": 200,
        "ada@EXAMPLE.com.evil.example": 403,
        "ada@sub.example.com": 403,
        "ada@notexample.com": 403,
        "ada@a.b.example.org": 200,
        "ada@example.org": 403,
        "ada@evil-example.org": 403,
        "ada@xn--bcher-kva.example": 200,
    }.items():
        status, reply = await visitor.ask(email)
        assert (email, status) == (email, expected)
        if status == 403:
            assert reply["code"] == "DOMAIN_NOT_ALLOWED"


@pytest.mark.parametrize("mode", ["email", "approval"])
async def test_modes_that_need_mail_refuse_without_it(visitor: Visitor, mode: str) -> None:
    visitor.mode(mode)
    visitor.services.settings = visitor.services.settings.model_copy(update={"gateway_url": None})
    status, reply = await visitor.ask()
    assert (status, reply["code"]) == (503, "MAIL_NOT_CONFIGURED")


async def test_mode_email_mails_everybody(visitor: Visitor, pool: asyncpg.Pool) -> None:
    visitor.mode("email")
    status, reply = await visitor.ask()
    assert (status, reply["code"]) == (409, "KEY_LINK_SENT")
    assert await pool.fetchval("select count(*) from kaixu.customer") == 0
    [token] = await visitor.mailed()
    await visitor.key_of(token)
    row = await pool.fetchrow("select email from kaixu.customer")
    assert row is not None
    assert row["email"] == "ada@example.com"


async def test_limits_of_a_network_and_in_all(visitor: Visitor) -> None:
    visitor.mode("open", per_network=3, in_all=6)
    statuses = [(await visitor.ask(f"u{n}@example.com", address="192.0.2.1"))[0] for n in range(4)]
    assert statuses == [200, 200, 200, 429]
    # One /64 is one network, whatever its addresses; the next one is another.
    statuses = [(await visitor.ask(f"v{n}@example.com", address=f"2001:db8:0:1::{n:x}"))[0] for n in range(1, 5)]
    assert statuses == [200, 200, 200, 429]
    assert (await visitor.ask("w@example.com", address="2001:db8:0:2::1"))[0] == 429  # in all
    visitor.mode("open", per_network=3, in_all=7)
    assert (await visitor.ask("w@example.com", address="2001:db8:0:2::1"))[0] == 200


async def test_a_network_has_a_limit_of_the_day(visitor: Visitor, pool: asyncpg.Pool) -> None:
    visitor.mode("open", per_network=2, per_network_a_day=3)
    assert [(await visitor.ask(f"a{n}@example.com"))[0] for n in range(3)] == [200, 200, 429]
    await pool.execute("update kaixu.key_request set created_at = created_at - interval '2 hours'")
    assert [(await visitor.ask(f"b{n}@example.com"))[0] for n in range(2)] == [200, 429]


async def test_refused_requests_do_not_count(visitor: Visitor, pool: asyncpg.Pool) -> None:
    for _ in range(9):
        await visitor.ask()
    assert await pool.fetchval("select count(*) from kaixu.key_request") == 5


async def test_approval(visitor: Visitor, pool: asyncpg.Pool, operator: Operator) -> None:
    visitor.mode("approval")
    replies = [await visitor.ask(email) for email in ("ada@example.com", "ada@example.com", "bob@example.com")]
    assert {(status, reply["code"], reply["error"]) for status, reply in replies} == {
        (409, "KEY_REQUEST_HELD", replies[0][1]["error"])
    }
    assert await visitor.mailed() == []
    bob, ada = (await operator.get("admin-key-requests?state=held"))["requests"]
    assert [(one["address"], one["state"]) for one in (ada, bob)] == [
        ("ada@example.com", "held"),
        ("bob@example.com", "held"),
    ]
    approved = await operator.send("POST", "admin-key-requests", {"id": ada["id"], "decision": "approve"})
    assert approved["outcome"] == "approved"
    denied = await operator.send("POST", "admin-key-requests", {"id": bob["id"], "decision": "deny"})
    assert denied["outcome"] == "denied"
    [token] = await visitor.mailed()
    assert visitor.mailbox.recipients == ["ada@example.com"]
    await visitor.key_of(token)
    assert await pool.fetchval("select array_agg(email) from kaixu.customer") == ["ada@example.com"]
    for decision in ("approve", "deny"):
        status, reply = await operator.ask("POST", "admin-key-requests", {"id": ada["id"], "decision": decision})
        assert (status, reply["code"]) == (409, "KEY_REQUEST_NOT_HELD")
    events = await pool.fetch(
        "select action from kaixu.audit_event where target = 'key_request:' || $1 order by id", ada["id"]
    )
    assert [one["action"] for one in events] == ["KEY_REQUEST", "KEY_REQUEST_APPROVE"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"decision": "approve"}, 400),
        ({"id": 7, "decision": "approve"}, 422),
        ({"id": "x", "decision": "approve"}, 422),
        ({"id": "0190f8a1-7e55-7c3e-a9a2-3f5d2f6d8b10", "decision": "approve"}, 404),
        ({"id": "0190f8a1-7e55-7c3e-a9a2-3f5d2f6d8b10", "decision": "maybe"}, 422),
        ({"id": "x", "decision": "deny", "more": 1}, 400),
    ],
)
async def test_a_wrong_decision_is_refused(
    visitor: Visitor, operator: Operator, body: dict[str, Any], status: int
) -> None:
    assert (await operator.ask("POST", "admin-key-requests", body))[0] == status


async def test_no_secret_is_stored_in_the_clear(visitor: Visitor, pool: asyncpg.Pool) -> None:
    _, reply = await visitor.ask()
    await visitor.ask()
    tables = ("mail", "key_request", "virtual_key", "audit_event", "selfservice_account")
    before = {name: str([dict(row) for row in await pool.fetch(f"select * from kaixu.{name}")]) for name in tables}
    [token] = await visitor.mailed()
    for name in tables:
        assert token not in before[name]
        assert reply["key"] not in before[name]


def test_limits_are_validated() -> None:
    with pytest.raises(ValueError, match="per_address"):
        SelfserviceSection.model_validate({"per_address": 0})
    with pytest.raises(ValueError, match="domain"):
        SelfserviceSection.model_validate({"domains": ["not a domain"]})
