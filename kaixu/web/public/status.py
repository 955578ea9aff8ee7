"""The status of the gateway: a page for everybody, and a tab of the dashboard."""

from __future__ import annotations

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.components import Page
from kaixu.web.gateway_status import status_parts
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit


def status_pages(site: Site) -> list[Route]:
    """The routes of both."""
    own, public = TABS["status"], TABS["public-status"]
    return [
        *site.customer_page(own.path, status, tab=own),
        *site.public_page(public.path, status, tab=public),
    ]


async def status(visit: Visit) -> Page | Reply:
    """The page."""
    return Page(
        title="Status", subtitle="How the gateway is, as it sees itself each minute.", parts=await status_parts(visit)
    )
