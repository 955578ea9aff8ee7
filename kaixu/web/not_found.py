"""The page for a browser that asks for an address that does not exist; programs get the JSON of the API."""

from __future__ import annotations

from collections.abc import Callable

from kaixu.config.mistakes import nearest
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply

from .api_calls import Api
from .components import Link, Notice, Page, Part, Prose
from .form_data import FormData
from .navigation import ADMIN, DASHBOARD, TABS
from .site import Site
from .visits import Visit

#: Paths of programs, whatever they accept.
PROGRAMS = ("/api/", "/v1/", "/.netlify/", "/gateway/static/")


def not_found_pages(site: Site) -> Callable[[IncomingRequest], Reply | None]:
    """What answers unknown paths: a page where a browser asks for one, else None."""

    def answer(request: IncomingRequest) -> Reply | None:
        if request.method not in ("GET", "HEAD") or request.path.startswith(PROGRAMS):
            return None
        if "text/html" not in (request.headers.get("accept") or ""):
            return None
        visit = Visit(site.services, request, Api(site.api, request), "public", None, FormData())
        return site.page_reply(visit, not_found_page(request.path))

    return answer


def not_found_page(path: str) -> Page:
    """The page."""
    known = [tab.path for tab in TABS.values()]
    guess = nearest(path, known) if path.isprintable() and len(path) <= 200 else None
    parts: list[Part] = [Notice("warn", "There is no page at this address.", f"Did you mean {guess}?" if guess else "")]
    links = [
        Link("Start", "/"),
        Link("User dashboard", DASHBOARD),
        Link("Admin", ADMIN),
        Link("Documentation", "/docs"),
    ]
    if guess:
        links.insert(0, Link(guess, guess))
    parts.append(Prose(paragraphs=["These pages exist:"], links=links))
    return Page(title="Not found", parts=parts, status=404)
