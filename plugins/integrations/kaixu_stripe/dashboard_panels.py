"""What customers see: their balance, a form to pay, cards, automatic top-ups, and their payments with receipts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.plugin import Panel, PanelView, panels

from .admin_panels import row_of
from .options import LEAST_OWN_CENTS, MOST_OWN_CENTS

TAB = "Payments"


async def balance(view: PanelView) -> list[panels.Part]:
    """What is there this month."""
    money_now = await view.balance()
    parts: list[panels.Part] = [
        panels.Stat("Available", panels.Money(money_now.available_nusd)),
        panels.Stat("Prepaid credit left", panels.Money(money_now.unspent_nusd)),
    ]
    if money_now.debt_nusd:
        parts.append(panels.Stat("Owed", panels.Money(money_now.debt_nusd), state="bad"))
    return parts


async def top_up(view: PanelView) -> list[panels.Part]:
    """The form that leads to Stripe's page."""
    return [
        panels.Form(
            "stripe.pay",
            [
                panels.Field("amount", "Amount", "number", unit="USD", required=True, placeholder="25.00"),
                panels.Field("save_card", "Save the card for automatic top-ups", "checkbox"),
            ],
            "Pay by Stripe",
            hint=f"From ${LEAST_OWN_CENTS / 100:,.0f} to ${MOST_OWN_CENTS / 100:,.0f}. Stripe keeps the card.",
        )
    ]


async def automatic(view: PanelView) -> list[panels.Part]:
    """Cards, and what is done with them."""
    settings = await view.settings()
    async with view.db() as db:
        cards = await db.fetch(
            """
            select id, brand, last4, exp_month, exp_year from card
             where customer_id = $1 order by created_at desc, id limit 100
            """,
            view.customer_id,
        )
    table = panels.Table(
        ["Card", "Valid to"],
        [
            panels.Row(
                [f"{row['brand']} …{row['last4']}", valid_to(row)],
                [
                    panels.Action(
                        "Remove", "stripe.card.remove", {"id": row["id"]},
                        confirm="The card is removed. Without any card, automatic top-ups end.", is_danger=True,
                    )
                ],
            )
            for row in cards
        ],
        title="Saved cards",
        empty="No saved card. Save one while you pay.",
    )  # fmt: skip
    if not cards:
        return [table]
    form = panels.Form(
        "stripe.auto.form",
        [
            panels.Field(
                "enabled", "Charge the newest card when my balance is low", "checkbox", settings.auto_topup_enabled
            ),
            panels.Field(
                "threshold",
                "When less is left than",
                "number",
                dollars(settings.auto_topup_threshold_cents),
                unit="USD",
            ),
            panels.Field("amount", "Amount", "number", dollars(settings.auto_topup_amount_cents), unit="USD"),
        ],
        "Save",
        title="Automatic top-ups",
        hint=f"At most {view.options.auto_topups_per_day} a day.",
    )
    return [table, form]


async def history(view: PanelView) -> list[panels.Part]:
    """The customer's payments."""
    async with view.db() as db:
        rows = await db.fetch(
            """
            select id, customer_id, kind, status, amount_cents, credited_cents, refunded_cents, disputed_cents,
                   receipt_url, null as reason, created_at
              from payment where customer_id = $1 and status <> 'creating' order by id desc limit 500
            """,
            view.customer_id,
        )
    columns: list[str | panels.Column] = [
        "Begun", "Kind", panels.Column("Amount", "right"), panels.Column("Credited", "right"), "State", "Receipt",
    ]  # fmt: skip
    return [panels.Table(columns, [row_of(row, False, False) for row in rows], empty="No payments yet.")]


def valid_to(row: Mapping[str, Any]) -> str:
    """The end of a card."""
    return "" if row["exp_month"] is None or row["exp_year"] is None else f"{row['exp_month']:02}/{row['exp_year']}"


def dollars(cents: int | None) -> str:
    """An amount in a form."""
    return "" if cents is None else f"{cents / 100:.2f}"


PANELS = [
    Panel(TAB, "Balance", balance, place="dashboard", refresh_s=30),
    Panel(TAB, "Top up", top_up, place="dashboard"),
    Panel(TAB, "Automatic top-ups", automatic, place="dashboard"),
    Panel(TAB, "Payments", history, place="dashboard"),
]
