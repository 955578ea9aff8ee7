"""The contract tests of integrations, run on Stripe's; and the catalog with the kaixu.yaml that is shipped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import stripe
from kaixu_stripe import INTEGRATION, account, admin_panels, cards, checkout, pages, payments, topup
from kaixu_stripe.options import StripeOptions
from pydantic import SecretStr, ValidationError

from kaixu.catalog.build import build
from kaixu.config.load import load
from kaixu.plugin import Balance, Caller, CustomerView, Returned
from kaixu.plugin.testing import Answer, Example, IntegrationContract, json_answer

from .objects import made
from .stand_in import KEY, SECRET

ADA = CustomerView(1, "ada@example.com", "starter", True, 10**9, datetime(2026, 1, 1, tzinfo=UTC))
EVE = CustomerView(2, "eve@example.com", "starter", True, 10**9, datetime(2026, 1, 1, tzinfo=UTC))
PEOPLE = [ADA, EVE]
LOW = Balance("2026-11", 0, 10**9, 0, 9 * 10**8, 0, 10**8, 10**8, 0)
ROOT = Path(__file__).parents[3]
OPERATOR = Caller("operator", "operator", None, "operator@example.com")
CROSSING = UUID(int=7)
AUTO = {
    "stripe_customer_id": "cus_1",
    "auto_topup_enabled": True,
    "auto_topup_threshold_cents": 500,
    "auto_topup_amount_cents": 2000,
}
PAYMENT = (
    "insert into payment (reference, customer_id, kind, status, month, amount_cents, currency, session_id) "
    "values ('ref-1', 1, 'checkout', 'open', '2026-11', 2500, 'usd', 'cs_1')"
)
CARD = "insert into card (id, customer_id, brand, last4) values ('pm_1', 1, 'visa', '4242')"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe's library waits half a second between its tries."""
    for name in ("INITIAL_DELAY", "MAX_DELAY"):
        monkeypatch.setattr(stripe.HTTPClient, name, 0.0001)


def session(**more: Any) -> dict[str, Any]:
    """A session that was paid."""
    charge = made("charge", id="ch_1", amount=2500, receipt_url="https://pay.stripe.example/r")
    intent = made(
        "payment_intent", id="pi_1", status="succeeded", amount=2500, amount_received=2500,
        latest_charge=charge, payment_method=made("payment_method", id="pm_1"), metadata={"kaixu_payment": "ref-1"},
    )  # fmt: skip
    values = {"id": "cs_1", "status": "complete", "payment_status": "paid", "amount_total": 2500, "currency": "usd"}
    return made("checkout.session", **{"client_reference_id": "ref-1", "payment_intent": intent} | values | more)


def new_session() -> dict[str, Any]:
    """A session that was just made."""
    return made("checkout.session", id="cs_1", url="https://checkout.stripe.test/pay/cs_1")


def off_session() -> dict[str, Any]:
    """The payment intent of an automatic top-up."""
    return made(
        "payment_intent", id="pi_7", status="succeeded", amount=2000, amount_received=2000,
        metadata={"kaixu_payment": f"kaixu-auto-{CROSSING}"},
    )  # fmt: skip


def listing(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(objects), "has_more": False, "url": "/v1/things"}


def looked_up(request: httpx.Request) -> Answer:
    """Stripe, asked about a checkout that was paid."""
    kind = request.url.path.split("/")[2]
    intent = made("payment_intent", id="pi_1", metadata={"kaixu_payment": "ref-1"})
    return json_answer({"checkout": session(), "disputes": listing(), "payment_intents": intent}[kind])


def tops_up(request: httpx.Request) -> Answer:
    """Stripe, asked for an automatic top-up."""
    return json_answer(listing() if request.url.path == "/v1/disputes" else off_session())


def event(kind: str, about: dict[str, Any]) -> dict[str, Any]:
    return made("event", id="evt_1", type=kind, data={"object": about})


def sign(body: bytes, now: datetime) -> dict[str, str]:
    """Stripe's signature, by its library."""
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), SECRET, int(now.timestamp()))
    return {"Stripe-Signature": header}


def returned() -> Returned:
    begun_by = Caller("key", "owner", "abcd", "ada@example.com")
    return Returned({}, "verifier", "https://gateway.example/back", pages.Paying(1), None, begun_by)


class TestStripe(IntegrationContract):
    integration = INTEGRATION
    options = StripeOptions(secret_key=SecretStr(KEY), webhook_secret=SecretStr(SECRET))
    secret = KEY
    changes_on_repeat = (
        "payment.reading", "payment.applied", "payment.looked_at", "payment.updated_at", "event.attempts", "cursor.at",
        "payment.change_cents",
    )  # fmt: skip

    def examples(self) -> Mapping[str, Example | Sequence[Example]]:
        paid = [looked_up]
        disputed = made("dispute", id="dp_1", payment_intent="pi_1", status="needs_response", amount=500)
        told = json.dumps(event("charge.dispute.created", disputed)).encode()
        by_card = checkout.Order(2500, save_card=True)
        customer = json_answer(made("customer", id="cus_1"))
        failed = PAYMENT, "insert into event (id, type, payment_id) values ('evt_1', 'charge.refunded', 1)"
        money = Balance("2026-11", 0, 10**9, 0, 0, 0, 10**9, 10**9, 0)
        return {
            "stripe.admin.checkout": Example(
                body=checkout.OperatorOrder(2500), caller=OPERATOR, customers=PEOPLE, wire=[json_answer(new_session())]
            ),
            "stripe.admin.there": Example(body=checkout.Nothing(), caller=OPERATOR),
            "stripe.admin.address": Example(
                body=checkout.Dollars(25.0), caller=OPERATOR, customers=PEOPLE, wire=[json_answer(new_session())]
            ),
            "stripe.checkout": Example(
                body=by_card, customers=PEOPLE, wire=[customer, json_answer(new_session())]
            ),
            "stripe.pay": Example(body=checkout.Dollars(25.0), customers=PEOPLE, wire=[json_answer(new_session())]),
            "stripe.balance": Example(body=account.Nothing(), balance=money, sql=[CARD]),
            "stripe.payments": Example(body=account.Most(), sql=[PAYMENT]),
            "stripe.auto": Example(body=account.Change(True, 500, 2000), sql=[CARD], settings={"stripe_customer_id": "cus_1"}),
            "stripe.auto.form": Example(
                body=account.DollarChange(True, 5.0, 20.0), sql=[CARD], settings={"stripe_customer_id": "cus_1"}
            ),
            "stripe.card.remove": Example(
                body=cards.WhichCard("pm_1"), sql=[CARD], settings=AUTO, wire=[json_answer(made("payment_method", id="pm_1"))]
            ),
            "stripe.admin.look": Example(body=payments.Which(1), sql=[PAYMENT], caller=OPERATOR),
            "stripe.admin.retry": Example(body=admin_panels.Retrying("evt_1"), sql=failed, caller=OPERATOR),
            "stripe.settle": Example(body=payments.Which(1), sql=[PAYMENT], wire=paid),
            "stripe.topup": Example(
                body=topup.TopUp(CROSSING), sql=[CARD], settings=AUTO, balance=LOW, customers=PEOPLE,
                wire=[tops_up],
            ),
            "stripe.sweep": Example(
                sql=[PAYMENT], wire=[json_answer(listing(event("charge.refunded", made("charge", id="ch_1"))))]
            ),
            "stripe.webhooks.events": Example(body=told, sign=sign, sql=[PAYMENT], wire=paid),
            "stripe.reactions.balance_below": Example(settings=AUTO),
            "stripe.reactions.cap_reached": [Example(settings=AUTO), Example()],
            "stripe.reactions.customer_deleted": Example(
                sql=[PAYMENT, CARD], wire=[json_answer(session(status="expired")), json_answer(made("payment_method"))]
            ),
            "stripe.panels.stripe-payments": Example(sql=[PAYMENT]),
            "stripe.panels.payments": Example(sql=[PAYMENT]),
            "stripe.panels.disputes": Example(
                sql=[
                    PAYMENT,
                    "insert into dispute (id, payment_id, customer_id, status, amount_cents, reason) "
                    "values ('dp_1', 1, 1, 'needs_response', 500, 'fraudulent')",
                ]
            ),
            "stripe.panels.events-that-failed": Example(
                sql=[
                    PAYMENT,
                    "insert into event (id, type, payment_id, received_at) "
                    "values ('evt_1', 'charge.refunded', 1, now() - interval '1 hour')",
                ]
            ),
            "stripe.panels.balance": Example(balance=money),
            "stripe.panels.top-up": Example(),
            "stripe.panels.automatic-top-ups": Example(sql=[CARD], settings=AUTO),
            "stripe.callbacks.paid": Example(body=returned(), sql=[PAYMENT], wire=paid, may_fail=[1, 2]),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"currency": "eur"}, "only usd is possible"),
        ({"success_url": "http://example.com"}, "it must be an https address"),
        ({"most_cents": 10}, "greater than or equal to 50"),
        ({"auto_topups_per_day": 0}, "greater than or equal to 1"),
        ({"api_version": "newest"}, "should match pattern"),
        ({"secret": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_mistakes_of_operators_are_said(values: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        StripeOptions(secret_key=SecretStr("k"), webhook_secret=SecretStr("s"), **values)


def test_an_empty_variable_is_no_second_secret() -> None:
    options = StripeOptions(
        secret_key=SecretStr("k"), webhook_secret=SecretStr("s"), previous_webhook_secret=SecretStr("")
    )
    assert options.webhook_secrets == ["s"]


def test_the_shipped_file_names_the_variables_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "kaixu.yaml").write_text((ROOT / "kaixu.yaml").read_text())
    off = build(load(tmp_path / "kaixu.yaml", {}), tmp_path).integrations["stripe"]
    assert off.state == "off"
    assert "STRIPE_SECRET_KEY" in (off.reason or "")
    variables = {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}
    on = build(load(tmp_path / "kaixu.yaml", variables), tmp_path).integrations["stripe"]
    assert (on.state, on.reason) == ("on", None)
