"""Pages without scripts, for addresses that hold a token: nothing runs there, nothing is kept, framed or told on."""

from __future__ import annotations

from kaixu.edge.operator_cookies import read_cookie
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.edge.routes import Handler
from kaixu.plugin.errors import KaixuError

from .components import Link, Notice, Page, Part
from .formats import plain_text, sentence
from .frame import Frame
from .frames import THEME_COOKIE, THEMES
from .rendering import environment

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",  # the address of a page may hold a token
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}


def plain_page(request: IncomingRequest, page: Page) -> Reply:
    """A page without scripts and navigation."""
    theme = THEMES.get(read_cookie(request.headers, THEME_COOKIE) or "", "system")
    html = environment().get_template("plain.html").render(page=page, frame=Frame(title=page.title, theme=theme))
    return Reply(page.status, dict(HEADERS), html.encode("utf-8", "replace"))


def error_page(request: IncomingRequest, error: KaixuError, *, title: str, links: list[Link]) -> Reply:
    """An error as a page: with its status, its hint, its code, and when to try again."""
    code = f"(Error {error.code}, request {request.request_id})"
    hint = f"{plain_text(error.hint)} {code}".strip()
    notice = Notice(state="bad", text=sentence(error.message), hint=hint)
    parts: list[Part] = [notice, *links]
    reply = plain_page(request, Page(title=title, parts=parts, status=error.status))
    if error.retry_after_s is not None:
        reply.headers["retry-after"] = str(error.retry_after_s)
    return reply


def shown_as_page(handler: Handler, *, title: str = "This did not work", links: list[Link] | None = None) -> Handler:
    """The handler, with its errors as pages: a person reads them in a browser."""

    async def handle(request: IncomingRequest) -> Reply:
        try:
            return await handler(request)
        except KaixuError as error:
            request.facts.failed(error)
            return error_page(request, error, title=title, links=links or [Link("Start", "/")])

    return handle
