"""`session-token`: for a valid key, with the requested lifetime within bounds."""

from __future__ import annotations

import asyncpg
import pytest
from quart import Quart

from kaixu.accounts.key_material import new_key
from kaixu.edge.services import Services
from kaixu.edge.tokens import UserSession, read_session_token
from tests.api.admin.conftest import Operator, app, services
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token

__all__ = ["app", "services"]


async def test_a_session_stands_for_its_key(pool: asyncpg.Pool, app: Quart, services: Services) -> None:
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id)
    body = await Operator(app, authorization=f"Bearer {key}").send("POST", "session-token", {})
    assert (body["expires_in"], body["key_last4"]) == (21600, key[-4:])
    session = read_session_token(services.secrets.jwt_secrets, body["token"])
    assert session == UserSession(key_id, customer_id, key[-4:])


@pytest.mark.parametrize(
    ("requested", "granted"),
    [(3600, 3600), (1, 60), (10**9, 86400), (-5, 60), (90.7, 90), ("3600", 21600), (None, 21600), (True, 21600)],
)
async def test_its_life_is_clamped(pool: asyncpg.Pool, app: Quart, requested: object, granted: int) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    body = await Operator(app, authorization=f"Bearer {key}").send("POST", "session-token", {"ttl_seconds": requested})
    assert body["expires_in"] == granted


async def test_a_body_is_not_needed(pool: asyncpg.Pool, app: Quart) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    assert (await Operator(app, authorization=f"Bearer {key}").ask("POST", "session-token"))[0] == 200
    assert (await Operator(app, authorization=f"Bearer {key}").ask("POST", "session-token", raw=b"{"))[0] == 400


async def test_who_has_no_living_key_gets_no_session(pool: asyncpg.Pool, app: Quart, services: Services) -> None:
    _, revoked = await virtual_key(pool, await customer(pool))
    await pool.execute("update kaixu.virtual_key set revoked_at = now()")
    _, disabled = await virtual_key(pool, await customer(pool, is_active=False))
    for token, status in (
        (revoked, 401),
        (new_key(), 401),
        ("nonsense", 401),
        (disabled, 403),
        (admin_token(), 400),
    ):
        assert (await Operator(app, authorization=f"Bearer {token}").ask("POST", "session-token", {}))[0] == status
    assert (await Operator(app).ask("POST", "session-token", {}))[0] == 401
