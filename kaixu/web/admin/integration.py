"""The operators' tab of integration: what to send to a customer, with the models that it may use."""

from __future__ import annotations

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Link, Notice, Page, Part, Prose
from kaixu.web.integration.page import integration_page
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

TAB = TABS["integration"]


def integration_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, integration, tab=TAB)


async def integration(visit: Visit) -> Page | Reply:
    """The page, for the selected customer or for everybody."""
    before: list[Part] = []
    if visit.customer is None:
        models = (await visit.api.get("admin-models"))["models"]
        links = [Link("Choose a customer", TABS["customers"].path)]
        text = (
            "These are all models of the gateway. With a customer selected, the page shows those that it may use, at "
            "its prices."
        )
        before.append(Prose(tip=True, paragraphs=[text], links=links))
        return integration_page(visit, models, subtitle="How clients call this gateway.", before=before)
    try:
        models = (await visit.api.get("admin-models", customer_id=visit.customer_id))["models"]
    except ApiFailure as failure:
        if failure.code != "NO_LIVE_KEY":
            raise
        models = (await visit.api.get("admin-models"))["models"]
        way = Link("Create a key", visit.url(TABS["keys"].path, customer_id=visit.customer_id))
        text = f"{visit.customer['email']} has no key yet: these are all models of the gateway."
        before.append(Notice(state="warn", text=text, actions=[way]))
    subtitle = f"What to send to {visit.customer['email']}: everything but the key."
    return integration_page(visit, models, subtitle=subtitle, before=before)
