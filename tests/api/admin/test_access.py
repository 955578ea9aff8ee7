"""Every admin route is for operators only, under both prefixes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jwt
import msgspec
import pytest
from quart import Quart

from kaixu.edge.services import Services
from kaixu.edge.tokens import make_admin_token, make_session_token, signing_key
from kaixu.ops.events import MonitorEvent
from tests.support.operators import SESSION

from .conftest import Operator

ROUTES = [
    ("GET", "admin-session-check"),
    ("GET", "admin-customers"),
    ("POST", "admin-customers"),
    ("PATCH", "admin-customers"),
    ("GET", "admin-keys"),
    ("POST", "admin-keys"),
    ("PATCH", "admin-keys"),
    ("PUT", "admin-keys"),
    ("DELETE", "admin-keys"),
    ("GET", "admin-usage"),
    ("POST", "admin-topup"),
    ("GET", "admin-devices"),
    ("PATCH", "admin-devices"),
]


@pytest.mark.parametrize(("method", "name"), ROUTES)
async def test_a_request_without_a_login_is_refused(stranger: Operator, method: str, name: str) -> None:
    status, body = await stranger.ask(method, name, {})
    assert (status, body["error"], body["code"]) == (401, "Unauthorized", "UNAUTHENTICATED")


@pytest.mark.parametrize(("method", "name"), ROUTES)
async def test_every_route_has_both_prefixes(app: Quart, method: str, name: str) -> None:
    for prefix in ("/api/", "/.netlify/functions/"):
        response = await app.test_client().open(prefix + name, method=method, json={})
        assert response.status_code == 401


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_tokens_of_another_kind_secret_or_time_are_no_admin_tokens(app: Quart, services: Services) -> None:
    secret = services.secrets.jwt_secret
    now = int(time.time())
    claims = {"role": "admin", "iat": now, "exp": now + 60, "sid": SESSION}
    forged = [
        make_session_token(secret, key_id=1, customer_id=1, key_last4="abcd", ttl_s=60),
        make_admin_token(secret + "x", SESSION),
        make_admin_token(secret, "a session that nobody began"),
        jwt.encode(claims, secret, algorithm="HS256"),
        jwt.encode(claims, signing_key(secret, "session"), algorithm="HS256"),
        jwt.encode(claims | {"exp": now - 1}, signing_key(secret, "admin"), algorithm="HS256"),
        jwt.encode(claims | {"role": "user"}, signing_key(secret, "admin"), algorithm="HS256"),
        jwt.encode({"role": "admin"}, signing_key(secret, "admin"), algorithm="HS256"),
        jwt.encode({"role": "admin", "iat": now, "exp": now + 60}, signing_key(secret, "admin"), algorithm="HS256"),
        jwt.encode(claims | {"sid": 7}, signing_key(secret, "admin"), algorithm="HS256"),
        jwt.encode(claims, signing_key(secret, "admin"), algorithm="HS512"),
        jwt.encode(claims, "", algorithm="none"),
    ]
    for token in forged:
        status, _ = await Operator(app, authorization=f"Bearer {token}").ask("GET", "admin-session-check")
        assert status == 401


async def test_the_password_header_is_off_unless_switched_on(app: Quart, services: Services) -> None:
    by_password = Operator(app, **{"x-admin-password": services.secrets.admin_password})
    assert (await by_password.ask("GET", "admin-session-check"))[0] == 401
    services.settings = services.settings.model_copy(update={"admin_password_header": True})
    assert (await by_password.get("admin-session-check"))["role"] == "admin"
    wrong = Operator(app, **{"x-admin-password": "wrong"})
    answers = [(await wrong.ask("GET", "admin-session-check"))[0] for _ in range(105)]
    assert set(answers) == {401, 429}


async def test_replies_are_not_cached_and_changes_are_recorded(
    app: Quart, operator: Operator, seen: Sequence[MonitorEvent]
) -> None:
    response = await app.test_client().get("/api/admin-customers", headers=operator.headers)
    assert response.headers["cache-control"] == "no-store"
    assert len(seen) == 0
    await operator.send("POST", "admin-customers", {"email": "a@example.com"})
    [event] = msgspec.to_builtins(list(seen))
    assert (event["kind"], event["function_name"], event["method"]) == ("audit", "admin-customers", "POST")
