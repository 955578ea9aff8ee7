"""The dashboard's first tab: what the key may spend, has spent and holds, what binds it, and its usage over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.caps import cap_meter, percent_of
from kaixu.web.chart_parts import MEASURES, usage_chart_part
from kaixu.web.components import (
    Card,
    Cell,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Meter,
    Money,
    Notice,
    Number,
    Option,
    Page,
    Part,
    Row,
    Stat,
    Stats,
    Table,
    Time,
)
from kaixu.web.formats import counted, money, money_of_cents, sentence, usd_of_cents
from kaixu.web.months import chosen_month, month_field, month_title, this_month
from kaixu.web.navigation import DASHBOARD, TABS
from kaixu.web.panels.cards import core_tab_cards
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .budget_words import CAPS, binding_words, limit_text, pace_words
from .redeem import redeem_card
from .scope import scope_fields, scope_of, scope_query

TAB = TABS["budget"]
RANGES = (
    Option("", "this month"), Option("now-24h", "24 hours"), Option("now-7d", "7 days"), Option("now-30d", "30 days"),
    Option("now-365d", "a year"),
)  # fmt: skip
GROUPS = (
    Option("model", "model"),
    Option("provider", "provider"),
    Option("key", "key"),
    Option("total", "all together"),
)


def budget_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.customer_page(DASHBOARD, budget, tab=TAB, twin=summary_of)


def summary_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the figures, with the page's filters."""
    return "user-summary", {"month": visit.query.get("month"), **scope_query(visit)}


async def budget(visit: Visit) -> Page | Reply:
    """The page."""
    name, query = summary_of(visit)
    month = chosen_month(visit)
    summary = await visit.api.get(name, **query)
    parts: list[Part] = []
    if visit.query.get("done") == "redeemed":
        parts.append(Notice("good", "The code is credited: it is part of this month's cap now.", ends_after_s=30))
    parts += [
        Form(
            action=DASHBOARD,
            method="get",
            inline=True,
            submit="Show",
            fields=[month_field(month), *scope_fields(visit)],
        ),
        month_card(visit, summary),
        limits_card(visit, summary),
        redeem_card(visit),
        await chart_card(visit, month),
    ]
    if "keys" in summary:
        parts.append(keys_table(summary["keys"]))
    parts += await core_tab_cards(visit, "billing")
    return Page(
        title="Budget",
        subtitle="What you may spend this month, what is spent, and what reaches its limit first.",
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


def month_card(visit: Visit, summary: Mapping[str, Any]) -> Card:
    """The figures of the month; they are read again each half minute."""
    month = summary["month"]
    is_now = month["month"] == this_month()
    state, words = binding_words(summary)
    left, of_left = (
        (summary["room_usd"], "what the next call may cost")
        if is_now
        else (month["available_usd"], "at the end of the month")
    )
    extra = month["customer_extra_usd"]
    note = (
        f"{money(extra)} of it topped up"
        if month["customer_extra_cents"]
        else f"plan {summary['customer']['plan_name']}"
    )
    parts: list[Part] = [
        Stats(
            [
                Stat("Cap", Money(month["customer_cap_usd"]), note=note),
                Stat("Spent", Money(month["customer_spent_usd"]),
                     note=f"{counted(month['customer_calls'], 'call')}, {counted(month['customer_tokens'], 'token')}"),
                Stat("Held", Money(month["customer_held_usd"]), note="reserved for calls that are running"),
                Stat("Available", Money(left), note=of_left, state=state if is_now and state != "good" else None),
            ]
        ),
        Facts([*meters(summary), *(further_caps(summary) if is_now else [])]),
    ]  # fmt: skip
    if is_now:
        parts.append(Notice("info" if state == "good" else state, words, pace_words(summary, datetime.now(UTC))))
    return Card(month_title(month["month"]), parts, id="budget", refresh=visit.changed(done=None))


def meters(summary: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """How far the caps are used."""
    month = summary["month"]
    rows: list[tuple[str, Cell]] = [
        ("Account", cap_cell(month["customer_spent_usd"], month["customer_held_usd"], month["customer_cap_usd"]))
    ]
    key = f"This key, …{summary['key']['key_last4']}"
    if summary["key"]["has_cap_override"]:
        rows.append((key, cap_cell(month["key_spent_usd"], month["key_held_usd"], month["key_cap_usd"])))
    else:
        text = f"{money(month['key_spent_usd'])} spent; no cap of its own: the account's counts"
        rows.append((key, text))
    return rows


def further_caps(summary: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """The caps of a day, and those of the key's group, which a call must fit into as well."""
    return [
        (sentence(CAPS[one["limit"]])[:-1], cap_cell(one["spent_usd"], one["held_usd"], one["cap_usd"]))
        for one in summary["money_limits"]
        if one["limit"] not in ("customer_cap", "key_cap")
    ]


def cap_cell(spent: str, held: str, cap: str) -> Meter:
    """What is spent and held of a cap."""
    used, most = Decimal(spent) + Decimal(held), Decimal(cap)
    return cap_meter(used, most, f"{money(spent)} of {money(cap)} ({percent_of(used, most)})")


def limits_card(visit: Visit, summary: Mapping[str, Any]) -> Card:
    """The other limits of the key."""
    limits, key = summary["limits"], summary["key"]
    rpm = limits["rpm_limit"]
    rows: list[tuple[str, Cell]] = [
        ("Requests a minute", Number(visit.services.settings.default_rpm_limit if rpm is None else rpm)),
        ("Requests a day", limit_text(limits["rpd_limit"], "")),
        ("Tokens a minute", limit_text(least(limits["tpm_limit"], limits["customer_tpm_limit"]), "")),
        ("Cap of a day", cents_cell(least(limits["day_cap_cents"], limits["customer_day_cap_cents"]))),
        ("Devices", seats_text(limits)),
        ("Valid until", Time(limits["expires_at"], none="no end")),
        ("Role", f"{key['role']}: {'sees the account' if key['role'] in ('admin', 'owner') else 'sees its own calls'}"),
    ]
    if (group := limits["group"]) is not None:
        told = [
            f"{group['rpm_limit']:,} requests a minute" if group["rpm_limit"] is not None else "",
            f"{group['tpm_limit']:,} tokens a minute" if group["tpm_limit"] is not None else "",
            f"{money_of_cents(group['monthly_cap_cents'])} a month" if group["monthly_cap_cents"] is not None else "",
            f"{money_of_cents(group['day_cap_cents'])} a day" if group["day_cap_cents"] is not None else "",
        ]
        rows.append((f"Group {group['name']}", ", ".join(one for one in told if one) or "no limit of its own"))
    for model, of_model in (limits["models"] or {}).items():
        rows.append((model, ", ".join(model_limit_text(name, value) for name, value in of_model.items())))
    return Card("Limits of this key", [Facts(rows)], width=6)


#: The limits of a single model, by their names at the API.
OF_MODEL = {"rpm": "{:,} requests a minute", "tpm": "{:,} tokens a minute"}


def model_limit_text(name: str, value: int) -> str:
    """A limit of a single model."""
    return OF_MODEL[name].format(value) if name in OF_MODEL else f"{money_of_cents(value)} a day"


def least(*limits: int | None) -> int | None:
    """The limit that is reached first."""
    return min((one for one in limits if one is not None), default=None)


def cents_cell(cents: int | None) -> Cell:
    """A cap in cents, or that there is none."""
    return "no limit" if cents is None else Money(usd_of_cents(cents))


def seats_text(limits: Mapping[str, Any]) -> str:
    """How many seats are taken."""
    most = limits["max_devices"]
    taken = (
        f"{limits['devices']} of {most} seats taken" if most is not None else f"{limits['devices']} in use, no limit"
    )
    return f"{taken}; each call must name its device" if limits["require_install_id"] else taken


async def chart_card(visit: Visit, month: str) -> Card:
    """Usage over time."""
    since, by = visit.query.get("from", ""), visit.query.get("by") or "model"
    measure = visit.query.get("show", "")
    measure = measure if measure in MEASURES else "spent"
    query: dict[str, QueryValue] = {"by": by, **scope_query(visit)}
    # By day, also in a short range: bars of hours would say little about a budget.
    query |= (
        {"from": since, "interval": "hour" if since == "now-24h" else "day"}
        if since
        else {"month": month, "interval": "day"}
    )
    reply = await visit.api.get("user-usage-chart", **query)
    whose = "the whole account" if scope_of(visit) == "customer" else "this key"
    chart = usage_chart_part(reply, measure, id="usage", title=f"{MEASURES[measure][0]} of {whose}")
    nothing = Empty(
        text="No calls in this time. The first one is a copy away:",
        link=Link("Integration", TABS["own-integration"].path),
    )
    shown: Part = chart if chart.series else Table(id="usage", columns=[Column(title="Usage")], rows=[], empty=nothing)
    filters = Form(
        action=DASHBOARD,
        method="get",
        inline=True,
        submit="Show",
        target="usage-card",
        id="usage-filter",
        hidden={name: visit.query[name] for name in ("month", "scope") if visit.query.get(name)},
        fields=[
            Field(name="from", label="Range", type="select", value=since, options=RANGES),
            Field(name="show", label="Show", type="select", value=measure,
                  options=[Option(name, title) for name, (title, _) in MEASURES.items()]),
            Field(name="by", label="By", type="select", value=by, options=GROUPS),
        ],
    )  # fmt: skip
    return Card("Usage", [filters, shown], subtitle=f"days of {reply['reporting_zone']}", id="usage-card")


def keys_table(keys: Sequence[Mapping[str, Any]]) -> Table:
    """The account's keys and what each has spent."""
    rows = [
        Row(
            id=f"key-{one['id']}",
            cells=[
                f"…{one['key_last4']}",
                one["label"],
                Money(one["spent_usd"]),
                Money(one["held_usd"]),
                Number(one["calls"]),
                Number(one["input_tokens"]),
                Number(one["output_tokens"]),
            ],
        )
        for one in keys
    ]
    columns = [
        Column(title="Key"),
        Column(title="Label", wide=True),
        Column(title="Spent", align="right"),
        Column(title="Held", align="right"),
        Column(title="Calls", align="right"),
        Column(title="Input", align="right"),
        Column(title="Output", align="right"),
    ]
    note = "A key that replaced another after a rotation continues its figures."
    return Table(
        id="keys",
        caption="Keys of the account",
        columns=columns,
        rows=rows,
        empty=Empty(text="No key has been used this month."),
        note=note if rows else "",
    )
