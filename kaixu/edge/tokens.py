"""Admin and session tokens: short-lived HS256 JWTs (RFC 7519), each kind with its own signing key."""

from __future__ import annotations

import hmac
import time
from typing import Any
from uuid import uuid4

import jwt
import msgspec

ADMIN_TTL_S = 12 * 3600

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


def read_claims(secret: str, kind: str, token: str, required: list[str]) -> dict[str, Any] | None:
    """The claims of a valid token, or None."""
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


def make_admin_token(secret: str) -> str:
    """An operator's token, valid for 12 hours."""
    now = int(time.time())
    claims = {"role": "admin", "iat": now, "exp": now + ADMIN_TTL_S, "jti": str(uuid4())}
    return jwt.encode(claims, signing_key(secret, "admin"), algorithm="HS256")


def is_admin_token(secret: str, token: str) -> bool:
    """Whether `token` is a valid token of an operator."""
    claims = read_claims(secret, "admin", token, ["role"])
    return claims is not None and claims["role"] == "admin"


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
    return jwt.encode(claims, signing_key(secret, "session"), algorithm="HS256")


def read_session_token(secret: str, token: str) -> UserSession | None:
    """The session of a session token; None for other tokens and for expired ones."""
    claims = read_claims(secret, "session", token, ["type", "api_key_id", "customer_id"])
    if claims is None or claims["type"] != "user_session":
        return None
    try:
        return UserSession(int(claims["api_key_id"]), int(claims["customer_id"]), str(claims.get("key_last4", "")))
    except (TypeError, ValueError):
        return None
