"""SkyeFuelStation: the public page with products, prices and totals; and the account of whoever is signed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import Api, ApiFailure
from kaixu.web.components import (
    Badge,
    Card,
    Column,
    Form,
    Link,
    Money,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Stat,
    Stats,
    Table,
)
from kaixu.web.filter_problems import marked
from kaixu.web.formats import counted, usd_of_cents
from kaixu.web.months import chosen_month, month_field, month_title
from kaixu.web.navigation import DASHBOARD, SIGN_IN, TABS
from kaixu.web.page_sessions import customer_token
from kaixu.web.site import Site
from kaixu.web.visits import Visit

TAB = TABS["public-station"]
PATH = "/skyefuelstation"


def public_station_pages(site: Site) -> list[Route]:
    """The route of the page."""

    async def station(visit: Visit) -> Page | Reply:
        token = customer_token(visit.services, visit.request)
        own = None if token is None else Api(site.api, visit.request, f"Bearer {token}")
        return await station_page(visit, own)

    return site.public_page(PATH, station, tab=TAB)


async def station_page(visit: Visit, own: Api | None) -> Page:
    """The page. The offer needs no database; without it, the totals are missing."""
    offer = await visit.api.get("skye-fuel-station-config")
    station, pricing = offer["station"], offer["station"]["pricing"]
    parts: list[Part] = [products(station["assets"])]
    parts.append(
        Card(f"What {offer['preview']['spend_usd']:g} dollars buy", [preview(offer["preview"], pricing)], width=6)
    )
    parts.append(Card("Your account", await account(own), width=6))
    form = Form(action=PATH, method="get", inline=True, submit="Show", fields=[month_field(chosen_month(visit))])
    status = 200
    try:
        overview = await visit.api.get("skye-fuel-station-overview", month=visit.query.get("month"))
        parts += [form, *totals(overview)]
    except ApiFailure as failure:
        parts.append(marked(form, failure))
        status = failure.status
    links = [Link("Brain", station["brain_gate"]["public_url"], external=True)] if brain_url(station) else []
    return Page(title=station["name"], subtitle=station["tagline"], parts=parts, actions=links, status=status)


def brain_url(station: Mapping[str, Any]) -> bool:
    """Whether the station has a public address of its brain that a page may link to."""
    return str(station["brain_gate"]["public_url"] or "").startswith(("https://", "http://"))


def products(assets: list[Mapping[str, Any]]) -> Table:
    """What is offered."""
    return Table(
        id="products",
        caption="Products and prices",
        columns=[
            Column(title="Product"),
            Column(title="Role"),
            Column(title="What it is", wide=True),
            Column(title="A unit costs", align="right"),
        ],
        rows=[
            Row(cells=[one["name"], Badge("info", one["role"]), one["description"], Money(str(one["unit_usd"]))])
            for one in assets
        ],
    )


def preview(figures: Mapping[str, Any], pricing: Mapping[str, Any]) -> Stats:
    """An example of a purchase."""
    name = pricing["service_asset_name"]
    return Stats(
        [
            Stat("Spend", Money(str(figures["spend_usd"]))),
            Stat(name, Number(figures["effective_service_units"]),
                 note=f"{figures['base_service_units']:,} and {figures['bonus_service_units']:,} as a bonus"),
            Stat("Bonus", f"{pricing['bonus_return_pct']:g} %", note="on top of what is bought"),
            Stat("Discount", Money(str(figures["discount_usd"])), note=f"{pricing['discount_pct']:g} % of the spend"),
        ]
    )  # fmt: skip


async def account(own: Api | None) -> list[Part]:
    """What the visitor's own key has left; the way to sign in where there is none."""
    summary = None
    if own is not None:
        try:
            summary = await own.get("user-summary")
        except ApiFailure:
            summary = None  # a key that does not work any more is no reason not to show the station
    if summary is None:
        links = [
            Link("Sign in with your key", SIGN_IN, icon="key-round"),
            Link("Get a key", "/request-key", icon="plus"),
        ]
        return [Prose(paragraphs=["Sign in to see what your account has left this month."], links=links)]
    month = summary["month"]
    stats = Stats(
        [
            Stat("Plan", summary["customer"]["plan_name"]),
            Stat("The account has left", Money(month["customer_remaining_usd"])),
            Stat("This key has left", Money(month["key_remaining_usd"])),
            Stat("Tokens this month", Number(month["customer_tokens"])),
        ]
    )
    return [stats, Prose(paragraphs=[], links=[Link("Dashboard", DASHBOARD, icon="chart-line")])]


def totals(overview: Mapping[str, Any]) -> list[Part]:
    """The month of all customers together, where the operator shows it."""
    month = overview["overview"]
    treasury = month["treasury"]
    if not overview["storage_ready"]:
        return [Prose(paragraphs=["The totals cannot be read now. The prices above hold all the same."])]
    if not any((*treasury.values(), month["customers"]["total"], month["keys"]["total"])):
        return []
    stats = [
        Stat("Customers", Number(month["customers"]["active"]), note=f"of {month['customers']['total']:,}"),
        Stat("Keys", Number(month["keys"]["active"]), note=f"of {month['keys']['total']:,}"),
        Stat("Spent", Money(usd_of_cents(treasury["spent_cents"]))),
        Stat(
            "Topped up", Money(usd_of_cents(treasury["topup_cents"])), note=counted(treasury["topup_count"], "top-up")
        ),
        Stat("Tokens", Number(treasury["token_volume"])),
    ]
    return [Card(f"All customers together, {month_title(month['month'])}", [Stats(stats)])]
