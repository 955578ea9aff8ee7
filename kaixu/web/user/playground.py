"""The customers' playground: chats with the models of their own key."""

from __future__ import annotations

from collections.abc import Sequence

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import Api
from kaixu.web.components import Card, Empty, Form, Page, Part, Prose, Table
from kaixu.web.navigation import TABS
from kaixu.web.playground.form import models_table, playground_form
from kaixu.web.playground.run import SCRIPT, output_part, run_playground
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .charge import CALL

TAB = TABS["own-playground"]
PAYS = "Your account pays for this call, within the caps and limits of the key that you signed in with."


def own_playground_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.customer_page(TAB.path, playground, tab=TAB, posts=True)


async def playground(visit: Visit) -> Page | Reply:
    """The form, and what it sends."""
    models = (await visit.api.get("/v1/models"))["data"]
    if not any(one["kaixu"]["type"] == "chat" for one in models):
        nothing = Table(
            id="models", columns=[], rows=[], empty=Empty(text="This key may use no chat model. Ask your operator.")
        )
        return Page(title=TAB.title, parts=[Card("Models", [nothing])])
    form = playground_form(TAB.path, models, {}, pays=PAYS)

    def page(shown: Form, results: Sequence[Part], status: int) -> Page:
        return Page(
            title=TAB.title,
            subtitle="Try a model with your key, and see what the call costs.",
            parts=[
                Card("Call", [shown]),
                output_part(CALL),
                *results,
                Card("Models and prices", [models_table(models)], open=False),
                Prose(tip=True, paragraphs=["The calls that you make here are tagged playground in your usage."]),
            ],
            scripts=[SCRIPT],
            status=status,
        )

    async def as_key() -> Api:
        return visit.api

    if visit.is_post:
        return await run_playground(visit, form, as_key=as_key, page=page, call_path=CALL)
    return page(form, [], 200)
