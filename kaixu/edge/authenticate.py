"""Turn a credential into a caller. Only its format is checked here; admission checks that the key exists."""

from __future__ import annotations

from kaixu.accounts.key_material import is_key_shaped, is_own_key_shaped, key_hash, legacy_hash, other_hashes
from kaixu.config.environment import Secrets
from kaixu.config.tags import printable
from kaixu.metering.cache import CacheControl
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import Invalid, Unauthenticated

from .paths import SESSION_TOKEN
from .request import Headers, IncomingRequest
from .tokens import UserSession, read_session_token


def bearer(headers: Headers) -> str:
    """The bearer token, or `x-api-key`, which Anthropic's clients send. Raises `Unauthenticated`.

    If a client sends both, one is often a placeholder. A token in the format of our keys wins, then one in a session
    token's format, then one in the format of other gateways' keys, then the bearer token.
    """
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    other = headers.get("x-api-key")
    if token and not other:
        return token
    sent = [token, (other or "").strip()]
    tokens = [one for one in sent if one]
    if not tokens:
        raise Unauthenticated("Missing Authorization: Bearer <virtual_key>")
    return min(tokens, key=likelihood)


def likelihood(token: str) -> int:
    """How likely a token is the credential rather than a placeholder: lower is likelier."""
    if is_own_key_shaped(token):
        return 0
    return 1 if token.count(".") == 2 else 2 if is_key_shaped(token) else 3


def require_key(headers: Headers) -> None:
    """Raises `Unauthenticated` without a key, and `Invalid` for a session token: it cannot create another one."""
    token = bearer(headers)
    if token.count(".") == 2:
        raise Invalid(
            "a session token is made from a key, not from another token",
            hint="Send the key itself, kx_live_…, as Bearer.",
        )
    if not is_key_shaped(token):
        raise invalid_credential(token)


def require_credential(headers: Headers, secrets: Secrets) -> None:
    """Raises `Unauthenticated` without a valid session token or a text in a key's format."""
    token = bearer(headers)
    if not is_key_shaped(token) and parse_session(token, secrets) is None:
        raise invalid_credential(token)


def read_caller(request: IncomingRequest, secrets: Secrets) -> Caller:
    """The caller: a virtual key's hashes, or the key of a session. Raises `Unauthenticated`."""
    headers, request_id = request.headers, request.request_id
    token = bearer(headers)
    install_id = shortened(headers.get("x-kaixu-install-id") or headers.get("x-install-id"), 80)
    agent = shortened(headers.get("user-agent"), 240)
    cache = cache_control(headers)
    program = request.app_id, request.build_id
    if is_key_shaped(token):
        others = other_hashes(secrets.key_peppers, token) if secrets.key_pepper_old else legacy_hash(token)
        hashes = key_hash(secrets.key_pepper, token), others
        return Caller(*hashes, None, install_id, agent, request_id, cache, *program, facts=request.facts)
    session = parse_session(token, secrets)
    if session is None:
        raise invalid_credential(token)
    return Caller(None, None, session.key_id, install_id, agent, request_id, cache, *program, facts=request.facts)


def shortened(text: str | None, most: int) -> str | None:
    """The printable part of a header, at most `most` characters; None if there is none."""
    return printable(text, most) or None if text else None


def cache_control(headers: Headers) -> CacheControl:
    """How the client allows cached answers to be used (RFC 9111 §5.2.1); other directives are ignored."""
    sent = headers.get("cache-control")
    if not sent:
        return ""
    directives = {one.strip().lower() for one in sent.split(",")}
    return "no-store" if "no-store" in directives else "no-cache" if "no-cache" in directives else ""


def parse_session(token: str, secrets: Secrets) -> UserSession | None:
    """The session of a session token; None for other tokens and expired ones."""
    return read_session_token(secrets.jwt_secrets, token) if token.count(".") == 2 else None


def invalid_credential(token: str) -> Unauthenticated:
    """The error for a token that is neither a key nor a session token."""
    if token.count(".") == 2:
        return Unauthenticated(
            "Invalid or expired session token", hint=f"Make a new one with POST {SESSION_TOKEN}, or send a key."
        )
    return Unauthenticated("Invalid or revoked key", hint="A key begins with kx_live_; ask your operator for one.")
