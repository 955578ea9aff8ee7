"""Who of a customer spent: its keys, its apps, its end users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kaixu.web.caps import percent_of
from kaixu.web.components import Card, Cell, Column, Empty, Meter, Money, Muted, Number, Row, Stack, Table
from kaixu.web.visits import Visit

#: How many of each are listed: those that spent most.
SHOWN = 10


def share_cards(visit: Visit, reply: Mapping[str, Any]) -> list[Card]:
    """Spending per key, per app and per end user; a row filters the page by it."""
    total = Decimal(reply["rollup"]["spent_usd"])

    def table(name: str, title: str, rows: Sequence[Row], empty: str, budget: bool = False) -> Table:
        note = (
            f"The {SHOWN} that spent most of {len(rows)}; filter by a name to see its calls."
            if len(rows) > SHOWN
            else ""
        )
        columns = [
            Column(title=title, wide=True),
            Column(title="Spent", align="right"),
            *([Column(title="Available", align="right", hint="Of its own cap")] if budget else []),
            Column(title="Calls", align="right"),
            Column(title="Tokens", align="right", phone=False),
            Column(title="Share", hint="Of what the customer spent"),
        ]
        return Table(id=f"usage-{name}", columns=columns, rows=rows[:SHOWN], caption=f"By {title.lower()}",
                     empty=Empty(text=empty), note=note)  # fmt: skip

    keys = [
        share_row(one, total, Stack([one["label"], Muted(f"…{one['key_last4']}")]),
                  visit.changed(api_key_id=one["id"], before_id=None), own_cap="customer cap")
        for one in reply["per_key"]
    ]  # fmt: skip
    apps = [
        share_row(one, total, one["app_id"] or Muted("without an app"),
                  visit.changed(app=one["app_id"], before_id=None) if one["app_id"] else "")
        for one in reply["per_app"]
    ]  # fmt: skip
    end_users = [
        share_row(one, total, one["end_user"], visit.changed(end_user=one["end_user"], before_id=None),
                  own_cap="no cap")
        for one in reply["per_end_user"]
    ]  # fmt: skip
    return [
        Card("Keys", [table("keys", "Key", keys, "No key was used in this month.", True)], width=6),
        Card("Apps", [table("apps", "App", apps, "No calls. Apps name themselves by the header x-kaixu-app.")],
             width=6),
        Card("End users", [table("end-users", "End user", end_users,
                                 "No call named an end user. Clients name them by the field user.", True)], width=12),
    ]  # fmt: skip


def share_row(one: Mapping[str, Any], total: Decimal, name: Cell, href: str, own_cap: str = "") -> Row:
    """One that spent, with its part of the customer's spending. `own_cap`: what is said where it has none."""
    spent = Decimal(one["spent_usd"])
    budget: list[Cell] = []
    if own_cap:
        budget = [Money(one["available_usd"]) if one.get("available_usd") is not None else Muted(own_cap)]
    return Row(
        href=href,
        drawer=False,
        cells=[
            name,
            Money(one["spent_usd"]),
            *budget,
            Number(one["calls"]),
            Number(one["input_tokens"] + one["output_tokens"]),
            Meter(float(spent), float(total), percent_of(spent, total) if total else "0 %"),
        ],
    )
