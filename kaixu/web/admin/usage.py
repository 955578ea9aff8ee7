"""The tab of usage: a customer's month in figures, over time, by key, app and end user, and call by call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.call_cells import ENDS
from kaixu.web.catalogue_choices import model_options, provider_options
from kaixu.web.chart_parts import MEASURES, usage_chart_part
from kaixu.web.components import Card, Empty, Field, Form, Link, Option, Page, Part, Prose, Table
from kaixu.web.lists import pages_of
from kaixu.web.months import chosen_month, month_field
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .usage_calls import calls_table
from .usage_figures import month_stats, warnings_of
from .usage_overview import TOP, everybody
from .usage_shares import share_cards

TAB = TABS["usage"]
LIMIT = 50
#: The most keys that can be chosen from: those that spent most.
MOST_KEYS = 200

#: The filters of the calls, by their names in the address and at the API.
FILTERS = ("api_key_id", "provider", "model", "app", "end_user", "end")

#: The time of the chart and of the calls, where it is another than the month; the cards are always of a month.
TIME = ("from", "to")
TIMES = ("now-1h", "now-24h", "now-7d", "now-30d")


def usage_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, usage, tab=TAB, twin=twin_of)


def calls_query(visit: Visit) -> dict[str, QueryValue]:
    """The query of a customer's month, with the filters of the page."""
    filters = {name: visit.query.get(name) for name in (*FILTERS, *TIME)}
    page = {"limit": LIMIT, "before_id": visit.query.get("before_id")}
    return {"customer_id": visit.customer_id, "month": chosen_month(visit), **filters, **page}


def twin_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The same data: of a customer the month, as CSV its calls; without one those who spent most."""
    if visit.customer_id is None:
        return TOP, {"month": chosen_month(visit), "limit": 50}
    if not visit.path.endswith(".csv"):
        return "admin-usage", calls_query(visit)
    kept = {name: visit.query.get(name) for name in FILTERS if name != "end"}
    return "admin-export", {
        "customer_id": visit.customer_id,
        "type": "events",
        "limit": "all",
        **period_of(visit),
        **kept,
    }


def period_of(visit: Visit) -> dict[str, QueryValue]:
    """The time in the address, or the month."""
    time: dict[str, QueryValue] = {name: visit.query[name] for name in TIME if visit.query.get(name)}
    return time or {"month": chosen_month(visit)}


async def usage(visit: Visit) -> Page | Reply:
    """The page."""
    if visit.customer_id is None:
        return await everybody(visit)
    name, query = "admin-usage", calls_query(visit)
    reply = await visit.api.get(name, **query)
    measure = visit.query.get("show", "")
    measure = measure if measure in MEASURES else "spent"
    chosen = {name: visit.query.get(name) for name in ("api_key_id", "provider", "model")}
    period = period_of(visit)
    by_day = {"interval": "day"} if "month" in period else {}
    over_time = await visit.api.get(
        "admin-usage-chart", customer_id=visit.customer_id, by="model", **period, **by_day, **chosen
    )
    parts: list[Part] = [
        *warnings_of(visit, reply, over_time),
        filters(visit, reply, measure),
        month_stats(visit, reply),
        chart_card(visit, over_time, measure),
        calls(visit, reply),
        *share_cards(visit, reply),
        explanation(),
    ]
    customer = reply["customer"]
    return Page(
        title=TAB.title,
        subtitle=f"{customer['email']} · plan {customer['plan_name']} · {reply['month']} (UTC)",
        parts=parts,
        actions=[Link("Billing & Controls", visit.url(TABS["billing"].path, customer_id=visit.customer_id))],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


def chart_card(visit: Visit, over_time: Mapping[str, Any], measure: str) -> Card:
    """The month, or the chosen time, model by model; the name of a model filters by it."""

    def filtered(series: str) -> str:
        provider, slash, model = series.partition("/")
        return visit.changed(provider=provider, model=model, before_id=None) if slash else ""

    others = [Link(title, visit.changed(show=one)) for one, (title, _) in MEASURES.items() if one != measure]
    ignored = [label for name, label in (("app", "app"), ("end_user", "end user"), ("end", "ending"))
               if visit.query.get(name)]  # fmt: skip
    note = f"The filter by {' and '.join(ignored)} applies to the calls below, not to the chart." if ignored else ""
    title = f"{MEASURES[measure][0]} by {'time' if 'from' in visit.query else 'day'} and model"
    chart = usage_chart_part(over_time, measure, id="usage-chart", title=title, note=note, href=filtered)
    return Card(title, [chart], links=others)


def filters(visit: Visit, reply: Mapping[str, Any], measure: str) -> Form:
    """The filters of the page."""
    given, catalog = visit.query, visit.services.catalog
    key = given.get("api_key_id", "")
    used = sorted(reply["per_key"][:MOST_KEYS], key=lambda one: (one["label"], one["id"]))
    keys = [Option(str(one["id"]), f"{one['label']} …{one['key_last4']}") for one in used]
    if key and key not in {one.value for one in keys}:
        keys.append(Option(key, f"key {key}"))
    apps = [one["app_id"] for one in reply["per_app"] if one["app_id"]]
    end_users = [one["end_user"] for one in reply["per_end_user"]]
    ends = [Option("", "all"), *(Option(end, words) for end, (_, words) in ENDS.items())]
    hidden = {"customer_id": str(visit.customer_id)} | ({"show": measure} if measure != "spent" else {})
    provider, model = given.get("provider", ""), given.get("model", "")
    return Form(
        action=TAB.path, method="get", inline=True, submit="Load usage", hidden=hidden,
        fields=[
            month_field(chosen_month(visit)),
            *(Field(name=name, label=label, value=given.get(name, ""), maxlength=40, suggestions=times,
                    placeholder="the month") for name, label, times in (("from", "From", TIMES), ("to", "To", ()))),
            Field(name="api_key_id", label="Key", type="select", value=key, options=[Option("", "all"), *keys]),
            Field(name="provider", label="Provider", type="select", value=provider,
                  options=provider_options(catalog, provider)),
            Field(name="model", label="Model", type="select", value=model, options=model_options(catalog, model)),
            Field(name="app", label="App", value=given.get("app", ""), maxlength=200, suggestions=apps[:50]),
            Field(name="end_user", label="End user", value=given.get("end_user", ""), maxlength=200,
                  suggestions=end_users[:50]),
            Field(name="end", label="How it ended", type="select", value=given.get("end", ""), options=ends),
        ],
    )  # fmt: skip


def calls(visit: Visit, reply: Mapping[str, Any]) -> Table:
    """The calls of the month, or of the chosen time, that the filters let through."""
    next_href, first_href = pages_of(visit, reply["next_before_id"], "before_id")
    is_filtered = any(visit.query.get(name) for name in (*FILTERS, *TIME))
    if is_filtered:
        everything = visit.changed(**dict.fromkeys((*FILTERS, *TIME)), before_id=None)
        empty = Empty(text="No call fits these filters.", link=Link("Remove the filters", everything))
    else:
        way = visit.url(TABS["integration"].path, customer_id=visit.customer_id)
        empty = Empty(text="No calls in this month.", link=Link("How this customer makes calls", way))
    return calls_table(visit, reply, next_href=next_href, first_href=first_href, empty=empty)


def explanation() -> Prose:
    """What the figures mean."""
    return Prose(
        tip=True,
        paragraphs=[
            "Cap plus extra is what all keys of the customer may spend in the month. Spent is billed; held is reserved "
            "for calls that are running, at the most they can cost; available is what is left for the next call.",
            "Clients that want the answer while it is written send POST /.netlify/functions/gateway-stream and read "
            "server-sent events (meta, delta, done); whole answers come from gateway-chat. Both are counted alike, and "
            "a client that leaves early pays for what the vendor has done until then.",
        ],
    )
