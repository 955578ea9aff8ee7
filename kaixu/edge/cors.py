"""Headers of every reply: request id, CORS, security, the end of a connection."""

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
    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, x-kaixu-dropped-fields, x-should-retry"
)
METHODS = "GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"

#: `access-control-request-headers` of a preflight: header names. Echoed only if well-formed and short.
HEADER_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}){0,99}")
MAX_ECHOED = 4000

#: The headers of the reply to a preflight, which needs no route, no credential and no body.
PREFLIGHT = {"access-control-max-age": "86400"}


class WritableHeaders(Protocol):
    """The headers of a reply."""

    def get(self, name: str, /) -> str | None: ...

    def __setitem__(self, name: str, value: str, /) -> None: ...


class ReplyHeaders:
    """Adds the headers of every reply. `origins`: the origins that may call from a browser."""

    def __init__(self, origins: frozenset[str]) -> None:
        self.allow_origins(origins)
        self.ends_connections = False  # replies say so; the gateway is about to stop

    def allow_origins(self, origins: frozenset[str]) -> None:
        """Set the origins that may call from a browser; `*` allows all."""
        self.origins = origins
        self.everyone = "*" in origins

    def add_to(self, headers: WritableHeaders, method: str, request: Headers, request_id: str) -> None:
        """Add the headers to a reply."""
        # Our own name, and those that OpenAI's and Anthropic's SDKs read.
        headers["x-kaixu-request-id"] = headers["x-request-id"] = headers["request-id"] = request_id
        headers["x-content-type-options"] = "nosniff"
        if self.ends_connections:
            headers["connection"] = "close"
        origin = request.get("origin")
        if origin is not None:
            varies = "Origin, Access-Control-Request-Headers" if method == "OPTIONS" else "Origin"
            # A reply that depends on more, such as its encoding, goes on saying so.
            headers["vary"] = ", ".join(filter(None, (headers.get("vary"), varies)))
            if self.everyone or origin in self.origins:
                headers["access-control-allow-origin"] = origin
        elif self.everyone:
            headers["access-control-allow-origin"] = "*"
        if origin is not None or method == "OPTIONS":
            headers["access-control-allow-methods"] = METHODS
            headers["access-control-allow-headers"] = self.allowed_headers(origin, request)
            headers["access-control-expose-headers"] = EXPOSE_HEADERS

    def allowed_headers(self, origin: str | None, request: Headers) -> str:
        """The headers that a page may send: ours, and, for allowed origins, those that it requests.

        SDKs send headers of their own (`x-stainless-…`), which change with every version and grant no access.
        """
        listed = request.get("access-control-request-headers")
        if listed is None or origin is None or not (self.everyone or origin in self.origins):
            return ALLOW_HEADERS
        if len(listed) > MAX_ECHOED or not HEADER_NAMES.fullmatch(listed.strip()):
            return ALLOW_HEADERS
        known = set(ALLOW_HEADERS.split(", "))
        more = dict.fromkeys(name.strip().lower() for name in listed.split(","))
        return ", ".join([ALLOW_HEADERS, *(name for name in more if name not in known)])


def parse_origins(text: str, more: list[str]) -> frozenset[str]:
    """Parse a comma-separated list of origins and add those in `more`; trailing slashes are removed."""
    return frozenset(part.strip().rstrip("/") for part in (*text.split(","), *more) if part.strip())
