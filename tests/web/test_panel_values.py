"""What panels return becomes components: plain text, checked addresses, bounded sizes; anything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from markupsafe import Markup

from kaixu.plugin import panels as values
from kaixu.web import components as parts
from kaixu.web.frame import Frame
from kaixu.web.panels.values import MOST_PARTS, MOST_ROWS, Drawer, WrongPanel, bytes_of, https_url, plain
from kaixu.web.rendering import draw


def drawer(page: int = 1, secrets: frozenset[str] = frozenset()) -> Drawer:
    """A drawer that offers everything."""
    return Drawer(
        "panel",
        show_action=lambda action: parts.Link(plain(action.label), "/a"),
        show_form=lambda form, fields: parts.Form(action="/f", fields=fields, submit=plain(form.submit)),
        page_of=lambda _: page,
        page_href=lambda id, number: f"?{id}={number}",
        secrets=secrets,
    )


class Lying(str):
    """A text that says of itself that it is HTML."""

    def __str__(self) -> str:
        return Markup("<b>trusted</b>")

    def __html__(self) -> str:
        return "<script>pwned()</script>"


def html(given: list[Any]) -> str:
    """The HTML of a panel."""
    return "".join(draw(one, Frame()) for one in drawer().parts_of(given))


@pytest.mark.parametrize(
    "text", [Markup("<img src=x>"), Lying("<img src=x>"), "<img src=x>"], ids=["markup", "lying", "text"]
)
def test_html_stays_text_wherever_it_is(text: str) -> None:
    shown = html(
        [
            values.Notice("info", text, text),
            values.Stat(text, text, text),
            values.Progress(text, 1, 2, text),
            values.Chart(text, [text], [values.Series(text, [1.0])], note=text),
            values.Table(
                [text, values.Column(text)],
                [
                    values.Row([text, values.Code(text)], [values.Action(text, "a.b")]),
                    [values.Badge("good", text), values.Link(text, "https://example.com/")],
                ],
                text,
                text,
                text,
            ),
            values.Form(
                "a.b",
                [
                    values.Field(text, text, "select", text, [values.Choice(text, text)], text, text, text),
                    values.Field(text, text, "textarea", text),
                    values.Field(text, text, "list", [text]),
                ],
                text,
                title=text,
                hint=text,
            ),
        ]
    )
    assert "<img" not in shown
    assert "<script" not in shown
    assert "trusted" not in shown
    assert shown.count("&lt;img src=x&gt;") > 20


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "http://example.com/", "//example.com/",
        "https://", "https:///x", "https://user:pass@example.com/", "https://user@example.com/", " https://example.com/",
        "https://example.com/\"onclick=\"x", "https://example.com/\n", "https://exa mple.com/", "https://example.com:x/",
        "https://example.com\\@evil.example/", "https://[::1", "/gateway", "", "https://é.example/", "https://e.com/" + "a" * 3000,
    ],
)  # fmt: skip
def test_only_whole_addresses_of_https_are_links(url: str) -> None:
    assert https_url(url) is None
    assert drawer().cell(values.Link("press", url)) == "press"


def test_a_link_of_https_opens_elsewhere() -> None:
    assert drawer().cell(values.Link("a", "https://example.com:8443/x?y=%20#z")) == parts.Link(
        "a", "https://example.com:8443/x?y=%20#z", external=True
    )


def test_cells_have_their_kinds() -> None:
    at = datetime(2026, 11, 29, 20, 0, tzinfo=UTC)
    cells = [None, True, 7, 0.5, values.Money(-1_500_000_000), values.Bytes(999), values.Bytes(12_345_678),
             values.Time(at), values.Time(None), values.Code("x"), values.Badge("bad", "gone")]  # fmt: skip
    assert [drawer().cell(one) for one in cells] == [
        None, "yes", parts.Number(7), parts.Number(0.5, digits=2), parts.Money("-1.50"), parts.Number(999, "B"),
        parts.Number(12.345678, "MB", 1), parts.Time("2026-11-29T20:00:00+00:00"), parts.Time(None),
        parts.Code("x", copy=True), parts.Badge("bad", "gone"),
    ]  # fmt: skip
    assert bytes_of(999_600) == (0.9996, "MB", 1)


class Odd:
    """Nothing that a panel may have."""


@pytest.mark.parametrize(
    "given",
    [
        Odd(), "text", None, {"kind": "table"}, parts.Markup("playground.html"), values.Notice("great", "x"),  # type: ignore[arg-type]
        values.Notice("info", Odd()),  # type: ignore[arg-type]
        values.Stat("a", Odd()),  # type: ignore[arg-type]
        values.Stat("a", float("nan")), values.Stat("a", float("inf")), values.Stat("a", 10**30),
        values.Stat("a", values.Money(1.5)),  # type: ignore[arg-type]
        values.Stat("a", values.Bytes(-1)),
        values.Stat("a", values.Time(datetime(2026, 1, 1))),
        values.Stat("a", parts.Link("a", "javascript:x")),  # type: ignore[arg-type]
        values.Progress("a", -1, 2), values.Table(["a"], [["b", "c"]]), values.Table(["a"] * 50, []),
        values.Table(["a"], Odd()),  # type: ignore[arg-type]
        values.Chart("a", ["x"], [values.Series("s", [])]),
        values.Chart("a", ["x"], [values.Series("s", ["1"])]),  # type: ignore[list-item]
        values.Form("a.b", [values.Field("x", "x", "file")]),  # type: ignore[arg-type]
        values.Form("a.b", [Odd()]),  # type: ignore[list-item]
        values.Form("a.b", [values.Field("x", "x")] * 100),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(WrongPanel):
        drawer().parts_of([given])


def test_much_is_cut_and_said() -> None:
    table = values.Table(["a"], [[at] for at in range(MOST_ROWS + 5)], note="Newest first.")
    shown = drawer(page=2).parts_of([table])[0]
    assert isinstance(shown, parts.Table)
    assert [row.cells for row in shown.rows[:2]] == [[parts.Number(50)], [parts.Number(51)]]
    assert (len(shown.rows), shown.next_href, shown.first_href) == (50, "?panel-0=3", "?panel-0=None")
    assert shown.note == "Newest first. 5 further rows are left out."
    beyond = drawer(page=99_999).parts_of([table])[0]
    assert isinstance(beyond, parts.Table)
    assert beyond.rows[0].cells == [parts.Number(0)]
    assert drawer().text("a" * 10_000) == "a" * 499 + "…"
    assert drawer().text("a\0b") == "a\ufffdb"
    last = drawer().parts_of([values.Notice("info", "x")] * (MOST_PARTS + 3))[-1]
    assert last == parts.Notice("info", "3 further parts are left out.")


def test_secrets_that_were_sent_are_not_shown() -> None:
    draws = drawer(secrets=frozenset({"token-123456"}))
    assert draws.text("Bearer token-123456") == "Bearer …"
    assert draws.cell(values.Link("token-123456", "https://example.com/?t=token-123456")) == "…"
