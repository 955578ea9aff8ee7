"""One customer: what is spent and left, which cap binds, its settings and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Cell,
    Facts,
    Link,
    Money,
    Notice,
    Number,
    Page,
    Part,
    Prose,
    Sparkline,
    Stack,
    Stat,
    Stats,
    Time,
)
from kaixu.web.navigation import TABS
from kaixu.web.panels.cards import core_tab_cards
from kaixu.web.site import Site, only_customer
from kaixu.web.twins import curl_of
from kaixu.web.visits import Visit

from .customer_actions import DELETE, DETAILS, TAB, switch_button
from .customer_integrations import INTEGRATIONS
from .limit_parts import cap_table
from .limit_words import cents_text, models_of, money_or, names_of, number_or

DAYS = 14


def customer_details_pages(site: Site) -> list[Route]:
    """The routes of the details."""
    return site.operator_page(DETAILS, details, tab=TAB, twin=one_customer)


def one_customer(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, asked for this one."""
    return "admin-customers", {**only_customer(visit.customer_id or 0), "sparkline": DAYS}


async def details(visit: Visit) -> Page | Reply:
    """The page."""
    if visit.customer is None:
        return visit.redirect(TAB.path)
    name, query = one_customer(visit)
    found = (await visit.api.get(name, **query))["customers"]
    one = next((row for row in found if row["id"] == visit.customer_id), None)
    if one is None:  # deleted a moment ago
        return visit.redirect(TAB.path)
    limits = await visit.api.get("admin-keys", customer_id=visit.customer_id, limit=1)
    caps = cap_table(limits["customer_limits"], limits["customer_binds"], id="caps", caption="Caps")
    parts: list[Part] = [
        *change_notices(visit, one),
        figures(one),
        Card("What limits this customer", [caps, further_limits(one)]),
        Card("Settings", [settings(one)], width=6),
        Card("Go on", ways(visit, one), width=6),
        *await core_tab_cards(visit, "customers", needs_customer=True),
    ]
    return Page(
        title=one["email"],
        subtitle=f"Customer {one['id']}, plan {one['plan_name']}",
        parts=parts,
        curl=curl_of(visit, name, query),
    )


def change_notices(visit: Visit, one: Mapping[str, Any]) -> list[Notice]:
    """What was just done, with a way back."""
    word = visit.query.get("done", "")
    if word not in ("on", "off") or one["is_active"] != (word == "on"):
        return []
    texts = {"on": "Switched on: the keys work again.", "off": "Switched off: the next call is refused."}
    actions: list[Button | Link] = []
    if visit.may(CUSTOMERS):
        actions.append(switch_button(visit, one, back=DETAILS, label="Undo"))
    return [Notice(state="good" if word == "on" else "warn", text=texts[word], actions=actions, ends_after_s=10)]


def figures(one: Mapping[str, Any]) -> Stats:
    """The month's money."""
    days = [float(amount) for amount in one["daily_spent_usd"]]
    line = Sparkline(days, f"The last {len(days)} days: ${sum(days):.2f} in all, ${max(days):.2f} on the dearest")
    return Stats(
        [
            Stat("Monthly cap", Money(cents_text(one["monthly_cap_cents"])),
                 note="from the plan" if "monthly_cap_cents" in one["from_plan"] else "its own"),
            Stat("Topped up", Money(cents_text(one["extra_cents"])), note="this month"),
            Stat("Spent", Money(one["spent_usd"]), note=f"last {len(days)} days:", sparkline=line),
            Stat("Held", Money(one["held_usd"]), note="for calls in flight"),
            Stat("Available", Money(one["available_usd"])),
        ]
    )  # fmt: skip


def further_limits(one: Mapping[str, Any]) -> Facts:
    """The limits that are not money."""
    value = {
        "Tokens a minute, all keys": number_or(one["tpm_limit"], "no limit for all keys together"),
        "Seats of a key": number_or(
            one["max_devices_per_key"] or None, "no limit of seats; at most 1,000 devices a key"
        ),
        "Install id": "required from every call" if one["require_install_id"] else "as each key says",
        "Providers": names_of(one["allowed_providers"] or None, everything="all", nothing="all"),
        "Models": models_of(one["allowed_models"], everything="all that the lanes have"),
        "Cap of each end user": money_or(one["end_user_cap_cents"], "none"),
        "Stored vectors": number_or(one["max_vectors"], "as the gateway allows"),
    }
    return Facts(list(value.items()))


#: Names of the fields that a plan may set.
PLANNED = {
    "monthly_cap_cents": "monthly cap",
    "max_devices_per_key": "seats of a key",
    "allowed_providers": "providers",
    "allowed_models": "models",
    "max_vectors": "stored vectors",
    "end_user_cap_cents": "cap of each end user",
    "tpm_limit": "tokens a minute",
    "day_cap_cents": "cap of a day",
}


def settings(one: Mapping[str, Any]) -> Facts:
    """What the customer is, and how its settings follow from its plan."""
    is_label = one["plan_version"] is None
    plan: Cell = Stack([one["plan_name"], Badge("off", "only a label") if is_label else Badge("info", "sets limits")])
    own = [PLANNED.get(name, name) for name in one["plan_deviations"]]
    taken = [PLANNED.get(name, name) for name in one["from_plan"]]
    thresholds = one["alert_thresholds"]
    alerts = "as the gateway says" if thresholds is None else ", ".join(f"{at} %" for at in thresholds) or "none"
    mail = {None: "as the gateway says", True: "yes", False: "no"}[one["alert_mail"]]
    return Facts(
        [
            ("Active", Badge("good", "active") if one["is_active"] else Badge("off", "switched off")),
            ("Plan", plan),
            ("From the plan", ", ".join(taken) or "nothing"),
            ("Deviates from the plan", ", ".join(own) or "nowhere"),
            ("Prices", f"times {one['price_factor']}" if one["price_factor"] != "1" else "as in the catalogue"),
            ("Active keys", Number(one["active_keys"])),
            ("Alerts at", alerts),
            ("Alerts by mail", mail),
            ("Netlify token", Badge("good", "set") if one["has_netlify_token"] else Badge("off", "not set")),
            ("Stripe customer", one["stripe_customer_id"] or "none"),
            ("Created", Time(one["created_at"])),
        ]
    )


def ways(visit: Visit, one: Mapping[str, Any]) -> list[Part]:
    """The tabs about this customer, and what changes it."""
    tabs = ("keys", "usage", "devices", "billing", "exports")
    links = [
        Link(TABS[name].title, visit.url(TABS[name].path, customer_id=one["id"]), icon=TABS[name].icon) for name in tabs
    ]
    if visit.services.catalog.integrations:
        links.append(Link("Integrations", visit.url(INTEGRATIONS, customer_id=one["id"]), icon="plug"))
    parts: list[Part] = [
        Prose(paragraphs=["Limits, plan and allowlists are changed under Billing & Controls."], links=links)
    ]
    if visit.may(CUSTOMERS):
        parts.append(switch_button(visit, one, back=DETAILS))
        delete = Link("Delete this customer", visit.url(DELETE, customer_id=one["id"]), icon="trash-2")
        parts.append(Prose(paragraphs=[], links=[delete]))
    return parts
