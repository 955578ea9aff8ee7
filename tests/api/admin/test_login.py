"""Login: a token for the right password, and a rate limit."""

from __future__ import annotations

import asyncio

import asyncpg
import jwt
import pytest
from quart import Quart

from kaixu.edge.services import Services

from .conftest import Operator


async def test_the_right_password_opens_for_twelve_hours(app: Quart, services: Services, stranger: Operator) -> None:
    body = await stranger.send("POST", "admin-login", {"password": services.secrets.admin_password})
    claims = jwt.decode(body["token"], options={"verify_signature": False})
    assert (claims["role"], claims["exp"] - claims["iat"]) == ("admin", 12 * 3600)
    inside = Operator(app, authorization=f"Bearer {body['token']}")
    checked = await inside.get("admin-session-check")
    assert (checked["ok"], checked["role"], checked["operator"]["role"]) == (True, "admin", "owner")


async def test_a_wrong_password_is_refused_without_detail_and_recorded(pool: asyncpg.Pool, stranger: Operator) -> None:
    status, body = await stranger.ask("POST", "admin-login", {"password": "guess"})
    assert (status, body["error"]) == (401, "Invalid credentials")
    [row] = await pool.fetch("select actor, action, meta from kaixu.audit_event")
    assert (row[0], row[1]) == ("admin", "ADMIN_LOGIN_FAIL")
    assert list(row[2]) == ["ip_hash"]


async def test_guessing_is_refused_with_a_retry_after(app: Quart, services: Services) -> None:
    async def guess(password: str) -> tuple[int, str | None]:
        response = await app.test_client().post("/api/admin-login", json={"password": password})
        return response.status_code, response.headers.get("retry-after")

    answers = await asyncio.gather(*(guess(f"guess {number}") for number in range(30)))
    assert sorted(status for status, _ in answers) == [401] * 10 + [429] * 20
    status, wait_s = await guess(services.secrets.admin_password)
    assert status == 429
    assert wait_s is not None
    assert 800 < int(wait_s) <= 900


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b"{}", 400), (b'{"password": ""}', 400), (b'{"password": 1}', 422)],
)
async def test_a_login_without_a_password_is_no_try(
    pool: asyncpg.Pool, stranger: Operator, body: bytes, status: int
) -> None:
    assert (await stranger.ask("POST", "admin-login", raw=body))[0] == status
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 0
