"""Cookies of operators' browsers, and the check that a change with a cookie comes from the gateway's own pages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from kaixu.plugin.errors import Forbidden

from .request import Headers, IncomingRequest

#: `__Host-`: only over https, only this host, for all paths (RFC 6265bis §4.1.3.2). Browsers accept them from
#: http://localhost, too.
SESSION_COOKIE = "__Host-kaixu-session"
LOGIN_COOKIE = "__Host-kaixu-oidc"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
VALUE = re.compile(r"[A-Za-z0-9._~-]{1,4000}")


def set_cookie(name: str, value: str, *, max_age_s: int) -> str:
    """A `set-cookie` header. No script can read the cookie, and other sites cannot send it with a change."""
    return f"{name}={value}; Path=/; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Lax"


def read_cookie(headers: Headers, name: str) -> str | None:
    """A cookie's value; None where there is none, more than one, or it has characters that ours never have."""
    found = [
        value.strip()
        for key, _, value in (part.partition("=") for part in (headers.get("cookie") or "").split(";"))
        if key.strip() == name
    ]
    return found[0] if len(found) == 1 and VALUE.fullmatch(found[0]) else None


def require_same_origin(request: IncomingRequest) -> None:
    """Raises `Forbidden` for a change that another site's page may have caused. Only cookies need this check.

    Browsers say where a request comes from in `Sec-Fetch-Site`, older ones in `Origin`; without both it is refused.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
    else:
        origin, host = request.headers.get("origin"), request.headers.get("host")
        if origin is not None and host is not None and urlsplit_host(origin) == host.lower():
            return
    raise Forbidden(
        "a change with a cookie must come from the gateway's own pages",
        hint="Send the token as Bearer instead.",
        code="CROSS_SITE",
    )


def is_own_page(request: IncomingRequest) -> bool:
    """Whether a browser says that a page of this gateway has sent the request."""
    try:
        require_same_origin(request)
    except Forbidden:
        return False
    return request.method not in SAFE_METHODS


def urlsplit_host(origin: str) -> str | None:
    """Host and port of an origin, in lower case."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
