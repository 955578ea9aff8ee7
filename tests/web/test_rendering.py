"""Pages are drawn from their parts: every text is escaped, values are shown as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, get_args

import msgspec
import pytest

from kaixu.web import components
from kaixu.web.components import (
    Card,
    Cell,
    Column,
    Component,
    Field,
    Form,
    Link,
    Money,
    Page,
    Part,
    Row,
    Snippet,
    Stack,
    Table,
    Time,
)
from kaixu.web.frame import CustomerChip, Frame, Tab, TabGroup, Who
from kaixu.web.rendering import draw, form_id, linked_cell, render_block, render_page

from . import gallery

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}${7*7}</title></textarea></select>&amp;"
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}
SHAPES = {"rect", "path", "circle", "line", "use", "polyline"}


class Tree(HTMLParser):
    """The elements of a page; fails where they are not closed in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, its spaces as one."""
        return " ".join("".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of all elements with this name."""
        return [attributes for name, attributes in self.elements if name == tag]


def plain_frame() -> Frame:
    """The frame of a page without anything around it."""
    return Frame(nonce=gallery.NONCE, form_token="token-of-the-session")


def drawn(part: Part | Cell) -> Tree:
    """A part as HTML."""
    return Tree(str(draw(part, plain_frame())))


def hostile(value: Any) -> Any:
    """The value, with hostile text in place of every text that a page could show."""
    if isinstance(value, msgspec.Struct):
        kept = {"state", "form", "unit", "align", "type", "style", "method", "sorted", "template", "id", "target", "at"}
        kept |= {"kind", "icon", "theme", "nonce", "usd"}
        changes = {
            name: getattr(value, name) if name in kept else hostile(getattr(value, name))
            for name in value.__struct_fields__
        }
        return type(value)(**changes)
    if isinstance(value, str):
        return HOSTILE if value else ""
    if isinstance(value, dict):
        return {hostile(key): hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    if isinstance(value, tuple):
        return tuple(hostile(one) for one in value)
    return value


def elements_of(html: str) -> list[tuple[str, list[str]]]:
    """The elements of a page with the names of their attributes."""
    return [(tag, sorted(attributes)) for tag, attributes in Tree(html).elements]


@pytest.mark.parametrize("name", gallery.pages())
def test_pages_are_complete_html_and_no_text_in_them_becomes_an_element(name: str) -> None:
    page, frame = gallery.pages()[name]
    tree = Tree(render_page(hostile(page), hostile(frame)))
    scripts = tree.all("script")
    assert all(one["nonce"] == gallery.NONCE and one["src"].startswith("/gateway/static/") for one in scripts)
    assert all(one.get("class") == "picture" for one in tree.all("img"))
    assert all("onerror" not in attributes for _, attributes in tree.elements)
    assert tree.text.count("<script>alert(1)</script>") > 3


@pytest.mark.parametrize("name", gallery.pages())
def test_pages_have_no_inline_style_or_script_and_load_nothing_from_elsewhere(name: str) -> None:
    page, frame = gallery.pages()[name]
    tree = Tree(render_page(page, frame))
    for tag, attributes in tree.elements:
        assert tag != "style"
        assert not [key for key in attributes if key == "style" or key.startswith("on")], (tag, attributes)
        for key in ("src", "action", "formaction", "hx-get"):
            assert attributes.get(key, "/").startswith(("/", "data:image/")), (tag, attributes)
        if tag in ("link", "use"):
            assert attributes["href"].startswith("/gateway/static/")
        if any(key.startswith("hx-") for key in attributes):
            assert attributes["hx-nonce"] == gallery.NONCE, attributes


@pytest.mark.parametrize("name", gallery.pages())
def test_ids_are_unique_and_references_lead_to_them(name: str) -> None:
    page, frame = gallery.pages()[name]
    tree = Tree(render_page(page, frame))
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), sorted({one for one in ids if ids.count(one) > 1})
    for tag, attributes in tree.elements:
        for key in ("for", "aria-labelledby", "aria-describedby", "aria-controls", "popovertarget", "list"):
            for one in attributes.get(key, "").split():
                assert one in ids, (tag, key, one)
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids, attributes


def test_every_class_of_parts_and_cells_is_drawn_in_the_gallery() -> None:
    def kinds(value: Any) -> Iterator[str]:
        if isinstance(value, Component):
            yield value.kind
        if isinstance(value, msgspec.Struct):
            for name in value.__struct_fields__:
                yield from kinds(getattr(value, name))
        if isinstance(value, list | tuple):
            for one in value:
                yield from kinds(one)

    seen = {kind for page, _ in gallery.pages().values() for kind in kinds(page)}
    declared = {
        one.__name__.lower()
        for one in vars(components).values()
        if isinstance(one, type) and issubclass(one, Component) and one is not Component
    }
    assert declared - seen == {"markup"}


def test_every_type_of_field_is_drawn_in_the_gallery() -> None:
    seen = {field.type for form in (gallery.every_field(), gallery.filters()) for field in form.fields}
    assert seen == set(get_args(components.FieldKind))


def test_money_is_rounded_and_exact_beside_it() -> None:
    tree = drawn(Money("1920.114208310"))
    assert tree.all("data") == [{"class": "money", "value": "1920.114208310", "title": "1920.114208310 USD"}]
    assert tree.text == "$1,920.11"


def test_moments_are_utc_for_whoever_has_no_scripts() -> None:
    tree = drawn(Time("2026-11-28T10:41:07+01:00"))
    assert tree.text == "2026-11-28 09:41 UTC"
    assert tree.all("time") == [
        {"datetime": "2026-11-28T10:41:07+01:00", "data-form": "moment", "title": "2026-11-28 09:41:07 UTC"}
    ]
    assert drawn(Time(None, none="never")).text == "never"
    assert drawn(Time("2026-11-28")).text == "2026-11-28"


def test_changes_carry_the_token_of_the_session_and_filters_do_not() -> None:
    def token(form: Form) -> list[str]:
        return [one["value"] for one in drawn(form).all("input") if one.get("name") == "form_token"]

    assert token(Form(action="/x", fields=[], submit="Save")) == ["token-of-the-session"]
    assert token(Form(action="/x", fields=[], submit="Find", method="get")) == []


def test_a_problem_is_told_beside_its_field_and_above_the_form() -> None:
    field = Field(name="cap", label="Cap", value="x", unit="USD", hint="In a month.", problem="This is no number.")
    form = Form(action="/x", fields=[field], submit="Save", id="change")
    tree = drawn(form)
    one = next(one for one in tree.all("input") if one.get("name") == "cap")
    assert one["aria-invalid"] == "true"
    assert one["aria-describedby"] == "change-cap-hint change-cap-unit change-cap-problem"
    assert any(one.get("role") == "alert" for one in tree.all("div"))
    assert {"href": "#change-cap"} in tree.all("a")
    assert tree.text.count("This is no number.") == 2


def test_forms_have_ids_of_their_own_that_stay() -> None:
    one = Form(action="/x", fields=[], submit="Save", hidden={"id": "1"})
    two = Form(action="/x", fields=[], submit="Save", hidden={"id": "2"})
    assert form_id(one) == form_id(msgspec.structs.replace(one)) != form_id(two)


def test_a_password_is_not_in_the_page_again() -> None:
    field = Field(name="password", label="Password", type="password", value="correct horse", problem="It is wrong.")
    assert "correct horse" not in str(draw(Form(action="/x", fields=[field], submit="Log in"), plain_frame()))


def test_tables_say_how_they_are_sorted_and_label_each_cell_for_phones() -> None:
    tree = drawn(gallery.customers())
    assert [one.get("aria-sort") for one in tree.all("th")][:3] == [None, "descending", None]
    cells = [one for one in tree.all("td") if "actions" not in one["class"]]
    assert [one["data-label"] for one in cells][:7] == [
        "Customer", "Spent", "Of the cap", "Held", "14 days", "State", "Last call",
    ]  # fmt: skip
    assert [one["href"] for one in tree.all("a") if one.get("rel") == "next"] == ["/gateway/customers?after=x"]


def test_a_row_is_a_link_in_the_first_cell_that_is_none_itself() -> None:
    columns = [Column(title="A"), Column(title="B")]
    row = Row(cells=[Link("a link", "/a"), "b"], href="/row")
    assert linked_cell(row) == 1
    links = drawn(Table(id="t", columns=columns, rows=[row])).all("a")
    assert [one["href"] for one in links] == ["/a", "/row"]
    assert linked_cell(Row(cells=[Stack([Link("x", "/x")]), None], href="/row")) is None
    unseen = [Column(title="ID", phone=False), Column(title="Customer")]
    assert linked_cell(Row(cells=["1", "Northwind"], href="/row"), unseen) == 1
    assert linked_cell(Row(cells=["1", Link("x", "/x")], href="/row"), unseen) == 0


def test_an_empty_table_says_why_and_what_next() -> None:
    empty = components.Empty(text="No key yet.", link=Link("Create a key", "/create"))
    tree = drawn(Table(id="t", columns=[Column(title="Key")], rows=[], empty=empty))
    assert tree.text == "No key yet.Create a key"
    assert not tree.all("table")


def test_a_secret_comes_with_its_warning() -> None:
    assert "shown once" in drawn(Snippet("kx_live_x", secret=True)).text
    assert "shown once" not in drawn(Snippet("curl")).text


def test_a_block_is_the_content_alone() -> None:
    page, frame = gallery.pages()["overview"]
    block = render_block(page, frame)
    assert block.lstrip().startswith('<div id="content"')
    assert "<html" not in block
    assert block.strip() in render_page(page, frame)


def test_headings_of_cards_follow_their_depth() -> None:
    tree = drawn(Card("Outer", [Card("Inner", [])]))
    assert [tag for tag, _ in tree.elements if tag in ("h2", "h3")] == ["h2", "h3"]


def test_part_alone_is_what_it_is_in_its_page() -> None:
    progress = components.Progress("Import", 1, 2, refresh="/gateway/jobs/1", id="job")
    html = str(draw(progress, plain_frame()))
    assert html.strip() in render_page(Page(title="Job", parts=[progress]), plain_frame())
    assert '<progress id="job-bar" max="2" value="1">' in html


def test_the_frame_shows_who_where_and_whose() -> None:
    frame = gallery.frame(
        navigation=[TabGroup("", [Tab(title="Overview", href="/gateway", is_current=True, count=3)])],
        customer=CustomerChip("acme-labs", "/gateway/customers/1", "/gateway?customer="),
        operator=Who("ada@example.com", "owner"),
        theme="dark",
    )
    tree = Tree(render_page(Page(title="Overview", parts=[]), frame))
    assert tree.all("html") == [{"lang": "en", "data-theme": "dark"}]
    assert [one["href"] for one in tree.all("a") if one.get("aria-current") == "page"] == ["/gateway"]
    assert "/gateway?customer=" in [one["href"] for one in tree.all("a")]
    assert "ada@example.com" in tree.text
    assert {"/gateway/logout", "/gateway/theme", "/gateway/search"} == {one["action"] for one in tree.all("form")}
