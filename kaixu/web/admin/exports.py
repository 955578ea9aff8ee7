"""The tab of exports and invoices: the three files of usage, commands for scripts, and all issued invoices.

A download is a plain link with the session's cookie: the browser writes it to the disk while it comes and shows its own
progress. A script that counted rows would have to hold the whole file in memory, so the page says beforehand how many
rows there are.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.reports.export import EVENT_FILTERS
from kaixu.web.addresses import gateway_url
from kaixu.web.api_calls import ApiFailure, QueryValue, query_text
from kaixu.web.components import (
    Card,
    Cell,
    Facts,
    Field,
    Form,
    Link,
    Notice,
    Number,
    Option,
    Page,
    Part,
    Prose,
    Snippet,
)
from kaixu.web.filter_problems import marked
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .invoice_list import INVOICE_FILTERS, invoice_query, invoices_part

TAB = TABS["exports"]
COLUMNS_PAGE = "/gateway/exports/columns"

#: What all three files are chosen by.
SCOPE = ("customer_id", "month", "api_key_id")
#: The most keys that can be chosen from; the id of another one can be in the address.
MOST_KEYS = 200
#: What a line of each file takes, roughly, to tell its size beforehand.
BYTES_A_ROW = 110


class ExportKind(NamedTuple):
    """One of the files."""

    name: str
    title: str
    text: str


KINDS = (
    ExportKind("events", "Events CSV", "Every call with its time, key, model, tokens and cost, oldest first."),
    ExportKind("summary", "Summary CSV", "The month of each customer in one line: cap, extra, spent, tokens."),
    ExportKind("invoice", "Invoice CSV", "The total and a line for each key, as issued; before that, as it is now."),
)

ABOUT = (
    "The last line of a file tells whether it is whole: “# rows: 1234”. “(limit reached)” means that there may be "
    "more, and “-partial” that it broke off: download it again. Scripts that cannot use this line send count=0.",
    "cost_cents is rounded in each row. For sums choose the column cost_usd, which is exact.",
    "Text that a spreadsheet would run as a formula begins with an apostrophe.",
)


def export_pages(site: Site) -> list[Route]:
    """The routes of the tab; its twins are the list of invoices."""
    return site.operator_page(TAB.path, exports, tab=TAB, twin=invoice_query)


async def exports(visit: Visit) -> Page | Reply:
    """The files, the commands, and the invoices."""
    form = scope_form(visit, await keys_of(visit))
    problem: list[Part] = []
    status = 200
    calls: int | None = None
    try:
        calls = await number_of_calls(visit)
    except ApiFailure as failure:
        form, status = marked(form, failure), failure.status
    if status == 200:
        problem += [export_card(visit, kind, calls) for kind in KINDS]
    name, query = invoice_query(visit)
    return Page(
        title=TAB.title,
        subtitle=f"For {visit.customer['email']}" if visit.customer else "For all customers; select one for its keys.",
        parts=[
            form,
            *problem,
            Card("About the files", [Prose(paragraphs=(), items=ABOUT)], width=6),
            Card("For scripts", scripts_parts(visit), width=6),
            *(await invoices_part(visit) if status == 200 else []),
        ],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


async def keys_of(visit: Visit) -> list[Mapping[str, Any]]:
    """The newest keys of the selected customer."""
    if visit.customer_id is None:
        return []
    reply = await visit.api.get("admin-keys", customer_id=visit.customer_id, limit=MOST_KEYS)
    found: list[Mapping[str, Any]] = reply["keys"]
    return found


async def number_of_calls(visit: Visit) -> int | None:
    """How many calls the month has, of the customer or of all; None where the filters make that unknown."""
    month = visit.query.get("month")
    if visit.customer is None and visit.query.get("customer_id"):
        # Without this the files would be about all customers.
        raise ApiFailure(422, {"error": "there is no such customer", "field": "customer_id"}, {})
    if any(visit.query.get(name) for name in EVENT_FILTERS):
        return None
    if visit.customer_id is None:
        rows = (await visit.api.get("admin-usage-margin", by="provider", month=month, limit=500))["rows"]
        return sum(int(row["calls"]) for row in rows)
    usage = await visit.api.get("admin-usage", customer_id=visit.customer_id, month=month, limit=1)
    if key := visit.query.get("api_key_id"):
        return next((int(one["calls"]) for one in usage["per_key"] if str(one["id"]) == key), None)
    return int(usage["rollup"]["calls"])


def export_query(visit: Visit, kind: str) -> dict[str, QueryValue]:
    """The parameters of `admin-export` for what the page shows."""
    query: dict[str, QueryValue] = {name: visit.query.get(name) for name in SCOPE}
    query |= {"customer_id": visit.customer_id if visit.customer_id is not None else "all", "type": kind}
    if kind == "events":
        query |= {name: visit.query.get(name) for name in EVENT_FILTERS}
    columns = visit.query.get(f"{kind}_columns")
    return query | {"columns": columns, "limit": "all"}


def export_card(visit: Visit, kind: ExportKind, calls: int | None) -> Card:
    """One file: what is in it, how many rows, and its links."""
    needs_customer = kind.name == "invoice" and visit.customer_id is None
    if needs_customer:
        link = Link("Select a customer", TABS["customers"].path)
        text = f"{kind.text} It is about one customer."
        return Card(kind.title, [Prose(paragraphs=[text], links=[link])], width=4)
    query = export_query(visit, kind.name)
    href = f"/api/admin-export?{query_text(query)}"
    columns = str(query["columns"] or "").split(",") if query["columns"] else []
    parts: list[Part] = [Prose(paragraphs=[kind.text])]
    if kind.name == "events":
        facts: list[tuple[str, Cell]] = [("Rows", "as many as fit the filters" if calls is None else Number(calls))]
        if calls is not None:
            facts.append(("Size", f"about {size_text(calls * BYTES_A_ROW)}"))
        facts.append(("Columns", f"{len(columns)} chosen" if columns else "the usual ones"))
        parts.append(Facts(facts))
    links = [
        Link(f"Download {kind.title}", href, icon="download", download=True),
        Link("As lines of JSON", f"{href}&format=ndjson", download=True),
        Link("Choose columns", choose_href(visit, kind.name), icon="table"),
    ]
    parts.append(Prose(paragraphs=(), links=links))
    return Card(kind.title, parts, width=4)


def choose_href(visit: Visit, kind: str) -> str:
    """The page that chooses the columns of a file, and comes back to what this page shows."""
    return visit.url(COLUMNS_PAGE, **{**visit.query, "type": kind})


def size_text(size: int) -> str:
    """A size for people."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:,} {unit}"
        size = round(size / 1000)
    return f"{size:,} GB"


def scope_form(visit: Visit, keys: list[Mapping[str, Any]]) -> Form:
    """Customer, month and key; what only the events are narrowed down by stands behind."""

    def value(name: str) -> str:
        return visit.query.get(name, "")

    options = [Option("", "all keys"), *(Option(str(one["id"]), key_text(one)) for one in keys)]
    if (chosen := value("api_key_id")) and chosen not in {one.value for one in options}:
        options.append(Option(chosen, f"key {chosen}"))
    fields = [
        Field(name="customer_id", label="Customer id", value=value("customer_id"), maxlength=18, placeholder="all"),
        Field(name="month", label="Month", type="month", value=value("month")),
        Field(name="api_key_id", label="Key", type="select", value=value("api_key_id"), options=options),
        Field(name="from", label="Events from", value=value("from"), maxlength=40, placeholder="now-7d"),
        Field(name="to", label="Events to", value=value("to"), maxlength=40, placeholder="now"),
        Field(name="provider", label="Provider", value=value("provider"), maxlength=200,
              suggestions=sorted(visit.services.catalog.lanes)),
        Field(name="model", label="Model", value=value("model"), maxlength=200),
        Field(name="app", label="App", value=value("app"), maxlength=200),
        Field(name="end_user", label="End user", value=value("end_user"), maxlength=200),
    ]  # fmt: skip
    kept = {name: value(name) for name in (*INVOICE_FILTERS, *(f"{kind.name}_columns" for kind in KINDS))}
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        submit="Show",
        fields=fields,
        hidden={name: text for name, text in kept.items() if text},
        id="exports-filter",
    )


def key_text(key: Mapping[str, Any]) -> str:
    """A key in a list to choose from."""
    return f"…{key['key_last4']} {key['label'] or ''}".strip()


def scripts_parts(visit: Visit) -> list[Part]:
    """The command that downloads the events, by token, and by password where that is switched on."""
    query = query_text(export_query(visit, "events"))
    url = shlex.quote(gateway_url(visit) + f"/api/admin-export?{query}")
    save = "-o events.csv"
    by_token = f'curl -sf {url} -H "authorization: Bearer $KAIXU_TOKEN" {save}'
    operators = Link("Make a token with the scope “read”", TABS["operators"].path, icon="shield")
    parts: list[Part] = [
        Prose(paragraphs=["Downloads here use your login. A script needs a token of its own."], links=[operators]),
        Snippet(by_token, title="With a token", language="shell"),
    ]
    if visit.services.settings.accepts_password_header:
        by_password = f'curl -sf {url} -H "x-admin-password: $ADMIN_PASSWORD" {save}'
        parts.append(Snippet(by_password, title="With the admin password", language="shell"))
    else:
        text = "The header x-admin-password of the older edition is off. ADMIN_PASSWORD_HEADER=true accepts it again."
        parts.append(Notice(state="info", text=text))
    return parts
