"""The page after paying: it asks Stripe, whatever its address says, and works without any event."""

from __future__ import annotations

import pytest

from .shop import Shop
from .stand_in import Json, Stripe


async def page(shop: Shop, session: Json, more: str = "") -> str:
    """What a browser sees when it comes back, by the address of the success."""
    said = await shop.send("GET", session["success_url"].removeprefix(shop.process.url) + more, accept="text/html")
    assert said.status == 200, said
    return said.text


async def test_who_comes_back_without_having_paid_learns_it(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    for more in ("", "&billing=success", "&payment_status=paid"):
        text = await page(shop, session, more)
        assert "You have not paid $20.00" in text
        assert session["url"] in text  # goes on there
    assert session["cancel_url"] == session["success_url"]
    assert await shop.topups() == []


async def test_who_has_paid_sees_it_and_has_the_credit_before_any_event(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    stripe.pay(session["id"])
    for _ in range(3):
        assert "$20.00 are on your account" in await page(shop, session)
    assert await shop.topups() == [2000]
    await shop.deliver_all()
    assert await shop.topups() == [2000]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("later", "Your bank takes a few days"),
        ("refused", "has failed"),
        ("expired", "the time for $20.00 is over"),
        ("refunded", "was given back or is disputed"),
        ("refunded in part", "$15.00 of $20.00 are on your account"),
    ],
)
async def test_the_page_says_how_it_stands(shop: Shop, stripe: Stripe, what: str, words: str) -> None:
    session = await shop.checkout(2000)
    match what:
        case "later":
            stripe.pay(session["id"], later=True)
        case "refused":
            stripe.pay(session["id"], later=True)
            stripe.bank_refuses(session["id"])
        case "expired":
            stripe.expire(session["id"])
        case "refunded":
            stripe.pay(session["id"])
            stripe.refund(session["payment_intent"], 2000)
        case "refunded in part":
            stripe.pay(session["id"])
            stripe.refund(session["payment_intent"], 500)
    assert words in await page(shop, session)
    shop.sent = len(stripe.events)


async def test_while_stripe_is_away_the_page_says_so_and_what_is_paid_stays_paid(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    path = session["success_url"].removeprefix(shop.process.url)
    stripe.reading_faults += ["503"] * 3
    said = await shop.send("GET", path, accept="text/html")
    assert said.status == 503
    assert "Stripe does not answer now" in said.text
    stripe.pay(session["id"])
    await shop.deliver_all()
    stripe.reading_faults += ["503"] * 3
    assert "$20.00 are on your account" in await page(shop, session)


async def test_the_page_works_when_the_key_is_gone_and_for_nobody_who_guesses(shop: Shop, stripe: Stripe) -> None:
    session = await shop.checkout(2000)
    stripe.pay(session["id"])
    await shop.pool.execute("update kaixu.virtual_key set revoked_at = now() where customer_id = $1", shop.customer_id)
    assert "are on your account" in await page(shop, session)
    said = await shop.send("GET", "/v1/stripe/callbacks/paid?state=guessed", accept="text/html")
    assert said.status == 400
    assert "$20.00" not in said.text
    shop.sent = len(stripe.events)


async def test_addresses_of_requests_are_never_used(shop: Shop) -> None:
    said = await shop.send(
        "POST", "/api/user-topup-checkout", {"amount_cents": 500}, authorization=f"Bearer {shop.key}",
        origin="https://evil.example", referer="https://evil.example/", **{"x-forwarded-host": "evil.example"},
    )  # fmt: skip
    session = shop.stripe.session(said.json["url"].rpartition("/")[2])
    assert session["success_url"].startswith(shop.process.url + "/v1/stripe/callbacks/paid?state=")
