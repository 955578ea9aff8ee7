"""An identity provider with a signing key of its own, whose tokens a test can spoil."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "kaixu-tests"
CLIENT_SECRET = "client-secret-of-the-tests"


class IdentityProvider:
    """Answers like a provider. `user`: the claims of who logs in; `spoil` changes the claims of the next ID tokens.

    `sign` makes the token of claims; `userinfo`: what the userinfo endpoint answers; None: there is none.
    """

    def __init__(self) -> None:
        self.url = ""
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
        self.user: dict[str, Any] = {"sub": "ada", "email": "Ada@Example.com", "email_verified": True, "name": "Ada"}
        self.spoil: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.userinfo: dict[str, Any] | None = None
        self.issuer: str | None = None
        self.jwks: Callable[[], Any] = lambda: {"keys": [self.key.as_dict(private=False)]}
        self.codes: dict[str, dict[str, str]] = {}
        self.token_requests: list[dict[str, str]] = []
        self.token_reply: web.Response | None = None

    def signed(self, claims: dict[str, Any]) -> str:
        """The token, as it should be."""
        return jwt.encode({"alg": "RS256", "kid": "first"}, claims, self.key, algorithms=["RS256"])

    def authorize(self, url: str) -> str:
        """What the user's consent does: the address that the browser is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    async def describe(self, request: web.Request) -> web.Response:
        """The discovery document."""
        more = {} if self.userinfo is None else {"userinfo_endpoint": f"{self.url}/user"}
        return web.json_response(
            {
                "issuer": self.issuer or self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                **more,
            }
        )

    async def token(self, request: web.Request) -> web.Response:
        """A token for a code, which is taken once, with the right verifier."""
        if self.token_reply is not None:
            return self.token_reply
        given = {name: str(value) for name, value in (await request.post()).items()}
        self.token_requests.append(given)
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        asked = self.codes.pop(given.get("code", ""), None)
        if request.headers.get("authorization") != f"Basic {basic}" or asked is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        digest = hashlib.sha256(given["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.user}
        return web.json_response(
            {"access_token": "access", "token_type": "Bearer", "id_token": self.sign(self.spoil(claims))}
        )

    async def keys(self, request: web.Request) -> web.Response:
        """The public keys."""
        return web.Response(text=json.dumps(self.jwks()), content_type="application/json")

    async def who(self, request: web.Request) -> web.Response:
        """The userinfo endpoint."""
        assert request.headers["authorization"] == "Bearer access"
        return web.json_response(self.userinfo)


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """A provider on a port of its own."""
    provider = IdentityProvider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", provider.describe)
    app.router.add_post("/token", provider.token)
    app.router.add_get("/keys", provider.keys)
    app.router.add_get("/user", provider.who)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    provider.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    try:
        yield provider
    finally:
        await runner.cleanup()
