"""Renders pages: the Jinja environment, and the macros that draw the parts of a page.

Templates get plain values and escape all of them. Each part is drawn by the macro of its `kind` in
`templates/components`; macros get the part and the frame, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from zlib import crc32

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2_fragments import render_block as render_block_of
from markupsafe import Markup as Html

from . import charts, formats
from .components import Cell, Column, Component, Form, Markup, Page, Part, Row, Stack
from .frame import Frame
from .static_files import static_url


def render_page(page: Page, frame: Frame) -> str:
    """A complete page."""
    return str(environment().get_template("page.html").render(page=page, frame=frame))


def render_block(page: Page, frame: Frame, block: str = "content") -> str:
    """One block of a page, for a request that replaces only that."""
    return str(render_block_of(environment(), "page.html", block, page=page, frame=frame))


def draw(part: Cell | Part, frame: Frame, level: int = 2) -> Html:
    """The HTML of a part or a cell. `level`: of the headings of cards."""
    if part is None:
        return Html("–")
    if not isinstance(part, Component):
        return Html.escape(f"{part:,}" if isinstance(part, int) else part)
    if isinstance(part, Markup):
        return draw_own(part.template, frame, part.values)
    macro = macro_of(part.kind)
    return macro(part, frame, level) if part.kind == "card" else macro(part, frame)


@cache
def macro_of(kind: str) -> Callable[..., Html]:
    """The macro that draws the parts of a kind."""
    macro: Callable[..., Html] = getattr(environment().get_template(f"components/{kind}.html").module, kind)
    return macro


def draw_own(template: str, frame: Frame, values: Mapping[str, object]) -> Html:
    """A template of the pages' own, with its values."""
    return Html(environment().get_template(template).render(frame=frame, **values))  # noqa: S704


def has_link(cell: Cell) -> bool:
    """Whether a cell holds something to press already: it cannot be a link as a whole."""
    if isinstance(cell, Stack):
        return any(has_link(one) for one in cell.cells)
    return getattr(cell, "kind", "") in ("link", "button", "meter") or bool(getattr(cell, "copy", False))


def linked_cell(row: Row, columns: Sequence[Column] = ()) -> int | None:
    """Which cell of a row becomes the link to its `href`: the first that can, rather one that phones show."""
    able = [at for at, cell in enumerate(row.cells) if cell not in (None, "") and not has_link(cell)]
    on_phones = (at for at in able if at >= len(columns) or columns[at].phone)
    return next(on_phones, able[0] if able else None)


def form_id(form: Form) -> str:
    """The id that the fields' ids begin with: the same each time the form is drawn, another for another form."""
    if form.id:
        return form.id
    text = "\0".join([form.action, form.submit, *(f"{name}={value}" for name, value in sorted(form.hidden.items()))])
    return f"form-{crc32(text.encode()):08x}"


@cache
def environment() -> Environment:
    """The Jinja environment of all pages."""
    env = Environment(
        loader=PackageLoader("kaixu.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters |= {
        "money": formats.money,
        "number": formats.number,
        "utc": formats.utc,
        "ago": formats.ago,
        "plain": formats.plain_number,
    }
    drawings: dict[str, Any] = {"draw": draw, "draw_own": draw_own, "linked_cell": linked_cell, "form_id": form_id}
    drawings |= {
        "chart_svg": charts.chart_svg,
        "chart_legend": charts.chart_legend,
        "chart_table": charts.chart_table,
        "sparkline_svg": charts.sparkline_svg,
    }
    env.globals |= drawings | {"static_url": static_url, "htmx_config": HTMX_CONFIG}
    return env


#: htmx injects no style, runs no code from attributes, ignores `data-hx-…`, and reads a page anew on "back".
#: It settles at once: otherwise it would copy `style` attributes, which the policy forbids.
HTMX_CONFIG = (
    '{"extensions":"hx-csp","includeIndicatorCSS":false,"history":"reload","prefix":"","defaultSwap":"outerHTML",'
    '"mode":"same-origin","defaultTimeout":30000,"defaultSettleDelay":0}'
)
