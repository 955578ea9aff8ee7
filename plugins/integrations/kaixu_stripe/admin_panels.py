"""What operators see: payments, disputes, and events that could not be handled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kaixu.plugin import Call, Free, NotFound, Operation, Operator, Panel, PanelView, panels

from .checkout import Ok
from .payments import Which

NUSD_PER_CENT = 10**7

#: How a status is shown.
STATES: dict[str, tuple[panels.State, str]] = {
    "creating": ("off", "not begun"),
    "open": ("off", "not paid yet"),
    "pending": ("info", "the bank takes days"),
    "paid": ("good", "paid"),
    "failed": ("bad", "failed"),
    "expired": ("off", "expired"),
    "declined": ("bad", "declined"),
    "authentication": ("warn", "to be confirmed"),
    "no_customer": ("bad", "refund it: customer deleted"),
}
STATUS = panels.Filter(
    "status",
    "State",
    "select",
    [panels.Choice("", "all"), *(panels.Choice(name, text) for name, (_, text) in STATES.items())],
)


class Retrying(msgspec.Struct):
    """An event, by Stripe's id."""

    event: str


async def look(call: Call[Which]) -> Ok:
    """Ask Stripe about a payment now."""
    async with call.db() as db:
        found = await db.fetchval(
            "select id from payment where id = $1 and customer_id = $2", call.body.payment_id, call.customer_id
        )
        if found is None:
            raise NotFound("no such payment", field="payment_id")
        await db.enqueue("stripe.settle", Which(found), key=f"payment {found}")
    return Ok()


async def retry(call: Call[Retrying]) -> Ok:
    """Ask Stripe about the payment of an event that could not be handled; once it answers, the event is handled."""
    async with call.db() as db:
        found = await db.fetchval(
            "select payment_id from event where id = $1 and handled_at is null",
            call.body.event,
        )
        if found is None:
            raise NotFound("no such event", field="event")
        await db.enqueue("stripe.settle", Which(found), key=f"payment {found}")
    return Ok()


async def of_customer(view: PanelView) -> list[panels.Part]:
    """The payments of the selected customer, and a checkout for them."""
    rows = await rows_of(view, "where customer_id = $1", view.customer_id)
    return [
        payment_table(rows, with_customer=False, can_look=True),
        panels.Form(
            "stripe.admin.address",
            [panels.Field("amount", "Amount", "number", unit="USD", required=True, placeholder="25.00")],
            "Make a checkout",
            hint="An address of Stripe's on which this customer can pay.",
        ),
    ]


async def all_payments(view: PanelView) -> list[panels.Part]:
    """The newest payments of all customers."""
    status = view.filters.get("status", "")
    rows = await rows_of(view, "where ($1 = '' or status = $1)", status)
    async with view.db() as db:
        sums = await db.fetchrow(
            """
            select coalesce(sum(paid_cents), 0)::bigint as paid, coalesce(sum(refunded_cents), 0)::bigint as refunded,
                   coalesce(sum(disputed_cents), 0)::bigint as disputed
              from payment where created_at >= date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'
            """
        )
    assert sums is not None
    return [
        panels.Stat("Paid this month", money(sums["paid"])),
        panels.Stat("Refunded", money(sums["refunded"])),
        panels.Stat("Disputed", money(sums["disputed"]), state="bad" if sums["disputed"] else None),
        payment_table(rows, with_customer=True, can_look=False),
    ]


async def disputes(view: PanelView) -> list[panels.Part]:
    """The newest disputes. They are answered at Stripe."""
    async with view.db() as db:
        rows = await db.fetch(
            """
            select id, customer_id, status, amount_cents, reason, created_at
              from dispute order by created_at desc limit 500
            """
        )
    states: dict[str, panels.State] = {"won": "good", "lost": "bad", "needs_response": "warn"}
    columns: list[str | panels.Column] = [
        "Opened", "Customer", panels.Column("Amount", "right"), "Reason", "State",
        panels.Column("Stripe", on_phones=False),
    ]  # fmt: skip
    return [
        panels.Table(
            columns,
            [
                [
                    panels.Time(row["created_at"]),
                    row["customer_id"],
                    money(row["amount_cents"]),
                    row["reason"],
                    panels.Badge(states.get(row["status"], "info"), row["status"].replace("_", " ")),
                    panels.Code(row["id"]),
                ]
                for row in rows
            ],
            empty="No disputes.",
            note="While a dispute is open, or was lost, its amount is taken back from the customer.",
        )
    ]  # fmt: skip


async def failed_events(view: PanelView) -> list[panels.Part]:
    """Events that are not handled after some minutes."""
    async with view.db() as db:
        rows = await db.fetch(
            """
            select id, type, attempts, error, received_at from event
             where handled_at is null and received_at < now() - interval '2 minutes'
             order by received_at desc limit 500
            """
        )
    return [
        panels.Table(
            [
                "Received",
                "Event",
                panels.Column("Attempts", "right"),
                "Error",
                panels.Column("Stripe", on_phones=False),
            ],
            [
                panels.Row(
                    [
                        panels.Time(row["received_at"]),
                        row["type"],
                        row["attempts"],
                        row["error"] or "",
                        panels.Code(row["id"]),
                    ],
                    [panels.Action("Try again", "stripe.admin.retry", {"event": row["id"]})],
                )
                for row in rows
            ],
            empty="All events were handled.",
        )
    ]


async def rows_of(view: PanelView, where: str, value: object) -> Sequence[Mapping[str, Any]]:
    """The newest payments."""
    async with view.db() as db:
        return await db.fetch(
            f"""
            select id, customer_id, kind, status, amount_cents, credited_cents, refunded_cents, disputed_cents,
                   receipt_url, reason, created_at
              from payment {where} order by id desc limit 500
            """,  # noqa: S608
            value,
        )


def payment_table(rows: Sequence[Mapping[str, Any]], *, with_customer: bool, can_look: bool) -> panels.Table:
    """Payments as operators see them."""
    columns: list[str | panels.Column] = [
        "Begun", *(["Customer"] if with_customer else []), "Kind", panels.Column("Amount", "right"),
        panels.Column("Credited", "right"), "State", panels.Column("Receipt", on_phones=False),
    ]  # fmt: skip
    return panels.Table(columns, [row_of(row, with_customer, can_look) for row in rows], empty="No payments.")


def row_of(row: Mapping[str, Any], with_customer: bool, can_look: bool) -> panels.Row:
    """One of them."""
    state, text = STATES[row["status"]]
    if row["disputed_cents"]:
        state, text = "bad", "disputed"
    elif row["refunded_cents"] and row["status"] == "paid":
        state, text = "warn", "refunded" if row["refunded_cents"] >= row["amount_cents"] else "refunded in part"
    elif row["reason"] and row["status"] in ("failed", "declined"):
        text = f"{text}: {row['reason'].replace('_', ' ')}"
    cells: list[panels.Cell] = [
        panels.Time(row["created_at"]),
        *([row["customer_id"]] if with_customer else []),
        "automatic" if row["kind"] == "auto" else "checkout",
        money(row["amount_cents"]),
        money(row["credited_cents"]),
        panels.Badge(state, text),
        None if row["receipt_url"] is None else panels.Link("receipt", row["receipt_url"]),
    ]
    actions = [panels.Action("Ask Stripe", "stripe.admin.look", {"payment_id": row["id"]})] if can_look else []
    return panels.Row(cells, actions)


def money(cents: int) -> panels.Money:
    """An amount of cents."""
    return panels.Money(cents * NUSD_PER_CENT)


FREE = Free("operators look after payments")
OPERATIONS = [
    Operation("stripe.admin.look", look, Which, FREE, path="/admin/look", auth=Operator(scope="money")),
    Operation("stripe.admin.retry", retry, Retrying, FREE, path="/admin/retry", auth=Operator(None, scope="money")),
]
PANELS = [
    Panel("billing", "Stripe payments", of_customer, needs_customer=True),
    Panel("Stripe", "Payments", all_payments, filters=[STATUS]),
    Panel("Stripe", "Disputes", disputes),
    Panel("Stripe", "Events that failed", failed_events),
]
