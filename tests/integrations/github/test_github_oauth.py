"""Connecting with OAuth: to GitHub and back, with PKCE, and what attackers get."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import pytest

from .conftest import Stage
from .pusher import Pusher, new_pusher
from .stand_in import Account, Fault


@pytest.fixture
async def eve(stage: Stage, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Pusher:
    """A customer who is not connected."""
    stage.server.faults.clear()
    made = await new_pusher(stage.server, stage.gateway, pool, http, connected=False)
    stage.server.oauth.person = Account(made.login, 2000 + made.id)
    stage.server.oauth.granted = None
    return made


async def begun(eve: Pusher, **body: Any) -> dict[str, Any]:
    answer = await eve.call("POST", "github-oauth-start", body)
    assert answer.status == 200, answer
    started: dict[str, Any] = answer.body
    return started


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def back(eve: Pusher, url: str) -> tuple[int, str]:
    """What a browser sees that comes back. What a program has begun is asked about first: press the button."""
    page = await eve.call("GET", url.removeprefix(eve.gateway.url), key="", headers={"accept": "text/html"})
    found = re.findall(r'<form[^>]* action="(/v1/github/callbacks/[^"]+)"', page.body)
    if not found:
        return page.status, page.body
    form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.body))
    headers = {"sec-fetch-site": "same-origin", "accept": "text/html"}
    async with eve.http.post(f"{eve.gateway.url}{found[0]}", data=form, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_the_way_to_github_has_pkce_a_state_and_the_scopes(eve: Pusher) -> None:
    started = await begun(eve, scopes=["repo"])
    assert set(started) == {"authorize_url", "state", "redirect_uri", "scopes"}
    assert started["authorize_url"].startswith(f"{eve.server.url}/login/oauth/authorize?")
    query = query_of(started["authorize_url"])
    assert (query["scope"], query["state"], query["code_challenge_method"]) == ("repo", started["state"], "S256")
    assert query["redirect_uri"] == started["redirect_uri"]
    assert urlsplit(started["redirect_uri"]).path == "/v1/github/callbacks/account"
    assert (await begun(eve))["scopes"] == ["repo", "workflow"]


async def test_a_browser_that_comes_back_connects_the_account(eve: Pusher) -> None:
    started = await begun(eve, return_to="/gateway/dashboard")
    url = eve.server.oauth.consent(query_of(started["authorize_url"]))
    status, page = await back(eve, url)
    assert status == 200, page
    assert f"The account {eve.login} is connected." in page
    assert "/gateway/dashboard" in page
    shown = (await eve.call("GET", "github-token")).body
    assert (shown["connected"], shown["token_type"], shown["login"]) == (True, "oauth", eve.login)
    assert (await eve.push({"a.txt": "a"}))["status"] == "done"
    status, page = await back(eve, url)
    assert status == 400, "a state works once"


async def test_fewer_scopes_than_asked_for_are_told(eve: Pusher) -> None:
    eve.server.oauth.granted = ["repo"]
    started = await begun(eve)
    _, page = await back(eve, eve.server.oauth.consent(query_of(started["authorize_url"])))
    assert "Asked for and not granted: workflow." in page
    assert (await eve.call("GET", "github-token")).body["scopes"] == ["repo"]


async def test_somebody_who_says_no_is_told_so(eve: Pusher) -> None:
    started = await begun(eve)
    status, page = await back(eve, eve.server.oauth.consent(query_of(started["authorize_url"]), allow=False))
    assert (status, "You have not allowed it at GitHub." in page) == (200, True)
    assert (await eve.call("GET", "github-token")).body["connected"] is False


async def test_an_exchange_that_fails_is_told_with_its_code(eve: Pusher) -> None:
    started = await begun(eve)
    query = query_of(started["authorize_url"])
    url = eve.server.oauth.consent({**query, "code_challenge": "another"})
    status, page = await back(eve, url)
    assert (status, "GITHUB_OAUTH_EXCHANGE_FAILED" in page) == (502, True)
    for fault in (Fault("POST", "access_token", 500), Fault("POST", "access_token", 200, body=["nonsense"])):
        eve.server.faults.append(fault)
        started = await begun(eve)
        status, page = await back(eve, eve.server.oauth.consent(query_of(started["authorize_url"])))
        assert (status, "GITHUB_OAUTH_EXCHANGE_FAILED" in page) == (502, True)
    assert (await eve.call("GET", "github-token")).body["connected"] is False


@pytest.mark.parametrize("state", ["", "nonsense", "x" * 3000])
async def test_a_state_that_nobody_has_begun_is_refused(eve: Pusher, state: str) -> None:
    page = await eve.call("GET", "github-oauth-callback", key="", code="code-0", state=state)
    assert page.status in (400, 414, 431)
    assert "<script>alert" not in page.body


@pytest.mark.parametrize(
    "return_to",
    ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example", "data:text/html,x"],
)
async def test_the_way_back_stays_at_this_gateway(eve: Pusher, return_to: str) -> None:
    answer = await eve.call("POST", "github-oauth-start", {"return_to": return_to})
    assert answer.status in (400, 422), answer


@pytest.mark.parametrize("scopes", [["repo workflow"], ["<script>"], ["repo"] * 21, [""]], ids=str)
async def test_scopes_are_words(eve: Pusher, scopes: list[str]) -> None:
    assert (await eve.call("POST", "github-oauth-start", {"scopes": scopes})).status == 400


async def test_another_customer_s_address_does_not_connect_without_a_question(eve: Pusher) -> None:
    """Eve sends her address to a victim: the page names her account and asks, and stores nothing by itself."""
    started = await begun(eve)
    victim = eve.server.oauth.consent(query_of(started["authorize_url"]))
    page = await eve.call("GET", victim.removeprefix(eve.gateway.url), key="")
    assert "Continue only if you have begun it yourself" in page.body
    assert "<form" in page.body
    assert (await eve.call("GET", "github-token")).body["connected"] is False


async def test_a_key_that_was_revoked_meanwhile_connects_nothing(eve: Pusher) -> None:
    started = await begun(eve)
    await eve.pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", eve.key_id)
    status, page = await back(eve, eve.server.oauth.consent(query_of(started["authorize_url"])))
    assert "is connected" not in page
    assert status >= 400
