"""Checkouts with a gateway and a stand-in of Stripe: what is asked for, who may, and that what is paid is credited once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.money import assert_books_balance, virtual_key

from .parameters import problems
from .shop import Shop
from .stand_in import Stripe


async def test_a_customer_without_any_credit_pays_and_can_spend_it(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2500)
    assert (session["amount_total"], session["currency"], session["mode"]) == (2500, "usd", "payment")
    assert session["metadata"]["customer_id"] == str(shop.customer_id)
    assert session["metadata"]["amount_cents"] == "2500"
    assert session["adaptive_pricing"] == {"enabled": False}
    chat = {"provider": "up", "model": "echo", "messages": [{"role": "user", "content": "five"}], "max_tokens": 5}
    assert (await shop.call("POST", "/api/gateway-chat", chat)).status == 402
    stripe.pay(session["id"])
    await shop.deliver_all()
    assert await shop.credit() == 2500
    assert (await shop.call("POST", "/api/gateway-chat", chat)).status == 200
    assert (await shop.balance())["available_cents"] == 2400
    [payment] = await shop.payments()
    assert (payment["status"], payment["credited_cents"], payment["card_last4"]) == ("paid", 2500, "4242")
    assert payment["receipt_url"].startswith("https://")
    audit = await shop.pool.fetch(
        "select action from kaixu.audit_event where target = $1 and action = 'TOPUP_STRIPE'",
        f"customer:{shop.customer_id}",
    )
    assert len(audit) == 1
    await assert_books_balance(shop.pool)


async def test_an_operator_makes_a_checkout_for_a_customer(shop: Shop, stripe: Stripe) -> None:
    body: dict[str, Any] = {"customer_id": str(shop.customer_id), "amount_cents": 700_000}
    said = await shop.operator("POST", "/api/stripe-create-checkout", body)
    assert said.status == 200, said
    assert said.json["ok"] is True
    assert said.json["url"] == stripe.session(said.json["id"])["url"]
    stripe.pay(said.json["id"])
    await shop.deliver_all()
    assert await shop.credit() == 700_000
    assert (await shop.operator("GET", "/api/stripe-create-checkout")).json == {"ok": True}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "amount_cents must be at least 100"),
        ({"amount_cents": 99}, "amount_cents must be at least 100"),
        ({"amount_cents": -5}, "amount_cents must be at least 100"),
        ({"amount_cents": 100.5}, "amount_cents must be a whole number"),
        ({"amount_cents": 500_001}, "Top-up too large"),
        ({"amount_cents": 10**30}, "Top-up too large"),
        ({"amount_cents": 500, "month": "2026-13"}, "Invalid month"),
        ({"amount_cents": 500, "month": "next"}, "Invalid month"),
        ({"amount_cents": 500, "month": "2099-01"}, "Invalid month"),
    ],
)
async def test_customers_are_told_what_they_cannot_pay(shop: Shop, body: dict[str, Any], error: str) -> None:
    said = await shop.call("POST", "/api/user-topup-checkout", body)
    assert said.status == 400, said
    assert error in said.json["error"]
    assert await shop.payments() == []


@pytest.mark.parametrize(
    "body", [b"", b"null", b"17", b"[]", b"{", b'{"amount_cents": "many"}', b'{"amount_cents": {}}']
)
async def test_a_body_that_is_none_is_refused(shop: Shop, body: bytes) -> None:
    assert (await shop.call("POST", "/api/user-topup-checkout", body)).status in (400, 422)


async def test_numbers_may_be_text_and_bodies_encoded_twice(shop: Shop) -> None:
    for body in ({"amount_cents": "250"}, '{"amount_cents": 250}'):
        assert (await shop.call("POST", "/api/user-topup-checkout", body)).status == 200


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"amount_cents": 500}, 400, "customer_id"),
        ({"customer_id": 10**12, "amount_cents": 500}, 404, "customer"),
        ({"customer_id": 0, "amount_cents": 0}, 422, "customer"),
        ({"amount_cents": 0}, 400, "amount_cents must be > 0"),
        ({"amount_cents": 49}, 400, "Stripe takes no payment below 50 cents"),
        ({"amount_cents": 1_000_001}, 400, "Top-up too large"),
        ({"amount_cents": 500, "month": "2026-00"}, 400, "Invalid month"),
    ],
)
async def test_operators_are_told_too(shop: Shop, body: dict[str, Any], status: int, error: str) -> None:
    if "customer" not in error and "customer_id" not in body:
        body = body | {"customer_id": shop.customer_id}
    said = await shop.operator("POST", "/api/stripe-create-checkout", body)
    assert said.status == status, said
    assert error in said.json["error"]


async def test_only_keys_of_customers_that_are_switched_on_may_pay(shop: Shop) -> None:
    body = {"amount_cents": 500}
    assert (await shop.send("POST", "/api/user-topup-checkout", body)).status == 401
    assert (await shop.send("POST", "/api/stripe-create-checkout", body)).status == 401
    _, viewer = await virtual_key(shop.pool, shop.customer_id, role="viewer", allowed_providers=["up"], rpm_limit=1)
    for _ in range(3):  # neither the list of providers nor the limit of calls holds for paying
        assert (await shop.call("POST", "/api/user-topup-checkout", body, key=viewer)).status == 200
    for _ in range(7):
        await shop.call("POST", "/v1/stripe/checkout", body)
    assert (await shop.call("POST", "/v1/stripe/checkout", body)).status == 429
    await shop.pool.execute("update kaixu.customer set is_active = false where id = $1", shop.customer_id)
    assert (await shop.call("POST", "/api/user-topup-checkout", body)).status == 403


async def test_another_customer_s_payments_are_not_shown(shop: Shop, stripe: Stripe) -> None:
    stripe.pay((await shop.checkout())["id"])
    await shop.deliver_all()
    first = shop.customer_id
    await shop.open()
    assert await shop.payments() == []
    payment = await shop.pool.fetchval("select id from kaixu_stripe.payment where customer_id = $1", first)
    body = {"customer_id": shop.customer_id, "payment_id": payment}
    assert (await shop.operator("POST", "/v1/stripe/admin/look", body)).status == 404


async def test_an_answer_that_is_lost_makes_no_second_session(shop: Shop, stripe: Stripe) -> None:
    before = len(stripe.of("checkout.session"))
    stripe.faults += ["lost"]
    session = await shop.checkout()
    assert len(stripe.of("checkout.session")) == before + 1
    stripe.pay(session["id"])
    await shop.deliver_all()
    assert await shop.topups() == [2500]


@pytest.mark.parametrize(
    ("faults", "status"), [(["503"] * 3, 503), (["429"], 429), (["401"], 502), (["400"], 502), (["500", "503"], 200)]
)
async def test_what_stripe_refuses_is_an_error_without_its_words(
    shop: Shop, stripe: Stripe, faults: list[str], status: int
) -> None:
    stripe.faults += faults
    said = await shop.call("POST", "/api/user-topup-checkout", {"amount_cents": 500})
    assert said.status == status, said
    assert "secret words" not in said.text
    assert "sk_test" not in said.text


async def test_a_session_that_was_never_paid_expires_and_nothing_is_credited(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout()
    stripe.expire(session["id"])
    await shop.deliver_all()
    assert [one["status"] for one in await shop.payments()] == ["expired"]
    assert await shop.topups() == []


async def test_many_events_and_a_browser_at_once_credit_once(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout()
    stripe.pay(session["id"])
    page = session["success_url"].removeprefix(shop.process.url)
    events = stripe.events[shop.sent :] * 5
    await asyncio.gather(*(shop.deliver(one) for one in events), *(shop.send("GET", page) for _ in range(10)))
    await shop.settled()
    assert await shop.topups() == [2500]


def test_the_stand_in_refuses_what_stripe_s_library_does_not_know() -> None:
    good = {"mode": "payment", "line_items": [{"quantity": "1", "price_data": {"currency": "usd", "unit_amount": "5"}}]}
    request = "POST /v1/checkout/sessions"
    assert problems(request, good) == []
    for name, value in (("modus", "payment"), ("mode", "pay"), ("line_items", {"a": "b"}), ("expires_at", "soon")):
        assert problems(request, good | {name: value}), name
    assert problems("POST /v1/payment_intents", {"currency": "usd"}) == ["POST /v1/payment_intents needs 'amount'"]
