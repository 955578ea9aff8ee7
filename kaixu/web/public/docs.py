"""The documentation for clients (docs/clients), on pages."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import escape

from kaixu.assets import asset
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound
from kaixu.web.addresses import gateway_url
from kaixu.web.components import Card, Link, Markup, Page, Part, Prose
from kaixu.web.markdown import LinkOf, RenderedText, render_markdown
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

TAB = TABS["docs"]
FOLDER = "docs/clients"
#: The address in the texts' examples.
EXAMPLE_URL = "http://127.0.0.1:8787"
#: The order of the list; others follow by name.
ORDER = ("api", "sdks", "embeddings", "jobs", "fields", "errors", "matrix")


def docs_pages(site: Site) -> list[Route]:
    """The routes of the list and of each text."""
    return [
        *site.public_page(TAB.path, index, tab=TAB),
        *site.public_page(f"{TAB.path}/<name>", document, tab=TAB),
    ]


@cache
def texts() -> dict[str, RenderedText]:
    """All texts by name, in the order of the list. They are rendered once."""
    paths = {path.stem: path for path in sorted(asset(FOLDER).glob("*.md"))}
    names = [*(name for name in ORDER if name in paths), *(name for name in paths if name not in ORDER)]
    return {name: render_markdown(paths[name].read_text(encoding="utf-8"), link_in(paths)) for name in names}


def link_in(paths: dict[str, Path]) -> LinkOf:
    """Links between the texts lead to their pages; those to texts that are not here lose their link."""

    def link_of(href: str) -> str | None:
        if href.startswith(("#", "https://", "http://")):
            return href
        path, mark, anchor = href.partition("#")
        name = path.removesuffix(".md")
        return f"{TAB.path}/{name}{mark}{anchor}" if name in paths and path.endswith(".md") else None

    return link_of


def contents(current: str = "") -> list[dict[str, Any]]:
    """The list of all texts, with the headings of the one that is shown."""
    return [
        {
            "href": f"{TAB.path}/{name}",
            "text": text.title,
            "is_current": name == current,
            "inner": text.headings if name == current else (),
        }
        for name, text in texts().items()
    ]


async def index(visit: Visit) -> Page | Reply:
    """The list of the texts, each with its headings."""
    cards: list[Part] = [
        Card(
            text.title,
            [Prose(paragraphs=[" · ".join(one.text for one in text.headings[:8]) or "One page."],
                   links=[Link(f"Read {text.title}", f"{TAB.path}/{name}", icon="book-open")])],
            width=6,
        )
        for name, text in texts().items()
    ]  # fmt: skip
    return Page(title="Documentation", subtitle="For whoever writes a program that calls this gateway.", parts=cards)


async def document(visit: Visit) -> Page | Reply:
    """One text."""
    name = visit.request.parameters["name"]
    text = texts().get(name)
    if text is None:
        raise NotFound("there is no such page in the documentation", hint="The list of all is at /docs.")
    # Commands name the gateway that the page is read at.
    html = text.html.replace(EXAMPLE_URL, escape(gateway_url(visit)))
    values = {"html": html, "contents": contents(name), "contents_title": "Documentation"}
    return Page(title=text.title, parts=[Markup("document.html", values)])
