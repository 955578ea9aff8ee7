"""The tab of lanes and plugins: what is switched on, what is missing, what it costs, and whether it works."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Empty,
    Link,
    Money,
    Muted,
    Notice,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Snippet,
    Stack,
    Stat,
    Stats,
    Table,
)
from kaixu.web.formats import plain_text
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .lane_cells import (
    NEW,
    breaker_cell,
    call_link,
    errors_text,
    health_cell,
    integration_href,
    lane_href,
    latency_text,
    margin_cell,
    missing_cell,
    model_href,
    pair,
    state_cell,
    sums,
)
from .lane_new import lane_new_routes
from .lane_pages import lane_page_routes
from .lane_test import lane_test_routes

TAB = TABS["lanes"]


def lane_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return [
        *site.operator_page(TAB.path, lanes, tab=TAB, twin=list_of),
        *lane_page_routes(site),
        *lane_test_routes(site),
        *lane_new_routes(site),
    ]


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the page."""
    return "admin-lanes", {"month": visit.query.get("month")}


async def lanes(visit: Visit) -> Page | Reply:
    """Everything that kaixu.yaml switches on."""
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    may_test = visit.may(SETTINGS)
    parts: list[Part] = [
        *notices(reply["config"]),
        Stats(stats_of(reply)),
        lane_table(reply["lanes"], reply["config"]["file"]),
        model_table(reply["lanes"], may_test=may_test),
        integration_table(reply["integrations"]),
        plugin_table(reply["plugins"]),
        Card("Change what is switched on", [RELOAD, Snippet("kaixu check\nkaixu reload", language="sh")], width=6),
        Card("How prices, costs and breakers work", [ABOUT], width=6),
    ]
    actions = [Link("Add a lane", NEW, icon="plus")] if may_test else []
    return Page(
        title=TAB.title,
        subtitle=f"Figures of {reply['month']}; states are of this process, as of now.",
        parts=parts,
        actions=actions,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


RELOAD = Prose(
    paragraphs=[
        "Lanes, models, prices and integrations are in kaixu.yaml, and only there: these pages read it and never write "
        "it. Edit the file, check it, and reload: calls that run keep what they began with, and a file with a mistake "
        "changes nothing."
    ]
)

ABOUT = Prose(
    paragraphs=["You own the vendors' credentials; clients get virtual keys. What lies between is your margin."],
    items=[
        "Price: what customers pay, in USD per million tokens. A model without one is refused, so that nothing is "
        "ever given away by mistake.",
        "Cost: what the vendor charges you. It is only for the margin: without it the margin is unknown.",
        "Below cost: at least one kind of token is sold for less than it costs. Raise the price, or correct the cost.",
        "A breaker opens after failures in a row and closes after a call that is answered. It only matters where a "
        "model has another deployment to go to. Each process has its own; whether a deployment is down for all "
        "gateways is in its drawer.",
        "Calls, errors, latencies, spending and vendor costs are of the month; latencies are the time that half, and "
        "95 of 100, of the calls did not exceed.",
    ],
)


def notices(config: Mapping[str, Any]) -> list[Part]:
    """What is wrong with kaixu.yaml, on the disk and in force."""
    parts: list[Part] = []
    file = config["file"]
    if config["mistakes"]:
        text = f"{file} has mistakes now: a reload would be refused."
        parts.append(Notice(state="bad", text=text))
        parts.append(mistake_table("mistakes", config["mistakes"]))
    elif config["is_changed"]:
        text = f"Lanes or integrations in {file} differ from what is in force."
        parts.append(Notice(state="info", text=text, hint="kaixu reload applies the file."))
    in_force = [one for one in config["mistakes_in_force"] if one not in config["mistakes"]]
    if in_force:
        text = f"Plugins found mistakes in {file}: the lanes concerned do not serve, the others do."
        parts += [Notice(state="warn", text=text), mistake_table("mistakes-in-force", in_force)]
    parts += [Notice(state="info", text=plain_text(note)) for note in config["notes"]]
    return parts


def mistake_table(name: str, mistakes: list[dict[str, Any]]) -> Table:
    """Mistakes and their places."""
    return Table(
        id=name,
        columns=[Column(title="Place", align="right"), Column(title="Mistake", wide=True)],
        rows=[
            Row(cells=[f"{one['file']}:{one['line']}:{one['column']}", plain_text(one["message"])]) for one in mistakes
        ],
    )


def stats_of(reply: Mapping[str, Any]) -> list[Stat]:
    """How many lanes and models there are, what needs a look, and the month's money."""
    lanes = reply["lanes"]
    models = [model for lane in lanes for model in lane["models"]]
    places = [one for model in models for one in model["deployments"]]
    on = sum(lane["state"] == "on" for lane in lanes)
    losses = sum(bool(model["figures"]["loss"]) for model in models)
    unpriced = sum(not model["is_priced"] for model in models)
    tripped = sum(one["breaker"] in ("open", "half-open") or one["all_gateways"]["is_down"] for one in places)
    spent, cost, margin = (
        sum(Decimal(one["month"][name]) for one in places) for name in ("spent_usd", "vendor_cost_usd", "margin_usd")
    )
    return [
        Stat("Lanes on", Number(on), note=f"of {len(lanes)}", state="warn" if on < len(lanes) else None),
        Stat("Models", Number(len(models)), note=f"{unpriced} without a price" if unpriced else "all with a price",
             state="warn" if unpriced else None),
        Stat("Below cost", Number(losses), note="models", state="bad" if losses else None),
        Stat("Not well", Number(tripped), note="deployments: breaker open, or down", state="bad" if tripped else None),
        Stat("Spent", Money(f"{spent:f}"), note=reply["month"], href=TABS["usage"].path),
        Stat("Vendor cost", Money(f"{cost:f}"), note=reply["month"]),
        Stat("Margin", Money(f"{margin:f}", is_signed=True), note="where the cost is known"),
    ]  # fmt: skip


def lane_table(lanes: list[dict[str, Any]], file: str) -> Table:
    """A row for each lane."""
    return Table(
        id="lanes",
        caption="Lanes",
        columns=[
            Column(title="Lane"),
            Column(title="State", wide=True),
            Column(title="Missing", hint="Environment variables that are not set"),
            Column(title="Plugin"),
            Column(title="Models", align="right"),
            Column(title="Calls", align="right"),
            Column(title="Errors", align="right"),
            Column(title="Spent", align="right"),
            Column(title="Vendor cost", align="right"),
            Column(title="Margin", align="right"),
        ],
        rows=[lane_row(one) for one in lanes],
        empty=Empty(text=f"{file} declares no lanes, so no model can be called.", link=Link("Make the first one", NEW)),
    )


def lane_row(one: Mapping[str, Any]) -> Row:
    """A lane's row."""
    months = [place["month"] for model in one["models"] for place in model["deployments"]]
    calls, errors = sums(months)
    names: list[Cell] = [one["name"]]
    if one["aliases"]:
        names.append(Muted(f"also {', '.join(one['aliases'])}"))
    if one["public_name"] != one["name"]:
        names.append(Muted(f"shown as {one['public_name']}"))
    spent, cost, margin = (
        sum(Decimal(month[name]) for month in months) for name in ("spent_usd", "vendor_cost_usd", "margin_usd")
    )
    return Row(
        id=f"lane-{one['name']}",
        href=lane_href(one["name"]),
        state=None if one["state"] == "on" else "bad" if one["state"] == "failed" else "off",
        cells=[
            Stack(names, lines=True) if len(names) > 1 else one["name"],
            state_cell(one),
            missing_cell(one["missing"]),
            one["plugin"],
            Number(len(one["models"])),
            Number(calls),
            errors_text(calls, errors),
            Money(f"{spent:f}"),
            Money(f"{cost:f}"),
            Money(f"{margin:f}"),
        ],
    )


def model_table(lanes: list[dict[str, Any]], *, may_test: bool) -> Table:
    """A row for each model."""
    return Table(
        id="models",
        caption="Models",
        columns=[
            Column(title="Model"),
            Column(title="Price in / out", align="right", hint="USD per million tokens"),
            Column(title="Cost in / out", align="right", hint="USD per million tokens"),
            Column(title="Margin in / out", align="right"),
            Column(title="Health"),
            Column(title="Calls", align="right"),
            Column(title="p50 / p95", align="right"),
        ],
        rows=[model_row(lane, model, may_test=may_test) for lane in lanes for model in lane["models"]],
        empty=Empty(text="No lane has a model."),
        note="Prices and costs are USD per million tokens. A click shows each deployment.",
    )


def model_row(lane: Mapping[str, Any], model: Mapping[str, Any], *, may_test: bool) -> Row:
    """A model's row; of several deployments the first that is on stands for the model."""
    places = model["deployments"]
    shown = next((one for one in places if one["state"] == "on"), places[0])
    calls, _ = sums([one["month"] for one in places])
    name: list[Cell] = [f"{lane['name']}/{model['name']}"]
    below = [] if model["type"] == "chat" else ["embeddings"]
    below += [f"{len(places)} deployments"] if len(places) > 1 else []
    below += [f"also {', '.join(model['aliases'])}"] if model["aliases"] else []
    below += [f"upstream {model['upstream']}"] if model["upstream"] != model["name"] else []
    if below:
        name.append(Muted("; ".join(below)))
    is_on = any(one["state"] == "on" for one in places)
    return Row(
        id=f"model-{lane['name']}-{model['name']}",
        href=model_href(lane["name"], model["name"]),
        state=None if is_on else "off",
        cells=[
            Stack(name, lines=True) if len(name) > 1 else name[0],
            pair(model["figures"], "price", model["type"]),
            pair(model["figures"], "cost", model["type"]),
            margin_cell(model["figures"], model["type"]),
            health_of(places) if is_on else Badge("off", "lane is not on"),
            Number(calls),
            latency_text(shown["month"]),
        ],
        actions=[call_link(lane["name"], model["name"])] if may_test and is_on else [],
    )


def health_of(places: list[dict[str, Any]]) -> Cell:
    """The health of each deployment that is on, with its breaker where that is not closed."""
    cells: list[Cell] = []
    for one in places:
        if one["state"] != "on":
            continue
        cells.append(health_cell(one))
        if one["breaker"] != "closed":
            cells.append(breaker_cell(one["breaker"]))
    return Stack(cells, lines=True)


def integration_table(integrations: list[dict[str, Any]]) -> Table:
    """A row for each integration."""
    return Table(
        id="integrations",
        caption="Integrations",
        columns=[
            Column(title="Integration"),
            Column(title="State", wide=True),
            Column(title="Missing"),
            Column(title="Operations", align="right"),
            Column(title="Jobs", align="right"),
            Column(title="Schedules", align="right"),
        ],
        rows=[
            Row(
                href=integration_href(one["name"]),
                cells=[
                    one["name"],
                    state_cell(one),
                    missing_cell(one["missing"]),
                    Number(len(one["operations"])),
                    Number(len(one["jobs"])),
                    Number(len(one["schedules"])),
                ],
            )
            for one in integrations
        ],
        empty=Empty(text="No integration is switched on. Name one under integrations: in kaixu.yaml, with its prices."),
    )


def plugin_table(plugins: list[dict[str, Any]]) -> Table:
    """A row for each plugin that is named or installed."""
    return Table(
        id="plugins",
        caption="Plugins",
        columns=[
            Column(title="Plugin"),
            Column(title="Kind"),
            Column(title="Version"),
            Column(title="Where from"),
            Column(title="State", wide=True),
        ],
        rows=[
            Row(
                cells=[
                    one["name"],
                    Muted("not loaded") if one["kind"] == "unknown" else one["kind"],
                    one["version"] or Muted("–"),
                    Stack([one["where"], Muted(one["source"])], lines=True),
                    state_cell(one),
                ]
            )
            for one in plugins
        ],
        note="A plugin that fails says why; the others serve. Plugins come with the gateway, from a package, or from a "
        "file beside kaixu.yaml.",
    )
