"""What limits a customer: all its limits in one list, and the one that binds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from kaixu.web.caps import cap_meter
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Link,
    Money,
    Muted,
    Number,
    Prose,
    Row,
    Stack,
    State,
    Table,
)
from kaixu.web.formats import money, usd_of_cents
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit


class Limit(msgspec.Struct, frozen=True):
    """One limit: what it is, its value, how much is used, and what is left, exact dollars where it is money."""

    name: str
    value: Cell
    used: Cell = None
    left: str | None = None
    binds: bool = False  # of those of money it leaves the least
    stops: bool = False  # it refuses every call
    wire: str = ""


#: The caps of a customer: their titles, and their fields.
CAPS = {
    "customer_cap": ("Month's cap", "monthly_cap_cents"),
    "customer_day_cap": ("Today's cap", "day_cap_cents"),
}


async def limits_card(visit: Visit, plans: Sequence[Mapping[str, Any]]) -> Card:
    """The card. Which cap binds, the API says."""
    assert visit.customer is not None
    customer = visit.customer
    caps = await visit.api.get("admin-keys", customer_id=visit.customer_id, limit=1)
    limits = limits_of(customer, caps, plan_of(customer, plans))
    binding = binding_limit(limits)
    table = Table(
        id="limits",
        caption="Limits",
        columns=[Column(title="Limit", wide=True), Column(title="Value"), Column(title="Used"), Column(title="From")],
        rows=[limit_row(one, customer, is_binding=one is binding) for one in limits],
    )
    keys = visit.url(TABS["keys"].path, customer_id=visit.customer_id)
    about = Prose(paragraphs=[words_of(binding)], links=[Link("Keys may have narrower limits of their own", keys)])
    return Card("What limits this customer", [about, table], width=7, id="limits-card")


def plan_of(customer: Mapping[str, Any], plans: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the customer's plan sets; nothing where it is a label."""
    return next((one["settings"] for one in plans if one["name"] == customer["plan_name"]), {})


def cap_of(row: Mapping[str, Any], binds: str) -> Limit:
    """A cap of money."""
    title, wire = CAPS[row["limit"]]
    used, cap = Decimal(row["spent_usd"]) + Decimal(row["held_usd"]), Decimal(row["cap_usd"])
    words = f"{money(row['spent_usd'])} spent, {money(row['held_usd'])} held"
    return Limit(title, Money(row["cap_usd"]), cap_meter(used, cap, words), row["available_usd"],
                 row["limit"] == binds, not cap, wire)  # fmt: skip


def limits_of(customer: Mapping[str, Any], caps: Mapping[str, Any], plan: Mapping[str, Any]) -> list[Limit]:
    """All limits that the customer has."""
    found = []
    if not customer["is_active"]:
        found.append(Limit("Switched off", Badge("bad", "off"), stops=True))
    found += [cap_of(row, caps["customer_binds"]) for row in caps["customer_limits"]]
    if customer["tpm_limit"] is not None:
        found.append(Limit("Tokens a minute", Number(customer["tpm_limit"]), stops=customer["tpm_limit"] == 0,
                           wire="tpm_limit"))  # fmt: skip
    for name, title in (("rpm", "Requests a minute, of each key"), ("rpd", "Requests a day, of each key")):
        if plan.get(name) is not None:
            found.append(Limit(title, Number(plan[name]), stops=plan[name] == 0, wire=name))
    providers, models = customer["allowed_providers"], customer["allowed_models"]
    if providers and "*" not in providers:
        found.append(Limit("Providers", ", ".join(providers), wire="allowed_providers"))
    if models is not None and models.get("*") != ["*"]:
        words = ", ".join(f"{provider}/{one}" for provider, ones in models.items() for one in ones)
        found.append(Limit("Models", words or Badge("bad", "no model"), stops=not models, wire="allowed_models"))
    if customer["max_devices_per_key"]:
        found.append(Limit("Devices of each key", Number(customer["max_devices_per_key"]), wire="max_devices_per_key"))
    if customer["require_install_id"]:
        found.append(Limit("Install id", "required", wire="require_install_id"))
    if (cents := customer["end_user_cap_cents"]) is not None:
        found.append(Limit("Each end user a month", Money(usd_of_cents(cents)), wire="end_user_cap_cents"))
    if customer["max_vectors"] is not None:
        found.append(Limit("Vectors", Number(customer["max_vectors"]), wire="max_vectors"))
    return found


def binding_limit(limits: Sequence[Limit]) -> Limit:
    """The one that refuses every call, or else the one of money that leaves least."""
    return next((one for one in limits if one.stops), None) or next(one for one in limits if one.binds)


def words_of(binding: Limit) -> str:
    """The limit that binds, in a sentence."""
    if binding.stops:
        return f"No call is served: {binding.name.lower()}."
    if not Decimal(binding.left or 0):
        return f"{binding.name} is used up: calls that cost anything are refused."
    return f"{binding.name} binds first: {money(binding.left)} is left for the next calls."


def limit_row(one: Limit, customer: Mapping[str, Any], *, is_binding: bool) -> Row:
    """A limit."""
    name: Cell = one.name
    if is_binding:
        state: State = "bad" if one.stops or (one.left is not None and not Decimal(one.left)) else "info"
        name = Stack([one.name, Badge(state, "binds first")])
    is_plan = one.wire in customer["from_plan"] or one.wire in ("rpm", "rpd")
    source = "plan" if is_plan else "own" if one.wire else ""
    if one.wire == "monthly_cap_cents" and customer["extra_cents"]:
        source += ", topped\u00a0up"
    return Row(cells=[name, one.value, one.used or Muted(""), source], selected=is_binding)
