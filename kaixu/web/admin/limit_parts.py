"""The caps of a customer or a key as a table: what is used of each, and which one binds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kaixu.web.caps import cap_meter, percent_of
from kaixu.web.components import Badge, Column, Empty, Meter, Money, Row, Table

from .limit_words import limit_name


def cap_table(limits: Sequence[Mapping[str, Any]], binds: str | None, *, id: str, caption: str) -> Table:
    """A row for each cap, the one that leaves the least marked. `binds`: its name at the API."""
    return Table(
        id=id,
        caption=caption,
        columns=[
            Column(title="Cap", wide=True),
            Column(title="Amount", align="right"),
            Column(title="Spent", align="right"),
            Column(title="Held", align="right"),
            Column(title="Available", align="right"),
            Column(title="Used"),
            Column(title="Binds"),
        ],
        rows=[
            Row(
                cells=[
                    limit_name(one["limit"]),
                    Money(one["cap_usd"]),
                    Money(one["spent_usd"]),
                    Money(one["held_usd"]),
                    Money(one["available_usd"]),
                    used_meter(one),
                    Badge("info", "binds first") if one["limit"] == binds else "",
                ]
            )
            for one in limits
        ],
        empty=Empty(text="There is no cap."),
        note="Every call must fit into all of them. Days begin at midnight UTC.",
    )


def used_meter(limit: Mapping[str, Any]) -> Meter:
    """How far a cap is used, calls in flight included."""
    used, cap = Decimal(limit["spent_usd"]) + Decimal(limit["held_usd"]), Decimal(limit["cap_usd"])
    return cap_meter(used, cap, percent_of(used, cap))
