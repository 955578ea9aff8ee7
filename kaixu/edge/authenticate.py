"""Credential → caller. Looks at the credential's form only: whether a key exists is admission's business."""

from __future__ import annotations

import re

from kaixu.accounts.key_material import is_key_shaped, key_hash, legacy_hash
from kaixu.config.environment import Secrets
from kaixu.metering.cache import CacheControl
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import Invalid, Unauthenticated

from .request import Headers, IncomingRequest
from .tokens import UserSession, read_session_token

UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]")


def bearer(headers: Headers) -> str:
    """The bearer token, or what Anthropic's clients send as `x-api-key`. Raises `Unauthenticated`.

    Where both are there, one of them is often a placeholder that a client insists on: a key's form counts first,
    then a session's, then the bearer token.
    """
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    shown = [token.strip() if scheme.lower() == "bearer" else "", (headers.get("x-api-key") or "").strip()]
    shown = [one for one in shown if one]
    if not shown:
        raise Unauthenticated("Missing Authorization: Bearer <virtual_key>")
    return min(shown, key=lambda one: 0 if is_key_shaped(one) else 1 if one.count(".") == 2 else 2)


def insist_on_key(headers: Headers) -> None:
    """Raises `Unauthenticated` where no key is shown, and `Invalid` for a session, which makes no other."""
    token = bearer(headers)
    if token.count(".") == 2:
        raise Invalid(
            "a session token is made from a key, not from another token",
            hint="Send the key itself, kx_live_…, as Bearer.",
        )
    if not is_key_shaped(token):
        raise unknown(token)


def insist_on_credential(headers: Headers, secrets: Secrets) -> None:
    """Raises `Unauthenticated` where no key's shape and no session is shown; whether a key exists is not asked."""
    token = bearer(headers)
    if not is_key_shaped(token) and session_in(token, secrets) is None:
        raise unknown(token)


def caller_of(asked: IncomingRequest, secrets: Secrets) -> Caller:
    """Who asks: a virtual key's hashes, or the key of a session. Raises `Unauthenticated`."""
    headers, request_id = asked.headers, asked.request_id
    token = bearer(headers)
    install_id = printable(headers.get("x-kaixu-install-id") or headers.get("x-install-id") or "", 80) or None
    agent = printable(headers.get("user-agent") or "", 240) or None
    cache = cache_control(headers)
    if is_key_shaped(token):
        hashes = key_hash(secrets.key_pepper, token), legacy_hash(token)
        return Caller(*hashes, None, install_id, agent, request_id, cache)
    session = session_in(token, secrets)
    if session is None:
        raise unknown(token)
    return Caller(None, None, session.key_id, install_id, agent, request_id, cache)


def cache_control(headers: Headers) -> CacheControl:
    """What the client asks of kept answers (RFC 9111 §5.2.1): whatever else it says there means nothing here."""
    said = {one.strip().lower() for one in (headers.get("cache-control") or "").split(",")}
    return "no-store" if "no-store" in said else "no-cache" if "no-cache" in said else ""


def session_in(token: str, secrets: Secrets) -> UserSession | None:
    """The session that a token is, if it is one and still good."""
    return read_session_token(secrets.jwt_secret, token) if token.count(".") == 2 else None


def unknown(token: str) -> Unauthenticated:
    """The error for what is no key and no session."""
    if token.count(".") == 2:
        return Unauthenticated(
            "Invalid or expired session token", hint="Make a new one with POST session-token, or send a key."
        )
    return Unauthenticated("Invalid or revoked key", hint="A key begins with kx_live_; ask your operator for one.")


def printable(text: str, most: int) -> str:
    """Trimmed, cut, and without anything that a database or a terminal would choke on."""
    return UNPRINTABLE.sub("", text.strip())[:most]
