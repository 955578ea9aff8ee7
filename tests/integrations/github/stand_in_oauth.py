"""The OAuth part of the stand-in: GitHub's page of consent and exchange, strict about PKCE, codes and addresses."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

if TYPE_CHECKING:
    from .stand_in import Account, GitHubServer

CLIENT_ID, CLIENT_SECRET = "Iv1.client-of-the-tests", "client-secret-of-the-tests"


class OAuth:
    """`person`: who decides at the page of consent. `granted`: the scopes that they leave, if not all."""

    def __init__(self, server: GitHubServer) -> None:
        self.server = server
        self.person: Account | None = None
        self.granted: list[str] | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.exchanges = 0
        self.redirect_uris: set[str] = set()  # registered; empty: any

    def consent(self, query: dict[str, str], *, allow: bool = True) -> str:
        """Where the browser is sent when its user has decided."""
        state = {"state": query["state"]}
        if not allow:
            return f"{query['redirect_uri']}?{urlencode({'error': 'access_denied'} | state)}"
        code = f"code-{len(self.codes)}-{self.exchanges}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code} | state)}"

    async def answer(self, request: web.Request, path: str) -> web.Response:
        if path.endswith("/authorize"):
            return self.authorize(dict(request.query))
        return await self.exchange(request)

    def authorize(self, query: dict[str, str]) -> web.Response:
        """The page of consent."""
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        links = "".join(
            f'<a href="{html.escape(self.consent(query, allow=allow))}">{text}</a> '
            for text, allow in (("Allow", True), ("Deny", False))
        )
        head = '<!doctype html><html lang="en"><title>GitHub</title><link rel="icon" href="data:,"><h1>Authorize</h1>'
        return web.Response(text=head + links, content_type="text/html")

    async def exchange(self, request: web.Request) -> web.Response:
        """A code for a token: once, for whoever knows the verifier; errors come with the status 200."""
        self.exchanges += 1
        form = {name: str(value) for name, value in (await request.post()).items()}
        begun = self.codes.pop(form.get("code", ""), None)
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != CLIENT_SECRET:
            return web.json_response({"error": "incorrect_client_credentials", "error_description": "wrong client"})
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun is None or (begun["code_challenge"], begun["redirect_uri"]) != (challenge, form.get("redirect_uri")):
            return web.json_response({"error": "bad_verification_code", "error_description": "wrong or expired"})
        assert self.person is not None
        scopes = begun["scope"].split() if self.granted is None else self.granted
        token = f"gho_{hashlib.sha256(form['code'].encode()).hexdigest()[:36]}"
        person = self.person
        self.server.tokens[token] = type(person)(person.login, person.id, scopes, person.name, person.organizations)
        return web.json_response({"access_token": token, "token_type": "bearer", "scope": ",".join(scopes)})
