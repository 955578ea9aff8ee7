"""The customers' tab of integration: programs with the models of their own key."""

from __future__ import annotations

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.components import Page
from kaixu.web.integration.page import integration_page
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

TAB = TABS["own-integration"]


def own_integration_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.customer_page(TAB.path, integration, tab=TAB)


async def integration(visit: Visit) -> Page | Reply:
    """The page."""
    models = (await visit.api.get("/v1/models"))["data"]
    return integration_page(visit, models, subtitle="Your key, your models, and programs that run as they are.")
