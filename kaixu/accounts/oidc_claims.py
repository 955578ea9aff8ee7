"""The ID token of a login: whether it is genuine and meant for this login, and which role its claims give."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from kaixu.config.operators_section import OidcSection

from . import fields
from .oidc_provider import refused
from .operator_identity import ROLES

#: Signatures with a key that only the provider has. Neither `none` nor HMAC, whose key the gateway would know.
ALGORITHMS = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
]  # fmt: skip

#: How far the clocks of the provider and the gateway may differ.
SKEW_S = 60

#: The oldest ID token that is accepted: it was made for this login a moment ago.
MAX_AGE_S = 600

MAX_TOKEN = 100_000
MAX_NAME = 120
MAX_SUBJECT = 255


class ProvenUser(msgspec.Struct, frozen=True):
    """Who has logged in at the provider. `role` None: its claims give none."""

    subject: str
    email: str
    name: str | None
    role: str | None


def verified_claims(
    id_token: str, keys: Iterable[dict[str, Any]], *, issuer: str, client_id: str, nonce: str, now: float | None = None
) -> dict[str, Any]:
    """The claims of an ID token (OpenID Connect Core §3.1.3.7).

    Raises `Forbidden` unless one of the keys signed it, and it is of this issuer, for this client and this login, and
    neither expired nor old.
    """
    if len(id_token) > MAX_TOKEN:
        raise refused("the ID token is too long")
    claims = claims_of(signed_payload(id_token, keys))
    now = time.time() if now is None else now
    if claims.get("iss") != issuer:
        raise refused("the ID token is of another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise refused("the ID token is for another application")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        raise refused("the ID token was made for another application")
    if moment(claims, "exp") <= now - SKEW_S:
        raise refused("the ID token has expired", hint="Begin again; check the clocks of both servers.")
    if not now - MAX_AGE_S - SKEW_S <= moment(claims, "iat") <= now + SKEW_S:
        raise refused("the ID token was not made now", hint="Begin again; check the clocks of both servers.")
    if "nbf" in claims and moment(claims, "nbf") > now + SKEW_S:
        raise refused("the ID token is not valid yet", hint="Begin again; check the clocks of both servers.")
    sent = claims.get("nonce")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode("utf-8", "replace"), nonce.encode()):
        raise refused("the ID token belongs to another login")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise refused("the ID token names no user")
    return claims


def signed_payload(id_token: str, keys: Iterable[dict[str, Any]]) -> bytes:
    """What one of the keys has signed. Raises `Forbidden`."""
    try:
        header = jws.extract_compact(id_token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, KeyError):
        raise refused("the ID token cannot be read") from None
    if header.get("alg") not in ALGORITHMS:
        raise refused("the ID token is not signed with a key of the provider's own")
    key_id = header.get("kid")
    for one in keys:
        is_candidate = key_id is None or one.get("kid") in (None, key_id)
        if not is_candidate or one.get("kty") not in ("RSA", "EC", "OKP") or one.get("use", "sig") != "sig":
            continue
        try:
            key = JWKRegistry.import_key(one)
            return jws.deserialize_compact(id_token, key, algorithms=ALGORITHMS).payload
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    raise refused("the ID token is not signed by the provider")


def claims_of(payload: bytes) -> dict[str, Any]:
    """A payload as a JSON object. Raises `Forbidden`."""
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise refused("the ID token cannot be read") from None


def moment(claims: dict[str, Any], name: str) -> float:
    """A time in seconds since 1970. Raises `Forbidden` where it is missing."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise refused(f"the ID token has no valid `{name}`")
    return float(value)


def proven_user(claims: dict[str, Any], section: OidcSection) -> ProvenUser:
    """The user of verified claims. Raises `Forbidden` without a verified address of an allowed domain."""
    email = None
    if isinstance(claims.get("email"), str) and fields.EMAIL.fullmatch(claims["email"]) and len(claims["email"]) < 255:
        email = claims["email"]
    if email is None:
        raise refused("the provider tells no e-mail address", hint="The scope `email` must be allowed there.")
    if not email.isascii() or not email.isprintable():
        # Letters such as the Kelvin sign become others in lower case: somebody else's address.
        raise refused("the e-mail address has characters that are not ASCII")
    if claims.get("email_verified") not in (True, "true"):
        raise refused("the e-mail address is not verified", hint="Verify it at the identity provider.")
    email = email.lower()
    if section.domains and email.rpartition("@")[2] not in section.domains:
        raise refused("e-mail addresses of this domain may not log in here", hint="Ask an owner of the gateway.")
    name = claims.get("name")
    shown = name.strip()[:MAX_NAME] if isinstance(name, str) and name.isprintable() else None
    return ProvenUser(claims["sub"], email, shown or None, role_by_claim(claims, section))


def role_by_claim(claims: dict[str, Any], section: OidcSection) -> str | None:
    """The highest role that the claim's values stand for, else the default one."""
    given = {section.roles[value] for value in claim_values(claims, section.role_claim) if value in section.roles}
    return max(given, key=ROLES.index) if given else section.default_role


def claim_values(claims: dict[str, Any], name: str | None) -> list[str]:
    """The texts of a claim: one, or a list. `name` is the claim's, or a path with dots to one inside another."""
    if name is None:
        return []
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    listed = value if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str)]
