"""The tab of SkyeFuelStation: its prices and products, and a month of what customers use, as operators see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.config.price import usd
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Money,
    Notice,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Stat,
    Stats,
    Table,
    Time,
)
from kaixu.web.formats import usd_of_cents
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

TAB = TABS["station"]

#: 1 micro-dollar in nano-dollars.
NUSD_PER_MICROUSD = 1000


def station_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, station, tab=TAB, twin=snapshot_of)


def snapshot_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the station, with the month of the page."""
    return "admin-skyefuel-station", {"month": visit.query.get("month")}


async def station(visit: Visit) -> Page | Reply:
    """The station and a month."""
    name, query = snapshot_of(visit)
    reply = await visit.api.get(name, **query)
    overview, offer = reply["overview"], reply["station"]
    choose = Form(
        action=TAB.path,
        method="get",
        inline=True,
        submit="Show",
        fields=[Field(name="month", label="Month", type="month", value=overview["month"])],
    )
    parts: list[Part] = [choose]
    if not reply["storage_ready"]:
        text = "The database did not answer: prices and products are shown from kaixu.yaml, figures are missing."
        parts.append(Notice(state="warn", text=text, hint="Load the page again in a moment."))
    parts += [
        Stats(stats_of(overview)),
        Card("Station pricing policy", [policy(offer, reply["preview"]), ABOUT_POLICY], width=6),
        Card("Station products", [products(offer), ABOUT_PRODUCTS], width=6),
        Card("Top customer usage", [leaders(visit, reply["leaders"])], width=6),
        Card("Recent station activity", [activity(visit, reply["recent_events"])], width=6),
        Card("Plans", [plans(visit, reply["plan_mix"])], width=6),
        Card("Providers", [providers(reply["provider_mix"])], width=6),
        Card("Top-ups", [sources(reply["topup_sources"]), topups(reply["recent_topups"])], width=6),
        Card("Brain", [brain(reply["brain_gate"]), ABOUT_BRAIN], width=6),
    ]
    return Page(
        title=TAB.title,
        subtitle=offer["tagline"] or f"{offer['name']}, as operators see it",
        parts=parts,
        actions=[Link("Open the public station", offer["public_path"], icon="external-link")],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


ABOUT_POLICY = Prose(
    tip=True,
    paragraphs=[
        "This tab reads the station: its names and rates come from station in kaixu.yaml, the figures from the "
        "gateway's own books. The public page at /skyefuelstation/ shows prices and totals to everybody; what is "
        "here (addresses of customers, single calls, top-ups) is for operators only. The gateway serves the station, "
        "it does not become its front page."
    ],
)

ABOUT_PRODUCTS = Prose(
    paragraphs=["Products describe what customers buy. They do not bill anything: models' prices do, under Lanes."]
)

ABOUT_BRAIN = Prose(
    paragraphs=[
        "The brain is a service of yours that the gateway looks at every minute, in the background: a page never "
        "waits for it. Its reply is shown to operators only."
    ]
)


def dollars(cents: int) -> Money:
    """Cents of a reply as an amount."""
    return Money(usd_of_cents(cents))


def stats_of(overview: Mapping[str, Any]) -> list[Stat]:
    """The totals of the month."""
    customers, keys, treasury = overview["customers"], overview["keys"], overview["treasury"]
    return [
        Stat("Customers", Number(customers["active"]), note=f"active, of {customers['total']:,}",
             href=TABS["customers"].path),
        Stat("Keys", Number(keys["active"]), note=f"active, of {keys['total']:,}"),
        Stat("Spent", dollars(treasury["spent_cents"]), note=overview["month"]),
        Stat("Tokens", Number(treasury["token_volume"]), note="input and output"),
        Stat("Extra", dollars(treasury["extra_cents"]), note="credit on top of the caps"),
        Stat("Top-ups", dollars(treasury["topup_cents"]), note=f"{treasury['topup_count']:,} in the month"),
        Stat("Caps", dollars(treasury["total_cap_cents"]), note="of all customers together"),
    ]  # fmt: skip


def policy(offer: Mapping[str, Any], preview: Mapping[str, Any]) -> Facts:
    """The rates, and what a spend buys at them."""
    pricing, rates = offer["pricing"], offer["pricing"]["rates"]
    service = pricing["service_asset_name"]
    return Facts(
        [
            (f"{service}, a unit", rate(rates["token_unit_usd"])),
            (f"{pricing['fuel_asset_name']}, a unit", rate(rates["fuel_unit_usd"])),
            (f"{pricing['coin_asset_name']}, a unit", rate(rates["coin_unit_usd"])),
            (f"{pricing['access_asset_name']}, a session", rate(rates["key_session_usd"])),
            ("Bonus on a purchase", f"{pricing['bonus_return_pct']} %"),
            ("Discount", f"{pricing['discount_pct']} %"),
            (
                f"What {preview['spend_usd']} USD buy",
                f"{preview['effective_service_units']:,} {service} "
                f"({preview['base_service_units']:,} and {preview['bonus_service_units']:,} as bonus), "
                f"{preview['discount_usd']:,} USD discount",
            ),
        ]
    )


def rate(amount: float) -> Money:
    """A rate of the station."""
    return Money(f"{amount:.9f}".rstrip("0").rstrip("."))


def products(offer: Mapping[str, Any]) -> Table:
    """What the station offers."""
    return Table(
        id="products",
        columns=[Column(title="Product"), Column(title="Unit", align="right"), Column(title="What it is", wide=True)],
        rows=[
            Row(cells=[one["name"], rate(one["unit_usd"]), one["description"] or one["role"]])
            for one in offer["assets"]
        ],
        empty=Empty(text="No products: station.products of kaixu.yaml names them."),
    )


def leaders(visit: Visit, rows: list[dict[str, Any]]) -> Table:
    """The customers that spent most."""
    return Table(
        id="leaders",
        columns=[
            Column(title="Customer", wide=True),
            Column(title="Plan"),
            Column(title="Spent", align="right"),
            Column(title="Extra", align="right"),
            Column(title="Tokens", align="right"),
        ],
        rows=[
            Row(
                cells=[one["email"], one["plan_name"], dollars(one["spent_cents"]), dollars(one["extra_cents"]),
                       Number(one["token_volume"])],
                href=visit.url(TABS["usage"].path, customer_id=one["id"], month=visit.query.get("month")),
                drawer=False,
            )
            for one in rows
        ],
        empty=Empty(text="Nobody has spent anything in this month.", link=Link("Customers", TABS["customers"].path)),
        note="The eight that spent most. A click opens the customer's usage." if rows else "",
    )  # fmt: skip


def activity(visit: Visit, rows: list[dict[str, Any]]) -> Table:
    """The newest calls."""
    return Table(
        id="activity",
        columns=[
            Column(title="Time"),
            Column(title="Customer", wide=True),
            Column(title="Provider"),
            Column(title="Model"),
            Column(title="Cost", align="right"),
        ],
        rows=[
            Row(
                cells=[
                    Time(one["created_at"]),
                    one["email"],
                    one["provider"],
                    one["model"],
                    Money(usd(one["cost_microusd"] * NUSD_PER_MICROUSD)),
                ]
            )
            for one in rows
        ],
        empty=Empty(text="No call in this month yet.", link=Link("Try the playground", TABS["playground"].path)),
        note="The ten newest calls." if rows else "",
    )


def plans(visit: Visit, rows: list[dict[str, Any]]) -> Table:
    """Customers and spending by plan."""
    return Table(
        id="plans",
        columns=[
            Column(title="Plan", wide=True),
            Column(title="Customers", align="right"),
            Column(title="Active", align="right"),
            Column(title="Caps", align="right"),
            Column(title="Spent", align="right"),
            Column(title="Tokens", align="right"),
        ],
        rows=[
            Row(
                cells=[
                    one["plan_name"],
                    Number(one["customer_count"]),
                    Number(one["active_customer_count"]),
                    dollars(one["total_cap_cents"]),
                    dollars(one["spent_cents"]),
                    Number(one["token_volume"]),
                ],
                href=visit.url(TABS["customers"].path, plan=one["plan_name"]),
                drawer=False,
            )
            for one in rows
        ],
        empty=Empty(text="There are no customers yet.", link=Link("Create the first one", TABS["create"].path)),
    )


def providers(rows: list[dict[str, Any]]) -> Table:
    """Calls and spending by provider."""
    return Table(
        id="providers",
        columns=[
            Column(title="Provider", wide=True),
            Column(title="Calls", align="right"),
            Column(title="Spent", align="right"),
            Column(title="Tokens", align="right"),
        ],
        rows=[
            Row(
                cells=[
                    one["provider"],
                    Number(one["event_count"]),
                    dollars(one["spent_cents"]),
                    Number(one["token_volume"]),
                ],
                href=TABS["lanes"].path,
                drawer=False,
            )
            for one in rows
        ],
        empty=Empty(text="No provider has answered a call in this month."),
    )


def sources(rows: list[dict[str, Any]]) -> Table:
    """Top-ups by where they came from."""
    return Table(
        id="sources",
        columns=[
            Column(title="Source", wide=True),
            Column(title="Top-ups", align="right"),
            Column(title="Amount", align="right"),
        ],
        rows=[Row(cells=[one["source"], Number(one["event_count"]), dollars(one["amount_cents"])]) for one in rows],
        empty=Empty(text="No top-up in this month.", link=Link("Billing & Controls", TABS["billing"].path)),
    )


def topups(rows: list[dict[str, Any]]) -> Table:
    """The newest top-ups."""
    return Table(
        id="topups",
        caption="Newest",
        columns=[
            Column(title="Time"),
            Column(title="Source", wide=True),
            Column(title="State"),
            Column(title="Amount", align="right"),
        ],
        rows=[
            Row(cells=[Time(one["created_at"]), one["source"], one["status"], dollars(one["amount_cents"])])
            for one in rows
        ],
        empty=Empty(text="None."),
    )


def brain(gate: Mapping[str, Any]) -> Facts:
    """Whether the brain is there."""
    if not gate["configured"]:
        state: Cell = Badge("off", "not configured", hint="station.brain of kaixu.yaml, or its variables, name it")
    elif gate["connected"]:
        state = Badge("good", "connected")
    else:
        state = Badge("bad", "not connected")
    items: list[tuple[str, Cell]] = [("State", state)]
    if gate["configured"]:
        items += [
            ("Address", gate["url"] or "–"),
            ("Answered at", gate["endpoint"] or "–"),
            ("Last looked at", Time(gate["checked_at"], none="never")),
        ]
    if gate["error"]:
        items.append(("Problem", gate["error"]))
    return Facts(items)
