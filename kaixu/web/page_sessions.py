"""Sessions of the pages: cookies, form tokens, and whether a browser will keep a `__Host-` cookie here."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import urlsplit

from kaixu.config.operators_section import LOOPBACK
from kaixu.edge.operator_cookies import SESSION_COOKIE, read_cookie
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services
from kaixu.edge.tokens import read_session_token, signing_key
from kaixu.plugin.errors import Forbidden

from .form_data import FormData

#: The session of a customer: a session token of their key.
CUSTOMER_COOKIE = "__Host-kaixu-key"

#: The field of each form that changes something.
FORM_TOKEN = "form_token"  # noqa: S105 - a name

MASK_BYTES = 20

#: What a login says where `keeps_cookies` is false.
NO_COOKIES = (
    "Browsers keep the cookie of a login only over https, or from this machine (http://localhost). At this address "
    "they drop it, and you could not stay logged in."
)
WHAT_TO_DO = "Put the gateway behind a proxy with https and set GATEWAY_URL, or open an SSH tunnel to its port."


def operator_cookie(request: IncomingRequest) -> str | None:
    """The admin token in the cookie; not yet checked."""
    return read_cookie(request.headers, SESSION_COOKIE)


def customer_token(services: Services, request: IncomingRequest) -> str | None:
    """A valid session token in the customer's cookie. Whether its key is still valid is for the API to say."""
    token = read_cookie(request.headers, CUSTOMER_COOKIE)
    if token is None or read_session_token(services.secrets.jwt_secrets, token) is None:
        return None
    return token


def form_token(services: Services, session: str) -> str:
    """The token of the forms of a session: only a page that this session was shown can have it.

    It is masked anew for each page: pages are compressed, and a text that stays the same beside one that others choose
    can be guessed from the length (the BREACH attack).
    """
    mask = secrets.token_bytes(MASK_BYTES)
    return (mask + masked(form_secret(services.secrets.jwt_secret, session), mask)).hex()


def form_secret(secret: str, session: str) -> bytes:
    """What the form tokens of a session stand for."""
    return hmac.digest(signing_key(secret, "form"), session.encode(), "sha256")[:MASK_BYTES]


def masked(value: bytes, mask: bytes) -> bytes:
    """The bytes combined with those of a mask; once more gives them back."""
    return bytes(one ^ other for one, other in zip(value, mask, strict=True))


def require_form_token(services: Services, session: str, form: FormData) -> None:
    """Raises `Forbidden` for a form without the session's token."""
    try:
        sent = bytes.fromhex(form.raw(FORM_TOKEN))
    except ValueError:
        sent = b""
    mask, value = sent[:MASK_BYTES], sent[MASK_BYTES:]
    is_ours = len(value) == MASK_BYTES and any(
        hmac.compare_digest(masked(value, mask), form_secret(secret, session))
        for secret in services.secrets.jwt_secrets
    )
    if not is_ours:
        raise Forbidden(
            "this form is from another session",
            hint="Open the page again: you have logged in anew since it was shown.",
            code="FORM_TOKEN",
        )


def keeps_cookies(services: Services, request: IncomingRequest) -> bool:
    """Whether a browser keeps our cookies at this address: `__Host-` ones need https, or this machine."""
    host = request.headers.get("host") or ""
    try:
        name = urlsplit(f"http://{host}").hostname
    except ValueError:
        return False
    if name in LOOPBACK:
        return True
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    if forwarded:
        return forwarded == "https"
    return (services.settings.gateway_url or "").startswith("https://")


def safe_path(text: str, default: str, below: str = "/gateway") -> str:
    """A path of ours to go to, which begins with `below`; the default for anything that could lead elsewhere."""
    is_ours = text.startswith(below) and text.isascii() and text.isprintable() and len(text) <= 2000
    return text if is_ours and "\\" not in text and "//" not in text.partition("?")[0] else default
