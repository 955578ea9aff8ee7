"""The page that chooses the columns of an export."""

from __future__ import annotations

from collections.abc import Sequence

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.export_columns import (
    ADMIN_EVENTS,
    ADMIN_SUMMARY,
    EVENT_COLUMNS,
    EVENT_COST_COLUMNS,
    INVOICE,
    INVOICE_COLUMNS,
    SUMMARY_COLUMNS,
    SUMMARY_COST_COLUMNS,
)
from kaixu.web.components import Field, Form, Link, Option, Page
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .exports import COLUMNS_PAGE

TAB = TABS["exports"]

#: The columns of each file: all, those about what the operator pays, and the usual ones.
COLUMNS: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    "events": (tuple(EVENT_COLUMNS), tuple(EVENT_COST_COLUMNS), ADMIN_EVENTS),
    "summary": (tuple(SUMMARY_COLUMNS), tuple(SUMMARY_COST_COLUMNS), ADMIN_SUMMARY),
    "invoice": (INVOICE_COLUMNS, (), INVOICE),
}


def export_column_pages(site: Site) -> list[Route]:
    """The route of the page."""
    return site.operator_page(COLUMNS_PAGE, choose, tab=TAB, posts=True)


async def choose(visit: Visit) -> Page | Reply:
    """The columns to tick; they come back to the tab in its address."""
    kept = {name: value for name, value in visit.query.items() if name != "type"}
    kind = visit.query.get("type", "events")
    if kind not in COLUMNS:
        raise Unprocessable("`type` must be events, summary or invoice", field="type")
    known, costs, usual = COLUMNS[kind]
    chosen = visit.query.get(f"{kind}_columns")
    ticked = [name for name in chosen.split(",") if name in (*known, *costs)] if chosen else list(usual)
    if visit.is_post:
        sent = visit.form.all("columns")
        # Those that were chosen before keep their order; new ones follow.
        names = [name for name in ticked if name in sent]
        names += [name for name in (*known, *costs) if name in sent and name not in names]
        columns = None if tuple(names) in ((), tuple(usual)) else ",".join(names)
        return visit.redirect(TAB.path, **{**kept, f"{kind}_columns": columns})
    options = [Option(name, name.replace("_", " "), "Of the usage") for name in known]
    options += [Option(name, name.replace("_", " "), "What you pay; customers do not see it") for name in costs]
    form = Form(
        action=visit.url(None, **visit.query),
        fields=[
            Field(name="columns", label="Columns", type="checkboxes", values=ticked, options=options,
                  hint="Without any, the file has its usual columns.")
        ],
        submit="Use these columns",
        cancel=Link("Back", visit.url(TAB.path, **kept)),
    )  # fmt: skip
    return Page(title=f"Columns of the {kind} file", parts=[form])
