"""The contract tests of parcels: each function as it succeeds, and from that all that can go wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kaixu_parcel import (
    INTEGRATION,
    accounts,
    booking,
    desk,
    documents,
    inputs,
    parcels,
    payments,
    receivers,
    replies,
    shipments,
    tokens,
)
from kaixu_parcel.options import ParcelOptions
from kaixu_parcel.tracking import signature
from pydantic import SecretStr

from kaixu.plugin import Balance, Caller, CustomerView, Returned
from kaixu.plugin.testing import Example, IntegrationContract, json_answer

SECRET = "webhook-secret-for-tests"
ADA = CustomerView(7, "ada@example.com", "starter", True, 10**9, datetime(2026, 1, 1, tzinfo=UTC))
BALANCE = Balance("2026-11", 10**9, 0, 0, 0, 0, 10**9, 0, 0)
NOTHING = parcels.Nothing()
OPERATOR = Caller("operator", "operator", None, "operator@example.com")


def sign(body: bytes, now: datetime) -> dict[str, str]:
    """The headers of an event."""
    at = str(int(now.timestamp()))
    return {"x-time": at, "x-signature": signature(SECRET, at, body)}


def returned(**query: str) -> Returned:
    """A browser that comes back."""
    data, begun_by = accounts.Purpose("labels"), Caller("key", "owner", "abcd", "ada@example.com")
    return Returned(query, "verifier", "https://gateway.example/back", data, "/gateway/dashboard", begun_by)


class TestParcel(IntegrationContract):
    integration = INTEGRATION
    options = ParcelOptions(webhook_secret=SecretStr(SECRET))

    def examples(self) -> Mapping[str, Example | Sequence[Example]]:
        made = [("parcel.create", Example(body=parcels.NewParcel(5)))]
        booked = [*made, ("parcel.book", Example(body=booking.Booking(1), wire=[json_answer({"tracking": "T1"})]))]
        shipped = [("parcel.ship", Example(body=shipments.Order("one")))]
        one = shipments.Which("one")
        token = {"token": "token-of-ada"}
        moved = {"id": "e1", "type": "parcel.moved", "tracking": "T1", "state": "returned"}
        paid = {"id": "e2", "type": "payment.received", "payment": "p1", "customer": 1, "cents": 500}
        return {
            "parcel.create": Example(body=parcels.NewParcel(5)),
            "parcel.list": Example(body=NOTHING, before=made),
            "parcel.one": Example(body=parcels.Number(1), before=made),
            "parcel.admin": Example(body=NOTHING, before=made, caller=OPERATOR),
            "parcel.welcome": Example(body=NOTHING),
            "parcel.forget": Example(before=made),
            "parcel.quote": Example(body=inputs.QuoteBody(100, 3)),
            "parcel.photo": Example(body=inputs.Photo(1, b"photo"), before=made),
            **{
                f"parcel.{name}": Example(body=replies.Number(8))
                for name in ("label", "steps", "page", "words", "accepted", "refused")
            },
            "parcel.store": Example(body=documents.Document("invoice"), upload=b"content"),
            "parcel.read": Example(body=documents.Name("invoice"), kept={"documents/invoice": b"content"}),
            "parcel.book": Example(
                body=booking.Booking(1), before=made, secrets=token, wire=[json_answer({"tracking": "T1"})]
            ),
            "parcel.watch": [
                Example(body=booking.Booking(1), before=booked, wire=[json_answer({"state": state})])
                for state in ("delivered", "on its way")
            ],
            "parcel.connect": Example(body=tokens.Token("token-of-ada"), wire=[json_answer({"account": "ada"})]),
            "parcel.connection": Example(body=tokens.Nothing(), secrets=token),
            "parcel.disconnect": Example(body=tokens.Nothing(), secrets=token),
            "parcel.webhooks.tracking": Example(body=json.dumps(moved).encode(), sign=sign, before=booked),
            "parcel.ship": Example(body=shipments.Order("one")),
            "parcel.sign": Example(body=one, before=shipped),
            "parcel.cancel": Example(body=one, before=shipped),
            "parcel.arrive": Example(body=one, before=shipped),
            "parcel.freight": Example(body=shipments.Nothing(), before=shipped),
            "parcel.login": Example(body=accounts.Login("/gateway/dashboard")),
            "parcel.callbacks.account": Example(
                body=returned(code="c1"), wire=[json_answer({"access_token": "token-of-eve", "account": "eve"})]
            ),
            "parcel.webhooks.payments": Example(body=json.dumps(paid).encode(), sign=sign),
            "parcel.money": Example(body=payments.Nothing(), balance=BALANCE),
            "parcel.invite": Example(body=receivers.Invitation("new@example.com"), caller=OPERATOR),
            "parcel.who": Example(
                body=receivers.Account("ada"), caller=OPERATOR, customers=[ADA], unique_values={("account", "ada"): 7}
            ),
            "parcel.greet": Example(body=receivers.Welcome()),
            "parcel.find": Example(body=desk.Which(1), before=made, caller=OPERATOR),
            "parcel.reactions.balance_below": Example(),
            "parcel.reactions.cap_reached": Example(),
            "parcel.reactions.customer_deleted": Example(secrets=token),
            "parcel.panels.at-the-counter": Example(before=made),
            "parcel.panels.on-the-shelf": Example(before=made),
        }
