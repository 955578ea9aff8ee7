"""The page that an operation of an integration answers with, in the frame of public pages."""

from __future__ import annotations

from collections.abc import Callable

from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.plugin import replies
from kaixu.web.api_calls import Api
from kaixu.web.components import Card, Link, Page, Prose
from kaixu.web.form_data import FormData
from kaixu.web.site import Site
from kaixu.web.visits import Visit


def operation_pages(site: Site) -> Callable[[IncomingRequest, replies.Page, int], Reply]:
    """Renders such pages."""

    def render(request: IncomingRequest, page: replies.Page, status: int) -> Reply:
        paragraphs = [part for part in page.text.split("\n\n") if part.strip()]
        links = [] if page.link is None else [Link(page.link.text, page.link.url)]
        # Whoever opened it may have a session of the pages: it is not looked at here.
        visit = Visit(site.services, request, Api(site.api, request), "public", None, FormData())
        card = Card("", [Prose(paragraphs=paragraphs, links=links)])
        return site.page_reply(visit, Page(title=page.title, parts=[card], status=status))

    return render
