"""Every route that takes an operator's credential, for each role and each token scope: from the table of routes."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.operator_identity import ROLES, SCOPES, Access, Identity
from kaixu.edge.routes import Route
from kaixu.gateway.app import Application
from tests.support.money import customer
from tests.support.operators import operator_with_role, token_with_scopes

#: What a viewer may call although it is no GET: it is about its own login.
OWN_CHANGES = {"admin-logout", "admin-password", "admin-totp", "admin-sessions"}

#: What no token may call, whatever its scopes.
ONLY_SESSIONS = {"admin-logout", "admin-password", "admin-totp"}


def operators_routes(app: Application) -> list[Route]:
    """The routes that take an operator's credential."""
    return [route for route in app.exchange.routes.all if route.auth in ("operator", "key_or_operator")]


def name_of(route: Route) -> str:
    """The route's function."""
    return route.paths[0].rpartition("/")[2]


async def ask(app: Application, route: Route, headers: dict[str, str], customer_id: int) -> tuple[int, str]:
    """A request that names nothing that exists but a customer: what is allowed then fails in another way, or not."""
    path = re.sub(r"<[^>]+>", "1", route.paths[0])
    body: dict[str, Any] = {"customer_id": customer_id}
    more: dict[str, Any] = {} if route.method == "GET" else {"json": body}
    query = f"?customer_id={customer_id}&limit=1"
    response = await app.test_client().open(f"{path}{query}", method=route.method, headers=headers, **more)
    return response.status_code, await response.get_data(as_text=True)


def is_refused(answer: tuple[int, str]) -> bool:
    """Whether the credential was the reason."""
    status, text = answer
    return status in (401, 403) and ('"UNAUTHENTICATED"' in text or "this needs" in text)


def test_every_route_for_operators_says_what_it_needs(app: Application) -> None:
    routes = operators_routes(app)
    assert len(routes) > 50
    for route in routes:
        assert route.access is not None, route.paths
        if route.method == "GET":
            assert route.access.role == "viewer" or name_of(route) in ("admin-operators", "admin-tokens"), route.paths
        elif name_of(route) not in OWN_CHANGES:
            assert route.access.role != "viewer", f"{route.method} {route.paths}: a viewer changes nothing"
            assert route.access.scope != "read", f"{route.method} {route.paths}: a token that reads changes nothing"


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_gets_what_the_route_says(app: Application, pool: asyncpg.Pool, role: str) -> None:
    customer_id = await customer(pool)
    for route in operators_routes(app):
        if name_of(route) in ("admin-logout", "admin-monitor-stream"):
            continue  # it would end the session; it does not end
        _, headers = await operator_with_role(pool, role, f"{role}-{len(await pool.fetch('select from kaixu.operator'))}@example.com")  # fmt: skip
        assert route.access is not None
        allowed = ROLES.index(role) >= ROLES.index(route.access.role)
        answer = await ask(app, route, headers, customer_id)
        assert is_refused(answer) is not allowed, (route.method, route.paths, role, answer)


@pytest.mark.parametrize("scope", SCOPES)
async def test_each_token_scope_gets_what_the_route_says(app: Application, pool: asyncpg.Pool, scope: str) -> None:
    customer_id = await customer(pool)
    headers = {"authorization": f"Bearer {await token_with_scopes(pool, scope)}"}
    reached = set()
    for route in operators_routes(app):
        assert route.access is not None
        needed = route.access.scope
        if name_of(route) == "admin-monitor-stream":
            continue
        allowed = needed in (scope, "any") or (scope == "all" and needed not in ("operators", "own"))
        answer = await ask(app, route, headers, customer_id)
        assert is_refused(answer) is not allowed, (route.method, route.paths, scope, answer)
        if allowed:
            reached.add(name_of(route))
    assert reached > {"admin-session-check"}, "a scope that opens nothing"
    assert not reached & ONLY_SESSIONS


async def test_what_a_viewer_cannot_call_changed_nothing(app: Application, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    _, headers = await operator_with_role(pool, "viewer")
    before = await rows(pool)
    for route in operators_routes(app):
        if route.method != "GET" and name_of(route) not in OWN_CHANGES:
            await ask(app, route, headers, customer_id)
    assert await rows(pool) == before


async def rows(pool: asyncpg.Pool) -> list[Any]:
    """What a change would show in."""
    return [
        await pool.fetch(f"select * from kaixu.{table} order by 1, 2")
        for table in (
            "customer",
            "virtual_key",
            "device",
            "topup",
            "operator",
            "operator_token",
            "audit_event",
            "invoice",
        )
    ]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
async def test_a_viewer_sees_no_key(app: Application, pool: asyncpg.Pool, method: str) -> None:
    _, headers = await operator_with_role(pool, "viewer")
    customer_id = await customer(pool)
    more: dict[str, Any] = {} if method == "GET" else {"json": {"customer_id": customer_id}}
    path = f"/api/admin-keys?customer_id={customer_id}&rotate_key_id=1&key_id=1&reveal_key_id=1"
    response = await app.test_client().open(path, method=method, headers=headers, **more)
    assert "kx_live_" not in await response.get_data(as_text=True)
    assert response.status_code in (403, 404, 409)


@pytest.mark.parametrize(
    ("identity", "access", "expected"),
    [
        (Identity("a", "owner"), Access("owner", "operators"), True),
        (Identity("a", "operator"), Access("owner", "operators"), False),
        (Identity("a", "owner", scopes={"all"}), Access("owner", "operators"), False),
        (Identity("a", "owner", scopes={"all"}), Access("operator", "money"), True),
        (Identity("a", "viewer", scopes={"all"}), Access("operator", "money"), False),
        (Identity("a", "owner", scopes={"read"}), Access("viewer", "read"), True),
        (Identity("a", "owner", scopes={"keys"}), Access("viewer", "read"), False),
        (Identity("a", "owner", scopes={"all", "operators"}), Access("viewer", "own"), False),
        (Identity("a", "viewer", scopes=set()), Access("viewer", "any"), True),
    ],
)
def test_a_credential_needs_both_the_role_and_the_scope(identity: Identity, access: Access, expected: bool) -> None:
    assert identity.may(access) is expected
