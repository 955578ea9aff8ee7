"""Models and prices: for everybody where the operator publishes them, and for customers with their own prices."""

from __future__ import annotations

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Empty, Link, Page, Prose
from kaixu.web.model_prices import models_table
from kaixu.web.navigation import SIGN_IN, TABS
from kaixu.web.page_sessions import customer_token
from kaixu.web.site import Site
from kaixu.web.twins import curl_of
from kaixu.web.visits import Visit

TAB, OWN = TABS["models"], TABS["own-models"]


def model_pages(site: Site) -> list[Route]:
    """The routes of both."""
    return [
        *site.public_page(TAB.path, models, tab=TAB),
        *site.customer_page(OWN.path, own_models, tab=OWN),
    ]


async def models(visit: Visit) -> Page | Reply:
    """The page for everybody; who is signed in sees the prices of the key instead."""
    if customer_token(visit.services, visit.request) is not None:
        return visit.redirect(OWN.path)
    try:
        found = (await visit.api.get("public-models"))["models"]
    except ApiFailure as failure:
        if failure.code != "NOT_PUBLIC":
            raise
        told = Prose(
            paragraphs=["This gateway shows its models and prices to its customers: sign in with a key to see them."],
            links=[
                Link("Sign in", f"{SIGN_IN}?next={OWN.path}", icon="key-round"),
                Link("Get a key", "/request-key", icon="plus"),
            ],
        )
        return Page(title="Models and prices", parts=[Card("For customers", [told])])
    about = Prose(
        tip=True,
        paragraphs=["These are the list prices. A plan may have its own: customers see theirs after signing in."],
        links=[Link("Sign in", f"{SIGN_IN}?next={OWN.path}"), Link("How to call them", "/docs/api")],
    )
    table = models_table(found, Empty(text="No model is switched on now."))
    return Page(title="Models and prices", subtitle="What can be called here, and what it costs.", parts=[table, about])


async def own_models(visit: Visit) -> Page | Reply:
    """The models of the key, with the prices of the customer's plan."""
    found = (await visit.api.get("/v1/models"))["data"]
    table = models_table(found, Empty(text="This key may use no model that is switched on now. Ask your operator."))
    about = Prose(
        tip=True,
        paragraphs=[
            "These are the models that your key may use, at the prices of your plan. Send the name as it stands here; "
            "provider/model works, too."
        ],
        links=[Link("Try one", TABS["own-playground"].path), Link("Code to copy", TABS["own-integration"].path)],
    )
    curl = curl_of(visit, "v1/models", {}).replace("/api/v1/", "/v1/")
    return Page(title="Models and prices", subtitle="Of your key.", parts=[table, about], curl=curl)
