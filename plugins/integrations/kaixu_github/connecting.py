"""Connecting an account with OAuth: the way to GitHub, and back with a code."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec

from kaixu.plugin import (
    Begun,
    Call,
    Callback,
    Failure,
    Free,
    Invalid,
    KaixuError,
    Key,
    NotConfigured,
    Operation,
    Page,
    PageLink,
    Redirect,
    Returned,
    UpstreamError,
)  # fmt: skip

from .account import ACCEPTED, Account, json_of
from .identity import identity_of, missing, split_scopes
from .options import GitHubOptions
from .tokens import Nothing, keep

SCOPE = re.compile(r"[a-z_]{1,40}(:[a-z_]{1,40})?")
DEFAULT_SCOPES = ["repo", "workflow"]

#: The integration's tab of the dashboard.
DASHBOARD = "/gateway/dashboard/integrations/github/github-push"


class Start(msgspec.Struct):
    scopes: list[str] | None = None
    return_to: str | None = None


class Started(msgspec.Struct):
    authorize_url: str
    state: str
    redirect_uri: str
    scopes: list[str]


class Wish(msgspec.Struct, frozen=True):
    """What was asked for at the beginning."""

    scopes: list[str]


def authorize(options: GitHubOptions, begun: Begun) -> str:
    """GitHub's page of consent."""
    return f"{options.web_base.rstrip('/')}/login/oauth/authorize?" + urlencode(
        {
            "client_id": options.client_id,
            "redirect_uri": begun.redirect_uri,
            "state": begun.state,
            "code_challenge": begun.challenge,
            "code_challenge_method": "S256",
        }
    )


async def start(call: Call[Start]) -> Started:
    """The address that the browser goes to."""
    return await begun_for(call, call.body.scopes or DEFAULT_SCOPES, call.body.return_to or None)


async def begun_for(call: Call[Any], scopes: list[str], return_to: str | None) -> Started:
    """Begin it. Raises `NotConfigured`, `Invalid`."""
    if not call.options.client_id or not call.options.client_secret.get_secret_value():
        raise NotConfigured(
            "Connecting GitHub is not configured", hint="Store a token with github-token, or ask your operator."
        )
    if len(scopes) > 20 or not all(SCOPE.fullmatch(one) for one in scopes):
        raise Invalid("A scope is a word as `repo` or `read:org`", field="scopes")
    begun = await call.begin("account", Wish(scopes), return_to=return_to)
    url = f"{begun.url}&{urlencode({'scope': ' '.join(scopes)})}"
    return Started(url, begun.state, begun.redirect_uri, scopes)


async def connect(call: Call[Nothing]) -> Redirect:
    """From the dashboard: on to GitHub, and back to the tab."""
    started = await begun_for(call, DEFAULT_SCOPES, DASHBOARD)
    return Redirect(started.authorize_url)


async def connected(call: Call[Returned]) -> Page:
    """The browser is back: exchange the code, ask whose account it is, and store the token."""
    back = call.body
    link = PageLink("Back", back.return_to) if back.return_to else PageLink("To the dashboard", DASHBOARD)
    if "error" in back.query or "code" not in back.query:
        denied = back.query.get("error") == "access_denied"
        text = "You have not allowed it at GitHub." if denied else "GitHub has sent no code. Try again."
        return Page("GitHub is not connected", text, link, status=200 if denied else 400)
    try:
        reply = await exchange(call, back)
        token = reply.get("access_token")
        if not isinstance(token, str) or not token:
            raise Failure(502, "GITHUB_OAUTH_EXCHANGE_FAILED", "GitHub has not given a token")
        found = await identity_of(Account(call, token))
    except KaixuError as failure:
        text = f"The exchange with GitHub failed. Try again.\n\nGITHUB_OAUTH_EXCHANGE_FAILED ({failure.code})"
        return Page("GitHub is not connected", text, link, status=502)
    granted = reply.get("scope")
    given = split_scopes(granted) if isinstance(granted, str) else []
    scopes = given if found.scopes is None else found.scopes
    await keep(call, token, msgspec.structs.replace(found, scopes=scopes), "oauth", given)
    async with call.db() as db:
        await db.audit("GITHUB_OAUTH_CONNECTED", after={"account": found.login[:100], "scopes": scopes[:50]})
    withheld = [one for one in back.data.scopes if one not in scopes]
    lines = [
        f"The account {found.login} is connected.",
        f"Granted scopes: {', '.join(scopes) or 'none'}.",
        *([f"Asked for and not granted: {', '.join(withheld)}."] if withheld else []),
        *missing(scopes),
    ]
    return Page("GitHub is connected", "\n\n".join(lines), link)


async def exchange(call: Call[Returned], back: Returned) -> dict[str, Any]:
    """GitHub's answer to the code; its errors come with the status 200."""
    form = {
        "client_id": call.options.client_id,
        "client_secret": call.options.client_secret.get_secret_value(),
        "code": back.query["code"],
        "redirect_uri": back.redirect_uri,
        "code_verifier": back.verifier,
    }
    url = f"{call.options.web_base.rstrip('/')}/login/oauth/access_token"
    headers = {"accept": "application/json", "user-agent": "kaixu"}
    request = httpx.Request("POST", url, data=form, headers=headers)
    try:
        async with call.wire.send(request, accept=ACCEPTED) as answer:
            data = json_of(await answer.aread())
    except UpstreamError as error:
        raise Failure(502, "GITHUB_NETWORK", "GitHub cannot be reached") from error
    return data if isinstance(data, dict) else {}


OPERATIONS = [
    Operation(
        "github.oauth", start, Start, Free("connects an account"), path="/oauth", aliases=["github-oauth-start"],
        auth=Key("admin"),
    ),
    Operation("github.connect", connect, Nothing, Free("connects an account"), auth=Key("admin")),
]  # fmt: skip

CALLBACKS = [
    Callback(
        "account",
        connected,
        "connects an account",
        authorize,
        data=Wish,
        redirect_uri=lambda options: options.redirect_url,
        aliases=["github-oauth-callback"],
    )
]
