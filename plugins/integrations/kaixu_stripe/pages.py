"""The page that a browser comes back to: it says how the payment stands, because it asks Stripe."""

from __future__ import annotations

import msgspec

from kaixu.plugin import Call, Callback, Page, PageLink, Returned, UpstreamError

from .payments import COLUMNS, Payment
from .settlement import settle

DASHBOARD = PageLink("To the dashboard", "/gateway/dashboard/integrations/stripe/payments")


class Paying(msgspec.Struct, frozen=True):
    """What is noted at the beginning of a checkout."""

    payment_id: int


async def back(call: Call[Returned]) -> Page:
    """Where the payment stands, whatever the address says. What is paid is credited here, too."""
    payment_id = call.body.data.payment_id
    try:
        payment = await settle(call, payment_id)
    except UpstreamError:
        async with call.db() as db:
            row = await db.fetchrow(f"select {COLUMNS} from payment where id = $1", payment_id)  # noqa: S608
        if row is None or row["status"] != "paid":
            return Page(
                "We do not know yet",
                "Stripe does not answer now. If you have paid, your credit comes by itself; look at your dashboard.",
                DASHBOARD,
                status=503,
            )
        payment = Payment(**row)
    return page_of(payment)


def page_of(payment: Payment) -> Page:
    """The page of a payment."""
    amount = f"${payment.amount_cents / 100:,.2f}"
    match payment.status:
        case "paid" if payment.credited_cents >= payment.amount_cents:
            return Page("Paid", f"Thank you. ${payment.credited_cents / 100:,.2f} are on your account.", DASHBOARD)
        case "paid" if payment.credited_cents:
            text = f"${payment.credited_cents / 100:,.2f} of {amount} are on your account; the rest was given back."
            return Page("Paid", text, DASHBOARD)
        case "paid":
            return Page("Given back", f"Your payment of {amount} was given back or is disputed.", DASHBOARD)
        case "pending":
            text = f"Your bank takes a few days for {amount}. Your credit comes when it has paid."
            return Page("On its way", text, DASHBOARD)
        case "open" | "creating":
            link = PageLink("Go on paying", payment.url) if payment.url else DASHBOARD
            return Page("Not paid", f"You have not paid {amount}. Nothing was taken from your account.", link)
        case "no_customer":
            return Page(
                "Ask your operator", "This account does not exist any more. Your operator can give the money back."
            )
        case "expired":
            return Page("Expired", f"Nothing was paid: the time for {amount} is over.", DASHBOARD)
        case _:
            return Page("Not paid", f"The payment of {amount} has failed. Nothing was credited.", DASHBOARD)


PAID = Callback("paid", back, "shows how a payment stands", data=Paying, bind="link", aliases=["stripe-paid"])
