"""Panels: parcels in the admin page, and in the customers' dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kaixu.plugin import Call, Free, NotFound, Operation, Operator, Panel, PanelView, panels

from .part import Part


class Which(msgspec.Struct):
    number: int


class State(msgspec.Struct):
    number: int
    state: str


async def find(call: Call[Which]) -> State:
    """An operator has found a lost parcel."""
    async with call.db() as db:
        number = await db.fetchval(
            "update parcel set state = 'found' where number = $1 and customer_id = $2 returning number",
            call.body.number, call.customer_id,
        )  # fmt: skip
    if number is None:
        raise NotFound("no such parcel", field="number")
    return State(call.body.number, "found")


async def counter(view: PanelView) -> list[panels.Part]:
    """For operators: the parcels of the selected customer."""
    rows = await parcels_of(view)
    return [
        panels.Stat("Parcels", len(rows)),
        panels.Table(
            ["Number", panels.Column("Weight", "right"), "State"],
            [
                panels.Row(
                    [row["number"], f"{row['grams']} g", panels.Badge("info", row["state"])],
                    [panels.Action("Found", "parcel.find", {"number": row["number"]}, confirm="The parcel was found.")],
                )
                for row in rows
            ],
            empty="No parcels.",
        ),
    ]


async def shelf(view: PanelView) -> list[panels.Part]:
    """For customers: their parcels, and a form to send one."""
    rows = await parcels_of(view)
    settings = await view.settings()
    return [
        panels.Progress("Parcels", len(rows), settings.most_parcels),
        panels.Table(["Number", "State"], [[row["number"], row["state"]] for row in rows], empty="No parcels."),
        panels.Form(
            "parcel.create", [panels.Field("grams", "Weight", "number", unit="g", required=True)], "Send a parcel"
        ),
    ]


async def parcels_of(view: PanelView) -> Sequence[Mapping[str, Any]]:
    """The rows of whom the page is about."""
    async with view.db() as db:
        return await db.fetch(
            "select number, grams, state from parcel where customer_id = $1 order by number limit 100",
            view.customer_id,
        )


PART = Part(
    operations=[
        Operation("parcel.find", find, Which, Free("operators"), path="/admin/found/{number}", auth=Operator()),
    ],
    panels=[
        Panel("Parcels", "At the counter", counter, needs_customer=True),
        Panel("Parcels", "On the shelf", shelf, place="dashboard"),
    ],
)
