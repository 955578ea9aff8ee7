"""The end users of a customer, and the cap of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Column, Empty, Field, Form, Money, Muted, Number, Part, Prose, Row, Table
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .billing_policy import Again

#: How many are listed: those that spent most.
SHOWN = 10


async def cap_end_user(visit: Visit) -> str:
    """Set the cap of one end user; an empty one removes it. Raises `ApiFailure`, `Unprocessable`."""
    body = {
        "customer_id": visit.customer_id,
        "end_user": visit.form.get("end_user"),
        "monthly_cap_cents": visit.form.cents("end_user_own_cap"),
    }
    try:
        await visit.api.send("PATCH", "admin-end-users", body)
    except ApiFailure as failure:
        failure.field = "end_user_own_cap" if failure.field == "monthly_cap_cents" else failure.field
        raise
    return "end_user"


def end_user_card(visit: Visit, usage: Mapping[str, Any], again: Again, *, may_change: bool) -> Card:
    """Those that were named this month, and the form."""
    rows = [
        Row(
            href=visit.url(TABS["usage"].path, customer_id=visit.customer_id, end_user=one["end_user"]),
            drawer=False,
            cells=[one["end_user"], Money(one["spent_usd"]), Money(one["held_usd"]),
                   Money(one["cap_usd"]) if one["cap_usd"] is not None else Muted("no cap"),
                   Money(one.get("available_usd")), Number(one["calls"])],
        )
        for one in usage["per_end_user"][:SHOWN]
    ]  # fmt: skip
    table = Table(
        id="end-users",
        caption="End users of this month",
        columns=[
            Column(title="End user", wide=True),
            Column(title="Spent", align="right"),
            Column(title="Held", align="right", phone=False),
            Column(title="Cap", align="right"),
            Column(title="Available", align="right"),
            Column(title="Calls", align="right", phone=False),
        ],
        rows=rows,
        empty=Empty(text="No call has named an end user this month."),
        note=f"The {SHOWN} that spent most." if len(usage["per_end_user"]) > SHOWN else "",
    )
    form = Form(
        action=TABS["billing"].path,
        submit="Set the cap",
        id="end-user-form",
        inline=True,
        hidden={"do": "end_user", "customer_id": str(visit.customer_id)},
        fields=[
            Field(name="end_user", label="End user", required=True, maxlength=200,
                  suggestions=[one["end_user"] for one in usage["per_end_user"]][:50]),
            Field(name="end_user_own_cap", label="Cap a month", unit="USD", maxlength=20,
                  hint="Empty: the cap of the policy."),
        ],
    )  # fmt: skip
    about = Prose(
        tip=True,
        paragraphs=[
            "A request names its end user in the field user. A cap protects the customer's service from its own users; "
            "calls that name nobody have no such cap."
        ],
    )
    parts: list[Part] = [table, *([again("end_user", form)] if may_change else []), about]
    return Card("End users", parts, width=7, id="end-users-card")
