"""A vendor with OAuth (RFC 6749, PKCE), and the plugin of an integration that connects accounts with it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

CLIENT_ID, CLIENT_SECRET = "client-of-the-tests", "secret-of-the-tests"

PLUGIN = """
from typing import Any
from urllib.parse import urlencode
import httpx
import msgspec
from kaixu.plugin import (
    Begun, Callback, Failure, Free, Integration, Operation, Operator, Options, Page, PageLink, Redirect, Secret, WireUrl,
    hookimpl,
)

class LinkOptions(Options):
    vendor: WireUrl
    client_id: str
    client_secret: str

class Start(msgspec.Struct):
    scope: str = "repo"
    return_to: str | None = None
    callback: str = "account"
    lifetime_s: float = 600

class Wish(msgspec.Struct):
    scope: str

class Started(msgspec.Struct):
    authorize_url: str
    state: str
    redirect_uri: str

class Connected(msgspec.Struct):
    token: str | None

def authorize(options, begun):
    return f"{options.vendor}/authorize?" + urlencode({
        "client_id": options.client_id, "state": begun.state, "redirect_uri": begun.redirect_uri,
        "code_challenge": begun.challenge, "code_challenge_method": "S256", "response_type": "code"})

async def start(call):
    body = call.body
    begun = await call.begin(body.callback, Wish(body.scope), return_to=body.return_to, lifetime_s=body.lifetime_s)
    return Started(begun.url, begun.state, begun.redirect_uri)

async def connect(call):
    back = call.body
    if "error" in back.query:
        return Page("Not connected", f"You said no: {back.query['error']}.")
    form = {"code": back.query.get("code", ""), "code_verifier": back.verifier, "redirect_uri": back.redirect_uri,
            "client_id": call.options.client_id, "client_secret": call.options.client_secret}
    async with call.wire.send(httpx.Request("POST", f"{call.options.vendor}/token", data=form)) as answer:
        reply = msgspec.json.decode(await answer.aread())
    if "access_token" not in reply:
        return Page("Not connected", "The exchange failed.", status=502)
    await call.secrets.put("token", reply["access_token"])
    link = PageLink("Back", back.return_to) if back.return_to else None
    return Page("Connected", f"Connected with the scope {back.data.scope} for {back.begun_by.kind} {call.customer_id}.",
                link)

async def result(call):
    return Page("Result", f"{call.body.data.scope} {call.customer_id} {sorted(call.body.query)}")

async def show(call):
    return Connected(await call.secrets.get("token"))

@hookimpl
def register_integrations(register):
    free = Free("a test")
    register(Integration(
        "link", options=LinkOptions, secrets=[Secret("token", title="Token", shown_as="has_link_token")],
        operations=[
            Operation("link.start", start, Start, free, aliases=["link-start"]),
            Operation("link.operators", start, Start, free, auth=Operator()),
            Operation("link.show", show, Start, free),
        ],
        callbacks=[
            Callback("account", connect, "a test", authorize, data=Wish, aliases=["link-callback"]),
            Callback("result", result, "a test", data=Wish, bind="link"),
        ],
    ))
"""

SECTION = f"""
integrations:
  link: {{{{plugin: ./link.py, vendor: "{{vendor}}", client_id: {CLIENT_ID}, client_secret: {CLIENT_SECRET}}}}}
"""


class OAuthVendor:
    """Its page of consent has the links "Allow" and "Deny"; its token endpoint checks everything."""

    def __init__(self) -> None:
        self.url = ""
        self.codes: dict[str, dict[str, str]] = {}
        self.exchanges: list[dict[str, str]] = []

    def consent(self, url_query: dict[str, str], *, allow: bool = True) -> str:
        """Where the browser is sent when its user has decided."""
        state = {"state": url_query["state"]}
        if not allow:
            return f"{url_query['redirect_uri']}?{urlencode({'error': 'access_denied'} | state)}"
        code = f"code-{len(self.codes)}"
        self.codes[code] = url_query
        return f"{url_query['redirect_uri']}?{urlencode({'code': code} | state)}"

    async def authorize(self, request: web.Request) -> web.Response:
        """The page of consent."""
        query = dict(request.query)
        links = "".join(
            f'<a href="{html.escape(self.consent(query, allow=allow))}">{text}</a> '
            for text, allow in (("Allow", True), ("Deny", False))
        )
        page = (
            f'<!doctype html><html lang="en"><title>Vendor</title><link rel="icon" href="data:,"><h1>Vendor</h1>{links}'
        )
        return web.Response(text=page, content_type="text/html")

    async def token(self, request: web.Request) -> web.Response:
        """The exchange of a code."""
        form: dict[str, Any] = dict(await request.post())
        self.exchanges.append(form)
        asked = self.codes.pop(str(form["code"]), None)
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_right = asked is not None and (
            asked["code_challenge"], asked["code_challenge_method"], asked["redirect_uri"], asked["client_id"],
            CLIENT_SECRET,
        ) == (challenge, "S256", form["redirect_uri"], form["client_id"], form["client_secret"])  # fmt: skip
        reply = {"access_token": "token-of-the-vendor"} if is_right else {"error": "invalid_grant"}
        return web.json_response(reply)  # errors come with status 200, as from GitHub


@contextmanager
def oauth_vendor() -> Iterator[OAuthVendor]:
    """The vendor, in a thread of its own."""
    vendor, loop = OAuthVendor(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/authorize", vendor.authorize)
    app.router.add_post("/token", vendor.token)
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    loop.run_until_complete(start())
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
