"""What goes wrong beside a payment: removed cards and customers, overtaken readings, failed events, odd answers."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import stripe as stripe_library
from kaixu_stripe.client import read
from kaixu_stripe.options import StripeOptions
from kaixu_stripe.sdk import client_for, error_of, plain
from kaixu_stripe.views import Session
from pydantic import SecretStr

from kaixu.plugin import BlockingWire, UpstreamError

from .shop import Shop, until
from .stand_in import KEY, SECRET, Stripe
from .test_stripe_top_ups import charges, mails, of_customer, settings, spend, switched_on, with_card


async def paid_session(shop: Shop, stripe: Stripe, cents: int = 2000) -> str:
    """A payment that was credited: its payment intent."""
    session = await shop.checkout(cents)
    stripe.pay(session["id"])
    await shop.deliver_all()
    return str(session["payment_intent"])


async def faults_are_used(stripe: Stripe) -> None:
    """Return when Stripe has failed as often as it should."""

    async def are_used() -> bool:
        return not stripe.faults

    await until(are_used)


async def test_a_page_that_was_overtaken_by_an_event_says_what_the_event_has_found(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    stripe.slow_reading_s = 2.0
    page = session["success_url"].removeprefix(shop.process.url)
    answer = asyncio.ensure_future(shop.send("GET", page, accept="text/html"))

    async def is_asked() -> bool:
        return stripe.slow_readings > 0

    await until(is_asked)
    stripe.pay(session["id"])
    await shop.deliver_all()
    said = await answer
    assert "$20.00 are on your account" in said.text


@pytest.mark.parametrize("removed", ["card", "customer"])
async def test_what_was_removed_at_stripe_stops_automatic_top_ups_and_tells(
    shop: Shop, stripe: Stripe, removed: str
) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    [card] = (await shop.balance())["cards"]
    known = (await settings(shop))["stripe_customer_id"]
    if removed == "customer":
        stripe.delete_customer(known)
    stripe.objects[card["id"]]["customer"] = None
    for _ in range(2):
        await spend(shop)
    await until(lambda: charges(shop))
    await shop.settled()
    assert [one["status"] for one in await charges(shop)] == ["declined"]
    assert (await settings(shop))["auto_topup_enabled"] is False
    assert await mails(shop) == ["Automatic top-ups are switched off"]
    await with_card(shop, stripe)  # a new card, of a new customer if the old one is gone
    assert ((await settings(shop))["stripe_customer_id"] == known) is (removed == "card")
    await switched_on(shop, threshold=5000)
    await until_paid(shop)
    assert [one["status"] for one in await charges(shop)] == ["declined", "paid"]


async def until_paid(shop: Shop) -> None:
    """Return when an automatic top-up was paid."""

    async def is_paid() -> bool:
        return any(one["status"] == "paid" for one in await charges(shop))

    await until(is_paid)
    await shop.settled()


async def test_a_card_saved_after_an_answer_was_lost_is_not_charged_for_the_same(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += ["lost"] * 3
    await spend(shop)
    await faults_are_used(stripe)
    await shop.pool.execute(
        "insert into kaixu_stripe.card (id, customer_id, brand, last4) values ($1, $2, 'visa', '1111')",
        f"pm_newer_{shop.customer_id}", shop.customer_id,
    )  # fmt: skip
    await shop.settled()
    assert await shop.topups() == [1000, 2000]
    assert len(of_customer(shop, stripe)) == 2
    stripe.complaints.clear()  # the key was used with another card: the gateway searches


async def test_what_is_switched_off_between_two_attempts_is_not_charged(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += ["503"] * 3
    await spend(shop)
    await faults_are_used(stripe)
    assert (await shop.call("PUT", "/v1/stripe/auto-topup", {"enabled": False})).status == 200
    await shop.settled()
    assert [one["status"] for one in await charges(shop)] == ["failed"]
    assert len(of_customer(shop, stripe)) == 1
    assert await shop.topups() == [1000]


async def test_what_was_charged_before_it_was_switched_off_is_credited(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += ["lost"] * 3
    await spend(shop)
    await faults_are_used(stripe)
    assert (await shop.call("PUT", "/v1/stripe/auto-topup", {"enabled": False})).status == 200
    await shop.settled()
    assert [one["status"] for one in await charges(shop)] == ["paid"]
    assert await shop.topups() == [1000, 2000]


@pytest.mark.parametrize(("card", "status", "goes_on"), [("0341", "declined", False), ("3184", "authentication", True)])
async def test_a_decline_whose_answer_was_lost_is_told_although_its_event_came_first(
    shop: Shop, stripe: Stripe, card: str, status: str, goes_on: bool
) -> None:
    await with_card(shop, stripe, card)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += ["lost"] * 6  # two attempts, so that the event is handled in between
    await spend(shop)

    async def is_declined() -> bool:
        return len(stripe.faults) <= 3

    await until(is_declined)
    await shop.deliver_all()
    await shop.settled()
    stripe.faults.clear()
    assert [one["status"] for one in await charges(shop)] == [status]
    assert (await settings(shop))["auto_topup_enabled"] is goes_on
    assert len(await mails(shop)) == 1


async def test_a_dispute_in_another_currency_takes_back_all(shop: Shop, stripe: Stripe) -> None:
    intent = await paid_session(shop, stripe)
    dispute = stripe.dispute(intent, 1700)
    stripe.objects[dispute]["currency"] = "eur"
    await shop.deliver_all()
    assert await shop.credit() == 0
    stripe.close_dispute(dispute, "won")
    await shop.deliver_all()
    assert await shop.credit() == 2000


def refund_fails(stripe: Stripe, intent_id: str, amount: int) -> None:
    """A bank sends a refund back, days later."""
    with stripe.lock:
        charge = stripe.objects[stripe.objects[intent_id]["latest_charge"]]
        charge["amount_refunded"] -= amount
        [refund] = [one for one in stripe.of("refund") if one["charge"] == charge["id"] and one["amount"] == amount]
        refund["status"] = "failed"
        stripe.tell("refund.failed", refund)


async def test_a_refund_that_fails_gives_the_credit_back(shop: Shop, stripe: Stripe) -> None:
    intent = await paid_session(shop, stripe)
    stripe.refund(intent, 1200)
    await shop.deliver_all()
    assert await shop.credit() == 800
    refund_fails(stripe, intent, 1200)
    await shop.deliver_all()
    assert await shop.credit() == 2000


async def test_a_refund_whose_event_failed_for_good_is_found_by_the_sweep(shop: Shop, stripe: Stripe) -> None:
    intent = await paid_session(shop, stripe)
    stripe.refund(intent, 2000)
    [event], shop.sent = stripe.events[shop.sent :], len(stripe.events)
    query = "select error from kaixu_stripe.event where id = $1 and handled_at is null"
    stripe.reading_faults += ["401"] * 1000
    assert (await shop.deliver(event)).status == 200
    await shop.settled()
    assert await shop.pool.fetchval(query, event["id"]) is not None
    tried = await shop.operator("POST", "/v1/stripe/admin/retry", {"event": event["id"]})
    assert tried.status == 200
    await shop.settled()
    assert await shop.pool.fetchval(query, event["id"]) is not None  # it is still shown as failed
    stripe.reading_faults.clear()
    await shop.pool.execute(
        "update kaixu_stripe.event set received_at = now() - interval '1 hour' where id = $1", event["id"]
    )
    await shop.sweep()
    assert await shop.credit() == 0
    assert await shop.pool.fetchval(query, event["id"]) is None


async def test_what_was_read_of_many_events_stays_read_when_stripe_fails(shop: Shop, stripe: Stripe) -> None:
    """The cursor moves on while there are thousands of events: a sweep that ends early has done something."""
    await paid_session(shop, stripe)
    other: dict[str, Any] = {"id": "ch_other", "object": "charge", "payment_intent": None, "metadata": {}}
    now = stripe.now()
    with stripe.lock:
        for number in range(300):
            stripe.tell("charge.refunded", other)
            stripe.events[-1]["created"] = now - 3000 + number * 10
        stripe.events.sort(key=lambda one: one["created"])
    shop.sent = len(stripe.events)
    await shop.run_schedule()
    await shop.pool.execute("update kaixu_stripe.cursor set at = now() - interval '1 hour'")
    since = len(stripe.requests)
    before = await shop.pool.fetchval("select at from kaixu_stripe.cursor where name = 'events'")
    stripe.reading_faults += [""] * 8 + ["401"] * 1000
    await shop.run_schedule()
    middle = await shop.pool.fetchval("select at from kaixu_stripe.cursor where name = 'events'")
    stripe.reading_faults.clear()
    await shop.run_schedule()
    requests_of_events = [one for one in stripe.requests[since:] if one[1] == "/v1/events"]
    after = await shop.pool.fetchval("select at from kaixu_stripe.cursor where name = 'events'")
    assert before < middle < after
    assert len(requests_of_events) < 40


async def test_a_payment_link_with_our_reference_pays_for_something_else(shop: Shop, stripe: Stripe) -> None:
    """Who opens a payment link of the same account chooses its `client_reference_id`."""
    stripe.faults += ["lost"] * 3
    assert (await shop.call("POST", "/api/user-topup-checkout", {"amount_cents": 2000})).status >= 500
    shop.sent = len(stripe.events)
    reference = await shop.pool.fetchval(
        "select reference from kaixu_stripe.payment where customer_id = $1", shop.customer_id
    )
    session = stripe.add(
        "checkout.session", "cs_test", client_reference_id=reference, metadata={}, payment_status="paid",
        status="complete", amount_total=2000, currency="usd",
    )  # fmt: skip
    stripe.tell("checkout.session.completed", session)
    await shop.deliver_all()
    assert await shop.topups() == []


class OneAnswer(BlockingWire):
    """A wire with one answer for everything."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        return httpx.Response(self.status, content=self.body, request=request)


@pytest.mark.parametrize("body", [b'{"error": null}', b'{"error": "no"}', b'{"error": []}', b"[]", b"\xff", b"{"])
@pytest.mark.parametrize("status", [200, 400, 402, 429, 500])
def test_an_answer_in_no_form_of_stripe_s_is_an_error_of_the_vendor(
    status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("INITIAL_DELAY", "MAX_DELAY"):
        monkeypatch.setattr(stripe_library.HTTPClient, name, 0.0001)
    options = StripeOptions(secret_key=SecretStr(KEY), webhook_secret=SecretStr(SECRET))
    client = client_for(OneAnswer(status, body), options)
    with pytest.raises((stripe_library.StripeError, UpstreamError)) as caught:
        read(plain(client.v1.checkout.sessions.retrieve("cs_1")), Session)
    if isinstance(caught.value, stripe_library.StripeError):
        assert isinstance(error_of(caught.value), UpstreamError)
