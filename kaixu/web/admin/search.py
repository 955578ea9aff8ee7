"""The search of the palette: customers, keys, requests and tabs; also as a page, for browsers without scripts."""

from __future__ import annotations

from typing import Any

from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.web.components import Card, Column, Empty, Field, Form, Page, Row, Table
from kaixu.web.frames import SEARCH, navigation_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .collection_paths import COLLECTION
from .key_actions import DETAILS as KEY
from .usage_calls import CALL

MAX_TEXT = 200


def search_pages(site: Site) -> list[Route]:
    """The routes of the search."""
    return [*site.operator_page(SEARCH, search), *site.operator_page(f"{SEARCH}.json", search_json)]


async def search(visit: Visit) -> Page | Reply:
    """The results as a page."""
    text = visit.query.get("q", "").strip()[:MAX_TEXT]
    results = await find(visit, text) if text else []
    form = Form(
        action=SEARCH,
        method="get",
        inline=True,
        submit="Search",
        fields=[Field(name="q", label="Search", type="search", value=text, maxlength=MAX_TEXT)],
    )
    table = Table(
        id="results",
        caption="Results",
        columns=[Column(title="What"), Column(title="Name", wide=True), Column(title="Detail")],
        rows=[
            Row(cells=[one["group"], one["title"], one["detail"]], href=one["href"], drawer=False) for one in results
        ],
        empty=Empty(text="Nothing found: type an e-mail, an id, the last four characters of a key, or a request id."),
    )
    return Page(title="Search", parts=[form, Card("Results", [table])])


async def search_json(visit: Visit) -> Page | Reply:
    """The results for the palette."""
    text = visit.query.get("q", "").strip()[:MAX_TEXT]
    return json_reply({"results": await find(visit, text) if text else []}, headers={"cache-control": "no-store"})


async def find(visit: Visit, text: str) -> list[dict[str, str]]:
    """Tabs whose name contains the text, and what the API finds."""
    tabs = [tab for group in navigation_of(visit) for tab in group.tabs if text.lower() in tab.title.lower()]
    results = [{"group": "Tabs", "title": tab.title, "detail": "", "href": tab.href} for tab in tabs]
    found = await visit.api.get("admin-search", q=text)
    return results + [
        {
            "group": str(one["group"]),
            "title": str(one["title"]),
            "detail": str(one.get("detail") or ""),
            "href": place_of(visit, one),
        }
        for one in found["results"]
    ]


def place_of(visit: Visit, one: dict[str, Any]) -> str:
    """Where a result is shown."""
    if one.get("request_id"):
        return visit.url(CALL, event=one["request_id"])
    if one.get("key_id"):
        return visit.url(KEY, customer_id=one.get("customer_id"), key_id=one["key_id"])
    if one.get("collection"):
        return visit.url(COLLECTION, customer_id=one.get("customer_id"), name=one["collection"])
    return visit.url(TABS["keys"].path, customer_id=one.get("customer_id"))
