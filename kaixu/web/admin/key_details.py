"""One key: what it has spent, which cap binds, its limits, its devices, and the keys that it replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.chart_parts import usage_chart_part
from kaixu.web.components import (
    Badge,
    Card,
    Code,
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
    Prose,
    Row,
    Stat,
    Stats,
    Table,
    Time,
)
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of
from kaixu.web.visits import Visit

from .key_actions import CHANGE, DETAILS, ROTATE, TAB, chain_of, revoke_button, revoked_notice
from .keys import state_of
from .limit_parts import cap_table
from .limit_words import cents_text, limit_name, models_of, names_of, number_or

DEVICES = 10
DAYS = 14


def key_details_pages(site: Site) -> list[Route]:
    """The routes of the details."""
    return site.operator_page(DETAILS, details, tab=TAB)


async def details(visit: Visit) -> Page | Reply:
    """The page."""
    if visit.customer is None:
        return visit.redirect(TAB.path)
    text = visit.query.get("key_id", "")
    chain = await chain_of(visit, text)
    key = next(one for one in chain if str(one["id"]) == text)
    query = {"customer_id": visit.customer_id, "api_key_id": key["id"]}
    usage = await visit.api.get("admin-usage", **query, limit=1)
    chart = await visit.api.get("admin-usage-chart", **query, **{"from": f"now-{DAYS - 1}d"}, interval="day")
    devices = await visit.api.get("admin-devices", **query, limit=DEVICES)
    parts: list[Part] = [
        *change_notices(visit, key),
        figures(key, usage, chain),
        Card(
            "What limits this key",
            [cap_table(key["money_limits"], key["binds"], id="caps", caption="Caps"), rates(visit, key)],
        ),
        usage_chart_part(chart, "spent", id="days", title=f"Spent in the last {DAYS} days"),
        Card("Settings", [settings(key)], width=6),
        Card("Go on", ways(visit, key), width=6),
        device_table(visit, devices),
    ]
    if len(chain) > 1:
        parts.append(chain_table(visit, chain, key))
    return Page(
        title=f"Key …{key['key_last4']}",
        subtitle=f"{key['label']}, {key['role']}, of {visit.customer['email']}",
        parts=parts,
        curl=curl_of(visit, "admin-keys", {"customer_id": visit.customer_id, "chain_of": key["id"]}),
    )


def change_notices(visit: Visit, key: Mapping[str, Any]) -> list[Notice]:
    """What was just done, with a way back."""
    word = visit.query.get("done", "")
    if word == "changed":
        return [Notice(state="good", text="Saved. The new settings hold from the next call on.")]
    return revoked_notice(visit, key, word, back="key")


def figures(key: Mapping[str, Any], usage: Mapping[str, Any], chain: Sequence[Mapping[str, Any]]) -> Stats:
    """The month of the key, with those that it replaced."""
    ids = {one["id"] for one in chain}
    months = [one for one in usage["per_key"] if one["id"] in ids]
    calls = sum(one["calls"] for one in months)
    tokens = sum(one["input_tokens"] + one["output_tokens"] for one in months)
    return Stats(
        [
            Stat("Spent", Money(key["spent_usd"]), note="this month"),
            Stat("Held", Money(key["held_usd"]), note="for calls in flight"),
            Stat("Available", Money(key["room_usd"]), note=f"bound by the {limit_name(key['binds'])}"),
            Stat("Calls", Number(calls), note="this month"),
            Stat("Tokens", Number(tokens), note="input and output"),
        ]
    )


def rates(visit: Visit, key: Mapping[str, Any]) -> Facts:
    """The limits that are not money: the key's own, or which one holds."""
    customer = visit.customer or {}
    seats, tpm = customer.get("max_devices_per_key"), customer.get("tpm_limit")
    planned = set(key["from_plan"])

    def where(name: str) -> str:
        return "from the plan" if name in planned else ""

    needs = "required" if key["require_install_id"] else (
        "required by the customer" if customer.get("require_install_id") else "not required"
    )  # fmt: skip
    limits = key["limits"] or {}
    items = [
        ("Requests a minute", number_or(key["rpm_limit"], f"the gateway's {visit.services.settings.default_rpm_limit}",
                                        where("rpm_limit"))),
        ("Requests a day", number_or(key["rpd_limit"], "no limit", where("rpd_limit"))),
        ("Tokens a minute", number_or(key["tpm_limit"],
                                      f"the customer's {tpm:,} for all keys" if tpm is not None else "no limit")),
        ("Seats", number_or(key["max_devices"] or None,
                            f"the customer's {seats}" if seats and key["max_devices"] is None else
                            "no limit of seats; at most 1,000 devices")),
        ("Install id", needs),
        ("Providers", names_of(key["allowed_providers"] or None, everything="all that the customer may use",
                               nothing="none")),
        ("Models", models_of(key["allowed_models"], everything="all that the customer may use")),
        ("Collections", names_of(key["allowed_collections"], everything="all of the customer", nothing="none")),
        *((f"Only {name}", of_model(one)) for name, one in limits.items()),
    ]  # fmt: skip
    return Facts(items)


def of_model(limits: Mapping[str, Any]) -> str:
    """The limits of one model in words."""
    words = []
    if limits.get("rpm") is not None:
        words.append(f"{limits['rpm']:,} requests a minute")
    if limits.get("tpm") is not None:
        words.append(f"{limits['tpm']:,} tokens a minute")
    if limits.get("day_cap_cents") is not None:
        words.append(f"${cents_text(limits['day_cap_cents'])} a day")
    return ", ".join(words)


def settings(key: Mapping[str, Any]) -> Facts:
    """What the key is."""
    thresholds = key["alert_thresholds"]
    return Facts(
        [
            ("State", state_of(key)),
            ("Role", key["role"]),
            ("Last seen", Time(key["last_seen_at"], form="ago", none="never")),
            ("Created", Time(key["created_at"])),
            ("Expires", Time(key["expires_at"], none="never")),
            ("Revoked", Time(key["revoked_at"], none="no")),
            ("Alerts at", "as for the customer" if thresholds is None
             else ", ".join(f"{at} %" for at in thresholds) or "none"),
        ]
    )  # fmt: skip


def ways(visit: Visit, key: Mapping[str, Any]) -> list[Part]:
    """Where the key's usage is, and what changes the key."""
    address = {"customer_id": key["customer_id"], "key_id": key["id"]}
    of_key = {"customer_id": key["customer_id"], "api_key_id": key["id"]}
    links = [
        Link("Usage of this key", visit.url(TABS["usage"].path, **of_key), icon=TABS["usage"].icon),
        Link("Its devices", visit.url(TABS["devices"].path, **of_key), icon=TABS["devices"].icon),
        Link("All keys of the customer", visit.url(TAB.path, customer_id=key["customer_id"]), icon=TAB.icon),
    ]
    parts: list[Part] = [Prose(paragraphs=[], links=links)]
    if visit.may(KEYS):
        changes = [Link("Change its settings", visit.url(CHANGE, **address), icon="settings")]
        if key["revoked_at"] is None and key["replaced_by"] is None:
            changes.append(Link("Rotate", visit.url(ROTATE, **address), icon="refresh-cw"))
        parts.append(Prose(paragraphs=[], links=changes))
        if key["revoked_at"] is None or key["replaced_by"] is None:
            parts.append(revoke_button(visit, key, back="key"))
    return parts


def device_table(visit: Visit, devices: Mapping[str, Any]) -> Table:
    """The devices that were seen last."""
    return Table(
        id="devices",
        caption="Devices seen last",
        columns=[Column(title="Install id", wide=True), Column(title="Last seen"), Column(title="State")],
        rows=[
            Row(
                cells=[
                    Code(one["install_id"]) if one["install_id"] else Muted("calls without an install id"),
                    Time(one["last_seen_at"], form="ago"),
                    Badge("off", "revoked") if one["revoked_at"] else Badge("good", "has a seat"),
                ]
            )
            for one in devices["devices"]
        ],
        empty=Empty(text="No call with this key yet: a device takes its seat with its first call."),
    )


def chain_table(visit: Visit, chain: Sequence[Mapping[str, Any]], key: Mapping[str, Any]) -> Table:
    """The keys that replaced each other, newest first."""
    return Table(
        id="chain",
        caption="Rotations",
        columns=[
            Column(title="ID", align="right"),
            Column(title="Last4"),
            Column(title="Created"),
            Column(title="State", wide=True),
        ],
        rows=[
            Row(
                href=visit.url(DETAILS, customer_id=one["customer_id"], key_id=one["id"]) if one is not key else "",
                cells=[one["id"], Code(one["key_last4"]), Time(one["created_at"]), state_of(one)],
                selected=one is key,
            )
            for one in chain
        ],
        note="They share devices, rates and spend.",
    )
