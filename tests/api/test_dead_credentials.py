"""Revoked keys, keys of disabled customers, old sessions: refused by every endpoint that needs a key, from the route table."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import pytest
from quart import Quart

from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_session_token
from kaixu.gateway.app import Application
from kaixu.plugin.types import Usage
from tests.api.admin.conftest import app, services
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.process import SECRETS

__all__ = ["app", "services"]

#: What no refusal may tell.
PLAN = "plan-of-nobody-else"

#: What each dead credential gets from an endpoint that only reads.
EXPECTED = {
    "revoked key": {401},
    "session of a revoked key": {401},
    "key that has expired": {401},
    "session of a key that has expired": {401},
    "key of a disabled customer": {403},
    "session of a disabled customer": {403},
    "expired session": {401},
    "session signed by somebody else": {401},
    "key that nobody has": {401},
    "operator's token": {401},
    "operator's password": {401},
    "nothing": {401},
}


def session(key_id: int, customer_id: int, *, secret: str = SECRETS["JWT_SECRET"], ttl_s: int = 600) -> dict[str, str]:
    """The header of a session."""
    token = make_session_token(secret, key_id=key_id, customer_id=customer_id, key_last4="abcd", ttl_s=ttl_s)
    return {"authorization": f"Bearer {token}"}


async def dead_credentials(pool: asyncpg.Pool) -> dict[str, dict[str, str]]:
    """The headers of each."""
    off, on = await customer(pool, plan_name=PLAN), await customer(pool, plan_name=PLAN)
    off_id, off_key = await virtual_key(pool, off, role="owner")
    revoked_id, revoked_key = await virtual_key(pool, on, role="owner")
    alive_id, alive_key = await virtual_key(pool, on, role="owner")
    expired_id, expired_key = await virtual_key(pool, on, role="owner")
    for key_id in (off_id, revoked_id, expired_id, alive_id):
        await billed(pool, key_id, Usage(input_tokens=1), install_id=f"phone-{key_id}")
    await pool.execute("update kaixu.customer set is_active = false where id = $1", off)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", revoked_id)
    await pool.execute("update kaixu.virtual_key set expires_at = now() where id = $1", expired_id)
    return {
        "revoked key": {"authorization": f"Bearer {revoked_key}"},
        "session of a revoked key": session(revoked_id, on),
        "key that has expired": {"authorization": f"Bearer {expired_key}"},
        "session of a key that has expired": session(expired_id, on),
        "key of a disabled customer": {"authorization": f"Bearer {off_key}"},
        "session of a disabled customer": session(off_id, off),
        "expired session": session(alive_id, on, ttl_s=-60),
        "session signed by somebody else": session(alive_id, on, secret="another-secret-0123456789"),
        "key that nobody has": {"authorization": f"Bearer {alive_key[:-3]}xyz"},
        "operator's token": {"authorization": f"Bearer {admin_token()}"},
        "operator's password": {"x-admin-password": SECRETS["ADMIN_PASSWORD"]},
        "nothing": {},
    }


async def rows(pool: asyncpg.Pool) -> list[Any]:
    """What a dead credential could have changed."""
    return [
        await pool.fetch(f"select * from kaixu.{table} order by 1, 2")
        for table in ("customer", "virtual_key", "device", "reservation", "job", "file", "batch", "usage_event")
    ]


@pytest.mark.parametrize("kind", EXPECTED)
async def test_every_endpoint_that_needs_a_key_refuses_a_dead_one(
    app: Application, services: Services, pool: asyncpg.Pool, kind: str
) -> None:
    # The password is accepted for operators, so that a refusal is not due to the setting.
    services.settings = services.settings.model_copy(update={"admin_password_header": True})
    headers = (await dead_credentials(pool))[kind]
    before = await rows(pool)
    routes = [route for route in app.exchange.routes.all if route.auth in ("key", "key_only")]
    names = {route.paths[0].rpartition("/")[2] for route in routes}
    assert names >= {
        "user-summary", "user-events", "user-devices", "user-export", "user-invoices", "user-push-charges",
        "push-whoami", "session-token",
    }  # fmt: skip
    for route in routes:
        status, text = await ask(app, route, headers)
        assert PLAN not in text, (route.paths, text)
        # Sessions cannot make sessions, whatever they are worth.
        expected = EXPECTED[kind] | ({400} if route.auth == "key_only" else set())
        if route.rate == "reading":
            assert status in expected, (route.method, route.paths, status, text)
        else:
            assert 400 <= status < 500, (route.method, route.paths, status, text)
    assert await rows(pool) == before


async def ask(app: Quart, route: Route, headers: dict[str, str]) -> tuple[int, str]:
    """One request."""
    path = re.sub(r"<[^>]+>", "1", route.paths[0])
    body = {"model": "up/talk", "messages": [{"role": "user", "content": "hello"}], "install_id": "phone"}
    more: dict[str, Any] = {} if route.method in ("GET", "DELETE") else {"json": body}
    response = await app.test_client().open(path, method=route.method, headers=headers, **more)
    return response.status_code, await response.get_data(as_text=True)
