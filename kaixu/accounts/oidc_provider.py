"""What is asked of an identity provider: its description, its keys, a token for a code. Bounded in time and size.

Its own words never reach a client: a failure says which step failed, and the log says why.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.parameters import prepare_token_request  # type: ignore[import-untyped]

from kaixu.config.operators_section import LOOPBACK, OidcSection
from kaixu.plugin.errors import Forbidden, Unavailable

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MAX_BYTES = 1024 * 1024

DISCOVERY = "/.well-known/openid-configuration"
JSON_HEADERS = {"accept": "application/json", "accept-encoding": "identity"}


class Provider(msgspec.Struct, frozen=True):
    """A provider, as it describes itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None


class Tokens(msgspec.Struct, frozen=True):
    """What the token endpoint returns; the rest is not used."""

    id_token: str
    access_token: str | None = None


def unavailable(step: str, why: object) -> Unavailable:
    """The error for a provider that cannot be reached, or answers with something else."""
    log.warning("single sign-on: %s failed: %s", step, why)
    return Unavailable(
        f"the identity provider did not answer as it should ({step})",
        hint="Try again; the gateway's log says more.",
        code="SINGLE_SIGN_ON_FAILED",
    )


def refused(why: str, *, hint: str = "Begin again at /api/admin-oidc-start.") -> Forbidden:
    """The error for a login that is not accepted."""
    return Forbidden(why, hint=hint, code="SINGLE_SIGN_ON_REFUSED")


async def bounded_request(
    client: httpx.AsyncClient, step: str, method: str, url: str, *, headers: dict[str, str], body: str | None = None
) -> bytes:
    """The body of a reply with status 200. No redirects are followed. Raises `Unavailable`."""
    require_safe(url, step)
    received = bytearray()
    try:
        async with client.stream(method, url, headers=JSON_HEADERS | headers, content=body) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise unavailable(step, "an encoded reply")
            async for piece in response.aiter_raw():
                received += piece
                if len(received) > MAX_BYTES:
                    raise unavailable(step, f"a reply of more than {MAX_BYTES} bytes")
            if response.status_code != 200:
                raise unavailable(step, f"status {response.status_code}{error_code(bytes(received))}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise unavailable(step, type(error).__name__) from None
    return bytes(received)


def error_code(body: bytes) -> str:
    """The error code of a reply (RFC 6749 §5.2), for the log, if it looks like one."""
    try:
        code = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, LookupError, TypeError, UnicodeError):
        return ""
    return f", {code}" if isinstance(code, str) and len(code) < 60 and code.replace("_", "a").isalnum() else ""


def require_safe(url: str, step: str) -> None:
    """Raises `Unavailable` for an address without TLS that is not on this machine."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    except ValueError:
        good = False
    if not good:
        raise unavailable(step, "an address without https")


def open_client() -> httpx.AsyncClient:
    """A client for one login."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)


async def discover(client: httpx.AsyncClient, section: OidcSection) -> Provider:
    """The provider's description. Raises `Unavailable`, also where it describes another issuer."""
    url = section.issuer.rstrip("/") + DISCOVERY
    body = await bounded_request(client, "its description", "GET", url, headers={})
    try:
        provider = msgspec.json.decode(body, type=Provider)
    except (msgspec.DecodeError, UnicodeError):
        raise unavailable("its description", "not what OpenID Connect Discovery asks for") from None
    if provider.issuer.rstrip("/") != section.issuer.rstrip("/"):
        raise unavailable("its description", "it names another issuer than kaixu.yaml")
    require_safe(provider.authorization_endpoint, "its description")
    return provider


async def read_keys(client: httpx.AsyncClient, provider: Provider) -> list[dict[str, Any]]:
    """The provider's public keys (RFC 7517). Raises `Unavailable`."""
    body = await bounded_request(client, "its keys", "GET", provider.jwks_uri, headers={})
    try:
        keys = msgspec.json.decode(body, type=dict[str, Any]).get("keys")
    except (msgspec.DecodeError, UnicodeError):
        keys = None
    if not isinstance(keys, list):
        raise unavailable("its keys", "no list of keys")
    return [key for key in keys if isinstance(key, dict)]


async def exchange_code(
    client: httpx.AsyncClient,
    provider: Provider,
    section: OidcSection,
    *,
    code: str,
    code_verifier: str,
    redirect_url: str,
) -> Tokens:
    """The tokens for a code. Raises `Unavailable`."""
    body = prepare_token_request("authorization_code", "", redirect_url, code=code, code_verifier=code_verifier)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    secret = None if section.client_secret is None else section.client_secret.get_secret_value()
    auth = ClientAuth(section.client_id, secret, auth_method(provider, secret))
    url, headers, body = auth.prepare("POST", provider.token_endpoint, headers, body)
    answer = await bounded_request(client, "its token", "POST", url, headers=headers, body=body)
    try:
        return msgspec.json.decode(answer, type=Tokens)
    except (msgspec.DecodeError, UnicodeError):
        raise unavailable("its token", "no ID token") from None


def auth_method(provider: Provider, secret: str | None) -> str:
    """How the gateway proves who it is: `client_secret_basic` unless the provider takes only the other way."""
    supported = provider.token_endpoint_auth_methods_supported or ["client_secret_basic"]
    if secret is None:
        return "none"
    return "client_secret_basic" if "client_secret_basic" in supported else "client_secret_post"


async def read_user(client: httpx.AsyncClient, provider: Provider, access_token: str) -> dict[str, Any]:
    """More claims of the user who logs in. Raises `Unavailable`."""
    assert provider.userinfo_endpoint is not None
    headers = {"authorization": f"Bearer {access_token}"}
    body = await bounded_request(client, "its user", "GET", provider.userinfo_endpoint, headers=headers)
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        raise unavailable("its user", "no JSON object") from None
