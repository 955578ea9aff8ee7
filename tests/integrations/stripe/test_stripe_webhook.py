"""Stripe's webhook: what is signed now, by one of two secrets, and nothing else; each payment is credited once."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest

from .shop import OLD_SECRET, Shop, until
from .stand_in import SECRET, Stripe


async def paid(shop: Shop, stripe: Stripe, cents: int = 2500) -> str:
    """A payment of which no event was sent: its session."""
    session = await shop.checkout(cents)
    stripe.pay(session["id"])
    return str(session["id"])


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "Missing stripe-signature"),
        ({"stripe-signature": ""}, "Missing stripe-signature"),
        ({"stripe-signature": "t=1,v1=abc"}, "Webhook signature verification failed"),
        ({"stripe-signature": "v1=abc"}, "Webhook signature verification failed"),
        ({"stripe-signature": "t=" + "9" * 400 + ",v1=abc"}, "Webhook signature verification failed"),
        ({"stripe-signature": "t=now,v1=\u00fc"}, "Webhook signature verification failed"),
    ],
)
async def test_what_is_not_signed_is_refused(shop: Shop, headers: dict[str, str], error: str) -> None:
    said = await shop.send("POST", "/api/stripe-webhook", b'{"id": "evt_1"}', **headers)
    assert (said.status, said.json["error"], said.json["code"]) == (400, error, "BAD_SIGNATURE")


@pytest.mark.parametrize("seconds", [-400, 400], ids=["old", "of the future"])
async def test_a_signature_of_another_time_is_refused(shop: Shop, stripe: Stripe, seconds: int) -> None:
    await paid(shop, stripe)
    said = await shop.deliver(stripe.events[-1], at=time.time() + seconds)
    assert said.json["error"] == "Webhook signature verification failed"
    assert (await shop.deliver(stripe.events[-1], at=time.time() + seconds / 2)).status == 200


async def test_both_secrets_are_valid_while_one_replaces_the_other(shop: Shop, stripe: Stripe) -> None:
    await paid(shop, stripe)
    for secret, status in ((SECRET, 200), (OLD_SECRET, 200), ("whsec_of_somebody", 400)):
        assert (await shop.deliver(stripe.events[-1], secret=secret)).status == status
    body, first = stripe.signed(stripe.events[-1], "whsec_of_somebody")
    _, second = stripe.signed(stripe.events[-1])
    both = first["stripe-signature"] + ",v1=" + second["stripe-signature"].partition("v1=")[2]
    assert (await shop.send("POST", "/api/stripe-webhook", body, **{"stripe-signature": both})).status == 200
    await shop.settled()
    assert await shop.topups() == [2500]


async def test_a_body_that_was_changed_is_refused(shop: Shop, stripe: Stripe) -> None:
    await paid(shop, stripe)
    body, headers = stripe.signed(stripe.events[-1])
    assert (await shop.send("POST", "/api/stripe-webhook", body.replace(b"2500", b"9900"), **headers)).status == 400
    for nonsense in (b"", b"[]", b'{"object": "v2.core.event"}'):
        event = json.loads(nonsense or b"null")
        body, headers = stripe.signed(event)
        assert (await shop.send("POST", "/api/stripe-webhook", body, **headers)).status == 400


async def test_other_events_are_accepted_and_forgotten(shop: Shop, stripe: Stripe) -> None:
    await paid(shop, stripe)
    other = stripe.events[-1] | {"id": f"evt_other_{shop.customer_id}", "type": "invoice.paid"}
    assert await shop.deliver(other) == (200, "ok")
    query = "select count(*) from kaixu.webhook_event where event_id = $1"
    assert not await shop.pool.fetchval(query, other["id"])


async def test_events_of_payments_that_are_not_ours_change_nothing(shop: Shop, stripe: Stripe) -> None:
    await paid(shop, stripe)
    await shop.deliver_all()
    intent = stripe.add("payment_intent", "pi", amount=100, currency="usd", status="succeeded", metadata={})
    stripe.tell("payment_intent.succeeded", intent)
    charge = stripe.add("charge", "ch", amount=100, payment_intent=intent["id"], metadata={})
    stripe.tell("charge.refunded", charge)
    stripe.tell("checkout.session.completed", stripe.add("checkout.session", "cs_test", payment_status="paid"))
    await shop.deliver_all()
    assert await shop.topups() == [2500]


async def test_a_forged_amount_and_customer_in_an_event_are_not_believed(shop: Shop, stripe: Stripe) -> None:
    """Even with a valid signature only Stripe's own object counts, and the row that we have made."""
    await paid(shop, stripe, 500)
    first = shop.customer_id
    key = shop.key
    await shop.open()
    event = stripe.events[-1]
    metadata = {"customer_id": str(shop.customer_id), "month": "2030-01", "amount_cents": "999999"}
    event["data"]["object"] |= {"amount_total": 999_999, "metadata": metadata}
    await shop.deliver(event)
    await shop.settled()
    assert await shop.topups() == []
    shop.customer_id, shop.key = first, key
    assert await shop.topups() == [500]


async def test_metadata_that_differ_at_stripe_are_told_and_not_followed(shop: Shop, stripe: Stripe) -> None:
    session_id = await paid(shop, stripe, 700)
    stripe.session(session_id)["metadata"] |= {"customer_id": "1", "amount_cents": "1"}
    await shop.deliver_all()
    assert await shop.topups() == [700]
    assert await shop.notes("something else than was asked for: customer_id, amount_cents") == 1


async def test_the_amount_is_stripe_s(shop: Shop, stripe: Stripe) -> None:
    stripe.session_amount = 300  # a coupon, say
    await paid(shop, stripe, 1000)
    await shop.deliver_all()
    assert await shop.topups() == [300]
    assert await shop.notes("amount_total")


async def test_another_currency_is_not_credited_and_told(shop: Shop, stripe: Stripe) -> None:
    stripe.session_currency = "eur"
    await paid(shop, stripe, 1000)
    await shop.deliver_all()
    assert await shop.topups() == []
    assert await shop.notes("asked for: currency")


async def test_the_month_that_was_asked_for_gets_the_credit(shop: Shop, stripe: Stripe) -> None:
    month = await shop.pool.fetchval("select to_char(now() at time zone 'UTC' + interval '1 month', 'YYYY-MM')")
    session = await shop.checkout(900, month=f"{month}-09")
    assert session["metadata"]["month"] == month
    stripe.pay(session["id"])
    await shop.deliver_all()
    assert await shop.credit() == 0
    booked = await shop.pool.fetchval("select month from kaixu.topup where customer_id = $1", shop.customer_id)
    assert f"{booked:%Y-%m}" == month


async def test_a_month_that_is_over_when_the_bank_pays_is_the_present_one(shop: Shop, stripe: Stripe) -> None:
    month = await shop.pool.fetchval("select to_char(now() at time zone 'UTC' - interval '1 month', 'YYYY-MM')")
    session = await shop.checkout(900, month=month)
    stripe.pay(session["id"], later=True)
    await shop.deliver_all()
    assert [one["status"] for one in await shop.payments()] == ["pending"]
    assert await shop.credit() == 0
    stripe.bank_pays(session["id"])
    await shop.deliver_all()
    assert await shop.credit() == 900


async def test_a_bank_debit_is_credited_when_it_is_paid_and_not_before(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(1500)
    stripe.pay(session["id"], later=True)
    await shop.deliver_all()
    assert await shop.topups() == []
    stripe.bank_refuses(session["id"])
    await shop.deliver_all()
    assert [one["status"] for one in await shop.payments()] == ["failed"]
    assert await shop.topups() == []


@pytest.mark.parametrize("seed", range(4))
async def test_order_and_repetition_of_everything_that_happens_to_a_payment_do_not_matter(
    shop: Shop, stripe: Stripe, seed: int
) -> None:
    session = await shop.checkout(5000)
    stripe.pay(session["id"], later=True)
    stripe.bank_pays(session["id"])
    intent = session["payment_intent"]
    stripe.refund(intent, 1000)
    dispute = stripe.dispute(intent, 3000)
    stripe.refund(intent, 500)
    stripe.close_dispute(dispute, "won")
    events = stripe.events[shop.sent :] * 3
    shop.sent = len(stripe.events)
    random.Random(seed).shuffle(events)
    await asyncio.gather(*(shop.deliver(one) for one in events))
    await shop.settled()
    assert await shop.credit() == 3500
    assert sum(await shop.topups()) == 3500


async def test_refunds_take_back_what_they_return(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    stripe.pay(session["id"])
    await shop.deliver_all()
    for amount, left in ((500, 1500), (1500, 0)):
        stripe.refund(session["payment_intent"], amount)
        await shop.deliver_all()
        assert await shop.credit() == left
    assert await shop.topups() == [2000, -500, -1500]
    [payment] = await shop.payments()
    assert (payment["refunded_cents"], payment["credited_cents"]) == (2000, 0)


async def test_a_refund_of_what_was_spent_is_debt_and_paying_still_works(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(1000)
    stripe.pay(session["id"])
    await shop.deliver_all()
    chat = {
        "provider": "up",
        "model": "echo",
        "messages": [{"role": "user", "content": "one two three"}],
        "max_tokens": 5,
    }
    assert (await shop.call("POST", "/api/gateway-chat", chat)).status == 200
    stripe.refund(session["payment_intent"], 1000)
    await shop.deliver_all()
    assert (await shop.balance())["debt_cents"] == 300
    refused = await shop.call("POST", "/api/gateway-chat", chat)
    assert (refused.status, refused.json["code"]) == (402, "CAP_REACHED")
    stripe.pay((await shop.checkout(1000))["id"])
    await shop.deliver_all()
    assert (await shop.balance())["available_cents"] == 700


@pytest.mark.parametrize(("end", "credited"), [("won", 2000), ("lost", 0), ("warning_closed", 2000)])
async def test_a_dispute_takes_back_until_it_is_won(shop: Shop, stripe: Stripe, end: str, credited: int) -> None:
    session = await shop.checkout(2000)
    stripe.pay(session["id"])
    await shop.deliver_all()
    is_inquiry = end.startswith("warning")
    dispute = stripe.dispute(
        session["payment_intent"], 2000, "warning_needs_response" if is_inquiry else "needs_response"
    )
    await shop.deliver_all()
    assert await shop.credit() == (2000 if is_inquiry else 0)
    stripe.close_dispute(dispute, end)
    await shop.deliver_all()
    assert await shop.credit() == credited
    query = "select status, amount_cents, customer_id from kaixu_stripe.dispute where id = $1"
    assert [tuple(row) for row in await shop.pool.fetch(query, dispute)] == [(end, 2000, shop.customer_id)]


async def test_an_event_that_stripe_cannot_be_asked_about_is_tried_again(shop: Shop, stripe: Stripe) -> None:
    await paid(shop, stripe)
    stripe.reading_faults += ["500"] * 3  # Stripe's library tries three times
    await shop.deliver_all()
    assert await shop.topups() == [2500]
    ids = [one["id"] for one in stripe.events[-2:]]
    rows = await shop.pool.fetch("select attempts, error, handled_at from kaixu_stripe.event where id = any ($1)", ids)
    assert sorted(row["attempts"] for row in rows) == [1, 2]
    assert all(row["handled_at"] is not None and row["error"] is None for row in rows)


async def test_sessions_that_never_reported_are_asked_about(shop: Shop, stripe: Stripe) -> None:
    session_id = await paid(shop, stripe)
    unpaid = await shop.checkout(100)
    shop.sent = len(stripe.events)
    await shop.sweep()
    assert await shop.topups() == [2500]
    assert {one["status"] for one in await shop.payments()} == {"paid", "open"}
    stripe.expire(unpaid["id"])
    await shop.sweep()
    assert {one["status"] for one in await shop.payments()} == {"paid", "expired"}
    assert stripe.session(session_id)["payment_status"] == "paid"


async def test_refunds_and_disputes_that_never_reported_are_found_in_stripe_s_events(
    shop: Shop, stripe: Stripe
) -> None:
    session = await shop.checkout(2000)
    stripe.pay(session["id"])
    await shop.deliver_all()
    stripe.refund(session["payment_intent"], 600)
    stripe.dispute(session["payment_intent"], 400)
    await shop.run_schedule()
    assert await shop.credit() == 1000
    await shop.run_schedule()
    assert sum(await shop.topups()) == 1000


async def test_a_list_of_events_that_has_many_pages_is_read_to_its_end(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    stripe.pay(session["id"])
    await shop.deliver_all()
    stripe.refund(session["payment_intent"], 600)
    for _ in range(250):
        stripe.tell("charge.refunded", {"id": "ch_other", "object": "charge", "payment_intent": None, "metadata": {}})
    await shop.run_schedule()
    assert await shop.credit() == 1400
    shop.sent = len(stripe.events)


async def test_a_deleted_customer_s_payment_is_told_and_credited_to_nobody(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    stripe.pay(session["id"], later=True)
    await shop.deliver_all()
    deleted = await shop.process.command("customers", "delete", str(shop.customer_id), "--yes")
    assert deleted.returncode == 0, deleted.stderr
    await shop.settled()
    stripe.bank_pays(session["id"])
    await shop.deliver_all()
    status = await shop.pool.fetchval("select status from kaixu_stripe.payment where session_id = $1", session["id"])
    assert status == "no_customer"
    assert await shop.notes("a deleted customer has paid")
    assert await shop.topups() == []


async def test_a_checkout_that_has_never_reached_stripe_is_closed(shop: Shop, stripe: Stripe) -> None:
    stripe.faults += ["503"] * 3
    assert (await shop.call("POST", "/api/user-topup-checkout", {"amount_cents": 500})).status == 503
    assert [one["status"] for one in await shop.payments()] == ["creating"]
    await shop.sweep()
    assert [one["status"] for one in await shop.payments()] == ["failed"]


async def test_a_reading_that_is_overtaken_does_not_bring_back_what_was_refunded(shop: Shop, stripe: Stripe) -> None:
    """An answer that took long is older than what was booked meanwhile: it is dropped."""
    session = await shop.checkout(2000)
    stripe.pay(session["id"])
    await shop.deliver_all()
    stripe.slow_reading_s = 1.0
    event = stripe.events[-1] | {"id": f"evt_slow_{shop.customer_id}"}
    await shop.deliver(event)

    async def is_asked() -> bool:
        return stripe.slow_readings > 0

    await until(is_asked)  # it has been read, and its answer is on its way
    stripe.refund(session["payment_intent"], 2000)
    await shop.send("GET", session["success_url"].removeprefix(shop.process.url), accept="text/html")
    assert await shop.credit() == 0
    await shop.settled()
    assert await shop.credit() == 0
    assert await shop.topups() == [2000, -2000]
    shop.sent = len(stripe.events)
