"""Around every request: its id, CORS, security headers."""

from __future__ import annotations

import re
from uuid import uuid4

from quart import Request, Response, g

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

ALLOW_HEADERS = (
    "authorization, content-type, x-api-key, x-kaixu-install-id, x-install-id, x-kaixu-request-id, x-request-id, "
    "x-kaixu-app, x-kaixu-build, x-admin-password, x-kaixu-error-token, x-kaixu-mode, x-content-sha1, x-setup-secret, "
    "x-kaixu-job-secret, x-job-worker-secret"
)
EXPOSE_HEADERS = (
    "x-kaixu-request-id, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    "x-ratelimit-reset-requests"
)


class Edge:
    """What happens to every request before, and to every reply after it. `origins`: who may call from a browser."""

    def __init__(self, origins: frozenset[str]) -> None:
        self.origins = origins
        self.everyone = "*" in origins

    def begin(self, request: Request) -> Response | None:
        """Give the request its id; answer a preflight at once: it needs no route, no credential and no body."""
        g.request_id = request_id(request)
        if request.method == "OPTIONS":
            return Response(b"", status=204, headers={"access-control-max-age": "86400"})
        return None

    def end(self, request: Request, response: Response) -> None:
        """Give the reply its headers."""
        headers = response.headers
        headers["x-kaixu-request-id"] = g.request_id
        headers["x-content-type-options"] = "nosniff"
        origin = request.headers.get("origin")
        if origin is not None:
            headers["vary"] = "Origin"
            if self.everyone or origin in self.origins:
                headers["access-control-allow-origin"] = origin
        elif self.everyone:
            headers["access-control-allow-origin"] = "*"
        if origin is not None or request.method == "OPTIONS":
            headers["access-control-allow-methods"] = "GET,POST,PUT,PATCH,DELETE,OPTIONS"
            headers["access-control-allow-headers"] = ALLOW_HEADERS
            headers["access-control-expose-headers"] = EXPOSE_HEADERS


def request_id(request: Request) -> str:
    """The id the client gave, if it can safely be written anywhere; else a new one."""
    headers = request.headers
    given = headers.get("x-kaixu-request-id") or headers.get("x-request-id")
    return given if given is not None and REQUEST_ID.fullmatch(given) else str(uuid4())


def origins_of(text: str, more: list[str]) -> frozenset[str]:
    """The origins out of a comma-separated list, and further ones; a trailing slash is not part of an origin."""
    return frozenset(part.strip().rstrip("/") for part in (*text.split(","), *more) if part.strip())
