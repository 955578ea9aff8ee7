"""The page that asks before something is finished that was begun in another browser."""

from __future__ import annotations

from collections.abc import Callable

from kaixu.edge.question import Question
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.web.api_calls import Api
from kaixu.web.components import Card, Form, Link, Page, Prose
from kaixu.web.form_data import FormData
from kaixu.web.site import Site
from kaixu.web.visits import Visit


def question_pages(site: Site) -> Callable[[IncomingRequest, Question], Reply]:
    """Renders such pages."""

    def render(request: IncomingRequest, question: Question) -> Reply:
        visit = Visit(site.services, request, Api(site.api, request), "public", None, FormData())
        text = Prose(paragraphs=[part for part in question.text.split("\n\n") if part.strip()])
        form = Form(
            action=question.action,
            fields=[],
            submit="Continue",
            hidden=question.hidden,
            id="continue",
            cancel=Link("Cancel", "/"),
        )
        return site.page_reply(visit, Page(title=question.title, parts=[Card("", [text, form])]))

    return render
