"""`admin-key-session` and `admin-models`: an operator tries calls as a key."""

from __future__ import annotations

import asyncpg
import pytest
from quart import Quart

from kaixu.edge.services import Services
from kaixu.edge.tokens import read_session_token
from tests.support.money import customer, virtual_key
from tests.support.operators import operator_with_role
from tests.support.process import SECRETS

from .conftest import Operator


async def test_the_session_stands_for_the_key_and_is_audited_without_its_token(
    app: Quart, operator: Operator, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id)
    made = await operator.send("POST", "admin-key-session", {"key_id": key_id})
    assert (made["expires_in"], made["key_last4"], made["customer_id"]) == (900, key[-4:], customer_id)
    session = read_session_token([SECRETS["JWT_SECRET"]], made["token"])
    assert session is not None
    assert (session.key_id, session.customer_id) == (key_id, customer_id)
    status, body = await Operator(app, authorization=f"Bearer {made['token']}").ask("GET", "push-whoami")
    assert (status, body["api_key_id"]) == (200, key_id)
    [row] = await pool.fetch("select * from kaixu.audit_event where action = 'KEY_SESSION'")
    assert (row["target"], row["meta"]["customer_id"]) == (f"key:{key_id}", customer_id)
    assert made["token"] not in str(row)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("update kaixu.virtual_key set revoked_at = now()", "KEY_REVOKED"),
        ("update kaixu.virtual_key set expires_at = now() - interval '1 second'", "CONFLICT"),
        ("update kaixu.customer set is_active = false", "CONFLICT"),
    ],
)
async def test_a_key_that_may_not_call_gets_no_session(
    operator: Operator, pool: asyncpg.Pool, change: str, code: str
) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await pool.execute(change)
    status, body = await operator.ask("POST", "admin-key-session", {"key_id": key_id})
    assert (status, body["code"]) == (409, code)
    status, body = await operator.ask("GET", f"admin-models?key_id={key_id}")
    assert status in (403, 409), body
    assert await pool.fetchval("select count(*) from kaixu.audit_event where action = 'KEY_SESSION'") == 0


async def test_who_may_not_change_keys_may_not_act_as_one(app: Quart, operator: Operator, pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    _, headers = await operator_with_role(pool, "viewer", "viewer@example.com")
    assert (await Operator(app, **headers).ask("POST", "admin-key-session", {"key_id": key_id}))[0] == 403
    for bad in ({}, {"key_id": "x"}, {"key_id": 0}):
        assert (await operator.ask("POST", "admin-key-session", bad))[0] in (400, 422)
    assert (await operator.ask("POST", "admin-key-session", {"key_id": 999}))[1]["code"] == "UNKNOWN_KEY"


async def test_models_need_a_key_only_where_a_customer_is_named(
    operator: Operator, services: Services, pool: asyncpg.Pool
) -> None:
    assert not services.catalog.deployments
    assert await operator.get("admin-models") == {"models": [], "key_id": None}
    customer_id = await customer(pool)
    status, body = await operator.ask("GET", f"admin-models?customer_id={customer_id}")
    assert (status, body["code"]) == (409, "NO_LIVE_KEY")
    key_id, _ = await virtual_key(pool, customer_id)
    assert (await operator.get(f"admin-models?customer_id={customer_id}"))["key_id"] == key_id
    assert (await operator.ask("GET", "admin-models?customer_id=999"))[0] == 404
