"""Invitations: a link by which an operator chooses a password, once."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from quart import Quart

from kaixu.config.operators_section import OidcSection, OperatorsSection
from kaixu.edge.services import Services
from tests.api.admin.conftest import Operator, app, operator, services

__all__ = ["app", "operator", "services"]

PASSWORD = "correct horse battery"


async def invited(operator: Operator, email: str = "ada@example.com") -> tuple[int, str]:
    """A new operator: its number and the token of its link."""
    body = await operator.send("POST", "admin-operators", {"email": email, "role": "operator", "invite": True})
    assert body["password"] is None
    return body["operator"]["id"], parse_qs(urlsplit(body["invitation"]).query)["token"][0]


async def open_link(app: Quart, token: str) -> tuple[int, str]:
    """What the page shows."""
    response = await app.test_client().get("/api/admin-invitation", query_string={"token": token})
    return response.status_code, await response.get_data(as_text=True)


async def choose(app: Quart, token: str, password: str = PASSWORD, again: str | None = None) -> tuple[int, str]:
    """Send the form."""
    form = {"token": token, "password": password, "again": password if again is None else again}
    response = await app.test_client().post("/api/admin-invitation", form=form)
    return response.status_code, await response.get_data(as_text=True)


async def can_log_in(app: Quart, password: str = PASSWORD) -> bool:
    """Whether the password is the operator's."""
    body = {"email": "ada@example.com", "password": password}
    return (await Operator(app).ask("POST", "admin-login", body))[0] == 200


async def test_who_opens_the_link_chooses_the_password_once(app: Quart, operator: Operator, pool: asyncpg.Pool) -> None:
    _, token = await invited(operator)
    for _ in range(3):  # programs that check mail open links, too
        status, text = await open_link(app, token)
        assert (status, "For ada@example.com." in text) == (200, True)
    assert not await can_log_in(app)
    assert (await choose(app, token))[0] == 200
    assert await can_log_in(app)
    assert (await choose(app, token, "another password"))[0] == 404
    assert (await open_link(app, token))[0] == 404
    assert token not in str(await pool.fetch("select * from kaixu.audit_event"))
    actor = await pool.fetchval("select actor from kaixu.audit_event where action = 'OPERATOR_INVITATION_USED'")
    assert actor == "operator:ada@example.com"


async def test_of_many_who_use_a_link_at_once_one_sets_the_password(app: Quart, operator: Operator) -> None:
    _, token = await invited(operator)
    passwords = [f"password number {number}" for number in range(5)]
    answers = await asyncio.gather(*(choose(app, token, one) for one in passwords))
    assert sorted(status for status, _ in answers) == [200, 404, 404, 404, 404]
    winner = next(one for one, (status, _) in zip(passwords, answers, strict=True) if status == 200)
    assert await can_log_in(app, winner)


async def test_a_link_that_was_replaced_is_over_or_of_somebody_switched_off_is_worth_nothing(
    app: Quart, operator: Operator, pool: asyncpg.Pool
) -> None:
    number, first = await invited(operator)
    body = await operator.send("PUT", "admin-operators", {"operator_id": number, "reset": "invitation"})
    second = parse_qs(urlsplit(body["invitation"]).query)["token"][0]
    assert (await open_link(app, first))[0] == 404
    await operator.send("PATCH", "admin-operators", {"operator_id": number, "is_disabled": True})
    assert (await choose(app, second))[0] == 404
    await operator.send("PATCH", "admin-operators", {"operator_id": number, "is_disabled": False})
    assert (await open_link(app, second))[0] == 200
    await pool.execute("update kaixu.operator_invitation set expires_at = now()")
    assert (await choose(app, second))[0] == 404
    _, third = await invited(operator, "bob@example.com")
    bob = await pool.fetchval("select id from kaixu.operator where email = 'bob@example.com'")
    await operator.send("PUT", "admin-operators", {"operator_id": bob, "reset": "password"})
    assert (await open_link(app, third))[0] == 404


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "a" * 5000, "ä" * 43, "' or 1=1 --"])
async def test_a_made_up_link_is_refused(app: Quart, token: str) -> None:
    status, text = await open_link(app, token)
    assert (status, "used already, or has expired" in text) == (404, True)
    assert (await choose(app, token))[0] == 404


async def test_a_bad_password_shows_the_form_again_and_uses_nothing_up(app: Quart, operator: Operator) -> None:
    _, token = await invited(operator)
    for password, again, why in (("short", None, "12 to 1000 characters"), (PASSWORD, "another", "passwords differ")):
        status, text = await choose(app, token, password, again)
        assert (status, why in text, password in text) == (422, True, False)
    assert (await choose(app, token))[0] == 200


@pytest.mark.parametrize("body", [b"", b"token=%ff", b"\xff", b"&" * 50, b"password=x", b"{}", b"token=a&" * 20])
async def test_nonsense_instead_of_the_form_is_refused(app: Quart, body: bytes) -> None:
    response = await app.test_client().post("/api/admin-invitation", data=body)
    assert response.status_code in (404, 422)


async def test_the_page_runs_nothing_and_sends_its_form_to_the_gateway_only(app: Quart, operator: Operator) -> None:
    _, token = await invited(operator)
    response = await app.test_client().get("/api/admin-invitation", query_string={"token": token})
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; ")
    assert "script-src" not in policy
    assert response.headers["referrer-policy"] == "no-referrer"
    text = await response.get_data(as_text=True)
    assert re.findall(r'action="([^"]+)"', text) == ["admin-invitation"]
    assert "<script" not in text


async def test_where_single_sign_on_is_the_only_way_no_password_is_set(
    app: Quart, operator: Operator, services: Services
) -> None:
    _, token = await invited(operator)
    oidc = OidcSection(issuer="https://accounts.example.com", client_id="k", default_role="viewer")
    services.current.operators = OperatorsSection(sso_only=True, oidc=oidc)
    assert (await choose(app, token))[0] == 403


async def test_an_invitation_and_a_password_exclude_each_other(operator: Operator) -> None:
    body = {"email": "ada@example.com", "password": PASSWORD, "invite": True}
    status, reply = await operator.ask("POST", "admin-operators", body)
    assert (status, reply["field"]) == (422, "invite")
