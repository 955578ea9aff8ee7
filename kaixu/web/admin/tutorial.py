"""The tutorial: the guide to these pages chapter by chapter, searchable, with this gateway's own values."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.components import Card, Cell, Code, Column, Empty, Facts, Field, Form, Link, Markup, Page, Part, Table
from kaixu.web.markdown import render_markdown, slug
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .tutorial_values import quick_reference

TAB = TABS["tutorial"]
TEXT = Path(__file__).parent.parent / "texts" / "tutorial.md"
CHAPTER = re.compile(r"^## (.+)$", re.MULTILINE)
REFERENCE = "quick-reference"
MOST_SEARCHED = 100


class Chapter(msgspec.Struct, frozen=True):
    """A chapter: its title, and its text in Markdown."""

    title: str
    text: str

    @property
    def id(self) -> str:
        """Where a link leads to."""
        return slug(self.title)

    def has(self, words: list[str]) -> bool:
        """Whether all of these words occur in it."""
        whole = f"{self.title}\n{self.text}".lower()
        return all(word in whole for word in words)


def tutorial_pages(site: Site) -> list[Route]:
    """The route of the tab."""
    return site.operator_page(TAB.path, tutorial, tab=TAB)


@cache
def chapters() -> tuple[Chapter, ...]:
    """All chapters, in their order."""
    _, *pieces = CHAPTER.split(TEXT.read_text(encoding="utf-8"))
    return tuple(Chapter(title, text) for title, text in zip(pieces[::2], pieces[1::2], strict=True))


def link_for(visit: Visit) -> Callable[[str], str | None]:
    """Links of the text: `tab:keys` is a tab, `page:/docs` another page; both carry the selected customer."""

    def link_of(href: str) -> str | None:
        kind, _, target = href.partition(":")
        if kind == "tab":
            tab = TABS[target]
            return visit.url(tab.path, customer_id=visit.customer_id if tab.keeps_customer else None)
        is_operators = target.startswith("/gateway")
        return visit.url(target, customer_id=visit.customer_id if is_operators else None)

    return link_of


async def tutorial(visit: Visit) -> Page | Reply:
    """The page; `q` leaves the chapters in which all of its words occur."""
    query = visit.query.get("q", "")[:MOST_SEARCHED]
    words = query.lower().split()
    found = [chapter for chapter in chapters() if chapter.has(words)]
    facts = [item for item in quick_reference(visit) if all(word in searchable_text(item) for word in words)]
    form = Form(
        action=TAB.path,
        method="get",
        inline=True,
        submit="Search",
        hidden={} if visit.customer_id is None else {"customer_id": str(visit.customer_id)},
        fields=[Field(name="q", label="Search the tutorial", type="search", value=query, maxlength=MOST_SEARCHED,
                      placeholder="rotate, invoice, device …")],
    )  # fmt: skip
    entries: list[dict[str, Any]] = [
        {"href": f"#{chapter.id}", "text": chapter.title, "is_current": False, "inner": ()} for chapter in found
    ]
    if facts:
        entries.append({"href": f"#{REFERENCE}", "text": "Quick reference", "is_current": False, "inner": ()})
    parts: list[Part] = [form]
    if entries:
        values = {"html": "", "contents": entries, "contents_title": "Chapters"}
        parts.append(Card("Chapters", [Markup("document.html", values)], id="contents"))
    parts += [chapter_card(visit, chapter, is_open=True) for chapter in found]
    if facts:
        parts.append(Card("Quick reference", [Facts(facts)], subtitle="the values of this gateway", id=REFERENCE))
    if not entries:
        empty = Empty(text=f"No chapter has “{query}”.", link=Link("Show all chapters", TAB.path))
        parts.append(Table(id="none", columns=[Column(title="Chapter")], rows=[], empty=empty))
    return Page(title="Tutorial", subtitle="How to run this gateway, tab by tab.", parts=parts)


def chapter_card(visit: Visit, chapter: Chapter, *, is_open: bool) -> Card:
    """A chapter as a panel that can be folded."""
    html = render_markdown(chapter.text, link_for(visit)).html
    document = Markup("document.html", {"html": html, "contents": [], "contents_title": ""})
    return Card(chapter.title, [document], id=chapter.id, open=is_open)


def searchable_text(item: tuple[str, Cell]) -> str:
    """An entry of the quick reference, to search in."""
    name, value = item
    text = value.text if isinstance(value, Code | Link) else str(value)
    return f"{name} {text}".lower()
