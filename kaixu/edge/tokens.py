"""Admin and session tokens: short-lived HS256 JWTs (RFC 7519), each kind with its own signing key."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec

ADMIN_TTL_S = 12 * 3600
INSPECTION_TTL_S = 60

#: The tolerated clock difference: `iat` may lie this far in the future.
SKEW_S = 60


class UserSession(msgspec.Struct, frozen=True):
    """The key that a session token stands for. Admission checks that the key is still valid."""

    key_id: int
    customer_id: int
    key_last4: str


def signing_key(secret: str, kind: str) -> bytes:
    """Derive a signing key per kind, so that a token of one kind is not valid as another."""
    return hmac.digest(secret.encode(), kind.encode(), "sha256")


def read_claims(secrets: Sequence[str], kind: str, token: str, required: list[str]) -> dict[str, Any] | None:
    """The claims of a valid token, signed with one of the secrets; or None."""
    for secret in secrets:
        if (claims := claims_signed_with(secret, kind, token, required)) is not None:
            return claims
    return None


def claims_signed_with(secret: str, kind: str, token: str, required: list[str]) -> dict[str, Any] | None:
    """The claims of a valid token that was signed with this secret, or None."""
    if token.count(".") != 2:
        return None
    import jwt  # loads much of `cryptography`, and calls with virtual keys need none of it

    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            signing_key(secret, kind),
            algorithms=["HS256"],
            options={"require": ["exp", "iat", *required], "verify_iat": False},
        )
        # The clocks of gateways differ a little.
        return claims if int(claims["iat"]) <= time.time() + SKEW_S else None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None


def signed(claims: dict[str, Any], secret: str, kind: str) -> str:
    """A token with these claims."""
    import jwt

    return jwt.encode(claims, signing_key(secret, kind), algorithm="HS256")


def make_admin_token(secret: str, session: str, *, ttl_s: int = ADMIN_TTL_S) -> str:
    """An operator's token. `session`: the random id of its session, which every request looks up."""
    now = int(time.time())
    claims = {"role": "admin", "iat": now, "exp": now + ttl_s, "jti": str(uuid4()), "sid": session}
    return signed(claims, secret, "admin")


def read_admin_token(secrets: Sequence[str], token: str) -> str | None:
    """The session's random id in an operator's token; None for other tokens and for expired ones.

    Whether the session is still valid is for the database to say.
    """
    claims = read_claims(secrets, "admin", token, ["role", "sid"])
    if claims is None or claims["role"] != "admin" or not isinstance(claims["sid"], str):
        return None
    return claims["sid"]


def make_inspection_token(secret: str) -> str:
    """A token with which `kaixu doctor` sees the details of `health`, and nothing else, for a minute."""
    now = int(time.time())
    return signed({"iat": now, "exp": now + INSPECTION_TTL_S}, secret, "inspection")


def is_inspection_token(secrets: Sequence[str], token: str) -> bool:
    """Whether `token` is a valid one of `make_inspection_token`. Needs no database."""
    return read_claims(secrets, "inspection", token, []) is not None


def make_session_token(secret: str, *, key_id: int, customer_id: int, key_last4: str, ttl_s: int) -> str:
    """A token that stands for a key until it expires or the key is revoked."""
    now = int(time.time())
    claims = {
        "type": "user_session",
        "api_key_id": key_id,
        "customer_id": customer_id,
        "key_last4": key_last4,
        "iat": now,
        "exp": now + ttl_s,
    }
    return signed(claims, secret, "session")


def read_session_token(secrets: Sequence[str], token: str) -> UserSession | None:
    """The session of a session token; None for other tokens and for expired ones."""
    claims = read_claims(secrets, "session", token, ["type", "api_key_id", "customer_id"])
    if claims is None or claims["type"] != "user_session":
        return None
    try:
        return UserSession(int(claims["api_key_id"]), int(claims["customer_id"]), str(claims.get("key_last4", "")))
    except (TypeError, ValueError):
        return None
