"""What customers are told about automatic top-ups, by mail and in their dashboard."""

from __future__ import annotations

from kaixu.plugin import Database, PageLink

from .pages import DASHBOARD
from .payments import Payment

TO_PAY = PageLink("Pay now", DASHBOARD.url)


#: Reasons of a top-up for which there was no card to charge.
NO_CARD = frozenset({"no_card", "stripe_refused", "stripe_unknown"})


async def confirm(db: Database, payment: Payment) -> None:
    """The bank asks the customer: they pay this one themselves."""
    amount = f"${payment.amount_cents / 100:,.2f}"
    await db.mail(
        "Please confirm your top-up",
        [
            f"Your balance is low, and an automatic top-up of {amount} was tried. Your bank wants you to confirm it, "
            "which only you can do.",
            "Nothing was taken from your account. Please pay the top-up in your dashboard, and save your card there "
            "again. Automatic top-ups stay switched on.",
        ],
        key=f"confirm-{payment.reference}",
        link=TO_PAY,
    )


async def cannot_pay(db: Database, crossing: str, payment: Payment | None, reason: str) -> None:
    """The card was declined, or there is none: automatic top-ups are off."""
    if payment is None or reason in NO_CARD:
        first = "Your balance is low, and there is no saved card that an automatic top-up could charge."
    else:
        card = f" ending in {payment.card_last4}" if payment.card_last4 else ""
        first = f"An automatic top-up of ${payment.amount_cents / 100:,.2f} was declined by your card{card}."
    await db.mail(
        "Automatic top-ups are switched off",
        [
            first,
            "Nothing was taken from your account. Pay in your dashboard, save a card that works, and switch automatic "
            "top-ups on again.",
        ],
        key=f"declined-{crossing}",
        link=TO_PAY,
    )


async def too_many_today(db: Database, most: int) -> None:
    """The day's bound is reached: once a day."""
    day = await db.fetchval("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')")
    await db.mail(
        "No more automatic top-ups today",
        [
            f"Your balance is low again after {most} automatic top-ups today, which is the most. The next one is made "
            "tomorrow, if it is needed then.",
            "If you did not expect so much use, look at your calls. You can pay by hand at any time.",
        ],
        key=f"bound-{day}",
        link=TO_PAY,
    )
