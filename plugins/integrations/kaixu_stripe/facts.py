"""What Stripe says of a payment now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from .client import Lending, ask
from .payments import REFERENCE, Payment
from .views import Card, Dispute, Intent, Listing, PaymentMethod, Session

if TYPE_CHECKING:
    from stripe import StripeClient

#: Disputes of these states have taken the money back. An inquiry (`warning_…`) has not, a lost one has for good.
TAKEN_BACK = frozenset({"needs_response", "under_review", "lost"})

#: Stripe's codes for a card whose bank asks the customer.
ASKS_CUSTOMER = frozenset({"authentication_required", "card_authentication_required"})

#: The newest of a customer's payment intents that are searched for one whose answer was lost.
MOST_SEARCHED = 100


class Facts(msgspec.Struct):
    """A payment as Stripe has it. Amounts are in cents of the payment's currency; `due` is what should be credited."""

    status: str
    session_id: str | None = None
    payment_intent: str | None = None
    paid_cents: int = 0
    refunded_cents: int = 0
    disputed_cents: int = 0
    receipt_url: str | None = None
    card: Card | None = None
    reason: str | None = None
    saved: PaymentMethod | None = None
    disputes: list[Dispute] = []
    differs: list[str] = []

    @property
    def due_cents(self) -> int:
        """What the customer should have been credited in all."""
        return max(0, self.paid_cents - self.refunded_cents - self.disputed_cents)


async def facts_of(call: Lending, payment: Payment) -> Facts | None:
    """What Stripe says. None: it has no such payment yet."""
    if payment.kind == "auto":
        intent = await intent_of(call, payment)
        return None if intent is None else await with_disputes(call, payment, of_intent(payment, intent))
    if payment.session_id is None:
        return None
    session = await session_of(call, payment.session_id)
    return await with_disputes(call, payment, of_session(payment, session))


async def session_of(call: Lending, session_id: str) -> Session:
    """A session with its payment intent, charge and card."""
    expand = ["payment_intent.latest_charge", "payment_intent.payment_method"]

    def work(client: StripeClient) -> object:
        return client.v1.checkout.sessions.retrieve(session_id, {"expand": expand})

    return await ask(call, Session, work)


async def intent_of(call: Lending, payment: Payment) -> Intent | None:
    """The payment intent of an automatic top-up. One whose answer was lost is found by our reference."""
    expand = ["latest_charge", "payment_method"]
    known = payment.payment_intent
    if known is not None:
        return await ask(call, Intent, lambda client: client.v1.payment_intents.retrieve(known, {"expand": expand}))
    since = int((payment.created_at - timedelta(minutes=5)).timestamp())
    until = int((payment.created_at + timedelta(hours=25)).timestamp())  # no attempt is made after that
    after: dict[str, Any] = {}
    while True:
        page: Listing[Intent] = await ask(
            call,
            Listing[Intent],
            lambda client, after=after: client.v1.payment_intents.list(  # type: ignore[misc]
                {
                    "created": {"gte": since, "lte": until},
                    "limit": MOST_SEARCHED,
                    "expand": [f"data.{name}" for name in expand],
                    **after,
                }
            ),
        )
        for one in page.data:
            if one.metadata.get(REFERENCE) == payment.reference:
                return one
        if not page.has_more or not page.data:
            return None
        after = {"starting_after": page.data[-1].id}


def of_session(payment: Payment, session: Session) -> Facts:
    """The facts of a checkout."""
    intent = session.payment_intent
    facts = Facts("open") if intent is None else of_charge(intent)
    facts.session_id = session.id
    if session.status == "expired":
        facts.status = "expired"
    elif session.status != "complete":
        facts.status = "open"
    elif session.payment_status == "unpaid":
        # A bank debit takes days. What has failed is waiting for another payment method, which nobody will give.
        facts.status = "failed" if intent is not None and is_dead(intent) else "pending"
        facts.paid_cents = 0
    else:
        facts.status = "paid"
        facts.paid_cents = session.amount_total or 0
    if facts.status != "paid":
        facts.paid_cents = 0
    if facts.paid_cents and (session.currency or "").lower() != payment.currency:
        facts.differs.append("currency")
        facts.paid_cents = 0
    facts.differs += differences(payment, session.metadata, session.amount_total if facts.status == "paid" else None)
    return facts


def of_intent(payment: Payment, intent: Intent) -> Facts:
    """The facts of an automatic top-up."""
    facts = of_charge(intent)
    match intent.status:
        case "succeeded":
            facts.status, facts.paid_cents = "paid", intent.amount_received
        case "processing":
            facts.status = "pending"
        case "requires_action" | "requires_confirmation":
            facts.status = "authentication"
        case _:
            facts.reason = None if intent.last_payment_error is None else intent.last_payment_error.code
            refused = "authentication" if facts.reason in ASKS_CUSTOMER else "declined"
            facts.status = payment.status if payment.status in ("declined", "authentication") else refused
    if facts.paid_cents and intent.currency.lower() != payment.currency:
        facts.differs.append("currency")
        facts.paid_cents = 0
    facts.differs += differences(payment, intent.metadata, facts.paid_cents or None)
    return facts


def of_charge(intent: Intent) -> Facts:
    """What a payment intent and its charge say of any payment."""
    facts = Facts("open", payment_intent=intent.id)
    method, charge = intent.payment_method, intent.latest_charge
    if method is not None and method.card is not None:
        facts.card = method.card
        if intent.setup_future_usage == "off_session" and method.customer is not None:
            facts.saved = method
    if charge is not None:
        facts.refunded_cents = charge.amount_refunded
        facts.receipt_url = charge.receipt_url
        if charge.payment_method_details is not None and charge.payment_method_details.card is not None:
            facts.card = charge.payment_method_details.card
    return facts


async def with_disputes(call: Lending, payment: Payment, facts: Facts) -> Facts:
    """The facts with the disputes of the payment. Only what was paid can be disputed."""
    intent = facts.payment_intent
    if intent is None or facts.status != "paid":
        return facts
    listed: Listing[Dispute] = await ask(
        call, Listing[Dispute], lambda client: client.v1.disputes.list({"payment_intent": intent, "limit": 100})
    )
    facts.disputes = listed.data
    # In another currency nobody knows how much it is: then it is all of it.
    facts.disputed_cents = sum(
        one.amount if one.currency.lower() == payment.currency else facts.paid_cents
        for one in listed.data
        if one.status in TAKEN_BACK
    )
    return facts


def is_dead(intent: Intent) -> bool:
    """Whether nothing will be paid any more."""
    return intent.status in ("requires_payment_method", "canceled")


def differences(payment: Payment, metadata: dict[str, str], amount: int | None) -> list[str]:
    """Where Stripe's object and its metadata do not say what our row says. Metadata is never followed."""
    expected = {
        "customer_id": str(payment.customer_id),
        "month": payment.month,
        "amount_cents": str(payment.amount_cents),
    }
    wrong = [name for name, value in expected.items() if metadata.get(name, value) != value]
    if amount is not None and amount != payment.amount_cents:
        wrong.append("amount_total")
    return wrong
