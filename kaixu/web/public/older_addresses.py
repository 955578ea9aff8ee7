"""Addresses of the older edition's pages, and of their usual spellings: each leads to the page of today."""

from __future__ import annotations

from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Handler, Route
from kaixu.web.navigation import ADMIN, DASHBOARD
from kaixu.web.redirects import short_location
from kaixu.web.site import Site

#: The older login page took a key, so it leads to the dashboard.
OLDER = {
    "/index.html": "/",
    "/gateway/index.html": ADMIN,
    "/gateway/dashboard": DASHBOARD,
    "/gateway/dashboard/index.html": DASHBOARD,
    "/gateway/login.html": DASHBOARD,
    "/account": DASHBOARD,
    "/account/index.html": DASHBOARD,
    "/login": DASHBOARD,
    "/login.html": DASHBOARD,
    "/signin": DASHBOARD,
    "/request-key.html": "/request-key",
    "/request-key/index.html": "/request-key",
    "/gateway/request-key": "/request-key",
    "/gateway/request-key.html": "/request-key",
    "/skyefuelstation/index.html": "/skyefuelstation/",
    "/docs/index.html": "/docs",
}


def older_address_pages(site: Site) -> list[Route]:
    """The routes; each keeps the query."""
    return [
        Route("GET", (path,), moved_to(target), auth="public", rate="open", max_body_bytes=SMALL_BODY_BYTES)
        for path, target in OLDER.items()
    ]


def moved_to(target: str) -> Handler:
    """A handler that sends to a page for good."""

    async def moved(request: IncomingRequest) -> Reply:
        location = f"{target}?{request.query}" if request.query else target
        return Reply(301, {"location": short_location(location), "cache-control": "public, max-age=3600"}, b"")

    return moved
