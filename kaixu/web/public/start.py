"""The start page: what this gateway is, where things are, and how it is."""

from __future__ import annotations

from kaixu import __version__
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.addresses import gateway_url
from kaixu.web.components import Badge, Card, Cell, Code, Facts, Link, Page, Prose
from kaixu.web.navigation import ADMIN, DASHBOARD, TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit


def start_pages(site: Site) -> list[Route]:
    """The route of the page."""
    return site.public_page("/", start)


async def start(visit: Visit) -> Page | Reply:
    """The page."""
    health = await visit.api.get("gateway-heartbeat-read")
    url = gateway_url(visit)
    state: Cell = Badge("good", "working") if health["ok"] else Badge("bad", "failing now")
    facts: list[tuple[str, Cell]] = [
        ("Status", state),
        ("Version", __version__),
        ("Native API", Code(f"{url}/api/gateway-chat", copy=True)),
        ("For OpenAI's clients", Code(f"{url}/v1", copy=True)),
        ("For Anthropic's clients", Code(url, copy=True)),
        ("Health", Link("/api/health", "/api/health")),
    ]
    doors = (
        ("I need a key", "Ask for one with your e-mail address.", "Get a key", "/request-key", "key-round"),
        ("I have a key", "See your budget, each call with its price, your invoices.", "User dashboard", DASHBOARD,
         "chart-line"),
        ("I write a program", "How to call it: plain HTTP, OpenAI's or Anthropic's SDK.", "Documentation",
         TABS["docs"].path, "book-open"),
        ("I run this gateway", "Customers, keys, caps, prices, invoices, and what happens now.", "Admin", ADMIN,
         "shield"),
    )  # fmt: skip
    cards = [
        Card(title, [Prose(paragraphs=[text], links=[Link(word, href, icon=icon)])], width=6)
        for title, text, word, href, icon in doors
    ]
    about = Prose(
        paragraphs=[
            "This is a metered AI gateway. Programs call many vendors' models through one address with one virtual key "
            "(kx_live_…); the vendors' own credentials stay here. Each call is admitted against caps and limits before "
            "it costs anything, and billed to a billionth of a dollar."
        ],
        links=[
            Link("Models and prices", TABS["models"].path),
            Link("SkyeFuelStation", "/skyefuelstation/"),
            Link("Status", TABS["public-status"].path),
        ],
    )
    return Page(
        title="One address for many models",
        subtitle="Every call counted, limited and explained.",
        parts=[Card("What this is", [about], width=6), Card("This gateway", [Facts(facts)], width=6), *cards],
    )
