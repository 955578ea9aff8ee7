"""A mailed link makes one key, once, for whoever reads the account's mails; no other key moves."""

from __future__ import annotations

import asyncpg
import pytest

from tests.api.admin.conftest import Operator

from .conftest import Visitor, a_customer, live_keys


async def test_a_known_address_gets_a_link_which_moves_no_key_until_its_button_is_pressed(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator
) -> None:
    customer = await a_customer(operator)
    before = await live_keys(pool)
    status, reply = await visitor.ask()
    assert (status, reply["code"]) == (409, "KEY_LINK_SENT")
    assert "key" not in reply
    assert await live_keys(pool) == before
    [token] = await visitor.mailed()
    assert visitor.mailbox.recipients == ["ada@example.com"]
    for _ in range(3):  # a mail scanner opens the link
        status, text = await visitor.open_link(token)
        assert status == 200
        assert 'method="post"' in text
    assert await live_keys(pool) == before
    key = await visitor.key_of(token)
    after = await live_keys(pool)
    assert after == [*before, (customer["id"], key[-4:])]


async def test_a_link_replaces_the_self_service_key_and_no_other(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator
) -> None:
    _, first = await visitor.ask()
    other = await operator.send("POST", "admin-keys", {"customer_id": first["customer_id"], "label": "mine"})
    await pool.execute("update kaixu.virtual_key set rpm_limit = 7 where label = 'self-service'")  # by an operator
    await visitor.ask()
    [token] = await visitor.mailed()
    key = await visitor.key_of(token)
    assert [last4 for _, last4 in await live_keys(pool)] == [other["api_key"]["key_last4"], key[-4:]]
    rows = await pool.fetch(
        "select id, chain_id, rpm_limit, label from kaixu.virtual_key where label = 'self-service' order by id"
    )
    # The same chain: its spend, its seats and its rates go on, and so does what an operator has changed.
    assert [row["chain_id"] for row in rows] == [rows[0]["id"]] * 2
    assert rows[1]["rpm_limit"] == 7
    event = await pool.fetchrow("select * from kaixu.audit_event where action = 'KEY_REVOKE_ROTATION'")
    assert event is not None
    assert event["meta"]["revoked_keys"] == [{"id": rows[0]["id"], "last4": first["key_last4"]}]


async def test_a_link_works_once(visitor: Visitor, pool: asyncpg.Pool) -> None:
    await visitor.ask()
    await visitor.ask()
    [token] = await visitor.mailed()
    await visitor.key_of(token)
    before = await live_keys(pool)
    status, text = await visitor.press(token)
    assert (status, "used already" in text) == (409, True)
    status, text = await visitor.open_link(token)
    assert (status, "used already" in text) == (409, True)
    assert await live_keys(pool) == before


async def test_an_expired_link_makes_no_key(visitor: Visitor, pool: asyncpg.Pool) -> None:
    await visitor.ask()
    await visitor.ask()
    [token] = await visitor.mailed()
    await pool.execute("update kaixu.key_request set expires_at = now() where state = 'link'")
    before = await live_keys(pool)
    for status, text in (await visitor.open_link(token), await visitor.press(token)):
        assert (status, "expired" in text) == (409, True)
    assert await live_keys(pool) == before


@pytest.mark.parametrize("token", ["", "a", "a" * 43, "a" * 5000, "%00", "';%20drop%20table", "%C3%A9"])
async def test_a_made_up_link_is_an_error_page(visitor: Visitor, token: str) -> None:
    for status, text in (await visitor.open_link(token), await visitor.press(token)):
        assert status in (400, 404)
        assert "drop table" not in text


async def test_pages_keep_the_token_to_themselves(visitor: Visitor) -> None:
    visitor.mode("email")
    await visitor.ask()
    [token] = await visitor.mailed()
    response = await visitor.client.get(f"/request-key/link?token={token}")
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "<script" not in await response.get_data(as_text=True)


async def test_a_link_never_leads_where_a_request_says(visitor: Visitor, operator: Operator) -> None:
    await a_customer(operator)
    await visitor.client.post(
        "/api/request-key", json={"email": "ada@example.com"}, headers={"host": "evil.example", "x-forwarded-host": "e"}
    )
    assert len(await visitor.mailed()) == 1  # `mailed` finds the gateway's own address in it
    assert "evil" not in visitor.mailbox.messages[0].as_string()


async def test_a_suspended_customer_gets_neither_key_nor_link(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator
) -> None:
    customer = await a_customer(operator)
    await operator.send("PATCH", f"admin-customers?customer_id={customer['id']}", {"is_active": False})
    status, reply = await visitor.ask()
    assert (status, reply["code"]) == (403, "CUSTOMER_DISABLED")
    assert await visitor.mailed() == []
    visitor.mode("email")
    await visitor.ask()
    [token] = await visitor.mailed()
    status, text = await visitor.press(token)
    assert (status, "switched off" in text) == (403, True)
    await operator.send("PATCH", f"admin-customers?customer_id={customer['id']}", {"is_active": True})
    assert await visitor.key_of(token)


async def test_five_keys_and_links_an_hour_for_an_address(visitor: Visitor, pool: asyncpg.Pool) -> None:
    statuses = [(await visitor.ask())[0] for _ in range(7)]
    assert statuses == [200, 409, 409, 409, 409, 429, 429]
    status, reply = await visitor.ask()
    assert (status, reply["code"]) == (429, "RATE_LIMITED")
    response = await visitor.client.post("/api/request-key", json={"email": "ada@example.com"})
    assert 3500 < int(response.headers["retry-after"]) <= 3600
    assert (await visitor.ask("other@example.com"))[0] == 200
    # A link that is used takes its own place, not a further one; its key counts from now on.
    [*_, last] = await visitor.mailed()
    await pool.execute("update kaixu.key_request set counted_at = counted_at - interval '50 minutes'")
    await visitor.key_of(last)
    await pool.execute("update kaixu.key_request set counted_at = counted_at - interval '20 minutes'")
    statuses = [(await visitor.ask())[0] for _ in range(6)]
    assert statuses == [409, 409, 409, 409, 429, 429]


async def test_an_old_approved_link_counts_as_a_key_of_now(visitor: Visitor, pool: asyncpg.Pool) -> None:
    visitor.mode("email", link_valid="3d")
    await visitor.ask()
    [old] = await visitor.mailed()
    await pool.execute("update kaixu.key_request set counted_at = counted_at - interval '2 hours'")
    for _ in range(5):
        assert (await visitor.ask())[0] == 409
    status, _ = await visitor.press(old)
    assert status == 429
    await pool.execute("update kaixu.key_request set counted_at = counted_at - interval '2 hours'")
    assert await visitor.key_of(old)


async def test_a_used_link_ends_the_others_to_its_recipient(visitor: Visitor) -> None:
    for _ in range(4):
        await visitor.ask()
    first, second, third = await visitor.mailed()
    await visitor.key_of(second)
    for token in (first, third):
        status, text = await visitor.press(token)
        assert (status, "replaced by a newer one" in text) == (409, True)


async def test_a_link_does_not_bring_back_a_key_that_an_operator_let_expire(
    visitor: Visitor, pool: asyncpg.Pool
) -> None:
    await visitor.ask()
    await visitor.ask()
    [token] = await visitor.mailed()
    await pool.execute("update kaixu.virtual_key set expires_at = now()")
    status, text = await visitor.press(token)
    assert (status, "has expired" in text) == (409, True)
    await pool.execute("update kaixu.virtual_key set expires_at = now() + interval '1 day'")
    await visitor.key_of(token)
    ends = await pool.fetch("select expires_at from kaixu.virtual_key")
    assert len({row["expires_at"] for row in ends}) == 1
