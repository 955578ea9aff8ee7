"""One lane, one model with its deployments, one integration."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Empty,
    Facts,
    Link,
    Money,
    Muted,
    Notice,
    Number,
    Page,
    Part,
    Row,
    Stack,
    Table,
    Time,
)
from kaixu.web.formats import plain_text
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .lane_cells import (
    INTEGRATION,
    LANE,
    MODEL,
    breaker_cell,
    call_link,
    errors_text,
    health_cell,
    latency_text,
    margin_cell,
    model_href,
    pair,
    state_cell,
)

TAB = TABS["lanes"]


def lane_page_routes(site: Site) -> list[Route]:
    """The routes of single lanes, models and integrations."""
    return [
        *site.operator_page(LANE, lane, tab=TAB),
        *site.operator_page(MODEL, model, tab=TAB),
        *site.operator_page(INTEGRATION, integration, tab=TAB),
    ]


async def find(visit: Visit, kind: str, name: str) -> dict[str, Any]:
    """A lane or an integration. Raises `NotFound`."""
    reply = await visit.api.get("admin-lanes", month=visit.query.get("month"))
    for one in reply[kind]:
        if one["name"] == name:
            found: dict[str, Any] = one
            return found
    what = "lane" if kind == "lanes" else "integration"
    raise NotFound(f"kaixu.yaml has no {what} of this name", hint="It may have been removed by a reload.")


async def lane(visit: Visit) -> Page | Reply:
    """A lane: its state, its keys with the vendor, its models."""
    one = await find(visit, "lanes", visit.query.get("lane", ""))
    facts: list[tuple[str, Cell]] = [
        ("State", state_cell(one)),
        ("Plugin", one["plugin"]),
        ("Name in replies", one["public_name"]),
        ("Aliases", ", ".join(one["aliases"]) or Muted("none")),
        ("Required", "yes: the gateway does not start without it" if one["required"] else "no"),
        ("Preamble", "yes, before every chat" if one["has_preamble"] else "none"),
    ]
    parts: list[Part] = []
    if one["missing"]:
        names = ", ".join(one["missing"])
        text = f"Not set in the gateway's environment: {names}."
        hint = (
            "Set it where the gateway is started, and restart it: a reload reads the environment it was started with."
        )
        parts.append(Notice(state="warn", text=text, hint=hint))
    parts += [
        Card("Lane", [Facts(facts)]),
        Card("Keys with the vendor", [key_table(one["vendor_keys"], missing=bool(one["missing"]))]),
        Card("Models", [models_of(one)]),
    ]
    return Page(title=f"Lane {one['name']}", parts=parts, actions=[Link("All lanes", TAB.path)])


def key_table(keys: list[dict[str, Any]], *, missing: bool) -> Table:
    """The keys, by their ends."""
    return Table(
        id="vendor-keys",
        columns=[
            Column(title="Key"),
            Column(title="Last four"),
            Column(title="State", wide=True),
            Column(title="Accepted", align="right", hint="requests since this process opened the lane"),
            Column(title="Refused", align="right"),
        ],
        rows=[
            Row(
                cells=[
                    key["label"],
                    f"…{key['last4']}" if key["last4"] else Muted("too short to show"),
                    Badge("good", "ready")
                    if key["state"] == "ready"
                    else Badge("warn", "cooling down", hint=f"refused by the vendor: {key['why']}"),
                    Number(key["accepted"]),
                    Number(key["refused"]),
                ]
            )
            for key in keys
        ],
        empty=Empty(text="The key is not set." if missing else "This lane needs no key, or is not open."),
        note="Counted in this process. The gateway shows no more of a key than its end." if keys else "",
    )


def models_of(one: Mapping[str, Any]) -> Table:
    """The models of a lane, short."""
    return Table(
        id="models-of-lane",
        columns=[
            Column(title="Model", wide=True),
            Column(title="Type"),
            Column(title="Price in / out", align="right"),
            Column(title="Margin in / out", align="right"),
        ],
        rows=[
            Row(
                href=model_href(one["name"], model["name"]),
                cells=[
                    model["name"],
                    model["type"],
                    pair(model["figures"], "price", model["type"]),
                    margin_cell(model["figures"], model["type"]),
                ],
            )
            for model in one["models"]
        ],
        empty=Empty(text="No model."),
    )


async def model(visit: Visit) -> Page | Reply:
    """A model: its prices, and each of its deployments."""
    lane_name, name = visit.query.get("lane", ""), visit.query.get("model", "")
    one = await find(visit, "lanes", lane_name)
    found = next((model for model in one["models"] if model["name"] == name), None)
    if found is None:
        raise NotFound("this lane has no model of this name", hint="It may have been removed by a reload.")
    figures = found["figures"]
    parts: list[Part] = []
    if not found["is_priced"]:
        text = "This model has no price: customers' calls to it are refused with 409."
        parts.append(Notice(state="warn", text=text, hint="Add price: to it in kaixu.yaml, and reload."))
    if figures["loss"]:
        kinds = ", ".join(kind.replace("_", " ") for kind in figures["loss"])
        text = f"Sold below cost: {kinds}."
        parts.append(Notice(state="bad", text=text, hint="Raise price:, or correct cost:, in kaixu.yaml."))
    facts: list[tuple[str, Cell]] = [
        ("Names for clients", ", ".join([f"{lane_name}/{name}", *found["aliases"]])),
        ("Type", found["type"]),
        ("Upstream name", found["upstream"]),
        ("Price", price_words(figures, "price", found["type"])),
        ("Cost", price_words(figures, "cost", found["type"])),
        ("Margin in / out", margin_cell(figures, found["type"])),
    ]
    if figures["list"]:
        facts.append(("Price list", f"{figures['list']} of {figures['as_of']}"))
    if figures["note"]:
        facts.append(("Note of the list", figures["note"]))
    if found["max_output_tokens"]:
        facts.append(("Most output", f"{found['max_output_tokens']:,} tokens"))
    if found["dimensions"]:
        facts.append(("Dimensions", f"{found['dimensions']:,}"))
    if found["fallback"]:
        facts.append(("Fallback", ", ".join(found["fallback"])))
    if found["has_cache"]:
        facts.append(("Cache", "on: equal requests of one customer are answered from it"))
    parts.append(Card("Model", [Facts(facts)]))
    may_test = visit.may(SETTINGS)
    parts += [deployment_card(lane_name, found, place, may_test=may_test) for place in found["deployments"]]
    is_on = any(place["state"] == "on" for place in found["deployments"])
    actions = [call_link(lane_name, name)] if may_test and is_on else []
    return Page(title=f"{lane_name}/{name}", parts=parts, actions=[*actions, Link("All lanes", TAB.path)])


def price_words(figures: Mapping[str, Any], what: str, kind: str) -> Cell:
    """Rates in words, with where they are from."""
    rates = pair(figures, what, kind)
    if figures[f"{what}_from"] is None or not isinstance(rates, str):
        return rates
    origin = "written in kaixu.yaml" if figures[f"{what}_from"] == "own" else f"from {figures[f'{what}_from']}"
    return f"{rates} USD per million tokens, {origin}"


def deployment_card(lane_name: str, found: Mapping[str, Any], place: Mapping[str, Any], *, may_test: bool) -> Card:
    """A deployment: state, health, and the month."""
    month, recent, everywhere = place["month"], place["recent"], place["all_gateways"]
    facts: list[tuple[str, Cell]] = [
        ("Lane", place["lane"]),
        ("State", state_cell(place)),
        ("Upstream name", place["upstream"]),
        ("Order", f"priority {place['priority']}, weight {place['weight']}"),
        ("Breaker, this process", breaker_cell(place["breaker"])),
        ("Lately, this process", health_cell(place)),
    ]
    if recent["last_failure"]:
        facts += [
            ("Last failure", plain_text(recent["last_failure"])),
            ("At", Time(recent["last_failure_at"], form="ago")),
        ]
    if everywhere["failed_at"]:
        down = Badge("bad", "down") if everywhere["is_down"] else Badge("good", "up")
        facts += [
            ("All gateways", down),
            ("Since", Time(everywhere["since"])),
            ("Failed last", Time(everywhere["failed_at"])),
            ("Answered after that", Time(everywhere["answered_at"], none="not yet")),
            ("Outages in a row", Number(everywhere["outages"])),
        ]
    facts += [
        ("Cost in / out", pair(place["figures"], "cost", found["type"])),
        ("Margin in / out", margin_cell(place["figures"], found["type"])),
        ("Calls of the month", Number(month["calls"])),
        ("Errors", errors_text(month["calls"], month["errors"])),
        ("p50 / p95", latency_text(month)),
        ("Tokens in / out", f"{month['input_tokens']:,} / {month['output_tokens']:,}"),
        ("Spent", Money(month["spent_usd"])),
        ("Vendor cost", Money(month["vendor_cost_usd"])),
        ("Margin", Money(month["margin_usd"], is_signed=True)),
    ]
    if Decimal(month["uncosted_usd"]):
        facts.append(("Spent with unknown cost", Money(month["uncosted_usd"])))
    links = [call_link(lane_name, found["name"], place["name"])] if may_test and place["state"] == "on" else []
    return Card(f"Deployment {place['name']}", [Facts(facts)], links=links)


async def integration(visit: Visit) -> Page | Reply:
    """An integration: what its operations and jobs charge, and when its schedules run."""
    one = await find(visit, "integrations", visit.query.get("name", ""))
    facts: list[tuple[str, Cell]] = [
        ("State", state_cell(one)),
        ("Missing", ", ".join(one["missing"]) or Muted("nothing")),
        ("Plugin", one["where"] or one["plugin"]),
        ("Required", "yes: the gateway does not start without it" if one["required"] else "no"),
        ("Tables", "of its own, with a database role of its own" if one["has_tables"] else "none"),
    ]
    columns = [Column(title="Name"), Column(title="Charge", wide=True), Column(title="Least role")]
    offers = [
        Table(
            id=kind,
            caption=kind.capitalize(),
            columns=columns,
            rows=[Row(cells=[offer["name"], charge_cell(offer), offer["role"] or Muted("–")]) for offer in one[kind]],
            empty=Empty(text="None."),
        )
        for kind in ("operations", "jobs")
    ]
    schedules = Table(
        id="schedules",
        caption="Schedules",
        columns=[
            Column(title="Name"),
            Column(title="Every"),
            Column(title="Next"),
            Column(title="Last"),
            Column(title="Free because", wide=True),
        ],
        rows=[
            Row(
                cells=[
                    row["name"],
                    f"{row['every_s']:g} s",
                    Time(row["next_at"]),
                    last_run(row),
                    row["why_free"],
                ]
            )
            for row in one["schedules"]
        ],
        empty=Empty(text="None."),
    )
    parts: list[Part] = [Card("Integration", [Facts(facts)]), *offers, schedules]
    return Page(title=f"Integration {one['name']}", parts=parts, actions=[Link("All lanes", TAB.path)])


def charge_cell(offer: Mapping[str, Any]) -> Cell:
    """What an operation charges; free ones say why."""
    if offer["free_because"]:
        return f"Free: {offer['free_because']}"
    return plain_text(offer["charge"]) if offer["charge"] else Badge("bad", "no price in kaixu.yaml")


def last_run(row: Mapping[str, Any]) -> Cell:
    """How the last run of a schedule ended."""
    if row["last_at"] is None:
        return Muted("never")
    return Stack([Time(row["last_at"]), row["last_error"] or row["last_status"] or "deleted"])
