"""Texts in Markdown as HTML under the pages' policy: no HTML of their own, no inline styles, tables that scroll."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup as Html

if TYPE_CHECKING:
    from markdown_it.token import Token

#: Where a link of a text leads on the pages; None: nowhere, only its words stay.
LinkOf = Callable[[str], str | None]

ALIGNED = re.compile(r"text-align:\s*(\w+)")
NOT_IN_SLUG = re.compile(r"[^\w\- ]")


class Heading(msgspec.Struct, frozen=True):
    """A heading of the second level: its id and its text."""

    id: str
    text: str


class RenderedText(msgspec.Struct, frozen=True):
    """A text as HTML. `title`: its first heading, which the HTML does not repeat."""

    title: str
    headings: tuple[Heading, ...]
    html: Html


def render_markdown(text: str, link_of: LinkOf) -> RenderedText:
    """Render a text; HTML in it is shown as it stands."""
    from markdown_it import MarkdownIt  # some 70 modules, for the documentation alone

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = list(without_title(parser.parse(text)))
    title = heading_text(parser.parse(text), "h1")
    headings = []
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            words = plain_text(tokens[at + 1])
            token.attrSet("id", slug(words))
            if token.tag == "h2":
                headings.append(Heading(slug(words), words))
        elif token.type in ("th_open", "td_open"):
            align = ALIGNED.search(str(token.attrs.pop("style", "")))
            if align is not None:
                token.attrSet("class", align[1])
        elif token.type == "inline":
            token.children = list(relinked(token.children or [], link_of))
    html = str(parser.renderer.render(tokens, parser.options, {}))
    html = html.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>')
    html = html.replace("</table>", "</table></div>").replace("<pre>", '<pre tabindex="0">')
    return RenderedText(title, tuple(headings), Html(html))  # noqa: S704 - the parser escapes what is not Markdown


def without_title(tokens: list[Token]) -> Iterator[Token]:
    """The tokens without the first heading."""
    is_title = False
    for token in tokens:
        if token.tag == "h1":
            is_title = token.nesting == 1
        elif not is_title:
            yield token


def heading_text(tokens: list[Token], tag: str) -> str:
    """The text of the first heading of a level."""
    at = next((at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == tag), None)
    return "" if at is None else plain_text(tokens[at + 1])


def plain_text(token: Token) -> str:
    """The words of an inline token."""
    return "".join(child.content for child in token.children or [])


def slug(text: str) -> str:
    """The id of a heading, as GitHub makes it: links between the texts name them so."""
    return NOT_IN_SLUG.sub("", text.strip().lower()).replace(" ", "-")


def relinked(children: list[Token], link_of: LinkOf) -> Iterator[Token]:
    """Inline tokens with links that lead somewhere here; of others, the words."""
    is_dropped = False
    for token in children:
        if token.type == "link_open":
            target = link_of(str(token.attrs["href"]))
            is_dropped = target is None
            if target is None:
                continue
            token.attrSet("href", target)
            if target.startswith(("http://", "https://")):
                token.attrSet("target", "_blank")
                token.attrSet("rel", "noopener noreferrer")
        elif token.type == "link_close" and is_dropped:
            is_dropped = False
            continue
        elif token.type == "image":
            continue  # the policy would not load it
        yield token
