"""Automatic top-ups: once for each crossing, at most so many a day; a bank that asks, and a card that is declined."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.money import virtual_key
from tests.support.months import next_month

from .shop import Shop, until
from .stand_in import Stripe

WORDS = {"provider": "up", "model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": "one two three"}]}


async def with_card(shop: Shop, stripe: Stripe, last4: str = "4242", cents: int = 1000) -> None:
    """A customer with a saved card, who has paid once."""
    session = await shop.checkout(cents, save_card=True)
    assert session["customer"].startswith("cus_")
    stripe.pay(session["id"], last4)
    await shop.deliver_all()


async def switched_on(shop: Shop, *, threshold: int = 500, amount: int = 2000) -> None:
    said = await shop.call(
        "PUT", "/v1/stripe/auto-topup", {"enabled": True, "threshold_cents": threshold, "amount_cents": amount}
    )
    assert said.json == {"enabled": True, "threshold_cents": threshold, "amount_cents": amount}, said


async def spend(shop: Shop) -> int:
    """A call that costs three dollars: its status."""
    return (await shop.call("POST", "/api/gateway-chat", WORDS)).status


async def charges(shop: Shop) -> list[dict[str, Any]]:
    """The automatic payments of the customer, the oldest first."""
    return [one for one in reversed(await shop.payments()) if one["kind"] == "auto"]


async def mails(shop: Shop) -> list[str]:
    """What the customer was written."""
    rows = await shop.pool.fetch(
        "select subject from kaixu.integration_message where customer_id = $1 order by created_at", shop.customer_id
    )
    return [row["subject"] for row in rows]


async def test_a_card_that_was_saved_is_charged_once_when_the_balance_is_low(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    balance = await shop.balance()
    assert [(card["brand"], card["last4"]) for card in balance["cards"]] == [("visa", "4242")]
    await switched_on(shop)
    assert await spend(shop) == 200  # 7 dollars are left
    await shop.settled()
    assert await charges(shop) == []
    assert await spend(shop) == 200  # 4
    await until(lambda: charges(shop))
    await shop.settled()
    [charge] = await charges(shop)
    assert (charge["status"], charge["credited_cents"], charge["card_last4"]) == ("paid", 2000, "4242")
    assert (await shop.balance())["available_cents"] == 2400
    await shop.deliver_all()  # its own event changes nothing
    assert await shop.topups() == [1000, 2000]
    intents = of_customer(shop, stripe)
    assert [one["amount"] for one in intents] == [1000, 2000]
    assert {one["customer"] for one in intents} == {(await settings(shop))["stripe_customer_id"]}


async def settings(shop: Shop) -> dict[str, Any]:
    """The fields of `admin-customers`, which are the settings of this integration."""
    listed = (await shop.operator("GET", "/api/admin-customers")).json["customers"]
    return next(dict(one) for one in listed if int(one["id"]) == shop.customer_id)


@pytest.mark.parametrize("lost", ["lost", "503"])
async def test_an_answer_that_is_lost_charges_no_second_time(shop: Shop, stripe: Stripe, lost: str) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += [lost] * 4
    await spend(shop)
    await until(lambda: charges(shop))
    await shop.settled()
    assert [one["status"] for one in await charges(shop)] == ["paid"]
    assert await shop.topups() == [1000, 2000]


async def test_a_declined_card_switches_it_off_and_tells(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe, "0341")
    await switched_on(shop)
    for _ in range(3):
        await spend(shop)
    await until(lambda: charges(shop))
    await shop.settled()
    assert [one["status"] for one in await charges(shop)] == ["declined"]
    found = await settings(shop)
    assert found["auto_topup_enabled"] is False
    assert found["auto_topup_amount_cents"] == 2000
    assert await mails(shop) == ["Automatic top-ups are switched off"]
    assert await shop.notes("automatic top-ups were switched off")
    await shop.deliver_all()  # payment_intent.payment_failed
    assert [one["status"] for one in await charges(shop)] == ["declined"]
    assert await shop.topups() == [1000]


async def test_a_bank_that_asks_is_told_to_the_customer_and_nothing_is_taken(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe, "3184")
    await switched_on(shop)
    for _ in range(2):
        await spend(shop)
    await until(lambda: charges(shop))
    await shop.settled()
    assert [one["status"] for one in await charges(shop)] == ["authentication"]
    assert await mails(shop) == ["Please confirm your top-up"]
    assert (await settings(shop))["auto_topup_enabled"] is True
    await shop.deliver_all()
    assert [one["status"] for one in await charges(shop)] == ["authentication"]
    assert await shop.topups() == [1000]


async def test_the_day_s_bound_holds_and_is_told(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop, threshold=900, amount=300)
    for _ in range(6):
        if await spend(shop) == 200:
            await shop.settled()
    await shop.settled()
    assert len(await charges(shop)) == 3
    assert "No more automatic top-ups today" in await mails(shop)
    assert sum(await shop.topups()) == 1000 + 3 * 300


async def test_what_is_switched_off_meanwhile_is_not_charged(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await shop.set(auto_topup_enabled=False)
    for _ in range(3):
        await spend(shop)
    await shop.settled()
    assert await charges(shop) == []


async def test_it_needs_a_card_a_threshold_and_an_amount(shop: Shop, stripe: Stripe) -> None:
    whole = {"enabled": True, "threshold_cents": 500, "amount_cents": 1000}
    assert (await shop.call("PUT", "/v1/stripe/auto-topup", whole)).status == 409
    await with_card(shop, stripe)
    for missing in ("threshold_cents", "amount_cents"):
        said = await shop.call("PUT", "/v1/stripe/auto-topup", {k: v for k, v in whole.items() if k != missing})
        assert (said.status, said.json["field"]) == (422, missing)
    for field, value in (("amount_cents", 99), ("amount_cents", 500_001), ("threshold_cents", -1)):
        assert (await shop.call("PUT", "/v1/stripe/auto-topup", whole | {field: value})).status == 422
    _, viewer = await virtual_key(shop.pool, shop.customer_id, role="deployer")
    assert (await shop.call("PUT", "/v1/stripe/auto-topup", whole, key=viewer)).status == 403
    assert (await shop.call("PUT", "/v1/stripe/auto-topup", whole)).status == 200


async def test_a_card_is_removed_at_stripe_and_automatic_top_ups_end(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    [card] = (await shop.balance())["cards"]
    mine, key = shop.customer_id, shop.key
    await shop.open()
    assert (await shop.call("DELETE", f"/v1/stripe/cards/{card['id']}")).status == 404
    shop.customer_id, shop.key = mine, key
    assert (await shop.call("DELETE", f"/v1/stripe/cards/{card['id']}")).status == 200
    assert stripe.objects[card["id"]]["customer"] is None
    balance = await shop.balance()
    assert (balance["cards"], balance["auto_topup"]["enabled"]) == ([], False)
    assert (await shop.call("DELETE", f"/v1/stripe/cards/{card['id']}")).status == 404


async def test_a_card_that_stripe_has_removed_stops_it(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await shop.pool.execute("delete from kaixu_stripe.card where customer_id = $1", shop.customer_id)
    for _ in range(2):
        await spend(shop)
    await until(lambda: mails(shop))
    assert await mails(shop) == ["Automatic top-ups are switched off"]
    assert (await settings(shop))["auto_topup_enabled"] is False


async def test_a_call_that_is_refused_by_the_cap_tops_up_too(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe, cents=150)
    await switched_on(shop, threshold=10, amount=1000)
    assert await spend(shop) == 200  # one word, which is what there is money for
    assert await charges(shop) == []
    assert await spend(shop) == 402  # a word costs a dollar, and there are 50 cents: above the threshold
    await until(lambda: charges(shop))
    await shop.settled()
    assert await spend(shop) == 200


async def test_who_has_paid_by_hand_meanwhile_is_not_charged(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += ["503"] * 3
    body = {"customer_id": shop.customer_id, "amount_cents": 5000}
    await asyncio.gather(spend(shop), shop.operator("POST", "/api/admin-topup", body))
    await shop.settled()
    stripe.faults.clear()
    assert len(await charges(shop)) <= 1
    assert (await shop.balance())["available_cents"] in (5400, 7400)


async def test_a_deleted_customer_s_cards_are_detached_and_sessions_closed(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    [card] = (await shop.balance())["cards"]
    session = await shop.checkout(500)
    done = await shop.process.command("customers", "delete", str(shop.customer_id), "--yes")
    assert done.returncode == 0, done.stderr

    async def is_detached() -> bool:
        return stripe.objects[card["id"]]["customer"] is None and session["status"] == "expired"

    await until(is_detached)
    await shop.settled()
    assert not await shop.pool.fetchval(
        "select count(*) from kaixu_stripe.card where customer_id = $1", shop.customer_id
    )
    assert await shop.pool.fetchval(
        "select count(*) from kaixu_stripe.payment where customer_id = $1", shop.customer_id
    )
    shop.sent = len(stripe.events)


async def test_a_new_month_is_a_new_crossing(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    for _ in range(2):
        await spend(shop)
    await until(lambda: charges(shop))
    await shop.settled()
    # A month passes for all customers; those of other tests would be topped up, too.
    await shop.pool.execute("delete from kaixu.balance_watch where customer_id <> $1", shop.customer_id)
    await next_month(shop.pool)  # without rollover the credit has ended, so the balance is low again
    await shop.call("POST", "/api/gateway-chat", WORDS)

    async def two() -> bool:
        return len(await charges(shop)) == 2

    await until(two)
    await shop.settled()
    assert {one["status"] for one in await charges(shop)} == {"paid"}


async def test_after_a_day_stripe_is_searched_and_not_asked_to_charge_again(shop: Shop, stripe: Stripe) -> None:
    """Stripe forgets idempotency keys: a request that is repeated after that would charge a second time."""
    await with_card(shop, stripe)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += ["lost"] * 3
    await spend(shop)

    async def is_lost() -> bool:
        return not stripe.faults

    await until(is_lost)
    await shop.pool.execute(
        "update kaixu_stripe.payment set created_at = now() - interval '23 hours' where kind = 'auto'"
    )
    with stripe.lock:
        stripe.keys.clear()
        [intent] = [one for one in of_customer(shop, stripe) if one["amount"] == 2000]
        intent["created"] -= 23 * 3600
    await shop.settled()
    assert len(of_customer(shop, stripe)) == 2
    assert await shop.topups() == [1000, 2000]


async def test_a_customer_that_is_switched_off_is_not_charged(shop: Shop, stripe: Stripe) -> None:
    await with_card(shop, stripe)
    await switched_on(shop)
    await spend(shop)
    stripe.faults += ["503"] * 3
    await shop.pool.execute("update kaixu.customer set is_active = false where id = $1", shop.customer_id)
    body = {"customer_id": shop.customer_id, "monthly_cap_cents": 0}
    await shop.operator("PATCH", f"/api/admin-customers?customer_id={shop.customer_id}", body)
    await shop.set(auto_topup_threshold_cents=5000)  # the balance is below it at once
    await shop.settled()
    stripe.faults.clear()
    assert not await shop.pool.fetchval(
        "select count(*) from kaixu_stripe.payment where customer_id = $1 and kind = 'auto'", shop.customer_id
    )


def of_customer(shop: Shop, stripe: Stripe) -> list[dict[str, Any]]:
    """The payment intents of the customer."""
    return [one for one in stripe.of("payment_intent") if one["metadata"].get("customer_id") == str(shop.customer_id)]
