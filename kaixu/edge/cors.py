"""Around every request: its id, CORS, security headers."""

from __future__ import annotations

import re
from typing import Protocol

from .request import Headers

ALLOW_HEADERS = (
    "authorization, content-type, x-api-key, x-kaixu-install-id, x-install-id, x-kaixu-request-id, x-request-id, "
    "x-kaixu-app, x-kaixu-build, x-admin-password, x-kaixu-error-token, x-kaixu-mode, x-content-sha1, x-setup-secret, "
    "x-kaixu-job-secret, x-job-worker-secret, idempotency-key, anthropic-version, anthropic-beta, "
    "anthropic-dangerous-direct-browser-access, openai-organization, openai-project, openai-beta, cache-control"
)
EXPOSE_HEADERS = (
    "x-kaixu-request-id, x-request-id, request-id, retry-after, x-ratelimit-limit-requests, "
    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-kaixu-dropped-fields, x-should-retry"
)
METHODS = "GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"

#: What a browser asks a preflight for: header names, in a list that is echoed only where it is one and not too long.
HEADER_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}){0,99}")
MOST_ECHOED = 4000

#: What a preflight gets: it needs no route, no credential and no body.
PREFLIGHT = {"access-control-max-age": "86400"}


class Writable(Protocol):
    """A reply's headers, whichever kind of reply."""

    def __setitem__(self, name: str, value: str, /) -> None: ...


class Edge:
    """What every reply gets, whatever made it. `origins`: who may call from a browser."""

    def __init__(self, origins: frozenset[str]) -> None:
        self.allow(origins)

    def allow(self, origins: frozenset[str]) -> None:
        """From now on these may call from a browser."""
        self.origins = origins
        self.everyone = "*" in origins

    def finish(self, method: str, asked: Headers, request_id: str, headers: Writable) -> None:
        """Give the reply to a request its headers."""
        # Ours, and the names that OpenAI's and Anthropic's SDKs read it from.
        headers["x-kaixu-request-id"] = headers["x-request-id"] = headers["request-id"] = request_id
        headers["x-content-type-options"] = "nosniff"
        origin = asked.get("origin")
        if origin is not None:
            headers["vary"] = "Origin, Access-Control-Request-Headers" if method == "OPTIONS" else "Origin"
            if self.everyone or origin in self.origins:
                headers["access-control-allow-origin"] = origin
        elif self.everyone:
            headers["access-control-allow-origin"] = "*"
        if origin is not None or method == "OPTIONS":
            headers["access-control-allow-methods"] = METHODS
            headers["access-control-allow-headers"] = self.allowed_headers(origin, asked)
            headers["access-control-expose-headers"] = EXPOSE_HEADERS

    def allowed_headers(self, origin: str | None, asked: Headers) -> str:
        """The headers that a page may send: ours, and whichever others a page of an allowed origin asks for.

        SDKs send headers of their own (`x-stainless-…`) that change with every version; none of them lets anybody in.
        """
        wanted = asked.get("access-control-request-headers")
        if wanted is None or origin is None or not (self.everyone or origin in self.origins):
            return ALLOW_HEADERS
        if len(wanted) > MOST_ECHOED or not HEADER_NAMES.fullmatch(wanted.strip()):
            return ALLOW_HEADERS
        known = set(ALLOW_HEADERS.split(", "))
        more = dict.fromkeys(name.strip().lower() for name in wanted.split(","))
        return ", ".join([ALLOW_HEADERS, *(name for name in more if name not in known)])


def origins_of(text: str, more: list[str]) -> frozenset[str]:
    """The origins out of a comma-separated list, and further ones; a trailing slash is not part of an origin."""
    return frozenset(part.strip().rstrip("/") for part in (*text.split(","), *more) if part.strip())
