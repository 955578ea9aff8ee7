"""The calls of a month as a table: each row opens the page of its call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.call_cells import cents_cell, end_badge, seconds, units_text
from kaixu.web.components import Column, Empty, Muted, Number, Row, Stack, Table, Time
from kaixu.web.visits import Visit

CALL = "/gateway/call"


def calls_table(visit: Visit, reply: Mapping[str, Any], *, next_href: str, first_href: str, empty: Empty) -> Table:
    """The calls of a reply of `admin-usage`."""
    names = {one["id"]: f"{one['label']} …{one['key_last4']}" for one in reply["per_key"]}
    return Table(
        id="usage-calls",
        caption="Calls, newest first",
        columns=[
            Column(title="Time"),
            Column(title="Key", phone=False),
            Column(title="Provider", phone=False),
            Column(title="Model"),
            Column(title="Input", align="right", hint="Tokens, cached ones included"),
            Column(title="Output", align="right", hint="Tokens, reasoning included"),
            Column(title="Cached", align="right", hint="Part of the input that the vendor had cached", phone=False),
            Column(title="Cost", align="right", hint="In dollars, exact on hover, and in cents"),
            Column(title="How it ended"),
            Column(title="Duration", align="right", phone=False),
        ],
        rows=[call_row(visit, one, names) for one in reply["events"]],
        next_href=next_href,
        first_href=first_href,
        empty=empty,
        note="A row opens the call: its life, and how its cost came about. The CSV has all calls of the month.",
    )


def call_row(visit: Visit, one: Mapping[str, Any], names: Mapping[int, str]) -> Row:
    """A call."""
    return Row(
        id=f"call-{one['id']}",
        href=visit.url(CALL, event=one["id"], customer_id=visit.customer_id),
        cells=[
            Time(one["created_at"]),
            names.get(one["api_key_id"], f"key {one['api_key_id']}"),
            one["provider"],
            Stack([one["model"], Muted(units_text(one["units"]))], lines=True) if one["units"] else one["model"],
            Number(one["input_tokens"]),
            Number(one["output_tokens"]),
            Number(one["cached_input_tokens"]),
            cents_cell(one["cost_usd"], one["cost_cents"]),
            end_badge(one["end"]),
            seconds(one["duration_ms"]),
        ],
    )
